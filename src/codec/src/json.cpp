#include "cloister/codec/json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "cloister/codec/text.hpp"
#include "utf8.hpp"

namespace cloister::codec::json {

namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

constexpr std::size_t kWord = sizeof(std::uint64_t);

/// Whether eight bytes are neither quotes, backslashes nor control characters. A byte is zero exactly when subtracting
/// one from it borrows while its top bit was clear; a borrow from the byte below may only make the answer `false`.
bool all_plain(const char* bytes) noexcept {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, kWord);
  const auto below = [](std::uint64_t value, std::uint64_t bound) { return (value - kOnes * bound) & ~value; };
  const auto found = below(word ^ kOnes * '"', 1) | below(word ^ kOnes * '\\', 1) | below(word, 0x20);
  return (found & kOnes * 0x80) == 0;
}

/// The first name that occurs twice, if any. Short objects are compared pairwise, long ones sorted.
const std::string* duplicate_name(const Object& object) {
  constexpr std::size_t kPairwise = 8;
  if (object.size() <= kPairwise) {
    for (std::size_t i = 1; i < object.size(); ++i) {
      for (std::size_t k = 0; k < i; ++k) {
        if (object[i].first == object[k].first) return &object[i].first;
      }
    }
    return nullptr;
  }
  std::vector<const std::string*> names;
  names.reserve(object.size());
  for (const auto& member : object) names.push_back(&member.first);
  std::ranges::sort(names, [](const auto* a, const auto* b) { return *a < *b; });
  const auto twice = std::ranges::adjacent_find(names, [](const auto* a, const auto* b) { return *a == *b; });
  return twice == names.end() ? nullptr : *twice;
}

}  // namespace

/// One pass over the text by recursive descent; the recursion is as deep as the nesting, which `limits` bounds.
/// Functions return false once `error_` is set. The text is known to be UTF-8.
class Parser {
 public:
  Parser(std::string_view text, const Limits& limits) noexcept : text_{text}, limits_{limits} {}

  Result<Value> run() {
    Value root;
    skip_space();
    if (!value(root, 0)) return std::move(*error_);
    skip_space();
    if (at_ != text_.size()) return Error{Errc::trailing_bytes, where("JSON: end of text expected")};
    return root;
  }

 private:
  std::string where(std::string_view what) const { return std::string{what} + " at byte " + std::to_string(at_); }
  bool fail(std::string_view expected) { return fail(Errc::malformed, expected); }
  bool fail(Errc code, std::string_view expected) {
    const bool cut = code == Errc::malformed && at_ >= text_.size();
    error_.emplace(cut ? Errc::truncated : code, where("JSON: " + std::string{expected}));
    return false;
  }

