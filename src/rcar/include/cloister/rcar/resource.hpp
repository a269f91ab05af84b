#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister::rcar {

/// The name of a resource, three segments: "kbs:///repository/type/tag". A value that is always well-formed.
class ResourcePath {
 public:
  static constexpr std::size_t kMaxSegment = 253;  // what Kubernetes allows in names

  /// Each segment 1 to 253 characters of [a-zA-Z0-9_.-], not beginning with a dot. `invalid_argument` otherwise.
  [[nodiscard]] static Result<ResourcePath> make(std::string_view repository, std::string_view type, std::string_view tag);
  /// The same of "repository/type/tag".
  [[nodiscard]] static Result<ResourcePath> parse(std::string_view text);

  [[nodiscard]] const std::string& repository() const noexcept { return repository_; }
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::string& tag() const noexcept { return tag_; }
  /// "repository/type/tag".
  [[nodiscard]] std::string str() const { return repository_ + '/' + type_ + '/' + tag_; }
  friend auto operator<=>(const ResourcePath&, const ResourcePath&) = default;

 private:
  ResourcePath(std::string_view repository, std::string_view type, std::string_view tag)
      : repository_{repository}, type_{type}, tag_{tag} {}
  std::string repository_;
  std::string type_;
  std::string tag_;
};

/// Whether it is what paths begin with, whole segments: "repository", "repository/type" or "repository/type/tag".
[[nodiscard]] bool is_scope(std::string_view text) noexcept;

}  // namespace cloister::rcar
