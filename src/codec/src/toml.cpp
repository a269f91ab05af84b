#include "cloister/codec/toml.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cloister/codec/text.hpp"
#include "utf8.hpp"

namespace cloister::codec {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_bare(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '-'; }
bool is_control(char c) noexcept { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; }

/// How a table came to be, which decides what may still be added to it.
enum class Made { implicit, by_dots, by_header };

struct Table;
using TablePtr = std::unique_ptr<Table>;
/// A value, which is never added to; a table; the tables of an array that headers add to.
using Node = std::variant<json::Value, TablePtr, std::vector<TablePtr>>;
struct Table {
  std::map<std::string, Node, std::less<>> members;
  Made made = Made::implicit;
  std::size_t section = 0;  // the header under which dots made it
};

json::Value to_json(Table& table);
json::Value to_json(Node& node) {
  if (auto* value = std::get_if<json::Value>(&node)) return std::move(*value);
  if (auto* table = std::get_if<TablePtr>(&node)) return to_json(**table);
  json::Array out;
  for (auto& one : std::get<std::vector<TablePtr>>(node)) out.push_back(to_json(*one));
  return out;
}
json::Value to_json(Table& table) {
  json::Object out;
  for (auto& [name, node] : table.members) out.emplace_back(name, to_json(node));
  return out;
}

/// By recursive descent, as deep as arrays and inline tables nest. Functions return false once `error_` is set.
class Parser {
 public:
  Parser(std::string_view text, const TomlLimits& limits) noexcept : text_{text}, limits_{limits} {}

  Result<json::Value> run() {
    Table root;
    Table* current = &root;
    std::size_t depth = 0;
    while (skip_empty()) {
      const bool good = peek() == '[' ? header(root, current, depth) : entry(*current, depth);
      if (!good || !end_line()) return *std::move(error_);
    }
    if (error_) return *std::move(error_);
    return to_json(root);
  }

 private:
  using Path = std::vector<std::string>;

  [[nodiscard]] char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  [[nodiscard]] bool ahead(std::string_view what) const noexcept { return text_.substr(at_).starts_with(what); }
  bool take(std::string_view what) {
    if (!ahead(what)) return false;
    at_ += what.size();
    return true;
  }
  bool fail(std::string_view expected, Errc code = Errc::malformed) {
    const auto line = 1 + std::ranges::count(text_.substr(0, at_), '\n');
    error_.emplace(code, "TOML: line " + std::to_string(line) + ": " + std::string{expected});
    return false;
  }
  bool twice(const std::string& name) { return fail(name + " comes twice, or is added to once it is defined", Errc::duplicate_member); }
  bool within(std::size_t depth) {
    if (depth > limits_.depth) return fail("at most " + std::to_string(limits_.depth) + " levels expected", Errc::limit_exceeded);
    if (++values_ > limits_.values) return fail("at most " + std::to_string(limits_.values) + " values expected", Errc::limit_exceeded);
    return true;
  }

  // --- lines ---

  void skip_space() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }
  bool comment() {
    if (peek() != '#') return true;
    for (; at_ < text_.size() && text_[at_] != '\n' && !ahead("\r\n"); ++at_) {
      if (is_control(text_[at_])) return fail("no control characters expected");
    }
    return true;
  }
  /// To the end of the line, which holds nothing but a comment.
  bool end_line() {
    skip_space();
    if (!comment()) return false;
    return at_ == text_.size() || take("\n") || take("\r\n") || fail("the end of the line expected");
  }
  /// False at the end of the text, and after a mistake.
  bool skip_empty() {
    for (;;) {
      skip_space();
      if (error_ || at_ == text_.size()) return false;
      if (peek() != '#' && peek() != '\n' && !ahead("\r\n")) return true;
      if (!end_line()) return false;
    }
  }

  // --- names, and what they name ---

  bool key(std::string& out) {
    if (peek() == '"' || peek() == '\'') return one_line(out);
    while (is_bare(peek())) out.push_back(text_[at_++]);
    return !out.empty() || fail("a name expected");
  }
  bool path(Path& out) {
    do {
      skip_space();
      if (!key(out.emplace_back())) return false;
      skip_space();
      if (out.size() > limits_.depth) return within(out.size());
    } while (take("."));
    return true;
  }

  bool header(Table& root, Table*& current, std::size_t& depth) {
    ++at_;
    const bool of_array = take("[");
    Path names;
    if (!path(names)) return false;
    if (!take(of_array ? "]]" : "]")) return fail(of_array ? "']]' expected" : "']' expected");
    depth = 0;
    Table* table = &root;
    for (std::size_t i = 0; i + 1 < names.size(); ++i) {
      if (!(table = parent(*table, names[i], depth))) return false;
    }
    ++section_;
    current = of_array ? next_of(*table, names.back(), depth) : define(*table, names.back(), depth);
    return current != nullptr;
  }

