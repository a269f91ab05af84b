#include "cloister/kbs/labels.hpp"

#include <algorithm>
#include <string>

namespace cloister::kbs {
namespace {

constexpr std::size_t kMaxName = 63;
constexpr std::size_t kMaxPrefix = 253;

bool lower_or_digit(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool letter_or_digit(char c) noexcept { return lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

bool valid_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxName || !letter_or_digit(text.front()) || !letter_or_digit(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

/// Parts of small letters, digits and '-' that begin and end with neither '-', with dots between them.
bool valid_prefix(std::string_view text) {
  if (text.size() > kMaxPrefix) return false;
  for (;;) {
    const auto end = std::min(text.find('.'), text.size());
    const auto part = text.substr(0, end);
    if (part.empty() || !lower_or_digit(part.front()) || !lower_or_digit(part.back())) return false;
    if (!std::ranges::all_of(part, [](char c) { return lower_or_digit(c) || c == '-'; })) return false;
    if (end == text.size()) return true;
    text.remove_prefix(end + 1);
  }
}

bool valid_key(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return valid_name(text);
  return valid_prefix(text.substr(0, slash)) && valid_name(text.substr(slash + 1));
}

}  // namespace

Result<void> check_labels(const Labels& labels) {
  if (labels.size() > kMaxLabels) {
    return Error{Errc::limit_exceeded, "labels: at most " + std::to_string(kMaxLabels) + " expected, got " + std::to_string(labels.size())};
  }
  for (const auto& [name, value] : labels) {
    if (!valid_key(name)) {
      return Error{Errc::invalid_argument, "label '" + name + "': a name of up to 63 characters of [A-Za-z0-9_.-] expected, beginning and "
                                           "ending with a letter or digit, with a DNS name and a slash before it or without"};
    }
    if (!value.empty() && !valid_name(value)) {
      return Error{Errc::invalid_argument, "label '" + name + "': nothing, or up to 63 characters of [A-Za-z0-9_.-] that begin and end "
                                           "with a letter or digit, expected as its value"};
    }
  }
  return {};
}

Result<Labels> parse_labels(std::string_view text) {
  Labels out;
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    const auto one = text.substr(0, end);
    const auto equals = one.find('=');
    if (equals == std::string_view::npos) return Error{Errc::invalid_argument, "labels: name=value,name=value expected"};
    if (!out.emplace(one.substr(0, equals), one.substr(equals + 1)).second) {
      return Error{Errc::duplicate_member, "label '" + std::string{one.substr(0, equals)} + "' occurs twice"};
    }
    if (out.size() > kMaxLabels) return check_labels(out).error();
    if (end + 1 == text.size()) return Error{Errc::invalid_argument, "labels: a further name=value expected after the comma"};
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  CLOISTER_CHECK(check_labels(out));
  return out;
}

bool carries(const Labels& labels, const Labels& wanted) {
  return std::ranges::all_of(wanted, [&](const auto& one) {
    const auto found = labels.find(one.first);
    return found != labels.end() && found->second == one.second;
  });
}

}  // namespace cloister::kbs
