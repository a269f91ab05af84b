#include "cloister/storage/broker_sessions.hpp"

#include "rows.hpp"

namespace cloister::storage::broker_sessions {
namespace {

constexpr Sql kGet{"SELECT tee, expires, token FROM broker_session WHERE id = ?1 AND tenant = ?2 AND expires > ?3"};
constexpr Sql kConclude{
    "INSERT INTO broker_session (id, tenant, tee, expires, token) SELECT ?1, ?2, ?3, ?4, ?5 "
    "WHERE ?4 > ?6 AND ?4 > (SELECT until FROM broker_sessions_swept)"};
constexpr Sql kList{
    "SELECT id, tee, expires, token FROM broker_session WHERE tenant = ?1 AND expires > ?2 "
    "AND (?4 = 0 OR token IS NOT NULL) ORDER BY expires DESC LIMIT ?3"};
constexpr Sql kCount{"SELECT count(*) FROM broker_session WHERE expires > ?1"};
constexpr Sql kSweep{"DELETE FROM broker_session WHERE expires <= ?1"};
constexpr Sql kSwept{"UPDATE broker_sessions_swept SET until = ?1 WHERE until < ?1"};

Record read_record(Rows& rows) {
  Record out;
  out.tee = rows.text();
  out.expires = rows.time();
  out.token = rows.optional_text();
  return out;
}

Error used() { return Error{Errc::nonce_invalid, "this session's nonce was used, or has expired: begin again"}; }

}  // namespace

Result<void> conclude(Transaction& transaction, const TenantId& tenant, const Id& id, const Record& record, UnixTime now) {
  const auto added = transaction.run(kConclude, {id, tenant, record.tee, record.expires, record.token, now});
  if (!added) return added.error().code() == Errc::conflict ? used() : added.error();
  return *added == 0 ? Result<void>{used()} : Result<void>{};
}

Result<Record> get(const Reading& reading, const TenantId& tenant, const Id& id, UnixTime now) {
  return read_one(reading, "session", kGet, {id, tenant, now}, read_record);
}

Result<std::vector<std::pair<Id, Record>>> list(const Reading& reading, const TenantId& tenant, UnixTime now, std::uint32_t limit,
                                                bool attested_only) {
  return read_all(reading, kList, {tenant, now, limit, attested_only}, [](Rows& rows) {
    const auto id = rows.array<16>();
    return std::pair{id, read_record(rows)};
  });
}

Result<std::uint64_t> count(const Reading& reading, UnixTime now) {
  return read_one(reading, "sessions", kCount, {now}, [](Rows& rows) { return rows.uint(); });
}

Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now) {
  CLOISTER_CHECK(transaction.run(kSwept, {now}));
  return transaction.run(kSweep, {now});
}

}  // namespace cloister::storage::broker_sessions
