#pragma once

#include <filesystem>

#include "cloister/core/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/device/boot.hpp"
#include "cloister/device/tee_device.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::guest {

/// Where a guest lives. The references outlive it.
struct Surroundings {
  device::TeeDevice& device;
  process::UniqueFd streams;      // over which the host hands byte streams that it relays to the server
  std::filesystem::path scratch;  // an empty directory that only this TD writes to
  const Clock& clock;
  Random& random;
  log::Logger& logger;
};

/// Runs a TD from its launch to its end, and returns why it ended: `peer_closed` is the ordinary end. It outlives its streams:
/// on each it attests anew, with the same keys, and goes on where it was. Nothing of the image is executed before the server has accepted the evidence that measures it.
[[nodiscard]] Error run(device::Boot boot, Surroundings surroundings);

}  // namespace cloister::guest
