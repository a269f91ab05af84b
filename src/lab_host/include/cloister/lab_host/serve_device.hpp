#pragma once

#include <filesystem>
#include <iosfwd>

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"

namespace cloister::lab_host {

struct DeviceOptions {
  std::filesystem::path state;    // of a machine of its own, as a platform's
  std::filesystem::path socket;   // mode 0600; a socket that lies there unanswered is replaced
  std::filesystem::path program;  // what is measured into the TD, with its loader and libraries; it is not started
  bool beside_tee = false;        // start also on a machine that has a TEE of its own
};

/// LAB ONLY - NOT HARDWARE. A TEE socket for software under test: one simulated TD of `program`, answered to whoever of
/// this user connects (`device::LabSocketDevice` is a client). Writes one JSON line to `out` once it answers,
/// {"socket","root","collateral": paths, "mrtd": hex, "lab": true}, and serves until SIGTERM or SIGINT, which it blocks for
/// the calling thread. Errors: as of `Host::open`.
[[nodiscard]] Result<void> serve_device(const DeviceOptions& options, std::ostream& out, log::Logger& logger);

}  // namespace cloister::lab_host
