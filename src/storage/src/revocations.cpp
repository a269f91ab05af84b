#include "cloister/storage/revocations.hpp"

#include "rows.hpp"

namespace cloister::storage::revocations {
namespace {

constexpr Sql kAdd{
    "INSERT INTO revocation (id, tenant, kind, value, reason, revoked_by, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
constexpr Sql kRemove{"DELETE FROM revocation WHERE id = ?1 AND tenant = ?2"};
constexpr Sql kList{
    "SELECT id, kind, value, reason, revoked_by, created, expires FROM revocation "
    "WHERE tenant = ?1 AND (expires IS NULL OR expires > ?2) ORDER BY created DESC, id"};
constexpr Sql kAll{"SELECT tenant, id, kind, value, reason, revoked_by, created, expires FROM revocation ORDER BY id"};
constexpr Sql kCount{
    "SELECT kind, tenant = '', count(*) FROM revocation WHERE expires IS NULL OR expires > ?1 GROUP BY 1, 2 ORDER BY 1, 2"};
constexpr Sql kSweep{"DELETE FROM revocation WHERE expires <= ?1"};

/// No tenant has this name.
std::string_view name_of(const Scope& scope) { return scope ? std::string_view{scope->str()} : std::string_view{}; }

Record read(Rows& rows) {
  Record out;
  out.id = rows.text();
  out.kind = rows.text();
  out.value = rows.text();
  out.reason = rows.text();
  out.by = rows.text();
  out.created = rows.time();
  out.expires = rows.optional_time();
  return out;
}

}  // namespace

Result<void> add(Transaction& transaction, const Scope& scope, const Record& record) {
  CLOISTER_CHECK(transaction.run(kAdd, {record.id, name_of(scope), record.kind, record.value, record.reason, record.by,
                                        record.created, record.expires}));
  return {};
}

Result<void> remove(Transaction& transaction, const Scope& scope, std::string_view id) {
  return need_change(transaction.run(kRemove, {id, name_of(scope)}), "no such revocation");
}

Result<std::vector<Record>> list(const Reading& reading, const Scope& scope, UnixTime now) {
  return read_all(reading, kList, {name_of(scope), now}, read);
}

Result<std::vector<Scoped>> all(const Reading& reading) {
  return read_all(reading, kAll, {}, [](Rows& rows) {
    auto tenant = rows.text();
    return Scoped{std::move(tenant), read(rows)};
  });
}

Result<std::vector<Count>> count(const Reading& reading, UnixTime now) {
  return read_all(reading, kCount, {now}, [](Rows& rows) {
    Count out;
    out.kind = rows.text();
    out.everywhere = rows.boolean();
    out.entries = rows.uint();
    return out;
  });
}

Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now) { return transaction.run(kSweep, {now}); }

}  // namespace cloister::storage::revocations
