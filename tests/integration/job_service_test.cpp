// The job queue with its rules, on a real database and real sessions: every change of state, and who may not make it.
#include <gtest/gtest.h>

#include "cloister/storage/challenges.hpp"
#include "cloister/storage/fleet.hpp"
#include "world.hpp"

namespace cloister::test {
namespace {

using model::JobState;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::internal : result.error().code();  // internal: it was not refused
}
constexpr auto kTaken = Errc::internal;

class Jobs : public testing::Test {
 protected:
  explicit Jobs(scheduler::JobService::Options options = World::tried_twice()) : world{options} {}

  [[nodiscard]] UnixTime now() const { return world.clock.now(); }
  [[nodiscard]] scheduler::JobService& jobs() { return *world.jobs; }
  Result<storage::jobs::Submitted> submit(const World::ClientJob& job) {
    return jobs().submit(world.tenant, job.request, now());
  }
  World::ClientJob submitted(const std::vector<const World::Ready*>& recipients, const std::string& key = "job-1") {
    auto job = world.seal(recipients, key);
    EXPECT_EQ(code_of(submit(job)), kTaken);
    return job;
  }
  /// The next job of an instance; the test ends without one.
  protocol::AssignJob leased(const World::Ready& instance) {
    auto lease = jobs().lease(instance.session, now());
    CLOISTER_ASSERT(lease.ok() && lease->has_value());
    return **std::move(lease);
  }
  [[nodiscard]] bool gets_nothing(const World::Ready& instance) {
    const auto lease = jobs().lease(instance.session, now());
    return lease && !*lease;
  }
  Errc beat(const World::Ready& by, const protocol::AssignJob& job) {
    return code_of(jobs().heartbeat(by.session, {job.attempt, job.fence, 10}, now()));
  }
  Errc fail(const World::Ready& by, const protocol::AssignJob& job, const std::string& code = "challenge_failed") {
    return code_of(jobs().fail(by.session, {job.attempt, job.fence, code}, now()));
  }
  Errc bring(const World::Ready& by, const protocol::AssignJob& job) {
    return code_of(jobs().accept(by.session, world.execute(by, job), now()));
  }
  Errc cancel(const World::ClientJob& job) {
    return code_of(jobs().cancel(world.tenant, job.keys.job(), "tester", now()));
  }
  scheduler::Ended tick() {
    auto ended = jobs().tick(now());
    CLOISTER_ASSERT(ended.ok());
    return *std::move(ended);
  }
  /// As the fleet does when an instance has ended.
  void lose(const World::Ready& instance) {
    ASSERT_TRUE(jobs().end_instance(instance.session.instance(), model::InstanceState::lost, "gone", now()));
  }
  /// Wraps the job for one more instance.
  Errc rewrap(const std::string& key, const World::Ready& instance) {
    const auto sealed = world.seal({&instance}, key);
    return code_of(jobs().add_recipients(world.tenant, sealed.keys.job(), sealed.request.recipients));
  }
  [[nodiscard]] model::Job get(const World::ClientJob& job) { return *jobs().get(world.tenant, job.keys.job()); }
  [[nodiscard]] JobState state(const World::ClientJob& job) { return get(job).state; }

  World world;
};

// --- submission ---

TEST_F(Jobs, SubmissionIsRefusedForAVersionThatIsUnknownOrNotActive) {
  auto job = world.seal({});
  job.request.version = *VersionId::parse("ver-none");
  EXPECT_EQ(code_of(submit(job)), Errc::not_found);
  {
    auto transaction = world.database->write();
    ASSERT_TRUE(transaction);
    ASSERT_TRUE(storage::challenges::set_active(*transaction, world.version.id, false));
    ASSERT_TRUE(transaction->commit());
  }
  EXPECT_EQ(code_of(submit(world.seal({}))), Errc::conflict);
}

TEST_F(Jobs, ChangedRequestUnderAUsedKeyIsRefusedAndChangesNothing) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  using R = model::JobRequest;
  const std::function<void(R&)> changes[] = {
      [](R& r) { r.input_commitment[0] ^= 1; }, [](R& r) { r.commitment_key_digest[0] ^= 1; },
      [](R& r) { r.ciphertext[0] ^= 1; },       [](R& r) { r.deadline += seconds{1}; },
      [](R& r) { r.job = *JobId::parse("job-other"); }};
  for (const auto& change : changes) {
    auto changed = world.seal({&instance});
    change(changed.request);
    EXPECT_EQ(code_of(submit(changed)), Errc::idempotency_conflict);
  }
  EXPECT_EQ(bring(instance, leased(instance)), kTaken);
  const auto again = submit(job);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->job.state, JobState::succeeded);
}

