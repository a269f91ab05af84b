#include "cloister/storage/access.hpp"

#include "rows.hpp"

namespace cloister::storage {

namespace {

constexpr Sql kAddSession{
    "INSERT INTO session (id, tenant, subject, created, expires, revoked, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
constexpr Sql kGetSession{"SELECT tenant, subject, created, expires, revoked, state FROM session WHERE id = ?1"};
constexpr Sql kRevokeSession{"UPDATE session SET revoked = 1 WHERE id = ?1"};
constexpr Sql kRevokeSubject{"UPDATE session SET revoked = 1 WHERE subject = ?1 AND revoked = 0"};

Cell cell_of(const SessionId& session) { return {"session", session.str(), "state", 1}; }

}  // namespace

Result<void> Sessions::add(Transaction& transaction, const Record& session) {
  CLOISTER_TRY(sealed, sealer_.seal(transaction, session.tenant, cell_of(session.id), session.state.reveal()));
  CLOISTER_CHECK(transaction.run(kAddSession, {session.id, session.tenant, session.subject, session.created,
                                               session.expires, session.revoked, sealed}));
  return {};
}

Result<Sessions::Record> Sessions::get(const Reading& reading, const SessionId& session) {
  Bytes sealed;
  const auto read = [&](Rows& rows) {
    Record record;
    record.id = session;
    record.tenant = rows.id<TenantId>();
    record.subject = rows.text();
    record.created = rows.time();
    record.expires = rows.time();
    record.revoked = rows.boolean();
    sealed = rows.bytes();
    return record;
  };
  CLOISTER_TRY(record, read_one(reading, "session", kGetSession, {session}, read));
  CLOISTER_TRY(state, sealer_.open(reading, record.tenant, cell_of(session), sealed));
  record.state = std::move(state);
  return Result<Record>{std::move(record)};
}

Result<void> Sessions::revoke(Transaction& transaction, const SessionId& session) const {
  return need_change(transaction.run(kRevokeSession, {session}), "session");
}

Result<std::uint64_t> Sessions::revoke_subject(Transaction& transaction, std::string_view subject) const {
  return transaction.run(kRevokeSubject, {subject});
}

namespace nonces {
namespace {
constexpr Sql kIssue{"INSERT INTO nonce (nonce, purpose, expires) VALUES (?1, ?2, ?3)"};
constexpr Sql kConsume{"DELETE FROM nonce WHERE nonce = ?1 AND purpose = ?2 AND expires > ?3"};
constexpr Sql kSweep{"DELETE FROM nonce WHERE expires <= ?1"};
}  // namespace

Result<void> issue(Transaction& transaction, const ByteArray<32>& nonce, std::string_view purpose, UnixTime expires) {
  CLOISTER_CHECK(transaction.run(kIssue, {nonce, purpose, expires}));
  return {};
}

Result<void> consume(Transaction& transaction, const ByteArray<32>& nonce, std::string_view purpose, UnixTime now) {
  CLOISTER_TRY(used, transaction.run(kConsume, {nonce, purpose, now}));
  if (used == 0) return Error{Errc::nonce_invalid, "a nonce that was issued here, is unused and not expired expected"};
  return {};
}

Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now) { return transaction.run(kSweep, {now}); }
}  // namespace nonces

namespace tokens {
namespace {
constexpr Sql kAdd{
    "INSERT INTO token (id, role, tenant, name, created, expires, revoked) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
constexpr Sql kGet{"SELECT id, role, tenant, name, created, expires, revoked FROM token WHERE id = ?1"};
constexpr Sql kList{
    "SELECT id, role, tenant, name, created, expires, revoked FROM token WHERE ?1 IS NULL OR tenant = ?1 "
    "ORDER BY created DESC, rowid DESC"};
constexpr Sql kRevoke{"UPDATE token SET revoked = 1 WHERE id = ?1"};
constexpr Sql kAdministered{"SELECT EXISTS (SELECT 1 FROM token WHERE tenant = ?1 AND role = 'admin')"};

Record read_token(Rows& rows) {
  Record token;
  token.id = rows.text();
  token.role = rows.text();
  token.tenant = rows.id<TenantId>();
  token.name = rows.text();
  token.created = rows.time();
  token.expires = rows.optional_time();
  token.revoked = rows.boolean();
  return token;
}
}  // namespace

Result<void> add(Transaction& transaction, const Record& token) {
  if (!valid_id(token.id) || !valid_id(token.role)) {
    return Error{Errc::invalid_argument, "token: ids for id and role expected"};
  }
  CLOISTER_CHECK(transaction.run(
      kAdd, {token.id, token.role, token.tenant, token.name, token.created, token.expires, token.revoked}));
  return {};
}

Result<Record> get(const Reading& reading, std::string_view id) {
  return read_one(reading, "token", kGet, {id}, read_token);
}

Result<std::vector<Record>> list(const Reading& reading, const std::optional<TenantId>& tenant) {
  return read_all(reading, kList, {tenant}, read_token);
}

Result<bool> administered(const Reading& reading, const TenantId& tenant) {
  return read_one(reading, "token", kAdministered, {tenant}, [](Rows& rows) { return rows.boolean(); });
}

Result<void> revoke(Transaction& transaction, std::string_view id) {
  return need_change(transaction.run(kRevoke, {id}), "token");
}
}  // namespace tokens

namespace settings {
namespace {
constexpr Sql kGet{"SELECT value FROM setting WHERE name = ?1"};
constexpr Sql kSet{
    "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"};
}  // namespace

Result<Bytes> get(const Reading& reading, std::string_view name) {
  return read_one(reading, "setting", kGet, {name}, [](Rows& rows) { return rows.bytes(); });
}

Result<void> set(Transaction& transaction, std::string_view name, ByteView value) {
  CLOISTER_CHECK(transaction.run(kSet, {name, value}));
  return {};
}
}  // namespace settings

}  // namespace cloister::storage
