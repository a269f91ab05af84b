#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::codec {

/// Lower case.
[[nodiscard]] std::string to_hex(ByteView bytes);
/// Either case, even length, nothing else.
[[nodiscard]] Result<Bytes> from_hex(std::string_view text);
/// Exactly N bytes of hex.
template <std::size_t N>
[[nodiscard]] Result<ByteArray<N>> array_from_hex(std::string_view text) {
  CLOISTER_TRY(bytes, from_hex(text));
  if (bytes.size() != N) {
    return Error{Errc::malformed, std::to_string(2 * N) + " hex digits expected, got " + std::to_string(text.size())};
  }
  return to_array<N>(bytes);
}

/// RFC 4648 section 4, with padding.
[[nodiscard]] std::string to_base64(ByteView bytes);
/// RFC 4648 section 5, without padding.
[[nodiscard]] std::string to_base64url(ByteView bytes);
/// Section 4: padding required, non-zero trailing bits and foreign characters refused.
[[nodiscard]] Result<Bytes> from_base64(std::string_view text);
/// As `from_base64`, with white space (space, tab, CR, LF) skipped: files and PEM bodies.
[[nodiscard]] Result<Bytes> from_base64_lines(std::string_view text);
/// Section 5: no padding, canonical.
[[nodiscard]] Result<Bytes> from_base64url(std::string_view text);

/// True for well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF).
[[nodiscard]] bool is_utf8(ByteView bytes) noexcept;

/// One "-----BEGIN label-----" block, decoded.
struct PemBlock {
  std::string label;
  Bytes der;
};
/// All blocks of a PEM text (RFC 7468, lax about text between blocks and a trailing NUL): at least one, at most
/// `max_blocks` (else `limit_exceeded`). Headers inside a block and a block without its end are refused.
[[nodiscard]] Result<std::vector<PemBlock>> parse_pem(std::string_view text, std::size_t max_blocks = 16);
/// 64 columns, LF.
[[nodiscard]] std::string to_pem(std::string_view label, ByteView der);

}  // namespace cloister::codec
