#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/result.hpp"

/// The parts of a request that Cloister takes apart itself. Pure.
namespace cloister::http {

/// Decoded query parameters; no name occurs twice.
class Query {
 public:
  Query() = default;
  /// "a=1&b=x%20y" (`+` is a space). Refuses repeated names, incomplete escapes, control characters and what is not
  /// UTF-8.
  [[nodiscard]] static Result<Query> parse(std::string_view text);

  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& all() const noexcept { return values_; }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

/// An origin-form request target (RFC 9112 section 3.2.1), decoded.
struct Target {
  std::vector<std::string> segments;  // of the path, after the first slash; "/" has one empty segment
  Query query;
};

/// `malformed` unless it begins with '/' and every segment decodes to UTF-8 without control characters, '/', '\\',
/// "." or ".."; so a path parameter can never climb.
[[nodiscard]] Result<Target> parse_target(std::string_view target);

/// Escapes everything but unreserved characters (RFC 3986 section 2.3), for one path segment or query value.
[[nodiscard]] std::string percent_encode(std::string_view text);

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // never zero
};
enum class RangeKind { none, satisfiable, unsatisfiable };
struct RangeDecision {
  RangeKind kind = RangeKind::none;
  ByteRange range;  // meaningful when satisfiable; within `size`
};
/// A Range field for a representation of `size` bytes: `none` when it is to be ignored (another unit, malformed, more
/// than one range).
[[nodiscard]] RangeDecision decide_range(std::string_view field, std::uint64_t size);

}  // namespace cloister::http
