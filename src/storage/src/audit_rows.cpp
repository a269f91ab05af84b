#include "cloister/storage/audit_rows.hpp"

#include "rows.hpp"

namespace cloister::storage::audit_rows {
namespace {

#define CLOISTER_LOG "(SELECT seq FROM audit_log WHERE id = ?1)"

constexpr Sql kCurrent{"SELECT id FROM audit_log ORDER BY seq DESC LIMIT 1"};
constexpr Sql kLogs{"SELECT id, started FROM audit_log ORDER BY seq"};
constexpr Sql kBegin{"INSERT INTO audit_log (id, started) VALUES (?1, ?2)"};
constexpr Sql kCount{"SELECT COALESCE(MAX(position) + 1, 0) FROM audit_row WHERE log = " CLOISTER_LOG};
constexpr Sql kAppend{"INSERT INTO audit_row (log, position, kind, subject, leaf) VALUES (" CLOISTER_LOG
                      ", (SELECT COALESCE(MAX(position) + 1, 0) FROM audit_row WHERE log = " CLOISTER_LOG
                      "), ?2, ?3, ?4)"};
constexpr Sql kLeaves{"SELECT leaf FROM audit_row WHERE log = " CLOISTER_LOG
                      " AND position >= ?2 ORDER BY position LIMIT ?3"};
constexpr Sql kRuleLeaves{
    "SELECT position, leaf FROM audit_row INDEXED BY audit_row_of_rules WHERE log = " CLOISTER_LOG " AND position >= ?2 AND "
    "(kind = 'policy.changed' OR kind = 'policy.removed' OR kind = 'reference_value.changed' OR "
    "kind = 'reference_value.removed' OR kind = 'revocation.added' OR kind = 'revocation.lifted') ORDER BY position LIMIT ?3"};
constexpr Sql kFind{"SELECT position FROM audit_row WHERE log = " CLOISTER_LOG
                    " AND subject = ?3 AND kind = ?2 ORDER BY position DESC LIMIT 1"};
constexpr Sql kAddNode{"INSERT INTO audit_node (log, level, position, hash) VALUES (" CLOISTER_LOG ", ?2, ?3, ?4)"};
constexpr Sql kNode{"SELECT hash FROM audit_node WHERE log = " CLOISTER_LOG " AND level = ?2 AND position = ?3"};
constexpr Sql kAddHead{"INSERT INTO audit_head (log, tree_size, head) VALUES (" CLOISTER_LOG ", ?2, ?3)"};
constexpr Sql kLastHead{"SELECT head FROM audit_head WHERE log = " CLOISTER_LOG " ORDER BY tree_size DESC LIMIT 1"};
constexpr Sql kHeads{"SELECT head FROM audit_head WHERE log = " CLOISTER_LOG
                     " AND tree_size > ?2 AND tree_size <= ?3 ORDER BY tree_size"};
constexpr Sql kHeadOf{"SELECT head FROM audit_head WHERE log = " CLOISTER_LOG " AND tree_size = ?2"};
#undef CLOISTER_LOG

/// The value of the only row, or nothing.
template <class Read>
auto read_optional(const Reading& reading, Sql sql, std::initializer_list<Param> params, Read read)
    -> Result<std::optional<decltype(read(std::declval<Rows&>()))>> {
  using Value = std::optional<decltype(read(std::declval<Rows&>()))>;
  CLOISTER_TRY(rows, read_all(reading, sql, params, read));
  return rows.empty() ? Value{} : Value{std::move(rows.front())};
}

}  // namespace

Result<std::optional<std::string>> current_log(const Reading& reading) {
  return read_optional(reading, kCurrent, {}, [](Rows& rows) { return rows.text(); });
}

Result<std::vector<LogRow>> logs(const Reading& reading) {
  return read_all(reading, kLogs, {}, [](Rows& rows) {
    auto id = rows.text();
    return LogRow{std::move(id), rows.time()};
  });
}

Result<void> begin_log(Transaction& transaction, std::string_view log, UnixTime now) {
  CLOISTER_CHECK(transaction.run(kBegin, {log, now}));
  return {};
}

Result<void> append(Transaction& transaction, std::string_view log, std::string_view kind, std::string_view subject,
                    ByteView leaf) {
  CLOISTER_CHECK(transaction.run(kAppend, {log, kind, subject, leaf}));
  return {};
}

Result<std::uint64_t> count(const Reading& reading, std::string_view log) {
  return read_one(reading, "audit log", kCount, {log}, [](Rows& rows) { return rows.uint(); });
}

Result<std::vector<Bytes>> leaves(const Reading& reading, std::string_view log, std::uint64_t first,
                                  std::uint32_t limit) {
  return read_all(reading, kLeaves, {log, first, limit}, [](Rows& rows) { return rows.bytes(); });
}

Result<std::optional<std::uint64_t>> find(const Reading& reading, std::string_view log, std::string_view kind,
                                          std::string_view subject) {
  return read_optional(reading, kFind, {log, kind, subject}, [](Rows& rows) { return rows.uint(); });
}

Result<std::vector<RuleLeaf>> rule_leaves(const Reading& reading, std::string_view log, std::uint64_t first, std::uint32_t limit) {
  return read_all(reading, kRuleLeaves, {log, first, limit}, [](Rows& rows) {
    const auto index = rows.uint();
    return RuleLeaf{index, rows.bytes()};
  });
}

Result<void> add_node(Transaction& transaction, std::string_view log, std::uint8_t level, std::uint64_t index,
                      const Digest32& hash) {
  CLOISTER_CHECK(transaction.run(kAddNode, {log, std::uint32_t{level}, index, hash}));
  return {};
}

Result<Digest32> node(const Reading& reading, std::string_view log, std::uint8_t level, std::uint64_t index) {
  return read_one(reading, "node of the audit tree", kNode, {log, std::uint32_t{level}, index},
                  [](Rows& rows) { return rows.array<32>(); });
}

Result<void> add_head(Transaction& transaction, std::string_view log, std::uint64_t tree_size, ByteView head) {
  CLOISTER_CHECK(transaction.run(kAddHead, {log, tree_size, head}));
  return {};
}

Result<std::optional<Bytes>> last_head(const Reading& reading, std::string_view log) {
  return read_optional(reading, kLastHead, {log}, [](Rows& rows) { return rows.bytes(); });
}

Result<std::vector<Bytes>> heads(const Reading& reading, std::string_view log, std::uint64_t above, std::uint64_t up_to) {
  return read_all(reading, kHeads, {log, above, up_to}, [](Rows& rows) { return rows.bytes(); });
}

Result<std::optional<Bytes>> head_of(const Reading& reading, std::string_view log, std::uint64_t tree_size) {
  return read_optional(reading, kHeadOf, {log, tree_size}, [](Rows& rows) { return rows.bytes(); });
}

}  // namespace cloister::storage::audit_rows
