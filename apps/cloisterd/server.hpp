#pragma once

#include <string_view>

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "config.hpp"

namespace cloister::server {

/// What to do with a database that does not hold what the audit log's head file says it held: refuse it, or begin a new
/// log whose first leaf names both heads.
enum class Rollback { refuse, accept };

/// Runs the server until SIGINT or SIGTERM. Prints one JSON line on standard output once it serves.
[[nodiscard]] Result<void> run(const Config& config, log::Logger& logger, Rollback rollback = Rollback::refuse);
/// The only argument of cloisterd where a server started it to evaluate policies for it.
inline constexpr auto kEvaluatePolicies = "--evaluate-policies";
/// Does that until the server closes descriptor 3. The exit code.
[[nodiscard]] int evaluate_policies();
/// Prints the public keys, and the digest of the configuration as a TEE measures it, as JSON; makes the master key if there
/// is none.
[[nodiscard]] Result<void> show_keys(const Config& config);
/// Moves what `data` holds to the keeper of keys that the configuration names, from `from` ("file", or a PKCS#11 URI), and prints as
/// JSON what has become another. One transaction; a call that was cut short is finished by the next. `unavailable` while a server has
/// the database, `conflict` where keys are given out that follow from the root.
[[nodiscard]] Result<void> move_keys(const Config& config, std::string_view from);

}  // namespace cloister::server
