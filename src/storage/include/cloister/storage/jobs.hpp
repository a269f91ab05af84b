#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/model/job.hpp"
#include "cloister/storage/database.hpp"

/// The job queue. Every change happens in the caller's transaction, so that it commits together with the caller's
/// audit row, or not at all. Time is the caller's.
///
///   queued <-> awaiting_rewrap      no live instance (starting, attesting, ready) is a recipient
///   queued -> leased -> queued      the lease ended without a result
///   leased -> succeeded | failed    a result, or too many attempts
///   not final -> cancelled | expired
///
/// A lease, and a deadline, end when `expire_leases` and `expire_deadlines` find them over, not by themselves: until
/// then their instance may still bring its result.
namespace cloister::storage::jobs {

enum class AttemptState { leased, succeeded, failed, lost, cancelled };

struct Submitted {
  model::Job job;
  bool created = false;  // false: a retry of a job that is there
};
/// The same idempotency key of a tenant gives the same job when the request hash is the same (recipients that are new
/// are added), else `idempotency_conflict`. `not_found` for an unknown version, `conflict` for one that is not active
/// and for a job id that is taken, `invalid_argument` for a recipient that is no instance of the version.
[[nodiscard]] Result<Submitted> submit(Transaction& transaction, const TenantId& tenant,
                                       const model::JobRequest& request, const Digest32& request_hash, UnixTime now);

/// `not_found`, also for another tenant's when `tenant` is given.
[[nodiscard]] Result<model::Job> get(const Reading& reading, const JobId& job,
                                     const std::optional<TenantId>& tenant = std::nullopt);
/// `not_found` once the job is final: the payload is then erased.
[[nodiscard]] Result<Bytes> ciphertext(const Reading& reading, const JobId& job);

struct Query {
  std::optional<TenantId> tenant = std::nullopt;
  std::optional<VersionId> version = std::nullopt;
  std::optional<model::JobState> state = std::nullopt;
  std::optional<std::uint64_t> before = std::nullopt;  // `next` of the page before this one
  std::uint32_t limit = 100;                           // at most 1000
};
struct Page {
  std::vector<model::Job> jobs;       // newest first
  std::optional<std::uint64_t> next;  // nothing: there are no more
};
[[nodiscard]] Result<Page> list(const Reading& reading, const Query& query);

/// Adds recipients that the job does not have yet; a job that waits for one is queued. Returns the job. `not_found`;
/// `conflict` when it is final; `invalid_argument` for an instance that is not of its version.
[[nodiscard]] Result<model::Job> add_recipients(Transaction& transaction, const JobId& job,
                                                std::span<const model::Recipient> recipients);
/// Ready instances of the job's version that are not its recipients yet, oldest first.
[[nodiscard]] Result<std::vector<InstanceId>> missing_recipients(const Reading& reading, const JobId& job);

struct Lease {
  model::Job job;
  model::Attempt attempt;
  model::Recipient recipient;
  Bytes ciphertext;
};
/// Leases the oldest queued job of the instance's version that the instance is a recipient of and whose deadline is
/// not over; its fence is one more than that of the job's attempt before. Nothing when there is none, or the instance
/// is not ready. `not_found` for an unknown instance.
[[nodiscard]] Result<std::optional<Lease>> lease_next(Transaction& transaction, const InstanceId& instance,
                                                      const AttemptId& attempt, UnixTime now, UnixTime lease_until);
/// Prolongs a lease (never shortens it) and notes the progress (0 to 100). `stale_fence` when attempt and fence are
/// not the job's current lease.
[[nodiscard]] Result<model::Attempt> heartbeat(Transaction& transaction, const AttemptId& attempt, std::uint64_t fence,
                                               std::uint8_t percent, UnixTime lease_until);

enum class Acceptance { accepted, repeated };
/// Takes the one result of a job, from its current lease only: `stale_fence` otherwise. With `failure` the job ends
/// failed (the challenge said so), else succeeded. The very same result again is `repeated`; another one of the same
/// attempt is `conflict`.
[[nodiscard]] Result<Acceptance> accept_result(Transaction& transaction, const model::JobResult& result,
                                               std::uint64_t fence,
                                               const std::optional<std::string>& failure = std::nullopt);
/// `not_found`.
[[nodiscard]] Result<model::JobResult> result(const Reading& reading, const JobId& job);

/// An attempt that ended without a result, and what became of its job.
struct Ended {
  model::Attempt attempt;
  model::JobState job = model::JobState::queued;
};
/// How often a job is tried before it fails as "attempts_exhausted".
struct RetryPolicy {
  std::uint64_t max_attempts = 5;
};
/// The instance did not execute the attempt. `code` becomes the job's failure if it was the last one. `stale_fence`.
[[nodiscard]] Result<Ended> fail_attempt(Transaction& transaction, const AttemptId& attempt, std::uint64_t fence,
                                         const std::string& code, const RetryPolicy& policy, UnixTime now);
/// Ends the leases whose `lease_until` is not after `until`, as of `now`: leases may be counted on another clock.
[[nodiscard]] Result<std::vector<Ended>> expire_leases(Transaction& transaction, const RetryPolicy& policy,
                                                       UnixTime until, UnixTime now);
/// Prolongs every lease to this time at least: the server was away, and the instances may have worked on.
[[nodiscard]] Result<void> prolong_leases(Transaction& transaction, UnixTime lease_until);
/// The instance is gone (its state was set before): ends its leases, and jobs that it was the last live recipient of
/// wait for others.
[[nodiscard]] Result<std::vector<Ended>> release_instance(Transaction& transaction, const InstanceId& instance,
                                                          const RetryPolicy& policy, UnixTime now);
/// Ends the jobs whose deadline is over, and the leases that they had.
struct Expired {
  JobId job;
  std::optional<model::Attempt> attempt;
};
[[nodiscard]] Result<std::vector<Expired>> expire_deadlines(Transaction& transaction, UnixTime now);

struct Cancelled {
  model::Job job;
  std::optional<model::Attempt> attempt;  // the lease that it had
};
/// `not_found`; `conflict` when it is final otherwise; cancelling twice succeeds.
[[nodiscard]] Result<Cancelled> cancel(Transaction& transaction, const JobId& job, UnixTime now);

struct StoredAttempt {
  model::Attempt attempt;
  AttemptState state = AttemptState::leased;
};
/// `not_found`.
[[nodiscard]] Result<StoredAttempt> attempt(const Reading& reading, const AttemptId& attempt);
/// An instance's current leases.
[[nodiscard]] Result<std::vector<model::Attempt>> leases_of(const Reading& reading, const InstanceId& instance);

/// A version's unfinished work.
struct Load {
  std::uint64_t queued = 0;
  std::uint64_t awaiting_rewrap = 0;
  std::uint64_t leased = 0;
  std::optional<UnixTime> oldest_waiting;  // when the oldest job that is not leased was submitted
};
[[nodiscard]] Result<Load> load(const Reading& reading, const VersionId& version);
/// The same of all versions.
[[nodiscard]] Result<Load> load(const Reading& reading);

/// Jobs that are not finished: the tenant's, and all.
struct Unfinished {
  std::uint64_t of_tenant = 0;
  std::uint64_t total = 0;
};
[[nodiscard]] Result<Unfinished> unfinished(const Reading& reading, const TenantId& tenant);

}  // namespace cloister::storage::jobs
