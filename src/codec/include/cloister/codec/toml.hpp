#pragma once

#include <cstddef>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

namespace cloister::codec {

struct TomlLimits {
  std::size_t bytes = 256U << 10;
  std::size_t depth = 64;        // of tables and arrays in each other; bounds the parser's own recursion
  std::size_t values = 100'000;  // tables among them
};

/// A TOML 1.0 document as a JSON object with its members sorted; dates and times become texts as RFC 3339 writes them. Errors have
/// the line: `malformed`; `duplicate_member` for what is defined twice, or extended after it was defined; `limit_exceeded`;
/// `unsupported` for numbers that JSON does not have: inf, nan, and those beyond 64 bits.
[[nodiscard]] Result<json::Value> parse_toml(std::string_view text, const TomlLimits& limits = {});

}  // namespace cloister::codec
