#pragma once

#include <iosfwd>

#include "cloister/lab_host/host.hpp"

namespace cloister::lab_host {

/// A platform as all that this process does (`cloister lab platform`): probes the sandbox, opens the state, writes one
/// JSON line to `out` once it serves, {"control","root","collateral": paths, "isolated": whether a sandbox holds the
/// TDs, "sandbox": a sentence about it, "lab": true}, and serves until SIGTERM or SIGINT. Blocks these two signals for
/// the calling thread; call it before other threads start.
[[nodiscard]] Result<void> serve(HostOptions options, std::ostream& out, log::Logger& logger);

}  // namespace cloister::lab_host
