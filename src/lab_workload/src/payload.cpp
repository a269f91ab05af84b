#include "cloister/lab_workload/payload.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "cloister/core/assert.hpp"

namespace cloister::lab_workload {
namespace {

/// Lower case of a character of two bytes in UTF-8 (Unicode, simple case mapping), by ranges that are regular.
char32_t lower(char32_t c) noexcept {
  if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3AB && c != 0x3A2) || (c >= 0x410 && c <= 0x42F))
    return c + 32;
  if (c >= 0x400 && c <= 0x40F) return c + 80;
  if ((c >= 0x100 && c <= 0x12F) || (c >= 0x132 && c <= 0x137) || (c >= 0x14A && c <= 0x177) ||
      (c >= 0x460 && c <= 0x481))
    return c | 1;
  if (((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) && (c & 1) == 1) return c + 1;
  if (c == 0x178) return 0xFF;
  switch (c) {  // Greek with accents
    case 0x386:
      return 0x3AC;
    case 0x388:
    case 0x389:
    case 0x38A:
      return c + 37;
    case 0x38C:
      return 0x3CC;
    case 0x38E:
    case 0x38F:
      return c + 63;
    default:
      return c;
  }
}

}  // namespace

Result<void> known_members(const codec::json::Value& payload, std::initializer_list<std::string_view> known) {
  const auto* members = payload.as_object();
  if (members == nullptr) return Error{Errc::invalid_argument, "payload must be an object"};
  for (const auto& [name, value] : *members) {
    if (std::ranges::find(known, name) == known.end()) {
      return Error{Errc::invalid_argument, "payload has no member " + name.substr(0, 64)};
    }
  }
  return {};
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 'A' && byte <= 'Z') {
      out += static_cast<char>(byte + 32);
    } else if (byte >= 0xC2 && byte <= 0xDF && i + 1 < text.size()) {
      const auto second = static_cast<unsigned char>(text[++i]);
      const auto c = lower((char32_t{byte & 0x1FU} << 6U) | (second & 0x3FU));
      out += static_cast<char>(0xC0U | (c >> 6U));
      out += static_cast<char>(0x80U | (c & 0x3FU));
    } else {
      out += text[i];
    }
  }
  return out;
}

std::size_t white_space(std::string_view text) noexcept {
  using namespace std::string_view_literals;
  const auto first = static_cast<unsigned char>(text.empty() ? 'x' : text.front());
  if ((first >= 0x09 && first <= 0x0D) || (first >= 0x1C && first <= 0x20)) return 1;
  constexpr std::array kOthers{"\xC2\x85"sv,     "\xC2\xA0"sv,     "\xE1\x9A\x80"sv, "\xE2\x80\xA8"sv,
                               "\xE2\x80\xA9"sv, "\xE2\x80\xAF"sv, "\xE2\x81\x9F"sv, "\xE3\x80\x80"sv};
  for (const auto space : kOthers) {
    if (text.starts_with(space)) return space.size();
  }
  const bool quad = text.starts_with("\xE2\x80") && text.size() > 2 && static_cast<unsigned char>(text[2]) >= 0x80 &&
                    static_cast<unsigned char>(text[2]) <= 0x8A;  // U+2000 to U+200A
  return quad ? 3 : 0;
}

std::string python_float(double value) {
  std::array<char, 32> buffer{};
  const auto [end, failure] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  CLOISTER_ASSERT(failure == std::errc{});
  const std::string_view text{buffer.data(), static_cast<std::size_t>(end - buffer.data())};
  const auto e = text.find('e');
  int exponent = 0;
  const auto sign = text[e + 1] == '+' ? 2U : 1U;
  std::from_chars(text.data() + e + sign, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string{text};  // both write at least two digits of exponent
  std::string out;
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c == '-')
      out += c;
    else if (c != '.')
      digits += c;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + '.' + digits.substr(whole);
}

}  // namespace cloister::lab_workload
