#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/storage/database.hpp"

/// The tables of the audit log. Rows are only ever added; the audit module gives them their meaning.
namespace cloister::storage::audit_rows {

/// The newest log, or nothing before the first.
[[nodiscard]] Result<std::optional<std::string>> current_log(const Reading& reading);
struct LogRow {
  std::string id;
  UnixTime started{};
};
/// Every log that there was, oldest first; the last is the newest.
[[nodiscard]] Result<std::vector<LogRow>> logs(const Reading& reading);
/// Begins a log, which is the newest from now on.
[[nodiscard]] Result<void> begin_log(Transaction& transaction, std::string_view log, UnixTime now);

/// Adds a leaf at the end of a log: indices are from 0, without gaps.
[[nodiscard]] Result<void> append(Transaction& transaction, std::string_view log, std::string_view kind,
                                  std::string_view subject, ByteView leaf);
/// How many leaves the log has.
[[nodiscard]] Result<std::uint64_t> count(const Reading& reading, std::string_view log);
/// At most `limit` leaves from index `first` on, in order.
[[nodiscard]] Result<std::vector<Bytes>> leaves(const Reading& reading, std::string_view log, std::uint64_t first,
                                                std::uint32_t limit);
/// The newest leaf of that kind and subject.
[[nodiscard]] Result<std::optional<std::uint64_t>> find(const Reading& reading, std::string_view log,
                                                        std::string_view kind, std::string_view subject);

struct RuleLeaf {
  std::uint64_t index = 0;
  Bytes leaf;
};
/// At most `limit` of the leaves from index `first` on by which revocations, policies or reference values were changed, in order.
[[nodiscard]] Result<std::vector<RuleLeaf>> rule_leaves(const Reading& reading, std::string_view log, std::uint64_t first,
                                                        std::uint32_t limit);

[[nodiscard]] Result<void> add_node(Transaction& transaction, std::string_view log, std::uint8_t level,
                                    std::uint64_t index, const Digest32& hash);
/// `not_found`.
[[nodiscard]] Result<Digest32> node(const Reading& reading, std::string_view log, std::uint8_t level,
                                    std::uint64_t index);

/// Keeps a signed head, encoded by the audit module.
[[nodiscard]] Result<void> add_head(Transaction& transaction, std::string_view log, std::uint64_t tree_size,
                                    ByteView head);
/// The head of the largest tree, or nothing.
[[nodiscard]] Result<std::optional<Bytes>> last_head(const Reading& reading, std::string_view log);

/// The heads of trees of more than `above` and at most `up_to` leaves, smallest first.
[[nodiscard]] Result<std::vector<Bytes>> heads(const Reading& reading, std::string_view log, std::uint64_t above,
                                               std::uint64_t up_to);
/// The head of the tree of that size, or nothing.
[[nodiscard]] Result<std::optional<Bytes>> head_of(const Reading& reading, std::string_view log, std::uint64_t tree_size);

}  // namespace cloister::storage::audit_rows