  char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) noexcept {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void skip_space() noexcept {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  bool value(Value& out, std::size_t depth) {
    if (++values_ > limits_.values) return fail(Errc::limit_exceeded, "too many values");
    out.begin_ = at_;
    if (!content(out, depth)) return false;
    out.end_ = at_;
    return true;
  }

  bool content(Value& out, std::size_t depth) {
    switch (peek()) {
      case '{':
        return object(out.data_.emplace<Object>(), depth + 1);
      case '[':
        return array(out.data_.emplace<Array>(), depth + 1);
      case '"':
        return string(out.data_.emplace<std::string>());
      case 't':
        return literal("true") && (out.data_ = true, true);
      case 'f':
        return literal("false") && (out.data_ = false, true);
      case 'n':
        return literal("null");
      default:
        return number(out);
    }
  }

  bool literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return fail("a value expected");
    at_ += word.size();
    return true;
  }

  bool object(Object& out, std::size_t depth) {
    if (depth > limits_.depth) return fail(Errc::limit_exceeded, "nested too deeply");
    ++at_;
    skip_space();
    if (take('}')) return true;
    do {
      skip_space();
      if (peek() != '"') return fail("a member name expected");
      if (out.size() == 1) out.reserve(4);  // most objects that have two members have more
      auto& member = out.emplace_back();
      if (!string(member.first)) return false;
      skip_space();
      if (!take(':')) return fail("':' expected");
      skip_space();
      if (!value(member.second, depth)) return false;
      skip_space();
    } while (take(','));
    if (!take('}')) return fail("',' or '}' expected");
    if (const auto* name = duplicate_name(out))
      return fail(Errc::duplicate_member, "member '" + *name + "' twice, object ends");
    return true;
  }

  bool array(Array& out, std::size_t depth) {
    if (depth > limits_.depth) return fail(Errc::limit_exceeded, "nested too deeply");
    ++at_;
    skip_space();
    if (take(']')) return true;
    do {
      skip_space();
      if (!value(out.emplace_back(), depth)) return false;
      skip_space();
    } while (take(','));
    return take(']') || fail("',' or ']' expected");
  }

  bool string(std::string& out) {
    ++at_;
    while (true) {
      const auto plain = at_;
      while (text_.size() - at_ >= kWord && all_plain(text_.data() + at_)) at_ += kWord;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<std::uint8_t>(text_[at_]) >= 0x20) {
        ++at_;
      }
      out.append(text_, plain, at_ - plain);
      if (take('"')) return true;
      if (!take('\\')) return fail("a closing quote expected, or an escape of the control character");
      if (!escape(out)) return false;
    }
  }

  bool escape(std::string& out) {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out.push_back(c);
        return true;
      case 'b':
        out.push_back('\b');
        return true;
      case 'f':
        out.push_back('\f');
        return true;
      case 'n':
        out.push_back('\n');
        return true;
      case 'r':
        out.push_back('\r');
        return true;
      case 't':
        out.push_back('\t');
        return true;
      case 'u':
        return unicode_escape(out);
      default:
        --at_;
        return fail("an escape character expected");
    }
  }

  bool unicode_escape(std::string& out) {
    std::uint32_t unit = 0;
    if (!hex4(unit)) return false;
    if (unit >= 0xDC00 && unit <= 0xDFFF) return fail("a low surrogate stands alone");
    if (unit >= 0xD800 && unit <= 0xDBFF) {
      std::uint32_t low = 0;
      if (!take('\\') || !take('u')) return fail("an escaped low surrogate expected");
      if (!hex4(low)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return fail("a high surrogate stands alone");
      unit = 0x10000 + ((unit - 0xD800) << 10U) + (low - 0xDC00);
    }
    append_utf8(out, unit);
    return true;
  }

  bool hex4(std::uint32_t& out) {
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const auto lower = static_cast<char>(c | 0x20);
      if (is_digit(c)) {
        out = out << 4U | static_cast<std::uint32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        out = out << 4U | static_cast<std::uint32_t>(lower - 'a' + 10);
      } else {
        return fail("four hex digits expected");
      }
      ++at_;
    }
    return true;
  }

  bool digits() {
    if (!is_digit(peek())) return fail("a digit expected");
    while (is_digit(peek())) ++at_;
    return true;
  }

  /// RFC 8259 section 6: integers keep their type while they fit; the rest are doubles, within the double's range.
  bool number(Value& out) {
    const auto begin = at_;
    const bool negative = take('-');
    if (!negative && !is_digit(peek())) return fail("a value expected");
    if (!take('0') && !digits()) return false;
    bool integral = true;
    if (take('.')) {
      integral = false;
      if (!digits()) return false;
    }
    if (take('e') || take('E')) {
      integral = false;
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    const auto* first = text_.data() + begin;
    const auto* last = text_.data() + at_;
    if (integral && convert<std::int64_t>(first, last, out)) return true;
    if (integral && !negative && convert<std::uint64_t>(first, last, out)) return true;
    return convert<double>(first, last, out) || fail(Errc::unsupported, "a number beyond the range of a double ends");
  }

  template <class T>
  static bool convert(const char* first, const char* last, Value& out) {
    T number{};
    const auto [end, failure] = std::from_chars(first, last, number);
    if (failure != std::errc{} || end != last) return false;
    out.data_ = number;
    return true;
  }

  std::string_view text_;
  const Limits& limits_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
  std::optional<Error> error_;
};

Result<Value> parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes) {
    return Error{Errc::limit_exceeded, "JSON: at most " + std::to_string(limits.bytes) + " bytes expected, got " +
                                           std::to_string(text.size())};
  }
  if (!is_utf8(as_bytes(text))) return Error{Errc::malformed, "JSON: not UTF-8"};
  return Parser{text, limits}.run();
}

Value::Value(std::uint64_t n) {
  if (n <= static_cast<std::uint64_t>(INT64_MAX)) {
    data_ = static_cast<std::int64_t>(n);
  } else {
    data_ = n;
  }
}

std::optional<std::int64_t> Value::as_int() const noexcept {
  if (const auto* n = std::get_if<std::int64_t>(&data_)) return *n;
  return std::nullopt;
}

std::optional<std::uint64_t> Value::as_uint() const noexcept {
  if (const auto* n = std::get_if<std::uint64_t>(&data_)) return *n;
  const auto* n = std::get_if<std::int64_t>(&data_);
  if (n == nullptr || *n < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*n);
}

