#include "cloister/scheduler/job_service.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/protocol/job.hpp"
#include "cloister/protocol/report_data.hpp"
#include "cloister/protocol/times.hpp"
#include "cloister/storage/challenges.hpp"
#include "cloister/storage/evidence.hpp"
#include "cloister/storage/fleet.hpp"

namespace cloister::scheduler {
namespace {

namespace jobs = storage::jobs;

/// Clocks of instances may differ from ours by this much.
constexpr std::chrono::seconds kSkew{60};
/// A payload grows by the head of its CBOR array, two keys of 32 bytes, its own head, and the tag.
constexpr std::uint64_t kTag = 16;
constexpr std::uint64_t sealed_payload_size(std::uint64_t payload) {
  const std::uint64_t head = payload < 24 ? 1 : payload <= UINT8_MAX ? 2 : payload <= UINT16_MAX ? 3 : 5;
  return 1 + 2 * (2 + 32) + head + payload + kTag;
}

Error invalid(std::string_view what) {
  return Error{Errc::envelope_invalid, "the envelope is about another " + std::string{what}};
}

/// A session is good from its appraisal to its end; before it, too, once the clock went back: a receipt would not hold.
Result<void> check_time(const session::AttestedSession& session, UnixTime now) {
  if (now + kSkew < session.opened()) return Error{Errc::session_expired, "the session was opened later than now"};
  if (now >= session.expires()) return Error{Errc::session_expired, "the session has expired"};
  return {};
}

/// Everything that an envelope must say, given the attempt and job that it answers.
Result<void> check_envelope(const protocol::Envelope& e, const session::AttestedSession& session,
                            const model::Attempt& attempt, const model::Job& job) {
  if (e.instance != session.instance() || attempt.instance != session.instance()) return invalid("instance");
  if (e.version != session.version() || e.version != job.version) return invalid("version");
  if (e.image_digest != session.image_digest()) return invalid("image");
  if (e.attempt != attempt.id) return invalid("attempt");
  if (e.job != job.id) return invalid("job");
  if (e.fence != attempt.fence) return Error{Errc::stale_fence, "the envelope's fence is not the attempt's"};
  if (e.input_commitment != job.input_commitment) return invalid("input");
  return {};
}

/// That the envelope names this session, or an earlier one of the same instance and key, and the work was done in it.
Result<void> check_session(const storage::Reading& reading, const protocol::Envelope& e,
                           const session::AttestedSession& session) {
  auto opened = session.opened();
  auto expires = session.expires();
  if (e.session != session.id()) {
    const auto earlier = storage::evidence::get(reading, e.session);
    if (!earlier) return invalid("session");
    CLOISTER_TRY(preimage, protocol::decode_preimage(earlier->shown.preimage));
    if (preimage.instance != session.instance()) return invalid("session");
    if (preimage.key(protocol::kResultUse, "ed25519") != session.result_key()) return invalid("session");
    opened = earlier->shown.appraised;
    expires = earlier->shown.expires;
  }
  if (!protocol::within_session(e.started, e.finished, opened, expires)) return invalid("time");
  return {};
}

/// A job more, which is counted already, must still be one of those that may wait.
Result<void> check_room(const storage::Reading& reading, const TenantId& tenant, const JobService::Options& options) {
  CLOISTER_TRY(unfinished, jobs::unfinished(reading, tenant));
  if (unfinished.of_tenant > options.max_jobs_of_tenant) {
    return Error{Errc::rate_limited, "at most " + std::to_string(options.max_jobs_of_tenant) +
                                         " unfinished jobs of a tenant: wait for some to end"};
  }
  if (unfinished.total > options.max_jobs) return Error{Errc::overloaded, "the queue is full"};
  return {};
}

std::vector<model::Attempt> attempts_of(std::vector<jobs::Ended> leases) {
  std::vector<model::Attempt> out;
  for (auto& ended : leases) out.push_back(std::move(ended.attempt));
  return out;
}

/// The jobs of attempts that ended, as they are now.
Result<std::vector<model::Job>> jobs_of(const storage::Reading& reading, const std::vector<jobs::Ended>& list) {
  std::vector<model::Job> out;
  for (const auto& ended : list) {
    CLOISTER_TRY(job, jobs::get(reading, ended.attempt.job));
    out.push_back(std::move(job));
  }
  return out;
}

constexpr std::string_view kLost = "lost";  // the outcome of a lease whose instance is gone or late

}  // namespace

UnixTime JobService::lease_time() const {
  return began_ + std::chrono::duration_cast<std::chrono::microseconds>(clock_.steady() - steady_began_);
}

Result<jobs::Submitted> JobService::submit(const TenantId& tenant, const model::JobRequest& request, UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(version, storage::challenges::version(transaction, request.version));
  const auto limit = version.version.spec.max_payload_bytes;
  if (request.ciphertext.size() > sealed_payload_size(limit)) {
    return Error{Errc::limit_exceeded, "a payload of at most " + std::to_string(limit) + " bytes expected"};
  }
  CLOISTER_TRY(submitted, jobs::submit(transaction, tenant, request, protocol::request_hash(request), now));
  if (submitted.created) CLOISTER_CHECK(check_room(transaction, tenant, options_));
  CLOISTER_CHECK(transaction.commit());
  changed_.notify_all();
  return submitted;
}

Result<model::Job> JobService::get(const TenantId& tenant, const JobId& job) const {
  CLOISTER_TRY(snapshot, database_.read());
  return jobs::get(snapshot, job, tenant);
}

Result<jobs::Page> JobService::list(const jobs::Query& query) const {
  CLOISTER_TRY(snapshot, database_.read());
  return jobs::list(snapshot, query);
}

Result<std::vector<InstanceId>> JobService::missing_recipients(const JobId& job) const {
  CLOISTER_TRY(snapshot, database_.read());
  return jobs::missing_recipients(snapshot, job);
}

Result<model::Job> JobService::add_recipients(const TenantId& tenant, const JobId& job,
                                              std::span<const model::Recipient> recipients) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(present, jobs::get(transaction, job, tenant));
  static_cast<void>(present);
  CLOISTER_TRY(updated, jobs::add_recipients(transaction, job, recipients));
  CLOISTER_CHECK(transaction.commit());
  changed_.notify_all();
  return updated;
}