  /// What a header goes through: the table of that name, or the last one of an array; made where there is none.
  Table* parent(Table& in, const std::string& name, std::size_t& depth) {
    if (!within(++depth)) return nullptr;
    const auto [found, fresh] = in.members.try_emplace(name, TablePtr{});
    if (fresh) found->second = std::make_unique<Table>();
    if (auto* table = std::get_if<TablePtr>(&found->second)) return table->get();
    if (auto* tables = std::get_if<std::vector<TablePtr>>(&found->second)) return within(++depth) ? tables->back().get() : nullptr;
    return twice(name), nullptr;
  }
  Table* define(Table& in, const std::string& name, std::size_t& depth) {
    if (!within(++depth)) return nullptr;
    const auto [found, fresh] = in.members.try_emplace(name, TablePtr{});
    if (fresh) found->second = std::make_unique<Table>();
    auto* table = std::get_if<TablePtr>(&found->second);
    if (table == nullptr || (*table)->made != Made::implicit) return twice(name), nullptr;
    (*table)->made = Made::by_header;
    return table->get();
  }
  Table* next_of(Table& in, const std::string& name, std::size_t& depth) {
    depth += 2;
    if (!within(depth)) return nullptr;
    const auto [found, fresh] = in.members.try_emplace(name, std::vector<TablePtr>{});
    auto* tables = std::get_if<std::vector<TablePtr>>(&found->second);
    if (tables == nullptr) return twice(name), nullptr;
    tables->push_back(std::make_unique<Table>());
    tables->back()->made = Made::by_header;
    return tables->back().get();
  }

  /// name.name = value
  bool entry(Table& into, std::size_t depth) {
    Path names;
    if (!path(names)) return false;
    if (!take("=")) return fail("'=' expected after " + names.back());
    skip_space();
    Table* table = &into;
    for (std::size_t i = 0; i + 1 < names.size(); ++i) {
      if (!within(++depth)) return false;
      const auto [found, fresh] = table->members.try_emplace(names[i], TablePtr{});
      if (fresh) found->second = std::make_unique<Table>();
      auto* next = std::get_if<TablePtr>(&found->second);
      if (next == nullptr) return twice(names[i]);
      table = next->get();
      if (table->made == Made::by_header || (table->made == Made::by_dots && table->section != section_)) return twice(names[i]);
      table->made = Made::by_dots;
      table->section = section_;
    }
    json::Value read;
    if (!value(read, depth)) return false;
    if (!table->members.try_emplace(names.back(), std::move(read)).second) return twice(names.back());
    return true;
  }

  // --- values ---

  bool value(json::Value& out, std::size_t depth) {
    if (!within(depth + 1)) return false;
    switch (peek()) {
      case '"':
      case '\'': {
        std::string text;
        if (!(ahead("\"\"\"") || ahead("'''") ? many_lines(text) : one_line(text))) return false;
        out = json::Value{std::move(text)};
        return true;
      }
      case '[': return array(out, depth + 1);
      case '{': return inline_table(out, depth + 1);
      default: return scalar(out);
    }
  }

  bool array(json::Value& out, std::size_t depth) {
    ++at_;
    json::Array items;
    for (;;) {
      if (!skip_empty()) return error_ ? false : fail("']' expected");
      if (take("]")) break;
      if (!value(items.emplace_back(), depth)) return false;
      if (!skip_empty()) return error_ ? false : fail("']' expected");
      if (take(",")) continue;
      if (!take("]")) return fail("',' or ']' expected");
      break;
    }
    out = json::Value{std::move(items)};
    return true;
  }

  bool inline_table(json::Value& out, std::size_t depth) {
    ++at_;
    Table table;
    skip_space();
    if (!take("}")) {
      do {
        if (!entry(table, depth)) return false;
        skip_space();
      } while (take(","));
      if (!take("}")) return fail("',' or '}' expected");
    }
    out = to_json(table);
    return true;
  }

