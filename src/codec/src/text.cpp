#include "cloister/codec/text.hpp"

#include <array>
#include <cstring>

#include "utf8.hpp"

namespace cloister::codec {
namespace {

constexpr std::uint8_t kForeign = 0xFF;
constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kHexDigits = "0123456789abcdef";

using Table = std::array<std::uint8_t, 256>;

constexpr Table inverse(std::string_view alphabet) {
  Table table{};
  for (auto& entry : table) entry = kForeign;
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return table;
}

constexpr Table inverse_hex() {
  Table table = inverse(kHexDigits);
  for (std::size_t i = 0; i < 6; ++i) table['A' + i] = static_cast<std::uint8_t>(10 + i);
  return table;
}

constexpr Table kFromStandard = inverse(kStandard);
constexpr Table kFromUrl = inverse(kUrl);
constexpr Table kFromHex = inverse_hex();

std::uint8_t lookup(const Table& table, char c) noexcept { return table[static_cast<std::uint8_t>(c)]; }

std::string encode64(ByteView bytes, std::string_view alphabet, bool pad) {
  std::string out((bytes.size() + 2) / 3 * 4, '=');
  auto* to = out.data();
  for (; bytes.size() >= 3; bytes = bytes.subspan(3)) {
    const auto bits = static_cast<std::uint32_t>(bytes[0] << 16U | bytes[1] << 8U | bytes[2]);
    for (const auto shift : {18U, 12U, 6U, 0U}) *to++ = alphabet[bits >> shift & 0x3FU];
  }
  if (!bytes.empty()) {
    const auto bits = static_cast<std::uint32_t>(bytes[0] << 16U | (bytes.size() > 1 ? bytes[1] << 8U : 0));
    for (const auto shift : {18U, 12U, 6U}) {
      if (shift == 6U && bytes.size() == 1) break;
      *to++ = alphabet[bits >> shift & 0x3FU];
    }
  }
  if (!pad) out.resize(static_cast<std::size_t>(to - out.data()));
  return out;
}

/// Decodes without padding: every character in the alphabet (or white space, if skipped), the unused bits zero.
/// `digits` is set to the number of characters that carried bits.
Result<Bytes> decode64(std::string_view text, const Table& table, bool skip_space, std::size_t& digits) {
  Bytes out(text.size() / 4 * 3 + 3);
  std::size_t size = 0;
  std::uint32_t bits = 0;
  unsigned held = 0;
  digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    // Four characters at a time, as long as they begin a group and stand together.
    while (held == 0 && text.size() - i > 4) {
      const std::uint32_t a = lookup(table, text[i]);
      const std::uint32_t b = lookup(table, text[i + 1]);
      const std::uint32_t c = lookup(table, text[i + 2]);
      const std::uint32_t d = lookup(table, text[i + 3]);
      if ((a | b | c | d) > 0x3F) break;
      const auto group = a << 18U | b << 12U | c << 6U | d;
      out[size++] = static_cast<std::uint8_t>(group >> 16U);
      out[size++] = static_cast<std::uint8_t>(group >> 8U);
      out[size++] = static_cast<std::uint8_t>(group);
      digits += 4;
      i += 4;
    }
    const auto value = lookup(table, text[i]);
    if (value == kForeign) {
      if (skip_space && (text[i] == '\n' || text[i] == '\r' || text[i] == ' ' || text[i] == '\t')) continue;
      return Error{Errc::malformed, "base64: unexpected character at " + std::to_string(i)};
    }
    ++digits;
    bits = (bits << 6U | value) & 0xFFFFU;
    held += 6;
    if (held >= 8) {
      held -= 8;
      out[size++] = static_cast<std::uint8_t>(bits >> held);
    }
  }
  if (held >= 6) return Error{Errc::malformed, "base64: a single character is left over"};
  if ((bits & ((1U << held) - 1U)) != 0) return Error{Errc::not_canonical, "base64: unused bits are not zero"};
  out.resize(size);
  return out;
}

bool is_space(char c) noexcept { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; }

Result<Bytes> decode_padded(std::string_view text, bool skip_space) {
  while (skip_space && !text.empty() && is_space(text.back())) text.remove_suffix(1);
  std::size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
    while (skip_space && !text.empty() && is_space(text.back())) text.remove_suffix(1);
  }
  std::size_t digits = 0;
  auto decoded = decode64(text, kFromStandard, skip_space, digits);
  if (decoded && (digits + padding) % 4 != 0) return Error{Errc::malformed, "base64: wrong padding"};
  return decoded;
}

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";
constexpr std::size_t kMaxLabel = 64;

/// The offset of the next BEGIN line at or after `from`, or npos.
std::size_t next_begin(std::string_view text, std::size_t from) noexcept {
  for (auto at = text.find(kBegin, from); at != std::string_view::npos; at = text.find(kBegin, at + 1)) {
    if (at == 0 || text[at - 1] == '\n' || text[at - 1] == '\r') return at;
  }
  return std::string_view::npos;
}

}  // namespace

