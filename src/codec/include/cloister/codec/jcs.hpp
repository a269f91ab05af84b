#pragma once

#include <string>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

namespace cloister::codec::json {

/// The JSON Canonicalization Scheme (RFC 8785): members sorted by the UTF-16 code units of their names, no white space, the
/// fewest escapes, numbers as ECMAScript writes the double that they are. `malformed` for a text that is not UTF-8;
/// `unsupported` for a number that is no double exactly (integers beyond 2^53 that would be rounded) or is not finite.
[[nodiscard]] Result<std::string> canonical(const Value& value);

}  // namespace cloister::codec::json