  bool scalar(json::Value& out) {
    const auto begin = at_;
    const auto more = [](char c) { return is_bare(c) || c == '+' || c == '.' || c == ':'; };
    while (more(peek())) ++at_;
    // A date and a time may have a space between them.
    if (at_ - begin == 10 && text_[begin + 4] == '-' && peek() == ' ' && at_ + 3 < text_.size() && is_digit(text_[at_ + 1]) &&
        is_digit(text_[at_ + 2]) && text_[at_ + 3] == ':') {
      ++at_;
      while (more(peek())) ++at_;
    }
    const auto token = text_.substr(begin, at_ - begin);
    if (token == "true" || token == "false") {
      out = json::Value{token == "true"};
      return true;
    }
    const bool has_date = token.size() >= 10 && token[4] == '-' && is_digit(token.front());
    const bool has_time = token.size() >= 8 && token[2] == ':';
    return has_date || has_time ? moment(token, out) : number(token, out);
  }

  /// The digits of a base with underscores between them; nothing where these stand elsewhere.
  static std::optional<std::string> digits_of(std::string_view token, bool (*is)(char)) {
    std::string out;
    for (std::size_t i = 0; i < token.size(); ++i) {
      const bool between = i > 0 && i + 1 < token.size() && is(token[i - 1]) && is(token[i + 1]);
      if (token[i] == '_' ? !between : !is(token[i])) return std::nullopt;
      if (token[i] != '_') out.push_back(token[i]);
    }
    return out.empty() ? std::nullopt : std::optional{std::move(out)};
  }

