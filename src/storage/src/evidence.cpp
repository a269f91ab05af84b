#include "cloister/storage/evidence.hpp"

#include "evidence_columns.hpp"
#include "rows.hpp"

namespace cloister::storage::evidence {
namespace {

constexpr Sql kAdd{
    "INSERT INTO evidence (session, appraised, expires, evidence, event_log, configuration, preimage, collateral, "
    "appraisal, kept) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)"};
constexpr Sql kKeep{"UPDATE evidence SET kept = 1 WHERE session = ?1"};
constexpr Sql kPrune{
    "DELETE FROM evidence WHERE kept = 0 AND session IN "
    "(SELECT id FROM session WHERE subject = ?1 ORDER BY created DESC, rowid DESC LIMIT -1 OFFSET ?2)"};
constexpr Sql kPruneSessions{
    "DELETE FROM session WHERE subject = ?1 AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.session = session.id)"};
constexpr Sql kGet{"SELECT " CLOISTER_EVIDENCE_COLUMNS ", e.appraisal FROM evidence e WHERE e.session = ?1"};

}  // namespace

model::InstanceEvidence read_shown(Rows& rows) {
  model::InstanceEvidence shown;
  shown.session = rows.id<SessionId>();
  shown.appraised = rows.time();
  shown.expires = rows.time();
  shown.evidence = rows.bytes();
  shown.event_log = rows.bytes();
  shown.configuration = rows.bytes();
  shown.preimage = rows.bytes();
  shown.collateral = rows.bytes();
  return shown;
}

Result<void> add(Transaction& transaction, const Stored& evidence) {
  const auto& shown = evidence.shown;
  CLOISTER_CHECK(transaction.run(kAdd, {shown.session, shown.appraised, shown.expires, shown.evidence, shown.event_log,
                                        shown.configuration, shown.preimage, shown.collateral, evidence.appraisal}));
  return {};
}

Result<void> keep(Transaction& transaction, const SessionId& session) {
  return need_change(transaction.run(kKeep, {session}), "evidence of the session");
}

Result<void> prune(Transaction& transaction, std::string_view subject, std::uint32_t newest) {
  CLOISTER_CHECK(transaction.run(kPrune, {subject, newest}));
  CLOISTER_CHECK(transaction.run(kPruneSessions, {subject}));
  return {};
}

Result<Stored> get(const Reading& reading, const SessionId& session) {
  return read_one(reading, "evidence of the session", kGet, {session}, [](Rows& rows) {
    Stored stored;
    stored.shown = read_shown(rows);
    stored.appraisal = rows.bytes();
    return stored;
  });
}

}  // namespace cloister::storage::evidence