TEST_F(Jobs, RetryBringsTheRecipientsThatWereMissing) {
  const auto job = submitted({});
  EXPECT_EQ(state(job), JobState::awaiting_rewrap);
  const auto instance = world.ready();
  const auto again = submit(world.seal({&instance}));
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->job.state, JobState::queued);
}

/// A job with a payload of that size, as a client seals it.
World::ClientJob sized(World& world, std::size_t size) {
  const Bytes payload(size, 0x20);
  const auto salt = protocol::ClientJobKeys::salt(world.client_secret, "sized", payload);
  auto keys = protocol::ClientJobKeys::derive(world.client_secret, salt);
  auto request = protocol::seal_job(keys, world.version.id, "sized", salt, payload, seconds{600});
  return {std::move(keys), std::move(request)};
}

TEST_F(Jobs, PayloadOfOneByteMoreThanTheVersionTakesIsRefused) {
  const auto limit = world.version.spec.max_payload_bytes;
  const auto refused = submit(sized(world, limit + 1));
  ASSERT_EQ(code_of(refused), Errc::limit_exceeded);
  EXPECT_EQ(refused.error().detail(), "a payload of at most 4194304 bytes expected");
  EXPECT_EQ(code_of(submit(sized(world, limit))), kTaken);
}

// --- leases ---

TEST_F(Jobs, LeaseSaysWhatAndForHowLong) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  const auto assigned = leased(instance);
  EXPECT_EQ(assigned.job, job.keys.job());
  EXPECT_EQ(assigned.fence, 1U);
  EXPECT_EQ(assigned.version, world.version.id);
  EXPECT_EQ(assigned.input_commitment, job.request.input_commitment);
  EXPECT_EQ(assigned.ciphertext, job.request.ciphertext);
  EXPECT_EQ(assigned.timeout_ms, 60'000U);
  EXPECT_EQ(state(job), JobState::leased);
}

TEST_F(Jobs, LeaseIsForRecipientsAloneAndForOneOfThem) {
  const auto first = world.ready();
  const auto second = world.ready();
  const auto stranger = world.ready();
  submitted({&first, &second});
  EXPECT_TRUE(gets_nothing(stranger));
  leased(second);
  EXPECT_TRUE(gets_nothing(first));
  EXPECT_TRUE(gets_nothing(second));
}

TEST_F(Jobs, LeaseNeedsALiveSession) {
  const auto instance = world.ready();
  submitted({&instance});
  const auto opened = now();
  world.clock.set(opened - minutes{2});
  EXPECT_EQ(code_of(jobs().lease(instance.session, now())), Errc::session_expired);
  world.clock.set(instance.session.expires());
  EXPECT_EQ(code_of(jobs().lease(instance.session, now())), Errc::session_expired);
  world.clock.set(opened);
  leased(instance);
}

TEST_F(Jobs, HeartbeatKeepsALeaseThatWouldEnd) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  const auto assigned = leased(instance);
  world.clock.advance(seconds{29});
  EXPECT_EQ(beat(instance, assigned), kTaken);
  world.clock.advance(seconds{29});
  EXPECT_TRUE(tick().lost.empty());
  world.clock.advance(seconds{1});
  EXPECT_EQ(tick().lost.size(), 1U);
  EXPECT_EQ(state(job), JobState::queued);
}

