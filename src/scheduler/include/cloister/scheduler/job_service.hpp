#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/audit/refusals.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/metrics/families.hpp"
#include "cloister/model/job.hpp"
#include "cloister/protocol/messages.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/session/attested.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/jobs.hpp"

namespace cloister::scheduler {

inline constexpr std::string_view kResultAccepted = "result.accepted";  // subject: the job
inline constexpr std::string_view kJobCancelled = "job.cancelled";
/// The failure of a job whose challenge answered more than its version may.
inline constexpr std::string_view kOutputTooLarge = "output_too_large";

/// What became of jobs without their instances' doing: whom to tell that an attempt is over.
struct Ended {
  std::vector<model::Attempt> lost;      // with their instance, or because nobody prolonged their leases
  std::vector<model::Attempt> attempts;  // of jobs whose deadline is over
};

/// The job queue with its rules. Calls block on the database. Thread-safe; what it is made from outlives it.
///
/// Dates (sessions, deadlines, what records say) are the caller's wall clock; leases are counted by the steady clock, so
/// that a jump of the wall clock neither ends one nor keeps one.
class JobService {
 public:
  struct Options {
    std::chrono::milliseconds lease{30'000};
    std::uint64_t max_attempts = 5;
    // Unfinished jobs.
    std::uint64_t max_jobs_of_tenant = 2'000;
    std::uint64_t max_jobs = 10'000;
    /// Counts the results that are refused, which an instance can bring as many of as it likes; may be null.
    audit::Refusals* refusals = nullptr;
  };
  JobService(storage::Database& database, audit::Log& log, Random& random, const Clock& clock, Options options)
      : database_{database},
        log_{log},
        random_{random},
        clock_{clock},
        options_{options},
        began_{clock.now()},
        steady_began_{clock.steady()} {}

  /// Notified whenever a job may have changed.
  [[nodiscard]] runtime::AsyncEvent& changed() noexcept { return changed_; }

  /// Acknowledged means on disk. `limit_exceeded` for a payload beyond the version's limit; `rate_limited` and
  /// `overloaded` for a new job while the tenant, or all of them, have as many unfinished ones as they may; else what
  /// `storage::jobs::submit` refuses.
  [[nodiscard]] Result<storage::jobs::Submitted> submit(const TenantId& tenant, const model::JobRequest& request,
                                                        UnixTime now);
  [[nodiscard]] Result<model::Job> get(const TenantId& tenant, const JobId& job) const;
  [[nodiscard]] Result<storage::jobs::Page> list(const storage::jobs::Query& query) const;
  /// Ready instances that the job is not yet sealed to.
  [[nodiscard]] Result<std::vector<InstanceId>> missing_recipients(const JobId& job) const;
  [[nodiscard]] Result<model::Job> add_recipients(const TenantId& tenant, const JobId& job,
                                                  std::span<const model::Recipient> recipients);
  [[nodiscard]] Result<storage::jobs::Cancelled> cancel(const TenantId& tenant, const JobId& job, std::string_view who,
                                                        UnixTime now);
  [[nodiscard]] Result<model::JobResult> result(const TenantId& tenant, const JobId& job) const;

  /// The next job for an instance, as the message that assigns it; nothing when there is none for it. Here and below:
  /// `session_expired` outside the session's time, `permission_denied` for another instance's attempt.
  [[nodiscard]] Result<std::optional<protocol::AssignJob>> lease(const session::AttestedSession& session,
                                                                 UnixTime now);
  /// What an instance has leased, also over connections before this one.
  [[nodiscard]] Result<std::vector<model::Attempt>> leases(const InstanceId& instance) const;
  /// Every lease lasts so long from now at least: the server was away, and the instances may have worked on.
  [[nodiscard]] Result<void> prolong_leases(std::chrono::milliseconds span);
  /// `stale_fence` when the attempt is not the job's current one.
  [[nodiscard]] Result<void> heartbeat(const session::AttestedSession& session, const protocol::Heartbeat& beat,
                                       UnixTime now);
  [[nodiscard]] Result<void> fail(const session::AttestedSession& session, const protocol::AttemptFailed& failed,
                                  UnixTime now);
  /// Takes a result after every check: this session's and instance's attempt, current fence, envelope about this very
  /// job and session (or an earlier one of the same instance and keys, in which the work was done), signed by the result key in the evidence, commitment equal to the job's, sealed output equal to
  /// its digest and within the version's limit, times within the session. `envelope_invalid` with what differs,
  /// `signature_invalid`, `stale_fence`. Stored when this returns success; the same result again succeeds. An output
  /// beyond the limit is `limit_exceeded` and fails the job: it would be no smaller elsewhere.
  [[nodiscard]] Result<void> accept(const session::AttestedSession& session, const protocol::SubmitResult& result,
                                    UnixTime now);

  /// The instance is lost, refused or stopped, and why; its jobs go to other recipients, or wait for some. All of it in
  /// one transaction. `conflict` when it ended otherwise before.
  [[nodiscard]] Result<Ended> end_instance(const InstanceId& instance, model::InstanceState state,
                                           const std::string& failure, UnixTime now);
  /// Ends leases and deadlines that are over. To be called about once a second.
  [[nodiscard]] Result<Ended> tick(UnixTime now);
  /// How long jobs waited, were leased and took. Thread-safe.
  void write_metrics(metrics::TextWriter& out) const;

 private:
  [[nodiscard]] UnixTime lease_time() const;
  [[nodiscard]] Result<void> take(const session::AttestedSession& session, const protocol::SubmitResult& result,
                                  UnixTime now);
  void observe_lease(const model::Attempt& attempt, std::string_view outcome, UnixTime now);
  void observe_end(const model::Job& job);
  storage::Database& database_;
  audit::Log& log_;
  Random& random_;
  const Clock& clock_;
  Options options_;
  UnixTime began_;
  SteadyTime steady_began_;
  runtime::AsyncEvent changed_;
  metrics::Histograms waited_{"cloister_job_wait_duration_seconds", "From a job's submission to its first lease."};
  metrics::Histograms leased_{"cloister_job_lease_duration_seconds", "From a lease to its end.", {"outcome"}};
  metrics::Histograms took_{"cloister_job_duration_seconds", "From a job's submission to its end.", {"state"}};
};

}  // namespace cloister::scheduler
