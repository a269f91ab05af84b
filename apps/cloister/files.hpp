#pragma once

#include <filesystem>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/policy/trust_file.hpp"

namespace cloister::cli {

/// The whole file; `io_error` with the reason, `limit_exceeded` above `max` bytes.
[[nodiscard]] Result<Bytes> read_file(const std::filesystem::path& path, std::size_t max);

/// The user's own trust file: $XDG_CONFIG_HOME/cloister/trust.json, else ~/.config/cloister/trust.json; nothing when
/// there is none.
[[nodiscard]] std::optional<std::filesystem::path> default_trust_file();

/// `given`, else the user's own, else an empty one (only the vendors' roots hold then).
[[nodiscard]] Result<policy::TrustFile> load_trust_file(const std::optional<std::filesystem::path>& given);

}  // namespace cloister::cli
