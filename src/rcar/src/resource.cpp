#include "cloister/rcar/resource.hpp"

#include <algorithm>

namespace cloister::rcar {
namespace {

bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool valid(std::string_view segment) noexcept {
  if (segment.empty() || segment.size() > ResourcePath::kMaxSegment || !is_letter(segment.front())) return false;
  return std::ranges::all_of(segment, [](char c) { return is_letter(c) || c == '.'; });
}

}  // namespace

Result<ResourcePath> ResourcePath::make(std::string_view repository, std::string_view type, std::string_view tag) {
  if (valid(repository) && valid(type) && valid(tag)) return ResourcePath{repository, type, tag};
  return Error{Errc::invalid_argument,
               "resource path: repository/type/tag expected, each 1 to 253 characters of [a-zA-Z0-9_.-], not beginning with a dot"};
}

Result<ResourcePath> ResourcePath::parse(std::string_view text) {
  const auto first = text.find('/');
  const auto last = text.rfind('/');
  if (first == std::string_view::npos || first == last) return make({}, {}, {});
  return make(text.substr(0, first), text.substr(first + 1, last - first - 1), text.substr(last + 1));
}

bool is_scope(std::string_view text) noexcept {
  for (int segments = 1; segments <= 3; ++segments) {
    const auto end = text.find('/');
    if (!valid(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace cloister::rcar