std::optional<double> Value::as_double() const noexcept {
  if (const auto* n = std::get_if<double>(&data_)) return *n;
  if (const auto* n = std::get_if<std::uint64_t>(&data_)) return static_cast<double>(*n);
  if (const auto* n = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*n);
  return std::nullopt;
}

const Value* Value::find(std::string_view name) const noexcept {
  const auto* object = as_object();
  if (object == nullptr) return nullptr;
  const auto member = std::ranges::find(*object, name, &Object::value_type::first);
  return member == object->end() ? nullptr : &member->second;
}

Value& Value::set(std::string_view name, Value value) {
  auto* object = as_object();
  CLOISTER_ASSERT(object != nullptr);
  const auto member = std::ranges::find(*object, name, &Object::value_type::first);
  if (member != object->end()) {
    member->second = std::move(value);
  } else {
    object->emplace_back(std::string{name}, std::move(value));
  }
  return *this;
}

namespace {

/// Writes a tree; `pretty` adds line ends and two spaces a level.
class Printer {
 public:
  explicit Printer(bool pretty) noexcept : pretty_{pretty} {}

  void print(const Value& value) {
    if (const auto* object = value.as_object()) return print(*object);
    if (const auto* array = value.as_array()) return print(*array);
    if (const auto* text = value.as_string()) return print(*text);
    if (const auto* boolean = value.as_bool()) {
      out_ += *boolean ? "true" : "false";
    } else if (const auto integer = value.as_int()) {
      out_ += std::to_string(*integer);
    } else if (const auto unsigned_integer = value.as_uint()) {
      out_ += std::to_string(*unsigned_integer);
    } else if (const auto number = value.as_double()) {
      print(*number);
    } else {
      out_ += "null";
    }
  }

  [[nodiscard]] std::string take() && { return std::move(out_); }

 private:
  void line() {
    if (!pretty_) return;
    out_.push_back('\n');
    out_.append(2 * depth_, ' ');
  }

  template <class Items, class One>
  void list(const Items& items, char open, char close, One one) {
    out_.push_back(open);
    ++depth_;
    bool first = true;
    for (const auto& item : items) {
      if (!first) out_.push_back(',');
      first = false;
      line();
      one(item);
    }
    --depth_;
    if (!first) line();
    out_.push_back(close);
  }

  void print(const Object& object) {
    list(object, '{', '}', [this](const auto& member) {
      print(member.first);
      out_ += pretty_ ? ": " : ":";
      print(member.second);
    });
  }

  void print(const Array& array) {
    list(array, '[', ']', [this](const Value& item) { print(item); });
  }

  /// The shortest text that reads back as the same double, and as a double.
  void print(double number) {
    CLOISTER_ASSERT(std::isfinite(number));
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, number).ptr;
    const std::string_view written{text, static_cast<std::size_t>(end - text)};
    out_ += written;
    if (written.find_first_of(".e") == std::string_view::npos) out_ += ".0";
  }

  void print(const std::string& text) {
    if (is_utf8(as_bytes(text))) return print_utf8(text);
    print_utf8(made_utf8(text));
  }

  void print_utf8(std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    const auto plain = [](char c) { return static_cast<std::uint8_t>(c) >= 0x20 && c != '"' && c != '\\'; };
    out_.push_back('"');
    for (auto at = text.begin(); at != text.end(); ++at) {
      const auto run = std::find_if_not(at, text.end(), plain);
      out_.append(at, run);
      if (run == text.end()) break;
      at = run;
      switch (const char c = *at) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\b':
          out_ += "\\b";
          break;
        case '\f':
          out_ += "\\f";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        default:
          out_ += "\\u00";
          out_.push_back(kHex[static_cast<std::uint8_t>(c) >> 4U]);
          out_.push_back(kHex[static_cast<std::uint8_t>(c) & 0xFU]);
      }
    }
    out_.push_back('"');
  }

  bool pretty_;
  std::size_t depth_ = 0;
  std::string out_;
};

std::string print(const Value& value, bool pretty) {
  Printer printer{pretty};
  printer.print(value);
  return std::move(printer).take();
}

constexpr std::size_t kBits = 64;
const Value kNull;
const Value kNoMembers{Object{}};
const Array kNoItems;

}  // namespace

std::string write(const Value& value) { return print(value, false); }
std::string write_pretty(const Value& value) { return print(value, true); }

Fields::Fields(const Value& value, std::string where) : value_{&value}, where_{std::move(where)} {
  if (value.as_object() == nullptr) error_.emplace(Errc::malformed, where_ + ": an object expected");
}

