#pragma once

#include <span>
#include <string_view>

/// What the audit log's entries can be about (docs/audit.md has their details).
namespace cloister::merkle {

/// The first entry of a log that began because a rollback was accepted.
inline constexpr std::string_view kRollbackKind = "log.rollback";
/// The last entry of a log that another keeper of keys goes on with, and the first of the one that goes on.
inline constexpr std::string_view kHandedOnKind = "log.handed_on";
inline constexpr std::string_view kTakenOverKind = "log.taken_over";

struct LeafKind {
  std::string_view name;     // `AuditLeaf::kind`
  std::string_view subject;  // what `AuditLeaf::subject` is
  std::string_view meaning;  // for people: what happened
};
/// Every kind that this version writes, by name.
[[nodiscard]] std::span<const LeafKind> leaf_kinds() noexcept;
/// Nothing for a kind of another version.
[[nodiscard]] const LeafKind* find_leaf_kind(std::string_view name) noexcept;

}  // namespace cloister::merkle
