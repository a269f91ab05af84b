#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister::lab_service {

struct ServeOptions {
  std::uint16_t port = 8000;  // on loopback; 0: any that is free
  /// 32 bytes, or 64 hex digits; made (mode 0600) where there is no such file. AMD's RSA keys are kept beside it, in
  /// `<file>.amd-keys.pem`. Without it the lab is a new one at each start.
  std::optional<std::filesystem::path> seed_file;
  std::vector<std::string> allowed_origins;
  bool beside_tee = false;  // start also on a machine that has a TEE of its own
};

/// Serves until SIGTERM or SIGINT. Writes one JSON line to `out` once it answers: {"url", "lab": true}.
/// `lab_beside_tee` on a machine with a TEE unless that is wanted, `configuration_invalid` for a seed file that others may read, or that is none, and for what is no origin.
[[nodiscard]] Result<void> serve(const ServeOptions& options, std::ostream& out, const Clock& clock,
                                 log::Logger& logger);

}  // namespace cloister::lab_service
