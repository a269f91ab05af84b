#include "cloister/storage/jobs.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/model/fleet.hpp"
#include "rows.hpp"

namespace cloister::storage::jobs {
namespace {

#define CLOISTER_JOB_COLUMNS                                                                                 \
  "j.seq, j.id, j.tenant, j.version, j.idempotency_key, j.request_hash, j.salt, j.input_commitment,"         \
  " j.commitment_key_digest, j.ciphertext_digest, j.state, j.attempts, j.progress, j.submitted, j.deadline," \
  " j.finished, j.failure"
#define CLOISTER_ATTEMPT_COLUMNS "a.job, a.state, a.id, j.id, i.id, a.fence, a.leased, a.lease_until"
#define CLOISTER_ATTEMPT_TABLES " FROM attempt a JOIN job j ON j.seq = a.job JOIN instance i ON i.seq = a.instance"
#define CLOISTER_LIVE "i.state IN ('starting', 'attesting', 'ready')"

constexpr Sql kVersionActive{"SELECT active FROM version WHERE id = ?1"};
constexpr Sql kByKey{"SELECT " CLOISTER_JOB_COLUMNS " FROM job j WHERE j.tenant = ?1 AND j.idempotency_key = ?2"};
constexpr Sql kById{"SELECT " CLOISTER_JOB_COLUMNS " FROM job j WHERE j.id = ?1"};
constexpr Sql kBySeq{"SELECT " CLOISTER_JOB_COLUMNS " FROM job j WHERE j.seq = ?1"};
constexpr Sql kPage{"SELECT " CLOISTER_JOB_COLUMNS
                    " FROM job j WHERE (?1 IS NULL OR j.tenant = ?1) AND (?2 IS NULL OR j.version = ?2)"
                    " AND (?3 IS NULL OR j.state = ?3) AND (?4 IS NULL OR j.seq < ?4) ORDER BY j.seq DESC LIMIT ?5"};
constexpr Sql kAdd{
    "INSERT INTO job (id, tenant, version, idempotency_key, request_hash, salt, input_commitment, "
    "commitment_key_digest, ciphertext_digest, state, attempts, progress, submitted, deadline) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'awaiting_rewrap', 0, 0, ?10, ?11)"};
constexpr Sql kAddPayload{"INSERT INTO job_payload (job, ciphertext) SELECT seq, ?2 FROM job WHERE id = ?1"};
constexpr Sql kCiphertext{"SELECT p.ciphertext FROM job j JOIN job_payload p ON p.job = j.seq WHERE j.id = ?1"};

constexpr Sql kInstanceOfVersion{"SELECT seq FROM instance WHERE id = ?1 AND version = ?2"};
constexpr Sql kAddRecipient{
    "INSERT INTO recipient (instance, job, enc, sealed_key) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"};
constexpr Sql kMissingRecipients{
    "SELECT i.id FROM job j JOIN instance i ON i.version = j.version WHERE j.id = ?1 AND i.state = 'ready' "
    "AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.instance = i.seq AND r.job = j.seq) ORDER BY i.seq"};
constexpr Sql kLiveRecipient{
    "SELECT EXISTS (SELECT 1 FROM recipient r JOIN instance i ON i.seq = r.instance "
    "WHERE r.job = ?1 AND " CLOISTER_LIVE ")"};

constexpr Sql kInstanceState{"SELECT seq, state FROM instance WHERE id = ?1"};
// From the instance's recipients in order of submission: only unfinished jobs have recipients.
constexpr Sql kNextJob{"SELECT " CLOISTER_JOB_COLUMNS
                       " FROM recipient r CROSS JOIN job j ON j.seq = r.job WHERE r.instance = ?1"
                       " AND j.state = 'queued' AND j.deadline > ?2 ORDER BY r.job LIMIT 1"};
constexpr Sql kLeaseJob{"UPDATE job SET state = 'leased', attempts = ?2, progress = 0 WHERE seq = ?1"};
constexpr Sql kAddAttempt{
    "INSERT INTO attempt (id, job, instance, fence, leased, lease_until, state) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'leased')"};
constexpr Sql kRecipient{
    "SELECT i.id, r.enc, r.sealed_key FROM recipient r JOIN instance i ON i.seq = r.instance "
    "WHERE r.instance = ?1 AND r.job = ?2"};

constexpr Sql kAttempt{"SELECT " CLOISTER_ATTEMPT_COLUMNS CLOISTER_ATTEMPT_TABLES " WHERE a.id = ?1"};
constexpr Sql kLeaseOfJob{"SELECT " CLOISTER_ATTEMPT_COLUMNS CLOISTER_ATTEMPT_TABLES
                          " WHERE a.job = ?1 AND a.state = 'leased'"};
constexpr Sql kLeasesOf{"SELECT " CLOISTER_ATTEMPT_COLUMNS CLOISTER_ATTEMPT_TABLES
                        " WHERE i.id = ?1 AND a.state = 'leased' ORDER BY a.leased, a.rowid"};
constexpr Sql kLeasesOver{"SELECT " CLOISTER_ATTEMPT_COLUMNS CLOISTER_ATTEMPT_TABLES
                          " WHERE a.state = 'leased' AND a.lease_until <= ?1 ORDER BY a.lease_until, a.rowid"};
constexpr Sql kProlong{"UPDATE attempt SET lease_until = MAX(lease_until, ?2) WHERE id = ?1"};
constexpr Sql kProlongAll{"UPDATE attempt SET lease_until = MAX(lease_until, ?1) WHERE state = 'leased'"};
constexpr Sql kSetProgress{"UPDATE job SET progress = ?2 WHERE seq = ?1"};
constexpr Sql kEndAttempt{"UPDATE attempt SET state = ?2 WHERE id = ?1"};

constexpr Sql kSetState{"UPDATE job SET state = ?2, progress = 0 WHERE seq = ?1"};
constexpr Sql kFinish{
    "UPDATE job SET state = ?2, finished = ?3, failure = ?4, progress = CASE ?2 WHEN 'succeeded' THEN 100 "
    "ELSE progress END WHERE seq = ?1"};
constexpr Sql kErasePayload{"DELETE FROM job_payload WHERE job = ?1"};
constexpr Sql kEraseRecipients{"DELETE FROM recipient WHERE job = ?1"};

constexpr Sql kAddResult{
    "INSERT INTO result (job, attempt, envelope, signature, enc, sealed_output, accepted) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
constexpr Sql kResult{
    "SELECT j.id, r.attempt, r.envelope, r.signature, r.enc, r.sealed_output, r.accepted "
    "FROM job j JOIN result r ON r.job = j.seq WHERE j.id = ?1"};

constexpr Sql kQueuedOfInstance{
    "SELECT j.seq FROM recipient r JOIN job j ON j.seq = r.job JOIN instance i ON i.seq = r.instance "
    "WHERE i.id = ?1 AND j.state = 'queued' ORDER BY j.seq"};
constexpr Sql kDeadlineOver{"SELECT " CLOISTER_JOB_COLUMNS
                            " FROM job j WHERE j.finished IS NULL AND j.deadline <= ?1 ORDER BY j.deadline, j.seq"};
constexpr Sql kUnfinished{
    "SELECT COUNT(*) FILTER (WHERE tenant = ?1), COUNT(*) FROM job INDEXED BY job_unfinished WHERE finished IS NULL"};
#define CLOISTER_LOAD                                                                                      \
  "SELECT COUNT(*) FILTER (WHERE state = 'queued'), COUNT(*) FILTER (WHERE state = 'awaiting_rewrap'), "   \
  "COUNT(*) FILTER (WHERE state = 'leased'), MIN(submitted) FILTER (WHERE state <> 'leased') FROM job "
constexpr Sql kLoad{CLOISTER_LOAD "WHERE version = ?1 AND state IN ('queued', 'awaiting_rewrap', 'leased')"};
constexpr Sql kWholeLoad{CLOISTER_LOAD "WHERE finished IS NULL"};
#undef CLOISTER_LOAD
#undef CLOISTER_JOB_COLUMNS
#undef CLOISTER_ATTEMPT_COLUMNS
#undef CLOISTER_ATTEMPT_TABLES
#undef CLOISTER_LIVE

constexpr std::uint32_t kMaxPage = 1000;
constexpr const char* kAttemptsExhausted = "attempts_exhausted";
constexpr const char* kDeadlineExceeded = "deadline_exceeded";

/// A job and its place in the order of submission, which other tables name it by.
struct Row {
  std::uint64_t seq = 0;
  model::Job job;
};

struct AttemptRow {
  std::uint64_t job_seq = 0;
  StoredAttempt stored;
};

std::string_view to_string(AttemptState state) noexcept {
  switch (state) {
    case AttemptState::leased:
      return "leased";
    case AttemptState::succeeded:
      return "succeeded";
    case AttemptState::failed:
      return "failed";
    case AttemptState::lost:
      return "lost";
    case AttemptState::cancelled:
      return "cancelled";
  }
  CLOISTER_ASSERT(false);
}

std::optional<AttemptState> attempt_state_from(std::string_view text) noexcept {
  using enum AttemptState;
  for (const auto state : {leased, succeeded, failed, lost, cancelled}) {
    if (to_string(state) == text) return state;
  }
  return std::nullopt;
}

Row read_job(Rows& rows) {
  Row row;
  row.seq = rows.uint();
  auto& job = row.job;
  job.id = rows.id<JobId>();
  job.tenant = rows.id<TenantId>();
  job.version = rows.id<VersionId>();
  job.idempotency_key = rows.text();
  job.request_hash = rows.array<32>();
  job.salt = rows.array<32>();
  job.input_commitment = rows.array<32>();
  job.commitment_key_digest = rows.array<32>();
  job.ciphertext_digest = rows.array<32>();
  job.state = read_name(
      rows, +[](std::string_view text) { return model::job_state_from(text); });
  job.attempts = rows.uint();
  job.progress = static_cast<std::uint8_t>(rows.uint());
  job.submitted = rows.time();
  job.deadline = rows.time();
  job.finished = rows.optional_time();
  job.failure = rows.optional_text();
  return row;
}

AttemptRow read_attempt(Rows& rows) {
  AttemptRow row;
  row.job_seq = rows.uint();
  row.stored.state = read_name(rows, attempt_state_from);
  auto& attempt = row.stored.attempt;
  attempt.id = rows.id<AttemptId>();
  attempt.job = rows.id<JobId>();
  attempt.instance = rows.id<InstanceId>();
  attempt.fence = rows.uint();
  attempt.leased = rows.time();
  attempt.lease_until = rows.time();
  return row;
}

model::JobResult read_result(Rows& rows) {
  model::JobResult result;
  result.job = rows.id<JobId>();
  result.attempt = rows.id<AttemptId>();
  result.envelope = rows.bytes();
  result.signature = rows.array<64>();
  result.enc = rows.array<32>();
  result.sealed_output = rows.bytes();
  result.accepted = rows.time();
  return result;
}

std::uint64_t read_uint(Rows& rows) { return rows.uint(); }

Result<Row> row_of(const Reading& reading, const JobId& job) {
  return read_one(reading, "job", kById, {job}, read_job);
}

Result<void> add_recipients_to(Transaction& transaction, const Row& row, std::span<const model::Recipient> recipients) {
  for (const auto& recipient : recipients) {
    const auto instance =
        read_one(transaction, "instance", kInstanceOfVersion, {recipient.instance, row.job.version}, read_uint);
    if (!instance && instance.error().code() == Errc::not_found) {
      return Error{Errc::invalid_argument,
                   "recipient " + recipient.instance.str() + " is no instance of version " + row.job.version.str()};
    }
    if (!instance) return instance.error();
    CLOISTER_CHECK(transaction.run(kAddRecipient, {*instance, row.seq, recipient.enc, recipient.sealed_key}));
  }
  return {};
}

/// Puts a job that is not leased where it belongs: queued while a live instance can open it, else awaiting_rewrap.
Result<model::JobState> requeue(Transaction& transaction, std::uint64_t seq) {
  CLOISTER_TRY(live, read_one(transaction, "job", kLiveRecipient, {seq}, [](Rows& rows) { return rows.boolean(); }));
  const auto state = live ? model::JobState::queued : model::JobState::awaiting_rewrap;
  CLOISTER_CHECK(transaction.run(kSetState, {seq, model::to_string(state)}));
  return state;
}

/// Ends a job: payload and recipients go.
Result<void> finish(Transaction& transaction, std::uint64_t seq, model::JobState state, UnixTime now,
                    const std::optional<std::string>& failure) {
  CLOISTER_ASSERT(model::is_final(state));
  CLOISTER_CHECK(transaction.run(kFinish, {seq, model::to_string(state), now, failure}));
  CLOISTER_CHECK(transaction.run(kErasePayload, {seq}));
  CLOISTER_CHECK(transaction.run(kEraseRecipients, {seq}));
  return {};
}

Result<void> end_attempt(Transaction& transaction, const AttemptId& attempt, AttemptState state) {
  CLOISTER_CHECK(transaction.run(kEndAttempt, {attempt, to_string(state)}));
  return {};
}

/// The attempt, if it is its job's current lease and has this fence; else `stale_fence`.
Result<AttemptRow> current_lease(const Reading& reading, const AttemptId& attempt, std::uint64_t fence) {
  auto row = read_one(reading, "attempt", kAttempt, {attempt}, read_attempt);
  if (!row && row.error().code() != Errc::not_found) return row;
  if (!row || row->stored.attempt.fence != fence || row->stored.state != AttemptState::leased) {
    return Error{Errc::stale_fence, "attempt and fence of the job's current lease expected"};
  }
  return row;
}

/// Ends a lease without a result, and lets the job be tried again, or fail.
Result<Ended> give_up(Transaction& transaction, const AttemptRow& row, AttemptState state, const std::string& failure,
                      const RetryPolicy& policy, UnixTime now) {
  const auto& attempt = row.stored.attempt;
  CLOISTER_CHECK(end_attempt(transaction, attempt.id, state));
  if (attempt.fence >= policy.max_attempts) {
    CLOISTER_CHECK(finish(transaction, row.job_seq, model::JobState::failed, now, failure));
    return Ended{attempt, model::JobState::failed};
  }
  CLOISTER_TRY(next, requeue(transaction, row.job_seq));
  return Ended{attempt, next};
}

/// The lease of a job that ends now, if it has one; the lease ends too.
Result<std::optional<model::Attempt>> end_lease_of(Transaction& transaction, std::uint64_t seq, AttemptState state) {
  CLOISTER_TRY(leases, read_all(transaction, kLeaseOfJob, {seq}, read_attempt));
  if (leases.empty()) return std::optional<model::Attempt>{};
  auto& attempt = leases.front().stored.attempt;
  CLOISTER_CHECK(end_attempt(transaction, attempt.id, state));
  return std::optional{std::move(attempt)};
}

bool same_result(const model::JobResult& a, const model::JobResult& b) {
  return a.job == b.job && a.attempt == b.attempt && a.envelope == b.envelope && a.signature == b.signature &&
         a.enc == b.enc && a.sealed_output == b.sealed_output;
}

Result<Row> insert(Transaction& transaction, const TenantId& tenant, const model::JobRequest& request,
                   const Digest32& request_hash, UnixTime now) {
  const auto active =
      read_one(transaction, "version", kVersionActive, {request.version}, [](Rows& rows) { return rows.boolean(); });
  if (!active) return active.error();
  if (!*active) return Error{Errc::conflict, "version " + request.version.str() + " is not active: it takes no jobs"};
  const auto taken = row_of(transaction, request.job);
  if (taken) return Error{Errc::conflict, "the job id is taken"};
  if (taken.error().code() != Errc::not_found) return taken.error();
  CLOISTER_CHECK(transaction.run(kAdd, {request.job, tenant, request.version, request.idempotency_key, request_hash,
                                        request.salt, request.input_commitment, request.commitment_key_digest,
                                        crypto::sha256(request.ciphertext), now, now + request.deadline}));
  CLOISTER_CHECK(transaction.run(kAddPayload, {request.job, request.ciphertext}));
  return row_of(transaction, request.job);
}

/// Adds recipients and queues the job where that makes it ready.
Result<model::Job> extend(Transaction& transaction, const Row& row, std::span<const model::Recipient> recipients) {
  CLOISTER_CHECK(add_recipients_to(transaction, row, recipients));
  auto job = row.job;
  if (job.state == model::JobState::awaiting_rewrap) {
    CLOISTER_TRY(state, requeue(transaction, row.seq));
    job.state = state;
  }
  return job;
}

Load read_load(Rows& rows) {
  Load load;
  load.queued = rows.uint();
  load.awaiting_rewrap = rows.uint();
  load.leased = rows.uint();
  load.oldest_waiting = rows.optional_time();
  return load;
}

}  // namespace

Result<Submitted> submit(Transaction& transaction, const TenantId& tenant, const model::JobRequest& request,
                         const Digest32& request_hash, UnixTime now) {
  auto known = read_one(transaction, "job", kByKey, {tenant, request.idempotency_key}, read_job);
  if (!known && known.error().code() != Errc::not_found) return known.error();
  const bool created = !known;
  if (created) {
    known = insert(transaction, tenant, request, request_hash, now);
    if (!known) return known.error();
  } else if (known->job.request_hash != request_hash) {
    return Error{Errc::idempotency_conflict, "the idempotency key belongs to another request"};
  }
  if (model::is_final(known->job.state)) return Submitted{std::move(known->job), created};
  CLOISTER_TRY(job, extend(transaction, *known, request.recipients));
  return Submitted{std::move(job), created};
}

Result<model::Job> get(const Reading& reading, const JobId& job, const std::optional<TenantId>& tenant) {
  CLOISTER_TRY(row, row_of(reading, job));
  if (tenant && row.job.tenant != *tenant) return Error{Errc::not_found, "job"};
  return std::move(row.job);
}

Result<Bytes> ciphertext(const Reading& reading, const JobId& job) {
  return read_one(reading, "payload of the job", kCiphertext, {job}, [](Rows& rows) { return rows.bytes(); });
}

Result<Page> list(const Reading& reading, const Query& query) {
  std::optional<std::string_view> state;
  if (query.state) state = model::to_string(*query.state);
  const auto limit = std::clamp(query.limit, 1U, kMaxPage);
  // One more than asked for tells whether there are more.
  CLOISTER_TRY(rows, read_all(reading, kPage, {query.tenant, query.version, state, query.before, limit + 1}, read_job));
  Page page;
  if (rows.size() > limit) {
    rows.pop_back();
    page.next = rows.back().seq;
  }
  for (auto& row : rows) page.jobs.push_back(std::move(row.job));
  return page;
}

Result<model::Job> add_recipients(Transaction& transaction, const JobId& job,
                                  std::span<const model::Recipient> recipients) {
  CLOISTER_TRY(row, row_of(transaction, job));
  if (model::is_final(row.job.state)) {
    return Error{Errc::conflict, "the job is " + std::string{model::to_string(row.job.state)}};
  }
  return extend(transaction, row, recipients);
}

Result<std::vector<InstanceId>> missing_recipients(const Reading& reading, const JobId& job) {
  return read_all(reading, kMissingRecipients, {job}, [](Rows& rows) { return rows.id<InstanceId>(); });
}

Result<std::optional<Lease>> lease_next(Transaction& transaction, const InstanceId& instance, const AttemptId& attempt,
                                        UnixTime now, UnixTime lease_until) {
  struct Known {
    std::uint64_t seq = 0;
    std::string state;
  };
  CLOISTER_TRY(known, read_one(transaction, "instance", kInstanceState, {instance}, [](Rows& rows) {
                 Known out;
                 out.seq = rows.uint();
                 out.state = rows.text();
                 return out;
               }));
  if (known.state != model::to_string(model::InstanceState::ready)) return std::optional<Lease>{};
  CLOISTER_TRY(found, read_all(transaction, kNextJob, {known.seq, now}, read_job));
  if (found.empty()) return std::optional<Lease>{};

  Lease lease;
  const auto seq = found.front().seq;
  lease.job = std::move(found.front().job);
  lease.job.state = model::JobState::leased;
  lease.job.attempts += 1;
  lease.job.progress = 0;
  lease.attempt = {attempt, lease.job.id, instance, lease.job.attempts, now, lease_until};
  CLOISTER_CHECK(transaction.run(kLeaseJob, {seq, lease.job.attempts}));
  CLOISTER_CHECK(transaction.run(kAddAttempt, {attempt, seq, known.seq, lease.attempt.fence, now, lease_until}));
  CLOISTER_TRY(recipient, read_one(transaction, "recipient", kRecipient, {known.seq, seq}, [](Rows& rows) {
                 model::Recipient out;
                 out.instance = rows.id<InstanceId>();
                 out.enc = rows.array<32>();
                 out.sealed_key = rows.bytes();
                 return out;
               }));
  CLOISTER_TRY(payload, ciphertext(transaction, lease.job.id));
  lease.recipient = std::move(recipient);
  lease.ciphertext = std::move(payload);
  return std::optional{std::move(lease)};
}

Result<model::Attempt> heartbeat(Transaction& transaction, const AttemptId& attempt, std::uint64_t fence,
                                 std::uint8_t percent, UnixTime lease_until) {
  if (percent > 100) return Error{Errc::invalid_argument, "progress: 0 to 100 expected"};
  CLOISTER_TRY(row, current_lease(transaction, attempt, fence));
  CLOISTER_CHECK(transaction.run(kProlong, {attempt, lease_until}));
  CLOISTER_CHECK(transaction.run(kSetProgress, {row.job_seq, std::uint32_t{percent}}));
  auto prolonged = std::move(row.stored.attempt);
  prolonged.lease_until = std::max(prolonged.lease_until, lease_until);
  return prolonged;
}

Result<Acceptance> accept_result(Transaction& transaction, const model::JobResult& accepted, std::uint64_t fence,
                                 const std::optional<std::string>& failure) {
  const auto known = result(transaction, accepted.job);
  if (!known && known.error().code() != Errc::not_found) return known.error();
  if (known && known->attempt == accepted.attempt) {
    if (same_result(*known, accepted)) return Acceptance::repeated;
    return Error{Errc::conflict, "another result of this attempt was accepted"};
  }
  CLOISTER_TRY(row, current_lease(transaction, accepted.attempt, fence));
  if (row.stored.attempt.job != accepted.job) {
    return Error{Errc::stale_fence, "attempt and fence of the job's current lease expected"};
  }
  CLOISTER_CHECK(transaction.run(kAddResult, {row.job_seq, accepted.attempt, accepted.envelope, accepted.signature,
                                              accepted.enc, accepted.sealed_output, accepted.accepted}));
  CLOISTER_CHECK(end_attempt(transaction, accepted.attempt, AttemptState::succeeded));
  const auto state = failure ? model::JobState::failed : model::JobState::succeeded;
  CLOISTER_CHECK(finish(transaction, row.job_seq, state, accepted.accepted, failure));
  return Acceptance::accepted;
}

Result<model::JobResult> result(const Reading& reading, const JobId& job) {
  return read_one(reading, "result of the job", kResult, {job}, read_result);
}

Result<Ended> fail_attempt(Transaction& transaction, const AttemptId& attempt, std::uint64_t fence,
                           const std::string& code, const RetryPolicy& policy, UnixTime now) {
  CLOISTER_TRY(row, current_lease(transaction, attempt, fence));
  return give_up(transaction, row, AttemptState::failed, code, policy, now);
}

Result<std::vector<Ended>> expire_leases(Transaction& transaction, const RetryPolicy& policy, UnixTime until,
                                         UnixTime now) {
  CLOISTER_TRY(over, read_all(transaction, kLeasesOver, {until}, read_attempt));
  std::vector<Ended> ended;
  for (const auto& row : over) {
    CLOISTER_TRY(end, give_up(transaction, row, AttemptState::lost, kAttemptsExhausted, policy, now));
    ended.push_back(std::move(end));
  }
  return ended;
}

Result<void> prolong_leases(Transaction& transaction, UnixTime lease_until) {
  CLOISTER_CHECK(transaction.run(kProlongAll, {lease_until}));
  return {};
}

Result<std::vector<Ended>> release_instance(Transaction& transaction, const InstanceId& instance,
                                            const RetryPolicy& policy, UnixTime now) {
  CLOISTER_TRY(leases, read_all(transaction, kLeasesOf, {instance}, read_attempt));
  std::vector<Ended> ended;
  for (const auto& row : leases) {
    CLOISTER_TRY(end, give_up(transaction, row, AttemptState::lost, kAttemptsExhausted, policy, now));
    ended.push_back(std::move(end));
  }
  CLOISTER_TRY(queued, read_all(transaction, kQueuedOfInstance, {instance}, read_uint));
  for (const auto seq : queued) CLOISTER_CHECK(requeue(transaction, seq));
  return ended;
}

Result<std::vector<Expired>> expire_deadlines(Transaction& transaction, UnixTime now) {
  CLOISTER_TRY(over, read_all(transaction, kDeadlineOver, {now}, read_job));
  std::vector<Expired> expired;
  for (auto& row : over) {
    CLOISTER_TRY(lease, end_lease_of(transaction, row.seq, AttemptState::lost));
    CLOISTER_CHECK(finish(transaction, row.seq, model::JobState::expired, now, kDeadlineExceeded));
    expired.push_back({std::move(row.job.id), std::move(lease)});
  }
  return expired;
}

Result<Cancelled> cancel(Transaction& transaction, const JobId& job, UnixTime now) {
  CLOISTER_TRY(row, row_of(transaction, job));
  if (row.job.state == model::JobState::cancelled) return Cancelled{std::move(row.job), std::nullopt};
  if (model::is_final(row.job.state)) {
    return Error{Errc::conflict, "the job is " + std::string{model::to_string(row.job.state)}};
  }
  CLOISTER_TRY(lease, end_lease_of(transaction, row.seq, AttemptState::cancelled));
  CLOISTER_CHECK(finish(transaction, row.seq, model::JobState::cancelled, now, std::nullopt));
  CLOISTER_TRY(ended, read_one(transaction, "job", kBySeq, {row.seq}, read_job));
  return Cancelled{std::move(ended.job), std::move(lease)};
}

Result<StoredAttempt> attempt(const Reading& reading, const AttemptId& attempt) {
  CLOISTER_TRY(row, read_one(reading, "attempt", kAttempt, {attempt}, read_attempt));
  return std::move(row.stored);
}

Result<std::vector<model::Attempt>> leases_of(const Reading& reading, const InstanceId& instance) {
  CLOISTER_TRY(rows, read_all(reading, kLeasesOf, {instance}, read_attempt));
  std::vector<model::Attempt> leases;
  for (auto& row : rows) leases.push_back(std::move(row.stored.attempt));
  return leases;
}

Result<Load> load(const Reading& reading, const VersionId& version) {
  return read_one(reading, "load", kLoad, {version}, read_load);
}

Result<Load> load(const Reading& reading) { return read_one(reading, "load", kWholeLoad, {}, read_load); }

Result<Unfinished> unfinished(const Reading& reading, const TenantId& tenant) {
  return read_one(reading, "unfinished jobs", kUnfinished, {tenant}, [](Rows& rows) {
    Unfinished out;
    out.of_tenant = rows.uint();
    out.total = rows.uint();
    return out;
  });
}

}  // namespace cloister::storage::jobs
