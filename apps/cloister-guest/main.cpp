// The one program in every TD. Its descriptors are fixed (cloister/device/boot.hpp); its one argument, --device=KIND, says
// which TEE it is in, where it is not to look for itself (docs/devices.md).
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string_view>

#include "cloister/core/log.hpp"
#include "cloister/device/boot.hpp"
#include "cloister/device/select.hpp"
#include "cloister/guest/guest.hpp"
#include "cloister/process/descriptor.hpp"
#include "cloister/process/private_memory.hpp"

namespace {

using namespace cloister;

constexpr std::string_view kDevice = "--device=";

Result<std::optional<device::DeviceKind>> wanted_device(int argc, char** argv) {
  if (argc == 1) return std::optional<device::DeviceKind>{};
  const std::string_view argument{argv[1]};
  if (argc > 2 || !argument.starts_with(kDevice)) return Error{Errc::invalid_argument, "--device=KIND expected, and nothing else"};
  CLOISTER_TRY(kind, device::parse_device_kind(argument.substr(kDevice.size())));
  return std::optional{kind};
}

}  // namespace

int main(int argc, char** argv) {
  process::keep_memory_private();
  log::StderrLogger logger{"guest", log::Level::info};
  const auto wanted = wanted_device(argc, argv);
  if (!wanted) {
    logger.error("arguments.refused", {{"detail", wanted.error().text()}});
    return 2;
  }
  auto boot = device::read_boot(process::UniqueFd{device::kBootDescriptor});
  if (!boot) {
    logger.error("boot.refused", {{"detail", boot.error().text()}});
    return 2;
  }
  const SystemClock clock;
  SystemRandom random;
  device::LinuxKernel kernel;
  auto tee = device::select_device(*wanted, device::kTeeDescriptor, kernel, random);
  if (!tee) {
    logger.error("tee.refused", {{"detail", tee.error().text()}});
    return 2;
  }
  logger.info("tee", {{"device", device::to_string(tee->kind)}});
  const auto why = guest::run(*std::move(boot), {*tee->device, process::UniqueFd{device::kStreamDescriptor},
                                                 std::filesystem::current_path(), clock, random, logger});
  logger.info("ended", {{"code", to_string(why.code())}, {"detail", why.detail()}});
  return why.code() == Errc::peer_closed ? 0 : 1;
}
