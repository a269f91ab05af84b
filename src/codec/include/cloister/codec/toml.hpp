#pragma once

#include <cstddef>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister::codec {

/// What a TOML document may be, so that a parser that recurses as deep as it nests can be given it.
struct TomlLimits {
  std::size_t bytes = 256U << 10;
  std::size_t depth = 64;       // of a header, and of what is below it: dots of names, and brackets
  std::size_t marks = 100'000;  // dots, commas, equals signs and brackets, which separate names and values
};

/// Whether a TOML 1.0 document is within limits, as far as a parser gets: brackets and dots are counted outside of texts and
/// comments. Looks once at each byte, and does not recurse. That it passes does not say that it is TOML. `limit_exceeded`,
/// and `malformed` where texts or brackets do not end, both with the line.
[[nodiscard]] Result<void> check_toml(std::string_view text, const TomlLimits& limits = {});

}  // namespace cloister::codec
