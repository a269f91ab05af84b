#pragma once

#include <string_view>

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "config.hpp"

namespace cloister::server {

/// Runs the server until SIGINT or SIGTERM. Prints one JSON line on standard output once it serves.
[[nodiscard]] Result<void> run(const Config& config, log::Logger& logger);
/// Prints the public keys as JSON, making the master key if there is none.
[[nodiscard]] Result<void> show_keys(const Config& config);
/// Moves what `data` holds to the keeper of keys that the configuration names, from `from` ("file", or a PKCS#11 URI), and prints as
/// JSON what has become another. One transaction; a call that was cut short is finished by the next. `unavailable` while a server has
/// the database, `conflict` where keys are given out that follow from the root.
[[nodiscard]] Result<void> move_keys(const Config& config, std::string_view from);

}  // namespace cloister::server
