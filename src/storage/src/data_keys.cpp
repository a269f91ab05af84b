#include "cloister/storage/data_keys.hpp"

#include <algorithm>
#include <vector>

#include "rows.hpp"

namespace cloister::storage::data_keys {
namespace {

constexpr Sql kActive{"SELECT id FROM data_key WHERE tenant = ?1 AND active = 1"};
constexpr Sql kOlder{"SELECT COUNT(*) FROM data_key WHERE tenant = ?1 AND active = 0"};
constexpr Sql kErase{"DELETE FROM data_key WHERE tenant = ?1 AND active = 0"};
// Values under another key than ?2. The indices are named, since any other plan computes `data_key` from every value.
constexpr Sql kRemaining{
    "SELECT (SELECT COUNT(*) FROM resource INDEXED BY resource_by_data_key WHERE tenant = ?1 AND value IS NOT NULL AND data_key <> ?2) + "
    "(SELECT COUNT(*) FROM secret INDEXED BY secret_by_data_key WHERE tenant = ?1 AND value IS NOT NULL AND data_key <> ?2) + "
    "(SELECT COUNT(*) FROM session INDEXED BY session_by_data_key WHERE tenant = ?1 AND data_key <> ?2) + "
    "(SELECT COUNT(*) FROM derived_key INDEXED BY derived_key_by_data_key WHERE tenant = ?1 AND data_key <> ?2)"};

/// A table with sealed values: `find` gives key and row version of the cell and the value, `replace` puts another there.
struct Place {
  std::string_view table;
  std::string_view column;
  Sql find;
  Sql replace;
};
constexpr Place kPlaces[] = {
    {"resource", "value",
     "SELECT path, version, value FROM resource INDEXED BY resource_by_data_key WHERE tenant = ?1 AND value IS NOT NULL "
     "AND data_key <> ?2 LIMIT ?3",
     "UPDATE resource SET value = ?4 WHERE tenant = ?1 AND path = ?2 AND version = ?3"},
    {"secret", "value",
     "SELECT path, version, value FROM secret INDEXED BY secret_by_data_key WHERE tenant = ?1 AND value IS NOT NULL "
     "AND data_key <> ?2 LIMIT ?3",
     "UPDATE secret SET value = ?4 WHERE tenant = ?1 AND path = ?2 AND version = ?3"},
    {"session", "state", "SELECT id, 1, state FROM session INDEXED BY session_by_data_key WHERE tenant = ?1 AND data_key <> ?2 LIMIT ?3",
     "UPDATE session SET state = ?4 WHERE tenant = ?1 AND id = ?2 AND ?3 = 1"},
    {"derived_key", "state",
     "SELECT challenge || '/' || purpose, version, state FROM derived_key INDEXED BY derived_key_by_data_key WHERE tenant = ?1 "
     "AND data_key <> ?2 LIMIT ?3",
     "UPDATE derived_key SET state = ?4 WHERE tenant = ?1 AND challenge || '/' || purpose = ?2 AND version = ?3"},
};

struct Row {
  std::string key;
  std::uint64_t version = 0;
  Bytes value;
};

/// As the column has it.
ByteView key_bytes(const std::string& id) { return as_bytes(id); }

/// Rows of one place, while they are within what a step may still do.
Result<std::vector<Row>> find(const Reading& reading, const Place& place, const TenantId& tenant, const std::string& active,
                              std::uint32_t values, std::size_t& bytes) {
  CLOISTER_TRY(rows, reading.query(place.find, {tenant, key_bytes(active), values}));
  std::vector<Row> out;
  while (bytes > 0) {
    CLOISTER_TRY(more, rows.next());
    if (!more) break;
    Row row;
    row.key = rows.text();
    row.version = rows.uint();
    row.value = rows.bytes();
    CLOISTER_CHECK(rows.end_row());
    bytes -= std::min(bytes, row.value.size());
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace

std::vector<std::string_view> tables() {
  std::vector<std::string_view> out;
  for (const auto& place : kPlaces) out.push_back(place.table);
  return out;
}

Result<Status> status(const Reading& reading, const TenantId& tenant) {
  Status out;
  auto active = read_one(reading, "data key", kActive, {tenant}, [](Rows& rows) { return rows.text(); });
  if (!active && active.error().code() != Errc::not_found) return active.error();
  if (active) out.active = *std::move(active);
  const auto number = [](Rows& rows) { return rows.uint(); };
  CLOISTER_TRY(older, read_one(reading, "data keys", kOlder, {tenant}, number));
  const auto key = out.active.value_or("");
  CLOISTER_TRY(remaining, read_one(reading, "values", kRemaining, {tenant, key_bytes(key)}, number));
  out.older = older;
  out.remaining = remaining;
  return out;
}

Result<std::uint64_t> reseal_some(Transaction& transaction, Sealer& sealer, const TenantId& tenant) {
  CLOISTER_TRY(before, status(transaction, tenant));
  if (!before.active) return std::uint64_t{0};
  std::uint32_t values = kStepValues;
  std::size_t bytes = kStepBytes;
  std::uint64_t done = 0;
  for (const auto& place : kPlaces) {
    CLOISTER_TRY(rows, find(transaction, place, tenant, *before.active, values, bytes));
    for (const auto& row : rows) {
      const Cell cell{place.table, row.key, place.column, row.version};
      CLOISTER_TRY(value, sealer.open(transaction, tenant, cell, row.value));
      CLOISTER_TRY(sealed, sealer.seal(transaction, tenant, cell, value.reveal()));
      CLOISTER_CHECK(need_change(transaction.run(place.replace, {tenant, row.key, row.version, sealed}), "value"));
      ++done;
    }
    values -= static_cast<std::uint32_t>(rows.size());
  }
  return done;
}

Result<std::uint64_t> retire(Transaction& transaction, Sealer& sealer, const TenantId& tenant) {
  CLOISTER_TRY(now, status(transaction, tenant));
  if (now.remaining > 0) {
    return Error{Errc::conflict, std::to_string(now.remaining) + " values are sealed under older data keys: seal them again first"};
  }
  CLOISTER_TRY(erased, transaction.run(kErase, {tenant}));
  sealer.forget(tenant);
  return erased;
}

}  // namespace cloister::storage::data_keys
