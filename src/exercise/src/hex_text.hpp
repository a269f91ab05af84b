#pragma once

#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// Bytes as a text that a person reads and edits: hex digits in pairs, white space between bytes, and comments from # to
/// the end of the line.
namespace cloister::exercise {

/// `malformed` with the line, `limit_exceeded` for more than `max` bytes.
[[nodiscard]] Result<Bytes> parse_hex_text(std::string_view text, std::size_t max);

/// Writes such a text field by field, each under a comment with its offset.
class HexText {
 public:
  /// A remark of its own, before anything or between fields.
  HexText& note(std::string_view text);
  HexText& field(std::string_view name, ByteView bytes);
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
  std::size_t offset_ = 0;
};

/// "0x1f0"
[[nodiscard]] std::string hex_number(std::uint64_t value);

}  // namespace cloister::exercise
