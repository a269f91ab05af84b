#pragma once

#include <chrono>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister::cli {

/// "90s", "30m", "24h", "7d" of the option --lifetime. `invalid_argument`.
[[nodiscard]] Result<std::chrono::seconds> parse_lifetime(std::string_view text);

}  // namespace cloister::cli