TEST_F(Jobs, HeartbeatIsRefusedForAnythingButTheCurrentLease) {
  const auto instance = world.ready();
  const auto other = world.ready();
  submitted({&instance, &other});
  const auto old = leased(instance);
  EXPECT_EQ(beat(other, old), Errc::permission_denied);
  auto wrong = old;
  wrong.fence += 1;
  EXPECT_EQ(beat(instance, wrong), Errc::stale_fence);
  wrong = old;
  wrong.attempt = *AttemptId::parse("att-none");
  EXPECT_EQ(beat(instance, wrong), Errc::not_found);
  world.clock.advance(seconds{30});
  tick();
  EXPECT_EQ(beat(instance, old), Errc::stale_fence);
  leased(other);
  EXPECT_EQ(beat(instance, old), Errc::stale_fence);
}

TEST_F(Jobs, LostLeasesAreTriedAgainUntilTheLastAttempt) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  for (std::uint64_t fence = 1; fence <= 2; ++fence) {
    EXPECT_EQ(leased(instance).fence, fence);
    world.clock.advance(seconds{30});
    EXPECT_EQ(tick().lost.size(), 1U);
  }
  EXPECT_EQ(state(job), JobState::failed);
  EXPECT_EQ(get(job).failure, "attempts_exhausted");
  EXPECT_EQ(get(job).finished, now());
  EXPECT_TRUE(gets_nothing(instance));
}

// --- failed attempts ---

TEST_F(Jobs, FailedAttemptIsTriedAgainUntilTheLast) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  const auto first = leased(instance);
  EXPECT_EQ(fail(instance, first), kTaken);
  EXPECT_EQ(state(job), JobState::queued);
  EXPECT_EQ(fail(instance, first), Errc::stale_fence);
  EXPECT_EQ(bring(instance, first), Errc::stale_fence);
  const auto second = leased(instance);
  EXPECT_EQ(second.fence, 2U);
  EXPECT_EQ(fail(instance, second, "job_timeout"), kTaken);
  EXPECT_EQ(state(job), JobState::failed);
  EXPECT_EQ(get(job).failure, "job_timeout");
}

TEST_F(Jobs, FailureIsTakenFromTheInstanceOfTheAttemptAlone) {
  const auto instance = world.ready();
  const auto other = world.ready();
  const auto job = submitted({&instance, &other});
  const auto assigned = leased(instance);
  EXPECT_EQ(fail(other, assigned, "decryption_failed"), Errc::permission_denied);
  EXPECT_EQ(state(job), JobState::leased);
}

TEST_F(Jobs, PayloadThatNobodyCouldOpenFailsAtOnce) {
  const auto instance = world.ready();
  for (const auto* code : {"decryption_failed", "input_commitment_mismatch"}) {
    const auto job = submitted({&instance}, code);
    EXPECT_EQ(fail(instance, leased(instance), code), kTaken);
    EXPECT_EQ(state(job), JobState::failed);
    EXPECT_EQ(get(job).failure, code);
  }
}

// --- results ---

TEST_F(Jobs, ResultForAnothersLeaseIsRefused) {
  const auto instance = world.ready();
  const auto other = world.ready();
  const auto job = submitted({&instance, &other});
  const auto assigned = leased(instance);
  // Another recipient can open the job, and signs for itself.
  auto theirs = assigned;
  const auto& recipients = job.request.recipients;
  theirs.enc = recipients[1].enc;
  theirs.sealed_key = recipients[1].sealed_key;
  EXPECT_EQ(bring(other, theirs), Errc::envelope_invalid);
  // Nor does it help to claim the other's name, which its session does not have.
  const auto result = world.execute(other, theirs, [&](protocol::Envelope& envelope) {
    envelope.instance = instance.session.instance();
    envelope.session = instance.session.id();
  });
  EXPECT_EQ(code_of(jobs().accept(other.session, result, now())), Errc::envelope_invalid);
  EXPECT_EQ(bring(instance, assigned), kTaken);
}

