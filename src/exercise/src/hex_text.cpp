#include "hex_text.hpp"

#include <optional>

namespace cloister::exercise {
namespace {

constexpr std::size_t kBytesALine = 16;

constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::optional<unsigned> digit_of(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

/// One line without its comment.
Result<void> read_line(std::string_view line, std::size_t number, std::size_t max, Bytes& out) {
  const auto where = "line " + std::to_string(number) + ": ";
  for (std::size_t at = 0; at < line.size();) {
    if (is_space(line[at])) {
      ++at;
      continue;
    }
    const auto high = digit_of(line[at]);
    const auto low = at + 1 < line.size() ? digit_of(line[at + 1]) : std::nullopt;
    if (!high || !low) return Error{Errc::malformed, where + "bytes of two hex digits expected"};
    if (out.size() == max) return Error{Errc::limit_exceeded, where + "more than " + std::to_string(max) + " bytes"};
    out.push_back(static_cast<std::uint8_t>(*high << 4 | *low));
    at += 2;
  }
  return {};
}

}  // namespace

Result<Bytes> parse_hex_text(std::string_view text, std::size_t max) {
  Bytes out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    CLOISTER_CHECK(read_line(line.substr(0, line.find('#')), number, max, out));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

HexText& HexText::note(std::string_view text) {
  text_.append("# ").append(text).append("\n");
  return *this;
}

HexText& HexText::field(std::string_view name, ByteView bytes) {
  note(hex_number(offset_) + " " + std::string{name});
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text_ += kDigits[bytes[i] >> 4];
    text_ += kDigits[bytes[i] & 15];
    text_ += (i + 1) % kBytesALine == 0 || i + 1 == bytes.size() ? '\n' : ' ';
  }
  offset_ += bytes.size();
  return *this;
}

std::string hex_number(std::uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  do {
    out.insert(out.begin(), kDigits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return "0x" + out;
}

}  // namespace cloister::exercise
