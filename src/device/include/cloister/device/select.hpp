#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/random.hpp"
#include "cloister/device/kernel.hpp"
#include "cloister/device/tee_device.hpp"

/// Which TEE this machine has.
namespace cloister::device {

/// In the order in which they are looked for.
enum class DeviceKind { configfs_tsm, tdx_guest, sev_guest, lab_socket };

/// "configfs-tsm", "tdx-guest", "sev-guest", "lab-socket".
[[nodiscard]] std::string_view to_string(DeviceKind kind) noexcept;
[[nodiscard]] Result<DeviceKind> parse_device_kind(std::string_view text);

/// The paths of the machine's own TEE interfaces that are there: of a real TEE, never of the lab's.
[[nodiscard]] std::vector<std::string> real_tee_paths(Kernel& kernel);
/// `lab_beside_tee` where the machine has a TEE of its own: what the lab says there could be taken for it.
[[nodiscard]] Result<void> refuse_lab_beside_tee(Kernel& kernel);

struct Selected {
  DeviceKind kind;
  std::unique_ptr<TeeDevice> device;
};

/// The kind asked for, else the first that is there: configfs-tsm with a provider, /dev/tdx_guest, /dev/sev-guest, the
/// lab's socket at `lab_descriptor` (-1: none). `unsupported` when there is none. Kernel and random outlive the device.
[[nodiscard]] Result<Selected> select_device(std::optional<DeviceKind> wanted, int lab_descriptor, Kernel& kernel,
                                             Random& random);

}  // namespace cloister::device