TEST_F(Jobs, ResultNeedsALiveSession) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  const auto assigned = leased(instance);
  world.clock.set(instance.session.expires());
  EXPECT_EQ(bring(instance, assigned), Errc::session_expired);
  EXPECT_EQ(state(job), JobState::leased);
}

TEST_F(Jobs, ResultOfACancelledOrExpiredJobIsRefused) {
  const auto instance = world.ready();
  const auto cancelled = submitted({&instance}, "one");
  const auto a = leased(instance);
  EXPECT_EQ(cancel(cancelled), kTaken);
  EXPECT_EQ(bring(instance, a), Errc::stale_fence);
  EXPECT_EQ(beat(instance, a), Errc::stale_fence);
  EXPECT_EQ(fail(instance, a), Errc::stale_fence);
  const auto expired = submitted({&instance}, "two");
  const auto b = leased(instance);
  world.clock.advance(minutes{9});
  EXPECT_EQ(beat(instance, b), kTaken);
  world.clock.advance(minutes{1});
  tick();
  EXPECT_EQ(state(expired), JobState::expired);
  EXPECT_EQ(bring(instance, b), Errc::stale_fence);
}

TEST_F(Jobs, AnswerOfTheChallengeThatSaysErrorEndsTheJobWithItsResult) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  const auto assigned = leased(instance);
  auto result = world.execute(instance, assigned, [](protocol::Envelope& envelope) { envelope.status = "error"; });
  ASSERT_TRUE(jobs().accept(instance.session, result, now()));
  EXPECT_EQ(state(job), JobState::failed);
  EXPECT_EQ(get(job).failure, "challenge_error");
  EXPECT_TRUE(jobs().result(world.tenant, job.keys.job()));
}

TEST_F(Jobs, OutputBeyondTheVersionsLimitFailsTheJobAtOnce) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  const auto assigned = leased(instance);
  const Bytes output(world.version.spec.max_output_bytes + 1);
  auto result = world.execute(instance, assigned);
  auto envelope = *protocol::decode_envelope(result.envelope);
  auto sealed = *protocol::seal_output(job.keys.reply_key().public_key(), envelope, output, world.random);
  envelope.sealed_output_digest = protocol::sealed_output_digest(sealed.enc, sealed.ciphertext);
  result.envelope = protocol::encode(envelope);
  result.signature = instance.td.result_key.sign(result.envelope);
  result.enc = sealed.enc;
  result.sealed_output = sealed.ciphertext;
  const auto refused = jobs().accept(instance.session, result, now());
  ASSERT_EQ(code_of(refused), Errc::limit_exceeded);
  EXPECT_EQ(refused.error().detail(), "an output of at most 4194304 bytes expected");
  EXPECT_EQ(state(job), JobState::failed);
  EXPECT_EQ(get(job).failure, scheduler::kOutputTooLarge);
}

// --- ends ---

TEST_F(Jobs, CancelEndsEveryUnfinishedJobOnce) {
  const auto instance = world.ready();
  const auto running = submitted({&instance}, "one");
  const auto assigned = leased(instance);
  const auto queued = submitted({&instance}, "two");
  const auto waiting = submitted({}, "three");
  const auto ended = jobs().cancel(world.tenant, running.keys.job(), "tester", now());
  ASSERT_TRUE(ended && ended->attempt);
  EXPECT_EQ(ended->attempt->id, assigned.attempt);
  EXPECT_EQ(cancel(queued), kTaken);
  EXPECT_EQ(cancel(waiting), kTaken);
  const auto leaves = world.log->advance(now())->head.tree_size;
  for (const auto* job : {&running, &queued, &waiting}) {
    EXPECT_EQ(state(*job), JobState::cancelled);
    const auto again = jobs().cancel(world.tenant, job->keys.job(), "tester", now());
    ASSERT_TRUE(again);
    EXPECT_FALSE(again->attempt);
    EXPECT_TRUE(world.log->find(scheduler::kJobCancelled, job->keys.job().str()));
  }
  EXPECT_EQ(world.log->advance(now())->head.tree_size, leaves);
}

