#include "cloister/storage/broker_sessions.hpp"

#include "rows.hpp"

namespace cloister::storage::broker_sessions {
namespace {

constexpr Sql kAdd{
    "INSERT INTO broker_session (id, tenant, nonce, tee, expires, attempted) VALUES (?1, ?2, ?3, ?4, ?5, 0)"};
constexpr Sql kGet{
    "SELECT nonce, tee, expires, attempted, token FROM broker_session WHERE id = ?1 AND tenant = ?2 AND expires > ?3"};
constexpr Sql kConclude{
    "UPDATE broker_session SET attempted = 1, token = ?2 WHERE id = ?1 AND attempted = 0 AND expires > ?3"};
constexpr Sql kList{
    "SELECT id, nonce, tee, expires, attempted, token FROM broker_session WHERE tenant = ?1 AND expires > ?2 "
    "AND (?4 = 0 OR token IS NOT NULL) ORDER BY expires DESC LIMIT ?3"};
constexpr Sql kCount{"SELECT count(*) FROM broker_session WHERE expires > ?1"};
constexpr Sql kSweep{"DELETE FROM broker_session WHERE expires <= ?1"};

Record read_record(Rows& rows) {
  Record out;
  out.nonce = rows.array<32>();
  out.tee = rows.text();
  out.expires = rows.time();
  out.attempted = rows.boolean();
  out.token = rows.optional_text();
  return out;
}

}  // namespace

Result<void> add(Transaction& transaction, const TenantId& tenant, const Id& id, const ByteArray<32>& nonce,
                 std::string_view tee, UnixTime expires) {
  CLOISTER_CHECK(transaction.run(kAdd, {id, tenant, nonce, tee, expires}));
  return {};
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

Result<void> conclude(Transaction& transaction, const Id& id, const std::optional<std::string>& token, UnixTime now) {
  CLOISTER_TRY(changed, transaction.run(kConclude, {id, token, now}));
  if (changed == 0) return Error{Errc::nonce_invalid, "this session's nonce was used, or has expired: begin again"};
  return {};
}

Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now) { return transaction.run(kSweep, {now}); }

}  // namespace cloister::storage::broker_sessions
