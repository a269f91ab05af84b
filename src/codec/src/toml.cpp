#include "cloister/codec/toml.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace cloister::codec {
namespace {

class Shape {
 public:
  Shape(std::string_view text, const TomlLimits& limits) noexcept : text_{text}, limits_{limits} {}

  Result<void> check() {
    while (at_ < text_.size()) CLOISTER_CHECK(step());
    if (!outside_.empty()) return malformed("a closing bracket expected");
    return {};
  }

 private:
  Result<void> step() {
    const char c = text_[at_];
    switch (c) {
      case '#':
        at_ = std::min(text_.find('\n', at_), text_.size());
        return {};
      case '"':
      case '\'':
        return skip_text(c);
      case '[':
      case '{':
        outside_.push_back(depth_);
        return mark(depth_ + 1);
      case ']':
      case '}': {
        if (outside_.empty()) return malformed("no closing bracket expected");
        const auto outside = outside_.back();
        outside_.pop_back();
        return mark(outside);
      }
      case ',':
        return mark(outside_.empty() ? 0 : outside_.back() + 1);
      case '.':
        return mark(depth_ + 1);
      case '=':
        return mark(depth_);
      case '\n':
        if (outside_.empty()) depth_ = 0;
        break;
      default:
        break;
    }
    ++at_;
    return {};
  }

  Result<void> mark(std::size_t depth) {
    depth_ = depth;
    if (depth_ > limits_.depth) return beyond("at most " + std::to_string(limits_.depth) + " levels");
    if (++marks_ > limits_.marks) return beyond("at most " + std::to_string(limits_.marks) + " separators");
    ++at_;
    return {};
  }

  /// One line or, in three quotes, many; backslashes escape in double quotes alone.
  Result<void> skip_text(char quote) {
    const std::string triple(3, quote);
    const bool many = text_.substr(at_).starts_with(triple);
    at_ += many ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n' && !many) return malformed("a closing quote expected");
      if (c == quote && !many) return ++at_, Result<void>{};
      if (c == quote && text_.substr(at_).starts_with(triple)) {
        at_ += 3;
        for (int more = 0; more < 2 && at_ < text_.size() && text_[at_] == quote; ++more) ++at_;  // part of the text
        return {};
      }
      at_ += c == '\\' && quote == '"' ? 2 : 1;
    }
    return malformed("a closing quote expected");
  }

  Error malformed(const std::string& expected) const { return at(Errc::malformed, expected); }
  Error beyond(const std::string& expected) const { return at(Errc::limit_exceeded, expected + " expected"); }
  Error at(Errc code, const std::string& expected) const {
    const auto line = 1 + std::ranges::count(text_.substr(0, at_), '\n');
    return Error{code, "TOML: line " + std::to_string(line) + ": " + expected};
  }

  std::string_view text_;
  const TomlLimits& limits_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;             // where the cursor is
  std::size_t marks_ = 0;
  std::vector<std::size_t> outside_;  // of each open bracket, the depth around it
};

}  // namespace

Result<void> check_toml(std::string_view text, const TomlLimits& limits) {
  if (text.size() > limits.bytes) {
    return Error{Errc::limit_exceeded, "TOML: at most " + std::to_string(limits.bytes) + " bytes expected, got " + std::to_string(text.size())};
  }
  return Shape{text, limits}.check();
}

}  // namespace cloister::codec