std::string to_hex(ByteView bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const auto byte : bytes) {
    out.push_back(kHexDigits[byte >> 4U]);
    out.push_back(kHexDigits[byte & 0xFU]);
  }
  return out;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return Error{Errc::malformed, "hex: odd number of digits"};
  Bytes out(text.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto high = lookup(kFromHex, text[2 * i]);
    const auto low = lookup(kFromHex, text[2 * i + 1]);
    if ((high | low) > 0xF) {
      return Error{Errc::malformed, "hex: unexpected character at " + std::to_string(2 * i + (high == kForeign ? 0 : 1))};
    }
    out[i] = static_cast<std::uint8_t>(high << 4U | low);
  }
  return out;
}

std::string to_base64(ByteView bytes) { return encode64(bytes, kStandard, true); }
std::string to_base64url(ByteView bytes) { return encode64(bytes, kUrl, false); }
Result<Bytes> from_base64(std::string_view text) { return decode_padded(text, false); }
Result<Bytes> from_base64_lines(std::string_view text) { return decode_padded(text, true); }

Result<Bytes> from_base64url(std::string_view text) {
  std::size_t digits = 0;
  return decode64(text, kFromUrl, false, digits);
}

std::size_t utf8_sequence(ByteView bytes) noexcept {
  if (bytes.empty()) return 0;
  const auto lead = bytes[0];
  if (lead < 0x80) return 1;
  // The second byte's range depends on the first, the rest are 80..BF.
  std::size_t more = 0;
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    more = 1;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    more = 2;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    more = 3;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (more >= bytes.size() || bytes[1] < low || bytes[1] > high) return 0;
  for (std::size_t k = 2; k <= more; ++k) {
    if ((bytes[k] & 0xC0U) != 0x80) return 0;
  }
  return more + 1;
}

void append_utf8(std::string& out, std::uint32_t code_point) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0U | code_point >> 6U);
    put(0x80U | (code_point & 0x3FU));
  } else if (code_point < 0x10000) {
    put(0xE0U | code_point >> 12U);
    put(0x80U | (code_point >> 6U & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  } else {
    put(0xF0U | code_point >> 18U);
    put(0x80U | (code_point >> 12U & 0x3FU));
    put(0x80U | (code_point >> 6U & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  }
}

std::string made_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto length = utf8_sequence(as_bytes(text));
    out += length == 0 ? std::string_view{"\xEF\xBF\xBD"} : text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

bool is_utf8(ByteView bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size();) {
    // Eight bytes of ASCII at a time.
    for (std::uint64_t word = 0; bytes.size() - i > sizeof word; i += sizeof word) {
      std::memcpy(&word, bytes.data() + i, sizeof word);
      if ((word & 0x8080808080808080U) != 0) break;
    }
    const auto length = utf8_sequence(bytes.subspan(i));
    if (length == 0) return false;
    i += length;
  }
  return true;
}

Result<std::vector<PemBlock>> parse_pem(std::string_view text, std::size_t max_blocks) {
  std::vector<PemBlock> blocks;
  for (auto at = next_begin(text, 0); at != std::string_view::npos; at = next_begin(text, at)) {
    if (blocks.size() == max_blocks) {
      return Error{Errc::limit_exceeded, "PEM: at most " + std::to_string(max_blocks) + " blocks expected"};
    }
    const auto label_at = at + kBegin.size();
    const auto label_end = text.find(kDashes, label_at);
    const auto label = text.substr(label_at, label_end - label_at);
    if (label_end == std::string_view::npos || label.empty() || label.size() > kMaxLabel ||
        label.find_first_of("\r\n") != std::string_view::npos) {
      return Error{Errc::malformed, "PEM: no label in the BEGIN line at byte " + std::to_string(at)};
    }
    const auto body_at = label_end + kDashes.size();
    const auto body_end = text.find(kDashes, body_at);
    const auto closing = std::string{kEnd} + std::string{label} + std::string{kDashes};
    if (body_end == std::string_view::npos || text.substr(body_end, closing.size()) != closing) {
      return Error{Errc::malformed, "PEM: '" + closing + "' expected"};
    }
    auto der = from_base64_lines(text.substr(body_at, body_end - body_at));
    if (!der) return der.error().in("PEM");
    blocks.push_back({std::string{label}, std::move(der).value()});
    at = body_end + closing.size();
  }
  if (blocks.empty()) return Error{Errc::malformed, "PEM: no block found"};
  return blocks;
}

std::string to_pem(std::string_view label, ByteView der) {
  constexpr std::size_t kColumns = 64;
  const auto body = to_base64(der);
  std::string out = std::string{kBegin}.append(label).append("-----\n");
  for (std::size_t at = 0; at < body.size(); at += kColumns) out.append(body, at, kColumns).push_back('\n');
  return out.append(kEnd).append(label).append("-----\n");
}

}  // namespace cloister::codec