  bool number(std::string_view token, json::Value& out) {
    const auto wrong = [this] { return fail("a value expected"); };
    const auto beyond = [this] { return fail("a number that JSON has, of 64 bits, expected", Errc::unsupported); };
    struct Base {
      std::string_view prefix;
      int base;
      bool (*is)(char);
    };
    constexpr Base kBases[] = {{"0x", 16, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }},
                               {"0o", 8, [](char c) { return c >= '0' && c <= '7'; }},
                               {"0b", 2, [](char c) { return c == '0' || c == '1'; }}};
    const auto integer = [&](const std::string& digits, int base) {
      std::int64_t read = 0;
      const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), read, base);
      if (failure != std::errc{} || end != digits.data() + digits.size()) return beyond();
      out = json::Value{read};
      return true;
    };
    for (const auto& [prefix, base, is] : kBases) {
      if (!token.starts_with(prefix)) continue;
      const auto digits = digits_of(token.substr(2), is);
      return digits ? integer(*digits, base) : wrong();
    }
    std::string plain;
    if (token.starts_with('-') || token.starts_with('+')) {
      if (token.front() == '-') plain = "-";
      token.remove_prefix(1);
    }
    if (token == "inf" || token == "nan") return beyond();
    const auto exponent_at = std::min(token.find_first_of("eE"), token.size());
    const auto point_at = std::min(token.find('.'), exponent_at);
    const auto whole = digits_of(token.substr(0, point_at), is_digit);
    if (!whole || (whole->size() > 1 && whole->front() == '0')) return wrong();
    plain += *whole;
    if (point_at == token.size()) return integer(plain, 10);
    if (point_at < exponent_at) {
      const auto fraction = digits_of(token.substr(point_at + 1, exponent_at - point_at - 1), is_digit);
      if (!fraction) return wrong();
      plain += '.' + *fraction;
    }
    if (exponent_at < token.size()) {
      auto power = token.substr(exponent_at + 1);
      const bool is_signed = power.starts_with('-') || power.starts_with('+');
      const auto digits = digits_of(is_signed ? power.substr(1) : power, is_digit);
      if (!digits) return wrong();
      plain += 'e' + std::string(is_signed ? 1 : 0, power.front()) + *digits;
    }
    double read = 0;
    const auto [end, failure] = std::from_chars(plain.data(), plain.data() + plain.size(), read);
    if (failure != std::errc{} || end != plain.data() + plain.size() || !std::isfinite(read)) return beyond();
    out = json::Value{read};
    return true;
  }

  /// RFC 3339's date, time, or both with or without an offset.
  bool moment(std::string_view token, json::Value& out) {
    std::size_t at = 0;
    const auto two = [&](int low, int high) {
      if (at + 2 > token.size() || !is_digit(token[at]) || !is_digit(token[at + 1])) return false;
      const int read = (token[at] - '0') * 10 + (token[at + 1] - '0');
      at += 2;
      return read >= low && read <= high;
    };
    const auto one = [&](std::string_view of) { return at < token.size() && of.find(token[at]) != std::string_view::npos && (++at, true); };
    const auto date = [&] {
      const auto year_at = at;
      if (!two(0, 99) || !two(0, 99) || !one("-") || !two(1, 12) || !one("-") || !two(1, 31)) return false;
      const auto number_at = [&](std::size_t from, std::size_t size) {
        int read = 0;
        std::from_chars(token.data() + from, token.data() + from + size, read);
        return read;
      };
      const int year = number_at(year_at, 4);
      const std::chrono::year_month_day day{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(number_at(year_at + 5, 2))},
                                            std::chrono::day{static_cast<unsigned>(number_at(year_at + 8, 2))}};
      return day.ok() && year > 0;
    };
    const auto time = [&] {
      if (!two(0, 23) || !one(":") || !two(0, 59) || !one(":") || !two(0, 59)) return false;
      if (!one(".")) return true;
      const auto begin = at;
      while (at < token.size() && is_digit(token[at])) ++at;
      return at > begin;
    };
    const auto offset = [&] { return one("Zz") || (one("+-") && two(0, 23) && one(":") && two(0, 59)); };
    const bool only_time = token[2] == ':';
    bool good = only_time ? time() : date();
    if (good && !only_time && at < token.size()) good = one("Tt ") && time() && (at == token.size() || offset());
    if (!good || at != token.size()) return fail("a date or a time expected, as RFC 3339 writes them");
    std::string text{token};
    for (auto& c : text) c = c == 't' || c == ' ' ? 'T' : c == 'z' ? 'Z' : c;
    out = json::Value{std::move(text)};
    return true;
  }

  // --- texts ---

  bool one_line(std::string& out) {
    const char quote = text_[at_++];
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (is_control(c)) break;
      ++at_;
      if (c == quote) return true;
      if (c != '\\' || quote == '\'') {
        out.push_back(c);
      } else if (!escape(out)) {
        return false;
      }
    }
    return fail("a closing quote expected");
  }

  bool many_lines(std::string& out) {
    const std::string quotes(3, text_[at_]);
    at_ += quotes.size();
    if (!take("\n")) take("\r\n");  // right behind the quotes
    while (at_ < text_.size()) {
      if (take(quotes)) {
        // Up to two more are part of the text.
        for (int more = 0; more < 2 && peek() == quotes.front(); ++more, ++at_) out.push_back(quotes.front());
        return true;
      }
      const char c = text_[at_];
      if (is_control(c) && c != '\n' && !ahead("\r\n")) return fail("no control characters expected");
      ++at_;
      if (c != '\\' || quotes.front() == '\'') {
        out.push_back(c);
        if (c == '\r') out.push_back(text_[at_++]);  // with its line feed
      } else if (!folded() && !escape(out)) {
        return false;
      }
    }
    return fail("three closing quotes expected");
  }

  /// A backslash at the end of a line takes all white space with it, up to the next text.
  bool folded() {
    const auto end = text_.find_first_not_of(" \t", at_);
    if (end == std::string_view::npos || (text_[end] != '\n' && text_.substr(end, 2) != "\r\n")) return false;
    at_ = end;
    for (;;) {
      skip_space();
      if (!take("\n") && !take("\r\n")) return true;
    }
  }

  /// What follows a backslash.
  bool escape(std::string& out) {
    constexpr std::string_view kNames = "btnfr\"\\";
    constexpr std::string_view kMeans = "\b\t\n\f\r\"\\";
    const char c = peek();
    if (const auto at = kNames.find(c); c != '\0' && at != std::string_view::npos) {
      ++at_;
      out.push_back(kMeans[at]);
      return true;
    }
    if (c != 'u' && c != 'U') return fail("an escape character expected");
    ++at_;
    std::uint32_t code_point = 0;
    for (int digits = c == 'u' ? 4 : 8; digits > 0; --digits) {
      const auto lower = static_cast<char>(peek() | 0x20);
      if (!is_digit(peek()) && (lower < 'a' || lower > 'f')) return fail("hex digits expected");
      code_point = code_point << 4U | static_cast<std::uint32_t>(is_digit(peek()) ? peek() - '0' : lower - 'a' + 10);
      ++at_;
    }
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) return fail("a character's number expected");
    append_utf8(out, code_point);
    return true;
  }

  std::string_view text_;
  const TomlLimits& limits_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
  std::size_t section_ = 0;  // headers so far
  std::optional<Error> error_;
};

}  // namespace

Result<json::Value> parse_toml(std::string_view text, const TomlLimits& limits) {
  if (text.size() > limits.bytes) {
    return Error{Errc::limit_exceeded, "TOML: at most " + std::to_string(limits.bytes) + " bytes expected, got " + std::to_string(text.size())};
  }
  if (!is_utf8(as_bytes(text))) return Error{Errc::malformed, "TOML: not UTF-8"};
  return Parser{text, limits}.run();
}

}  // namespace cloister::codec
