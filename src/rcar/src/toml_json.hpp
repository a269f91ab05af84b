#pragma once

#include <optional>
#include <string_view>

#include "cloister/codec/json.hpp"

namespace cloister::rcar {

/// A TOML 1.0 document as a JSON object: dates and times become texts as RFC 3339 writes them. Nothing for what is no TOML,
/// for numbers that JSON does not have, and beyond 256 KiB, 64 levels, 10,000 values or 40,000 separators of names and values.
[[nodiscard]] std::optional<codec::json::Value> json_of_toml(std::string_view text);

}  // namespace cloister::rcar