TEST_F(Jobs, CancelComesTooLateForAFinishedJob) {
  const auto instance = world.ready();
  const auto job = world.complete(instance);
  EXPECT_EQ(cancel(job), Errc::conflict);
  EXPECT_EQ(state(job), JobState::succeeded);
}

TEST_F(Jobs, DeadlineEndsEveryUnfinishedJob) {
  const auto instance = world.ready();
  const auto running = submitted({&instance}, "one");
  const auto assigned = leased(instance);
  const auto queued = submitted({&instance}, "two");
  const auto waiting = submitted({}, "three");
  world.clock.set(now() + minutes{10});  // the date, no time
  const auto ended = tick();
  ASSERT_EQ(ended.attempts.size(), 1U);
  EXPECT_EQ(ended.attempts[0].id, assigned.attempt);
  EXPECT_TRUE(ended.lost.empty());
  for (const auto* job : {&running, &queued, &waiting}) {
    EXPECT_EQ(state(*job), JobState::expired);
    EXPECT_EQ(get(*job).failure, "deadline_exceeded");
  }
  EXPECT_EQ(bring(instance, assigned), Errc::stale_fence);
}

// --- instances that go ---

TEST_F(Jobs, LeaseOfALostInstanceGoesToAnotherRecipient) {
  const auto first = world.ready();
  const auto second = world.ready();
  const auto job = submitted({&first, &second});
  const auto old = leased(first);
  lose(first);
  EXPECT_EQ(state(job), JobState::queued);
  EXPECT_EQ(bring(first, old), Errc::stale_fence);
  const auto again = leased(second);
  EXPECT_EQ(again.fence, 2U);
  EXPECT_EQ(bring(second, again), kTaken);
  EXPECT_EQ(state(job), JobState::succeeded);
}

TEST_F(Jobs, WithoutALiveRecipientAJobWaitsToBeWrappedAgain) {
  const auto first = world.ready();
  const auto running = submitted({&first}, "one");
  const auto queued = submitted({&first}, "two");
  leased(first);
  lose(first);
  EXPECT_EQ(state(running), JobState::awaiting_rewrap);
  EXPECT_EQ(state(queued), JobState::awaiting_rewrap);
  const auto second = world.ready();
  EXPECT_TRUE(gets_nothing(second));
  EXPECT_EQ(*jobs().missing_recipients(running.keys.job()), std::vector{second.session.instance()});
  EXPECT_EQ(rewrap("one", first), kTaken);
  EXPECT_EQ(state(running), JobState::awaiting_rewrap);  // the lost one does not help
  EXPECT_EQ(rewrap("one", second), kTaken);
  EXPECT_EQ(state(running), JobState::queued);
  EXPECT_EQ(bring(second, leased(second)), kTaken);
  EXPECT_EQ(state(running), JobState::succeeded);
  EXPECT_EQ(rewrap("one", second), Errc::conflict);
  EXPECT_EQ(state(queued), JobState::awaiting_rewrap);
}

TEST_F(Jobs, LossOfTheInstanceCountsAsAnAttempt) {
  const auto first = world.ready();
  const auto second = world.ready();
  const auto job = submitted({&first, &second});
  leased(first);
  lose(first);
  leased(second);
  lose(second);
  EXPECT_EQ(state(job), JobState::failed);
  EXPECT_EQ(get(job).failure, "attempts_exhausted");
}

// --- a wall clock that jumps ---

TEST_F(Jobs, JumpOfTheWallClockEndsNoLease) {
  const auto instance = world.ready();
  auto job = world.seal({&instance});
  job.request.deadline = hours{24};
  ASSERT_TRUE(submit(job));
  const auto assigned = leased(instance);
  const auto start = now();
  for (const auto jump : {minutes{59}, -minutes{60}}) {
    world.clock.set(start + jump);
    EXPECT_TRUE(tick().lost.empty());
  }
  world.clock.set(start + minutes{59});
  EXPECT_EQ(bring(instance, assigned), kTaken);
  EXPECT_EQ(state(job), JobState::succeeded);
}

