#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/rcar/resource.hpp"

namespace cloister::kbs {

/// Versions are numbers from 1 to 2^53, which JSON of everybody holds. `invalid_argument` for any other text.
[[nodiscard]] Result<std::uint64_t> parse_version(std::string_view text);

/// What a guest asks for: a resource, in the version that its query names, or else in the current one. The query is kept as it
/// is, since policies see it: names that mean nothing here are theirs.
struct Ask {
  Ask(rcar::ResourcePath what) : path{std::move(what)} {}  // NOLINT(google-explicit-constructor)
  /// `invalid_argument` for a version that is no number from 1 on.
  [[nodiscard]] static Result<Ask> make(rcar::ResourcePath path, const std::vector<std::pair<std::string, std::string>>& query);

  rcar::ResourcePath path;
  std::optional<std::uint64_t> version{};
  std::map<std::string, std::string> query{};
};

}  // namespace cloister::kbs
