#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"

namespace cloister::codec {

/// How many bytes the well-formed UTF-8 sequence at the front of `bytes` has, 1 to 4; 0 when there is none (RFC 3629,
/// section 4).
[[nodiscard]] std::size_t utf8_sequence(ByteView bytes) noexcept;

/// The text with U+FFFD in the place of each byte that belongs to no well-formed sequence.
[[nodiscard]] std::string made_utf8(std::string_view text);

/// Adds a Unicode scalar value.
void append_utf8(std::string& out, std::uint32_t code_point);

}  // namespace cloister::codec