TEST_F(Jobs, JumpOfTheWallClockKeepsNoLease) {
  const auto instance = world.ready();
  const auto job = submitted({&instance});
  leased(instance);
  world.clock.set(now() - hours{1});
  world.clock.advance(seconds{30});
  EXPECT_EQ(tick().lost.size(), 1U);
  EXPECT_EQ(state(job), JobState::queued);
}

TEST_F(Jobs, HeartbeatsCountInTheSameTimeAcrossAJump) {
  const auto instance = world.ready();
  submitted({&instance});
  const auto assigned = leased(instance);
  world.clock.set(now() + minutes{5});
  world.clock.advance(seconds{20});
  EXPECT_EQ(beat(instance, assigned), kTaken);
  world.clock.set(now() - minutes{5});
  world.clock.advance(seconds{29});
  EXPECT_TRUE(tick().lost.empty());
  world.clock.advance(seconds{1});
  EXPECT_EQ(tick().lost.size(), 1U);
}

/// Out of its session's time, either way, an instance has to attest anew; its job is not lost and not done twice.
TEST_F(Jobs, JumpOutOfTheSessionMovesTheJobToAnotherSession) {
  for (const auto jump : {hours{1}, -hours{1}}) {
    SCOPED_TRACE(jump.count());
    const auto key = "job " + std::to_string(jump.count());
    const auto first = world.ready();
    auto job = world.seal({&first}, key);
    job.request.deadline = hours{24};
    ASSERT_TRUE(submit(job));
    const auto old = leased(first);
    const auto result = world.execute(first, old);
    world.clock.set(now() + jump);
    EXPECT_TRUE(tick().lost.empty());
    EXPECT_EQ(code_of(jobs().accept(first.session, result, now())), Errc::session_expired);
    EXPECT_EQ(beat(first, old), Errc::session_expired);
    EXPECT_EQ(code_of(jobs().lease(first.session, now())), Errc::session_expired);
    lose(first);
    const auto second = world.ready();
    EXPECT_EQ(rewrap(key, second), kTaken);
    EXPECT_EQ(bring(second, leased(second)), kTaken);
    EXPECT_EQ(code_of(jobs().accept(first.session, result, now())), Errc::session_expired);
    EXPECT_EQ(state(job), JobState::succeeded);
    EXPECT_EQ(get(job).attempts, 2U);
  }
}

// --- limits ---

scheduler::JobService::Options few() {
  scheduler::JobService::Options options;
  options.max_jobs_of_tenant = 2;
  options.max_jobs = 3;
  return options;
}

class FewJobs : public Jobs {
 protected:
  FewJobs() : Jobs{few()} {}
  Errc submit_as(const char* tenant, const std::string& key) {
    return code_of(jobs().submit(*TenantId::parse(tenant), world.seal({}, key).request, now()));
  }
};

TEST_F(FewJobs, UnfinishedJobsOfATenantAreLimited) {
  const auto first = submitted({}, "one");
  submitted({}, "two");
  EXPECT_EQ(submit_as("default", "three"), Errc::rate_limited);
  EXPECT_EQ(submit_as("default", "one"), kTaken);  // a retry is no other job
  EXPECT_EQ(cancel(first), kTaken);
  EXPECT_EQ(submit_as("default", "three"), kTaken);
}

TEST_F(FewJobs, UnfinishedJobsOfAllTenantsAreLimited) {
  submitted({}, "one");
  submitted({}, "two");
  EXPECT_EQ(submit_as("other", "three"), kTaken);
  EXPECT_EQ(submit_as("other", "four"), Errc::overloaded);
  EXPECT_EQ(code_of(jobs().get(*TenantId::parse("other"), world.seal({}, "four").keys.job())), Errc::not_found);
}

}  // namespace
}  // namespace cloister::test
