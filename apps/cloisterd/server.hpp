#pragma once

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "config.hpp"

namespace cloister::server {

/// Runs the server until SIGINT or SIGTERM. Prints one JSON line on standard output once it serves.
[[nodiscard]] Result<void> run(const Config& config, log::Logger& logger);
/// Prints the public keys, and the digest of the configuration as a TEE measures it, as JSON; makes the master key if there
/// is none.
[[nodiscard]] Result<void> show_keys(const Config& config);

}  // namespace cloister::server
