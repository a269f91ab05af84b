#include "cloister/codec/jcs.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "cloister/codec/text.hpp"

namespace cloister::codec::json {
namespace {

/// Section 3.2.3. UTF-8 sorts as code points do; UTF-16 differs in that the units of what lies beyond U+FFFF, D800 to
/// DFFF, come before E000 to FFFF, whose first byte in UTF-8 is EE or EF.
constexpr std::uint8_t rank(char c) noexcept {
  const auto byte = static_cast<std::uint8_t>(c);
  return byte == 0xEE || byte == 0xEF ? static_cast<std::uint8_t>(byte + 0x10) : byte;
}

bool sorts_before(const std::string& a, const std::string& b) noexcept {
  return std::ranges::lexicographical_compare(a, b, {}, rank, rank);
}

/// ECMA-262, Number::toString: `digits` d1…dk stand for 0.d1…dk * 10^n.
std::string ecmascript(std::string_view digits, int n) {
  const auto k = static_cast<int>(digits.size());
  std::string out{digits};
  if (k <= n && n <= 21) return out.append(static_cast<std::size_t>(n - k), '0');
  if (0 < n && n <= 21) return out.insert(static_cast<std::size_t>(n), 1, '.');
  if (-6 < n && n <= 0) return "0." + std::string(static_cast<std::size_t>(-n), '0') + out;
  if (k > 1) out.insert(1, 1, '.');
  return out + (n > 0 ? "e+" : "e-") + std::to_string(std::abs(n - 1));
}

/// Section 3.2.2.3: the shortest digits that read back as the same double, the nearest of those.
std::string number_text(double number) {
  if (number == 0) return "0";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, std::abs(number), std::chars_format::scientific).ptr;
  const std::string_view written{text, static_cast<std::size_t>(end - text)};
  const auto mark = written.find('e');
  std::string digits{written.substr(0, mark)};
  std::erase(digits, '.');
  auto exponent = written.substr(mark + 1);
  if (exponent.starts_with('+')) exponent.remove_prefix(1);
  int power = 0;
  std::from_chars(exponent.data(), exponent.data() + exponent.size(), power);
  return (number < 0 ? "-" : "") + ecmascript(digits, power + 1);
}

template <class Integer>
Result<double> exact(Integer integer) {
  const auto number = static_cast<double>(integer);
  // 2^63 and 2^64 are doubles, but no values of the type.
  const bool whole = number < std::ldexp(1.0, std::numeric_limits<Integer>::digits) && static_cast<Integer>(number) == integer;
  if (whole) return number;
  return Error{Errc::unsupported, "JSON: " + std::to_string(integer) + " is no double, and would be rounded"};
}

class Canonical {
 public:
  Result<void> print(const Value& value) {
    if (const auto* object = value.as_object()) return print(*object);
    if (const auto* array = value.as_array()) return print(*array);
    if (const auto* text = value.as_string()) return print(*text);
    if (value.is_null() || value.as_bool() != nullptr) {
      out_ += write(value);
      return {};
    }
    return print_number(value);
  }
  [[nodiscard]] std::string take() && { return std::move(out_); }

 private:
  Result<void> print(const std::string& text) {
    if (!is_utf8(as_bytes(text))) return Error{Errc::malformed, "JSON: a text that is not UTF-8"};
    out_ += write(Value{text});  // section 3.2.2.2 wants what is written anyway
    return {};
  }

  Result<void> print(const Array& array) {
    out_.push_back('[');
    for (const auto& item : array) {
      if (&item != &array.front()) out_.push_back(',');
      CLOISTER_CHECK(print(item));
    }
    out_.push_back(']');
    return {};
  }

  Result<void> print(const Object& object) {
    std::vector<const Object::value_type*> members;
    members.reserve(object.size());
    for (const auto& member : object) members.push_back(&member);
    std::ranges::sort(members, [](const auto* a, const auto* b) { return sorts_before(a->first, b->first); });
    out_.push_back('{');
    for (const auto* member : members) {
      if (member != members.front()) out_.push_back(',');
      CLOISTER_CHECK(print(member->first));
      out_.push_back(':');
      CLOISTER_CHECK(print(member->second));
    }
    out_.push_back('}');
    return {};
  }

  Result<void> print_number(const Value& value) {
    double number = value.as_double().value_or(0);
    if (const auto integer = value.as_int()) {
      CLOISTER_TRY(whole, exact(*integer));
      number = whole;
    } else if (const auto large = value.as_uint()) {
      CLOISTER_TRY(whole, exact(*large));
      number = whole;
    }
    if (!std::isfinite(number)) return Error{Errc::unsupported, "JSON: a finite number expected"};
    out_ += number_text(number);
    return {};
  }

  std::string out_;
};

}  // namespace

Result<std::string> canonical(const Value& value) {
  Canonical printer;
  CLOISTER_CHECK(printer.print(value));
  return std::move(printer).take();
}

}  // namespace cloister::codec::json