const Value* Fields::get(std::string_view name, bool required) {
  if (error_) return nullptr;
  const auto& members = *value_->as_object();
  const auto found = std::ranges::find(members, name, &Object::value_type::first);
  if (found == members.end()) {
    if (required) fail(Errc::missing_member, name, "required");
    return nullptr;
  }
  const auto index = static_cast<std::size_t>(found - members.begin());
  if (index < kBits) {
    asked_ |= std::uint64_t{1} << index;
  } else {
    asked_late_.push_back(index);
  }
  return &found->second;
}

void Fields::fail(Errc code, std::string_view name, std::string detail) {
  if (error_) return;
  error_.emplace(code, where_ + '.' + std::string{name} + ": " + std::move(detail));
}

Result<void> Fields::finish() {
  if (error_) return *error_;
  const auto& members = *value_->as_object();
  for (std::size_t i = 0; i < members.size(); ++i) {
    const bool asked = i < kBits ? (asked_ >> i & 1U) != 0
                                 : std::ranges::find(asked_late_, i) != asked_late_.end();
    if (asked) continue;
    fail(Errc::unknown_member, members[i].first, "unknown member");
    return *error_;
  }
  return {};
}

Result<void> Fields::finish_lenient() {
  if (error_) return *error_;
  return {};
}

std::optional<std::string> Fields::text(std::string_view name, bool required) {
  const auto* member = get(name, required);
  if (member == nullptr || (!required && member->is_null())) return std::nullopt;
  if (const auto* found = member->as_string()) return *found;
  fail(Errc::malformed, name, "a string expected");
  return std::nullopt;
}

std::optional<std::int64_t> Fields::number(std::string_view name, bool required, std::int64_t min, std::int64_t max) {
  const auto* member = get(name, required);
  if (member == nullptr || (!required && member->is_null())) return std::nullopt;
  const auto found = member->as_int();
  if (found && *found >= min && *found <= max) return found;
  fail(Errc::malformed, name, "an integer from " + std::to_string(min) + " to " + std::to_string(max) + " expected");
  return std::nullopt;
}

std::optional<bool> Fields::truth(std::string_view name, bool required) {
  const auto* member = get(name, required);
  if (member == nullptr || (!required && member->is_null())) return std::nullopt;
  if (const auto* found = member->as_bool()) return *found;
  fail(Errc::malformed, name, "true or false expected");
  return std::nullopt;
}

Bytes Fields::decoded(std::string_view name, Result<Bytes> (*decode)(std::string_view)) {
  const auto found = text(name, true);
  if (!found) return {};
  auto bytes = decode(*found);
  if (bytes) return std::move(bytes).value();
  fail(bytes.error().code(), name, bytes.error().detail());
  return {};
}

std::string Fields::string(std::string_view name) { return text(name, true).value_or(std::string{}); }
std::optional<std::string> Fields::optional_string(std::string_view name) { return text(name, false); }

std::int64_t Fields::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  return number(name, true, min, max).value_or(0);
}

std::optional<std::int64_t> Fields::optional_integer(std::string_view name, std::int64_t min, std::int64_t max) {
  return number(name, false, min, max);
}

bool Fields::boolean(std::string_view name) { return truth(name, true).value_or(false); }
std::optional<bool> Fields::optional_boolean(std::string_view name) { return truth(name, false); }
Bytes Fields::hex(std::string_view name) { return decoded(name, from_hex); }
Bytes Fields::base64(std::string_view name) { return decoded(name, from_base64); }

const Array& Fields::array(std::string_view name) {
  const auto* member = get(name, true);
  if (member == nullptr) return kNoItems;
  if (const auto* items = member->as_array()) return *items;
  fail(Errc::malformed, name, "an array expected");
  return kNoItems;
}

const Array& Fields::optional_array(std::string_view name) {
  const auto* member = get(name, false);
  if (member == nullptr || member->is_null()) return kNoItems;
  if (const auto* items = member->as_array()) return *items;
  fail(Errc::malformed, name, "an array expected");
  return kNoItems;
}

const Value& Fields::object(std::string_view name) {
  const auto* member = get(name, true);
  if (member == nullptr) return kNoMembers;
  if (member->as_object() != nullptr) return *member;
  fail(Errc::malformed, name, "an object expected");
  return kNoMembers;
}

const Value* Fields::optional_object(std::string_view name) {
  const auto* member = get(name, false);
  if (member == nullptr || member->is_null()) return nullptr;
  if (member->as_object() != nullptr) return member;
  fail(Errc::malformed, name, "an object expected");
  return nullptr;
}

const Value& Fields::any(std::string_view name) {
  const auto* member = get(name, true);
  return member == nullptr ? kNull : *member;
}

const Value* Fields::optional_any(std::string_view name) { return get(name, false); }

}  // namespace cloister::codec::json