Result<jobs::Cancelled> JobService::cancel(const TenantId& tenant, const JobId& job, std::string_view who,
                                           UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(present, jobs::get(transaction, job, tenant));
  CLOISTER_TRY(cancelled, jobs::cancel(transaction, job, now));
  if (!model::is_final(present.state)) {
    merkle::AuditLeaf leaf;
    leaf.time = now;
    leaf.kind = kJobCancelled;
    leaf.subject = job.str();
    leaf.details = {{"by", std::string{who}}};
    CLOISTER_CHECK(log_.append(transaction, leaf));
  }
  CLOISTER_CHECK(transaction.commit());
  if (cancelled.attempt) observe_lease(*cancelled.attempt, "cancelled", now);
  if (!model::is_final(present.state)) observe_end(cancelled.job);
  changed_.notify_all();
  return cancelled;
}

Result<model::JobResult> JobService::result(const TenantId& tenant, const JobId& job) const {
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(present, jobs::get(snapshot, job, tenant));
  static_cast<void>(present);
  return jobs::result(snapshot, job);
}

Result<std::optional<protocol::AssignJob>> JobService::lease(const session::AttestedSession& session, UnixTime now) {
  CLOISTER_CHECK(check_time(session, now));
  CLOISTER_TRY(transaction, database_.write());
  const auto attempt = AttemptId::make(random_);
  CLOISTER_TRY(lease, jobs::lease_next(transaction, session.instance(), attempt, now, lease_time() + options_.lease));
  if (!lease) return std::optional<protocol::AssignJob>{};
  CLOISTER_TRY(version, storage::challenges::version(transaction, lease->job.version));
  CLOISTER_CHECK(transaction.commit());
  if (lease->attempt.fence == 1) waited_->observe(now - lease->job.submitted);
  changed_.notify_all();
  protocol::AssignJob out;
  out.job = lease->job.id;
  out.attempt = lease->attempt.id;
  out.fence = lease->attempt.fence;
  out.version = lease->job.version;
  out.input_commitment = lease->job.input_commitment;
  out.enc = lease->recipient.enc;
  out.sealed_key = std::move(lease->recipient.sealed_key);
  out.ciphertext = std::move(lease->ciphertext);
  out.timeout_ms = static_cast<std::uint32_t>(version.version.spec.job_timeout.count() * 1000);
  return std::optional{std::move(out)};
}

