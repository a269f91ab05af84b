#include "cloister/http/target.hpp"

#include <algorithm>
#include <charconv>

#include "cloister/codec/text.hpp"

namespace cloister::http {
namespace {

std::optional<unsigned> hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  return std::nullopt;
}

bool is_control(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7F;
}

bool is_unreserved(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view{"-._~"}.find(c) != std::string_view::npos;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const auto high = i + 1 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
      const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
      if (!high || !low) return Error{Errc::malformed, "two hex digits expected after %"};
      c = static_cast<char>(*high * 16 + *low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (is_control(c)) return Error{Errc::malformed, "control character in the target"};
    out += c;
  }
  if (!codec::is_utf8(as_bytes(out))) return Error{Errc::malformed, "the target is not UTF-8"};
  return out;
}

Result<std::string> decode_segment(std::string_view text) {
  CLOISTER_TRY(segment, decode(text, false));
  if (segment == "." || segment == ".." || segment.find_first_of("/\\") != std::string::npos) {
    return Error{Errc::malformed, "the path has a segment that could climb"};
  }
  return segment;
}

/// Splits off what stands before the first `separator`; `rest` keeps what stands behind it.
std::string_view take_until(std::string_view& rest, char separator) noexcept {
  const auto end = std::min(rest.find(separator), rest.size());
  const auto head = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return head;
}

std::optional<std::uint64_t> decimal(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

Result<Query> Query::parse(std::string_view text) {
  Query out;
  while (!text.empty()) {
    auto value_text = take_until(text, '&');
    if (value_text.empty()) continue;
    const auto name_text = take_until(value_text, '=');
    CLOISTER_TRY(name, decode(name_text, true));
    CLOISTER_TRY(value, decode(value_text, true));
    if (out.find(name)) return Error{Errc::malformed, "a query parameter is given twice"};
    out.values_.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

std::optional<std::string_view> Query::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find(values_, name, &std::pair<std::string, std::string>::first);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

Result<Target> parse_target(std::string_view target) {
  if (!target.starts_with('/')) return Error{Errc::malformed, "a target that begins with / expected"};
  auto path = take_until(target, '?');
  path.remove_prefix(1);
  Target out;
  CLOISTER_TRY(query, Query::parse(target));
  out.query = std::move(query);
  while (true) {
    const bool last = path.find('/') == std::string_view::npos;
    CLOISTER_TRY(segment, decode_segment(take_until(path, '/')));
    out.segments.push_back(std::move(segment));
    if (last) return out;
  }
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0x0F];
  }
  return out;
}

RangeDecision decide_range(std::string_view field, std::uint64_t size) {
  const RangeDecision ignored;
  const RangeDecision unsatisfiable{RangeKind::unsatisfiable, {}};
  auto rest = trim(field);
  if (trim(take_until(rest, '=')) != "bytes") return ignored;
  if (rest.find(',') != std::string_view::npos || rest.find('-') == std::string_view::npos) return ignored;
  const auto first_text = trim(take_until(rest, '-'));
  const auto last_text = trim(rest);
  const auto first = decimal(first_text);
  const auto last = decimal(last_text);
  if ((!first && !first_text.empty()) || (!last && !last_text.empty()) || (!first && !last)) return ignored;
  if (!first) {  // the last so many bytes
    const auto length = std::min(*last, size);
    if (length == 0) return unsatisfiable;
    return RangeDecision{RangeKind::satisfiable, ByteRange{size - length, length}};
  }
  if (last && *last < *first) return ignored;
  if (*first >= size) return unsatisfiable;
  const auto end = last ? std::min(*last, size - 1) : size - 1;
  return RangeDecision{RangeKind::satisfiable, ByteRange{*first, end - *first + 1}};
}

}  // namespace cloister::http
