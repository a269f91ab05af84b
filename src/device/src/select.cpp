#include "cloister/device/select.hpp"

#include <sys/stat.h>

#include <array>

#include "cloister/device/lab_socket_device.hpp"
#include "cloister/device/snp_device.hpp"
#include "cloister/device/tdx_device.hpp"
#include "cloister/device/tsm_report.hpp"

namespace cloister::device {
namespace {

constexpr std::array kKinds{DeviceKind::configfs_tsm, DeviceKind::tdx_guest, DeviceKind::sev_guest, DeviceKind::lab_socket};

bool is_socket(int descriptor) {
  struct stat facts {};
  return descriptor >= 0 && ::fstat(descriptor, &facts) == 0 && S_ISSOCK(facts.st_mode);
}

bool present(DeviceKind kind, int lab_descriptor, Kernel& kernel, Random& random) {
  switch (kind) {
    case DeviceKind::configfs_tsm:  // the directory is there without a TEE, too
      return kernel.exists(kTsmReports) && TsmReports{kernel, random}.provider().ok();
    case DeviceKind::tdx_guest:
      return kernel.exists(kTdxGuest);
    case DeviceKind::sev_guest:
      return kernel.exists(kSevGuest);
    case DeviceKind::lab_socket:
      return is_socket(lab_descriptor);
  }
  return false;
}

Result<std::unique_ptr<TeeDevice>> open(DeviceKind kind, int lab_descriptor, Kernel& kernel, Random& random) {
  switch (kind) {
    case DeviceKind::configfs_tsm: {
      CLOISTER_TRY(provider, TsmReports(kernel, random).provider());
      if (provider == TsmProvider::tdx_guest) return std::unique_ptr<TeeDevice>{new TdxDevice{kernel, random}};
      return std::unique_ptr<TeeDevice>{
          new SnpDevice{kernel, random, SnpDevice::Way::configfs_tsm, std::filesystem::path{kTsmReports}}};
    }
    case DeviceKind::tdx_guest:
      return std::unique_ptr<TeeDevice>{new TdxDevice{kernel, random}};
    case DeviceKind::sev_guest:
      return std::unique_ptr<TeeDevice>{
          new SnpDevice{kernel, random, SnpDevice::Way::sev_guest, std::filesystem::path{kSevGuest}}};
    case DeviceKind::lab_socket:
      if (!is_socket(lab_descriptor)) return Error{Errc::unsupported, "the lab's TEE socket is not there"};
      return std::unique_ptr<TeeDevice>{new LabSocketDevice{process::UniqueFd{lab_descriptor}}};
  }
  return Error{Errc::internal, "device kind"};
}

}  // namespace

std::string_view to_string(DeviceKind kind) noexcept {
  switch (kind) {
    case DeviceKind::configfs_tsm: return "configfs-tsm";
    case DeviceKind::tdx_guest: return "tdx-guest";
    case DeviceKind::sev_guest: return "sev-guest";
    case DeviceKind::lab_socket: return "lab-socket";
  }
  return "";
}

Result<DeviceKind> parse_device_kind(std::string_view text) {
  for (const auto kind : kKinds) {
    if (to_string(kind) == text) return kind;
  }
  return Error{Errc::invalid_argument, "device: configfs-tsm, tdx-guest, sev-guest or lab-socket expected"};
}

std::vector<std::string> real_tee_paths(Kernel& kernel) {
  // The last name is that of TDX drivers before Linux 6.2.
  constexpr std::array<std::string_view, 4> kPaths{kTdxGuest, kSevGuest, "/dev/tdx-guest", "/dev/tdx-attest"};
  std::vector<std::string> found;
  for (const auto path : kPaths) {
    if (kernel.exists(path)) found.emplace_back(path);
  }
  return found;
}

Result<void> refuse_lab_beside_tee(Kernel& kernel) {
  const auto found = real_tee_paths(kernel);
  if (found.empty()) return {};
  return Error{Errc::lab_beside_tee, "this machine has a real TEE (" + found.front() +
                                         "), and the lab's evidence could be taken for its own: LAB ONLY - NOT HARDWARE"};
}

Result<Selected> select_device(std::optional<DeviceKind> wanted, int lab_descriptor, Kernel& kernel, Random& random) {
  for (const auto kind : kKinds) {
    if (wanted ? *wanted != kind : !present(kind, lab_descriptor, kernel, random)) continue;
    CLOISTER_TRY(device, open(kind, lab_descriptor, kernel, random));
    return Selected{kind, std::move(device)};
  }
  return Error{Errc::unsupported, "no TEE: neither configfs-tsm, /dev/tdx_guest, /dev/sev-guest nor the lab's socket is there"};
}

}  // namespace cloister::device