Result<std::vector<model::Attempt>> JobService::leases(const InstanceId& instance) const {
  CLOISTER_TRY(snapshot, database_.read());
  return jobs::leases_of(snapshot, instance);
}

Result<void> JobService::prolong_leases(std::chrono::milliseconds span) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(jobs::prolong_leases(transaction, lease_time() + span));
  return transaction.commit();
}

Result<void> JobService::heartbeat(const session::AttestedSession& session, const protocol::Heartbeat& beat,
                                   UnixTime now) {
  CLOISTER_CHECK(check_time(session, now));
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(attempt, jobs::attempt(transaction, beat.attempt));
  if (attempt.attempt.instance != session.instance()) return Error{Errc::permission_denied, "another's attempt"};
  CLOISTER_TRY(updated, jobs::heartbeat(transaction, beat.attempt, beat.fence, beat.percent,
                                         lease_time() + options_.lease));
  static_cast<void>(updated);
  CLOISTER_CHECK(transaction.commit());
  changed_.notify_all();
  return {};
}

Result<void> JobService::fail(const session::AttestedSession& session, const protocol::AttemptFailed& failed,
                              UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(attempt, jobs::attempt(transaction, failed.attempt));
  if (attempt.attempt.instance != session.instance()) return Error{Errc::permission_denied, "another's attempt"};
  // A payload that does not open or match is the client's doing: another instance would find the same.
  const bool hopeless = failed.code == to_string(Errc::input_commitment_mismatch) ||
                        failed.code == to_string(Errc::decryption_failed);
  const jobs::RetryPolicy retry{hopeless ? 1 : options_.max_attempts};
  CLOISTER_TRY(ended, jobs::fail_attempt(transaction, failed.attempt, failed.fence, failed.code, retry, now));
  CLOISTER_TRY(job, jobs::get(transaction, ended.attempt.job));
  CLOISTER_CHECK(transaction.commit());
  observe_lease(ended.attempt, "failed", now);
  observe_end(job);
  changed_.notify_all();
  return {};
}

Result<void> JobService::accept(const session::AttestedSession& session, const protocol::SubmitResult& result,
                                UnixTime now) {
  auto taken = take(session, result, now);
  const bool refused = !taken && http_status(taken.error().code()) < 500;
  if (refused && options_.refusals != nullptr) options_.refusals->note(taken.error().code(), now);
  return taken;
}

Result<void> JobService::take(const session::AttestedSession& session, const protocol::SubmitResult& result,
                              UnixTime now) {
  CLOISTER_CHECK(check_time(session, now));
  CLOISTER_CHECK(crypto::ed25519_verify(session.result_key(), result.envelope, result.signature));
  CLOISTER_TRY(envelope, protocol::decode_envelope(result.envelope));
  if (protocol::sealed_output_digest(result.enc, result.sealed_output) != envelope.sealed_output_digest) {
    return Error{Errc::envelope_invalid, "the sealed output is not the one in the envelope"};
  }
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(attempt, jobs::attempt(transaction, result.attempt));
  CLOISTER_TRY(job, jobs::get(transaction, attempt.attempt.job));
  CLOISTER_CHECK(check_session(transaction, envelope, session));
  CLOISTER_CHECK(check_envelope(envelope, session, attempt.attempt, job));
  CLOISTER_TRY(version, storage::challenges::version(transaction, job.version));
  const auto limit = version.version.spec.max_output_bytes;
  if (result.sealed_output.size() > limit + kTag) {
    CLOISTER_TRY(ended, jobs::fail_attempt(transaction, result.attempt, envelope.fence, std::string{kOutputTooLarge}, {1}, now));
    CLOISTER_TRY(failed, jobs::get(transaction, job.id));
    CLOISTER_CHECK(transaction.commit());
    observe_lease(ended.attempt, "failed", now);
    observe_end(failed);
    changed_.notify_all();
    return Error{Errc::limit_exceeded, "an output of at most " + std::to_string(limit) + " bytes expected"};
  }
  model::JobResult stored{job.id, result.attempt, result.envelope, result.signature, result.enc,
                          result.sealed_output, now};
  std::optional<std::string> failure;
  if (envelope.status != "ok") failure = "challenge_error";
  CLOISTER_TRY(acceptance, jobs::accept_result(transaction, stored, envelope.fence, failure));
  if (acceptance == jobs::Acceptance::repeated) return {};
  CLOISTER_CHECK(storage::evidence::keep(transaction, envelope.session));
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kResultAccepted;
  leaf.subject = job.id.str();
  const auto record = protocol::encode_job_record(job, version.version.spec.challenge);
  leaf.details = {{"session", envelope.session.str()},
                  {"instance", session.instance().str()},
                  {"version", job.version.str()},
                  {"attempt", result.attempt.str()},
                  {"fence", envelope.fence},
                  {"job", to_bytes(ByteView{crypto::sha256(record)})},
                  {"envelope", to_bytes(ByteView{crypto::sha256(result.envelope)})}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  CLOISTER_TRY(ended, jobs::get(transaction, job.id));
  CLOISTER_CHECK(transaction.commit());
  observe_lease(attempt.attempt, model::to_string(ended.state), now);
  observe_end(ended);
  changed_.notify_all();
  return {};
}

Result<Ended> JobService::end_instance(const InstanceId& instance, model::InstanceState state,
                                       const std::string& failure, UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(storage::instances::set_state(transaction, instance, state, failure));
  CLOISTER_TRY(leases, jobs::release_instance(transaction, instance, {options_.max_attempts}, now));
  CLOISTER_TRY(ended, jobs_of(transaction, leases));
  CLOISTER_CHECK(transaction.commit());
  for (const auto& lease : leases) observe_lease(lease.attempt, kLost, now);
  for (const auto& job : ended) observe_end(job);
  changed_.notify_all();
  return Ended{attempts_of(std::move(leases)), {}};
}

Result<Ended> JobService::tick(UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(leases, jobs::expire_leases(transaction, {options_.max_attempts}, lease_time(), now));
  CLOISTER_TRY(deadlines, jobs::expire_deadlines(transaction, now));
  if (leases.empty() && deadlines.empty()) return Ended{};
  CLOISTER_TRY(ended, jobs_of(transaction, leases));
  for (const auto& expired : deadlines) {
    CLOISTER_TRY(job, jobs::get(transaction, expired.job));
    ended.push_back(std::move(job));
  }
  CLOISTER_CHECK(transaction.commit());
  for (const auto& lease : leases) observe_lease(lease.attempt, kLost, now);
  for (const auto& job : ended) observe_end(job);
  Ended out;
  out.lost = attempts_of(std::move(leases));
  for (auto& expired : deadlines) {
    if (!expired.attempt) continue;
    observe_lease(*expired.attempt, model::to_string(model::JobState::expired), now);
    out.attempts.push_back(*std::move(expired.attempt));
  }
  changed_.notify_all();
  return out;
}

void JobService::observe_lease(const model::Attempt& attempt, std::string_view outcome, UnixTime now) {
  leased_.with({outcome}).observe(now - attempt.leased);
}

void JobService::observe_end(const model::Job& job) {
  if (job.finished) took_.with({model::to_string(job.state)}).observe(*job.finished - job.submitted);
}

void JobService::write_metrics(metrics::TextWriter& out) const {
  waited_.write(out);
  leased_.write(out);
  took_.write(out);
}

}  // namespace cloister::scheduler
