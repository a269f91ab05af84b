#include "cloister/storage/jobs.hpp"

#include "cloister/crypto/hash.hpp"
#include "jobs_fixture.hpp"

namespace cloister::storage {
namespace {

using jobs::AttemptState;
using model::InstanceState;
using model::JobState;
using testing::at;
using testing::bytes32;
using testing::id;
using testing::recipient;
using testing::request;
using testing::result_of;

class JobSubmission : public testing::JobsFixture {};

TEST_F(JobSubmission, KeepsTheJob) {
  add_instance("inst-1");
  const auto given = request("job-1");
  const auto submitted = submit(given, 5);
  ASSERT_TRUE(submitted) << submitted.error().text();
  EXPECT_TRUE(submitted->created);
  for (const auto& job : {submitted->job, *jobs::get(read(), given.job)}) {
    EXPECT_EQ(job.id, given.job);
    EXPECT_EQ(job.tenant, id<TenantId>("acme"));
    EXPECT_EQ(job.version, given.version);
    EXPECT_EQ(job.idempotency_key, given.idempotency_key);
    EXPECT_EQ(job.request_hash, bytes32(1));
    EXPECT_EQ(job.salt, given.salt);
    EXPECT_EQ(job.input_commitment, given.input_commitment);
    EXPECT_EQ(job.commitment_key_digest, given.commitment_key_digest);
    EXPECT_EQ(job.ciphertext_digest, crypto::sha256(given.ciphertext));
    EXPECT_EQ(job.state, JobState::queued);
    EXPECT_EQ(job.attempts, 0U);
    EXPECT_EQ(job.submitted, at(5));
    EXPECT_EQ(job.deadline, at(1005));
    EXPECT_EQ(job.finished, std::nullopt);
    EXPECT_EQ(job.failure, std::nullopt);
  }
  EXPECT_EQ(*jobs::ciphertext(read(), given.job), given.ciphertext);
}

TEST_F(JobSubmission, RetryIsTheSameJob) {
  add_instance("inst-1");
  add_instance("inst-2");
  ASSERT_TRUE(submit(request("job-1"), 5));
  const auto again = submit(request("job-1", {"inst-1", "inst-2"}), 9);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->job.submitted, at(5));
  EXPECT_TRUE(*lease("inst-2", "att-1")) << "a retry may bring recipients";
  EXPECT_EQ(jobs::list(read(), {})->jobs.size(), 1U);
}

TEST_F(JobSubmission, SameKeyForAnotherRequestIsAConflict) {
  add_instance("inst-1");
  ASSERT_TRUE(submit(request("job-1")));
  EXPECT_EQ(submit(request("job-1"), 0, "acme", 2).error().code(), Errc::idempotency_conflict);
}

TEST_F(JobSubmission, KeysOfTenantsDoNotMeet) {
  add_instance("inst-1");
  auto theirs = request("job-2");
  theirs.idempotency_key = request("job-1").idempotency_key;
  ASSERT_TRUE(submit(request("job-1")));
  const auto other = submit(theirs, 0, "other", 2);
  ASSERT_TRUE(other);
  EXPECT_TRUE(other->created);
  EXPECT_EQ(jobs::get(read(), id<JobId>("job-2"), id<TenantId>("acme")).error().code(), Errc::not_found);
  EXPECT_TRUE(jobs::get(read(), id<JobId>("job-2"), id<TenantId>("other")));
}

TEST_F(JobSubmission, RefusesATakenJobId) {
  add_instance("inst-1");
  ASSERT_TRUE(submit(request("job-1")));
  EXPECT_EQ(submit(request("job-1"), 0, "other", 2).error().code(), Errc::conflict);
}

TEST_F(JobSubmission, RefusesAnUnknownOrInactiveVersion) {
  auto unknown = request("job-1", {});
  unknown.version = id<VersionId>("none");
  EXPECT_EQ(submit(unknown).error().code(), Errc::not_found);
  ASSERT_TRUE(commit([](Transaction& t) { return challenges::set_active(t, id<VersionId>("ver"), false); }));
  EXPECT_EQ(submit(request("job-1", {})).error().code(), Errc::conflict);
}

TEST_F(JobSubmission, RefusesARecipientOfAnotherVersionAndKeepsNothing) {
  ASSERT_TRUE(
      commit([](Transaction& t) { return challenges::add(t, id<TenantId>("acme"), testing::version("ver-2")); }));
  add_instance("inst-1");
  add_instance("inst-2", InstanceState::ready, "ver-2");
  EXPECT_EQ(submit(request("job-1", {"inst-1", "inst-2"})).error().code(), Errc::invalid_argument);
  EXPECT_EQ(submit(request("job-1", {"nobody"})).error().code(), Errc::invalid_argument);
  EXPECT_EQ(jobs::get(read(), id<JobId>("job-1")).error().code(), Errc::not_found);
}

TEST_F(JobSubmission, WithoutALiveRecipientWaitsForOne) {
  EXPECT_EQ(submit(request("job-1", {}))->job.state, JobState::awaiting_rewrap);
  add_instance("inst-1", InstanceState::lost);
  EXPECT_EQ(submit(request("job-2"))->job.state, JobState::awaiting_rewrap);
  add_instance("inst-2", InstanceState::attesting);
  EXPECT_EQ(submit(request("job-3", {"inst-1", "inst-2"}))->job.state, JobState::queued);
}

TEST_F(JobSubmission, IsListedInPages) {
  add_instance("inst-1");
  for (const auto* name : {"job-1", "job-2", "job-3", "job-4", "job-5"}) ASSERT_TRUE(submit(request(name)));
  ASSERT_TRUE(submit(request("job-6"), 0, "other"));
  jobs::Query query{.tenant = id<TenantId>("acme"), .limit = 2};
  std::string seen;
  for (int pages = 0; pages < 9; ++pages) {
    const auto page = *jobs::list(read(), query);
    for (const auto& job : page.jobs) seen += job.id.str() + " ";
    seen += "| ";
    if (!page.next) break;
    query.before = page.next;
  }
  EXPECT_EQ(seen, "job-5 job-4 | job-3 job-2 | job-1 | ");
  EXPECT_EQ(jobs::list(read(), {.state = JobState::leased})->jobs.size(), 0U);
  EXPECT_EQ(jobs::list(read(), {.version = id<VersionId>("ver")})->jobs.size(), 6U);
  EXPECT_EQ(jobs::list(read(), {.limit = 0})->jobs.size(), 1U) << "one at least";
}

class JobLease : public testing::JobsFixture {
 protected:
  void SetUp() override {
    JobsFixture::SetUp();
    add_instance("inst-1");
    add_instance("inst-2");
  }
};

TEST_F(JobLease, TakesTheOldestThatTheInstanceCanOpen) {
  ASSERT_TRUE(submit(request("job-1", {"inst-2"})));
  ASSERT_TRUE(submit(request("job-2", {"inst-1", "inst-2"})));
  ASSERT_TRUE(submit(request("job-3", {"inst-1"})));
  const auto first = *lease("inst-1", "att-1", 7, 37);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->job.id, id<JobId>("job-2"));
  EXPECT_EQ(first->job.state, JobState::leased);
  EXPECT_EQ(first->attempt.id, id<AttemptId>("att-1"));
  EXPECT_EQ(first->attempt.job, id<JobId>("job-2"));
  EXPECT_EQ(first->attempt.instance, id<InstanceId>("inst-1"));
  EXPECT_EQ(first->attempt.fence, 1U);
  EXPECT_EQ(first->attempt.leased, at(7));
  EXPECT_EQ(first->attempt.lease_until, at(37));
  EXPECT_EQ(first->recipient, recipient("inst-1"));
  EXPECT_EQ(first->ciphertext, request("job-2").ciphertext);
  EXPECT_EQ((*lease("inst-1", "att-2"))->job.id, id<JobId>("job-3"));
  EXPECT_FALSE(*lease("inst-1", "att-3"));
  EXPECT_EQ((*lease("inst-2", "att-4"))->job.id, id<JobId>("job-1"));
  EXPECT_EQ(jobs::leases_of(read(), id<InstanceId>("inst-1"))->size(), 2U);
}

TEST_F(JobLease, NeedsAReadyInstance) {
  ASSERT_TRUE(submit(request("job-1")));
  for (const auto other : {InstanceState::starting, InstanceState::attesting}) {
    set_state("inst-1", other);
    EXPECT_FALSE(*lease("inst-1", "att-1"));
  }
  EXPECT_EQ(lease("none", "att-1").error().code(), Errc::not_found);
  set_state("inst-1", InstanceState::ready);
  EXPECT_TRUE(*lease("inst-1", "att-1"));
}

TEST_F(JobLease, LeavesAJobWhoseDeadlineIsOver) {
  ASSERT_TRUE(submit(request("job-1"), 0));
  EXPECT_FALSE(*lease("inst-1", "att-1", 1000));
  EXPECT_TRUE(*lease("inst-1", "att-1", 999));
}

TEST_F(JobLease, IsUndoneWithItsTransaction) {
  ASSERT_TRUE(submit(request("job-1")));
  {
    auto transaction = write();
    ASSERT_TRUE(*jobs::lease_next(transaction, id<InstanceId>("inst-1"), id<AttemptId>("att-1"), at(0), at(1)));
  }
  EXPECT_EQ(state("job-1"), JobState::queued);
  EXPECT_EQ((*lease("inst-1", "att-2"))->attempt.fence, 1U);
}

TEST_F(JobLease, IsProlongedAndNeverShortened) {
  ASSERT_TRUE(submit(request("job-1")));
  ASSERT_TRUE(*lease("inst-1", "att-1", 0, 30));
  const auto beat = [&](std::uint64_t fence, std::uint8_t percent, int until) {
    return commit(
        [&](Transaction& t) { return jobs::heartbeat(t, id<AttemptId>("att-1"), fence, percent, at(until)); });
  };
  EXPECT_EQ(beat(1, 40, 60)->lease_until, at(60));
  EXPECT_EQ(beat(1, 50, 10)->lease_until, at(60));
  EXPECT_EQ(jobs::get(read(), id<JobId>("job-1"))->progress, 50);
  EXPECT_EQ(beat(2, 50, 90).error().code(), Errc::stale_fence);
  EXPECT_EQ(beat(1, 101, 90).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(commit([&](Transaction& t) { return jobs::expire_leases(t, policy_, at(59), at(59)); })->empty());
  EXPECT_EQ(state("job-1"), JobState::leased);
}

TEST_F(JobLease, ExpiryQueuesAgainWithAHigherFence) {
  ASSERT_TRUE(submit(request("job-1", {"inst-1", "inst-2"})));
  ASSERT_TRUE(*lease("inst-1", "att-1", 0, 30));
  const auto ended = commit([&](Transaction& t) { return jobs::expire_leases(t, policy_, at(30), at(30)); });
  ASSERT_EQ(ended->size(), 1U);
  EXPECT_EQ(ended->front().attempt.id, id<AttemptId>("att-1"));
  EXPECT_EQ(ended->front().job, JobState::queued);
  EXPECT_EQ(attempt_state("att-1"), AttemptState::lost);
  EXPECT_EQ(state("job-1"), JobState::queued);
  EXPECT_EQ((*lease("inst-2", "att-2", 31, 61))->attempt.fence, 2U);
  const auto beat = [](Transaction& t) { return jobs::heartbeat(t, id<AttemptId>("att-1"), 1, 0, at(99)); };
  EXPECT_EQ(commit(beat).error().code(), Errc::stale_fence);
}

TEST_F(JobLease, ExpiryWithoutALiveRecipientWaitsForOne) {
  ASSERT_TRUE(submit(request("job-1")));
  ASSERT_TRUE(*lease("inst-1", "att-1"));
  set_state("inst-1", InstanceState::lost);
  const auto ended = commit([&](Transaction& t) { return jobs::expire_leases(t, policy_, at(30), at(30)); });
  EXPECT_EQ(ended->front().job, JobState::awaiting_rewrap);
  EXPECT_EQ(state("job-1"), JobState::awaiting_rewrap);
}

TEST_F(JobLease, JobFailsAfterItsLastAttempt) {
  ASSERT_TRUE(submit(request("job-1")));
  for (int attempt = 1; attempt <= 3; ++attempt) {
    EXPECT_EQ(state("job-1"), JobState::queued);
    ASSERT_TRUE(*lease("inst-1", "att-" + std::to_string(attempt)));
    ASSERT_TRUE(commit([&](Transaction& t) {
      return jobs::expire_leases(t, policy_, at(30 + attempt), at(30 + attempt));
    }));
  }
  const auto job = *jobs::get(read(), id<JobId>("job-1"));
  EXPECT_EQ(job.state, JobState::failed);
  EXPECT_EQ(job.failure, "attempts_exhausted");
  EXPECT_EQ(job.finished, at(33));
  EXPECT_EQ(jobs::ciphertext(read(), job.id).error().code(), Errc::not_found) << "erased";
}

TEST_F(JobLease, FailedAttemptIsTriedAgain) {
  ASSERT_TRUE(submit(request("job-1")));
  ASSERT_TRUE(*lease("inst-1", "att-1"));
  const auto fail = [&](std::string_view attempt, std::uint64_t fence, std::uint64_t most) {
    return commit([&](Transaction& t) {
      return jobs::fail_attempt(t, id<AttemptId>(attempt), fence, "input_commitment_mismatch", {most}, at(5));
    });
  };
  EXPECT_EQ(fail("att-1", 2, 3).error().code(), Errc::stale_fence);
  EXPECT_EQ(fail("att-9", 1, 3).error().code(), Errc::stale_fence);
  EXPECT_EQ(fail("att-1", 1, 3)->job, JobState::queued);
  EXPECT_EQ(attempt_state("att-1"), AttemptState::failed);
  EXPECT_EQ(fail("att-1", 1, 3).error().code(), Errc::stale_fence) << "twice";
  ASSERT_TRUE(*lease("inst-1", "att-2"));
  EXPECT_EQ(fail("att-2", 2, 2)->job, JobState::failed);
  EXPECT_EQ(jobs::get(read(), id<JobId>("job-1"))->failure, "input_commitment_mismatch");
}

class JobResultTest : public testing::JobsFixture {
 protected:
  void SetUp() override {
    JobsFixture::SetUp();
    add_instance("inst-1");
    ASSERT_TRUE(submit(request("job-1")));
    lease_ = **lease("inst-1", "att-1");
  }
  jobs::Lease lease_;
};

TEST_F(JobResultTest, IsAcceptedOnceAndEndsTheJob) {
  const auto given = result_of(lease_, 9);
  EXPECT_EQ(*accept(given, 1), jobs::Acceptance::accepted);
  const auto job = *jobs::get(read(), id<JobId>("job-1"));
  EXPECT_EQ(job.state, JobState::succeeded);
  EXPECT_EQ(job.finished, at(9));
  EXPECT_EQ(job.progress, 100);
  EXPECT_EQ(attempt_state("att-1"), AttemptState::succeeded);
  const auto stored = *jobs::result(read(), job.id);
  EXPECT_EQ(stored.attempt, given.attempt);
  EXPECT_EQ(stored.envelope, given.envelope);
  EXPECT_EQ(stored.signature, given.signature);
  EXPECT_EQ(stored.enc, given.enc);
  EXPECT_EQ(stored.sealed_output, given.sealed_output);
  EXPECT_EQ(stored.accepted, at(9));
  EXPECT_EQ(jobs::ciphertext(read(), job.id).error().code(), Errc::not_found) << "erased";
  EXPECT_EQ(jobs::missing_recipients(read(), job.id)->size(), 1U) << "recipients are erased";
}

TEST_F(JobResultTest, RepeatIsAcknowledgedAndAnotherIsAConflict) {
  ASSERT_TRUE(accept(result_of(lease_, 9), 1));
  EXPECT_EQ(*accept(result_of(lease_, 10), 1), jobs::Acceptance::repeated);
  EXPECT_EQ(jobs::result(read(), id<JobId>("job-1"))->accepted, at(9));
  EXPECT_EQ(accept(result_of(lease_, 9, "other"), 1).error().code(), Errc::conflict);
  auto resigned = result_of(lease_, 9);
  resigned.signature[0] ^= 1;
  EXPECT_EQ(accept(resigned, 1).error().code(), Errc::conflict);
}

TEST_F(JobResultTest, NeedsTheCurrentAttemptAndFence) {
  EXPECT_EQ(accept(result_of(lease_, 9), 2).error().code(), Errc::stale_fence);
  EXPECT_EQ(accept(result_of(lease_, 9), 0).error().code(), Errc::stale_fence);
  auto unknown = result_of(lease_, 9);
  unknown.attempt = id<AttemptId>("att-9");
  EXPECT_EQ(accept(unknown, 1).error().code(), Errc::stale_fence);
  auto other_job = result_of(lease_, 9);
  ASSERT_TRUE(submit(request("job-2")));
  other_job.job = id<JobId>("job-2");
  EXPECT_EQ(accept(other_job, 1).error().code(), Errc::stale_fence);
  EXPECT_EQ(state("job-1"), JobState::leased);
  EXPECT_EQ(jobs::result(read(), id<JobId>("job-1")).error().code(), Errc::not_found);
}

TEST_F(JobResultTest, OfALostLeaseIsStale) {
  ASSERT_TRUE(commit([&](Transaction& t) { return jobs::expire_leases(t, policy_, at(30), at(30)); }));
  EXPECT_EQ(accept(result_of(lease_, 31), 1).error().code(), Errc::stale_fence);
  const auto second = **lease("inst-1", "att-2", 31, 61);
  EXPECT_EQ(accept(result_of(lease_, 32), 1).error().code(), Errc::stale_fence);
  EXPECT_EQ(accept(result_of(lease_, 32), 2).error().code(), Errc::stale_fence);
  EXPECT_EQ(*accept(result_of(second, 33), 2), jobs::Acceptance::accepted);
  EXPECT_EQ(accept(result_of(lease_, 34), 1).error().code(), Errc::stale_fence);
}

TEST_F(JobResultTest, AfterTheLeaseIsOverButNotEndedIsStillTaken) {
  EXPECT_EQ(*accept(result_of(lease_, 31), 1), jobs::Acceptance::accepted);
}

TEST_F(JobResultTest, ThatSaysErrorEndsTheJobFailed) {
  ASSERT_TRUE(accept(result_of(lease_, 9), 1, "challenge_error"));
  const auto job = *jobs::get(read(), id<JobId>("job-1"));
  EXPECT_EQ(job.state, JobState::failed);
  EXPECT_EQ(job.failure, "challenge_error");
  EXPECT_TRUE(jobs::result(read(), job.id));
}

TEST_F(JobResultTest, IsUndoneWithItsTransaction) {
  {
    auto transaction = write();
    ASSERT_TRUE(jobs::accept_result(transaction, result_of(lease_, 9), 1));
  }
  EXPECT_EQ(state("job-1"), JobState::leased);
  EXPECT_EQ(jobs::result(read(), id<JobId>("job-1")).error().code(), Errc::not_found);
  EXPECT_TRUE(jobs::ciphertext(read(), id<JobId>("job-1")));
}

class JobRecipients : public testing::JobsFixture {
 protected:
  [[nodiscard]] Result<model::Job> add(std::string_view job, const std::vector<model::Recipient>& recipients) {
    return commit([&](Transaction& t) { return jobs::add_recipients(t, id<JobId>(job), recipients); });
  }
};

TEST_F(JobRecipients, QueueAJobThatWaitsForThem) {
  ASSERT_TRUE(submit(request("job-1", {})));
  add_instance("inst-1");
  add_instance("inst-2", InstanceState::starting);
  EXPECT_EQ(*jobs::missing_recipients(read(), id<JobId>("job-1")), std::vector{id<InstanceId>("inst-1")});
  EXPECT_EQ(add("job-1", {recipient("inst-1")})->state, JobState::queued);
  EXPECT_EQ(state("job-1"), JobState::queued);
  EXPECT_TRUE(jobs::missing_recipients(read(), id<JobId>("job-1"))->empty());
  EXPECT_TRUE(*lease("inst-1", "att-1"));
  EXPECT_EQ(add("job-1", {recipient("inst-2")})->state, JobState::leased) << "a lease goes on";
}

TEST_F(JobRecipients, StayAsTheyAreWhenAddedAgain) {
  add_instance("inst-1");
  ASSERT_TRUE(submit(request("job-1")));
  auto other = recipient("inst-1");
  other.sealed_key = Bytes{0};
  ASSERT_TRUE(add("job-1", {other}));
  EXPECT_EQ((*lease("inst-1", "att-1"))->recipient, recipient("inst-1"));
}

TEST_F(JobRecipients, ThatAreGoneDoNotQueue) {
  ASSERT_TRUE(submit(request("job-1", {})));
  add_instance("inst-1", InstanceState::stopped);
  EXPECT_EQ(add("job-1", {recipient("inst-1")})->state, JobState::awaiting_rewrap);
}

TEST_F(JobRecipients, AreRefusedForWhatIsNotTheirs) {
  add_instance("inst-1");
  ASSERT_TRUE(submit(request("job-1")));
  EXPECT_EQ(add("job-9", {recipient("inst-1")}).error().code(), Errc::not_found);
  EXPECT_EQ(add("job-1", {recipient("none")}).error().code(), Errc::invalid_argument);
  ASSERT_TRUE(commit([](Transaction& t) { return jobs::cancel(t, id<JobId>("job-1"), at(1)); }));
  EXPECT_EQ(add("job-1", {recipient("inst-1")}).error().code(), Errc::conflict);
}

TEST_F(JobRecipients, LossOfTheLastOneMakesItsJobsWait) {
  add_instance("inst-1");
  add_instance("inst-2");
  ASSERT_TRUE(submit(request("job-1", {"inst-1"})));
  ASSERT_TRUE(submit(request("job-2", {"inst-1"})));
  ASSERT_TRUE(submit(request("job-3", {"inst-1", "inst-2"})));
  ASSERT_TRUE(submit(request("job-4", {"inst-1", "inst-2"})));
  ASSERT_EQ((*lease("inst-1", "att-1"))->job.id, id<JobId>("job-1"));
  ASSERT_EQ((*lease("inst-2", "att-2"))->job.id, id<JobId>("job-3"));
  const auto ended = commit([&](Transaction& t) -> Result<std::vector<jobs::Ended>> {
    CLOISTER_CHECK(instances::set_state(t, id<InstanceId>("inst-1"), InstanceState::lost));
    return jobs::release_instance(t, id<InstanceId>("inst-1"), policy_, at(5));
  });
  ASSERT_TRUE(ended) << ended.error().text();
  ASSERT_EQ(ended->size(), 1U);
  EXPECT_EQ(ended->front().attempt.id, id<AttemptId>("att-1"));
  EXPECT_EQ(state("job-1"), JobState::awaiting_rewrap);
  EXPECT_EQ(state("job-2"), JobState::awaiting_rewrap);
  EXPECT_EQ(state("job-3"), JobState::leased) << "another instance's lease goes on";
  EXPECT_EQ(state("job-4"), JobState::queued);
  EXPECT_TRUE(jobs::leases_of(read(), id<InstanceId>("inst-1"))->empty());
}

class JobEnd : public testing::JobsFixture {
 protected:
  void SetUp() override {
    JobsFixture::SetUp();
    add_instance("inst-1");
  }
  [[nodiscard]] Result<jobs::Cancelled> cancel(std::string_view job, int when = 5) {
    return commit([&](Transaction& t) { return jobs::cancel(t, id<JobId>(job), at(when)); });
  }
};

TEST_F(JobEnd, CancellingStopsItsLease) {
  ASSERT_TRUE(submit(request("job-1")));
  const auto leased = **lease("inst-1", "att-1");
  const auto cancelled = cancel("job-1");
  ASSERT_TRUE(cancelled) << cancelled.error().text();
  EXPECT_EQ(cancelled->job.state, JobState::cancelled);
  EXPECT_EQ(cancelled->job.finished, at(5));
  ASSERT_TRUE(cancelled->attempt);
  EXPECT_EQ(cancelled->attempt->id, id<AttemptId>("att-1"));
  EXPECT_EQ(attempt_state("att-1"), AttemptState::cancelled);
  EXPECT_EQ(accept(result_of(leased, 6), 1).error().code(), Errc::stale_fence);
  EXPECT_EQ(cancel("job-1", 7)->job.finished, at(5)) << "twice";
  EXPECT_FALSE(*lease("inst-1", "att-2"));
}

TEST_F(JobEnd, CancellingWorksInEveryUnfinishedStateAndNoOther) {
  ASSERT_TRUE(submit(request("job-1", {})));
  EXPECT_FALSE(cancel("job-1")->attempt);
  ASSERT_TRUE(submit(request("job-2")));
  EXPECT_FALSE(cancel("job-2")->attempt);
  ASSERT_TRUE(submit(request("job-3")));
  ASSERT_TRUE(accept(result_of(**lease("inst-1", "att-1"), 1), 1));
  EXPECT_EQ(cancel("job-3").error().code(), Errc::conflict);
  EXPECT_EQ(cancel("job-9").error().code(), Errc::not_found);
}

TEST_F(JobEnd, DeadlineEndsEveryUnfinishedJob) {
  ASSERT_TRUE(submit(request("job-1", {})));
  ASSERT_TRUE(submit(request("job-2")));
  ASSERT_TRUE(*lease("inst-1", "att-1", 0, 2000));
  ASSERT_TRUE(submit(request("job-3"), 1));
  const auto expired = commit([](Transaction& t) { return jobs::expire_deadlines(t, at(1000)); });
  ASSERT_EQ(expired->size(), 2U);
  EXPECT_EQ(expired->at(0).job, id<JobId>("job-1"));
  EXPECT_FALSE(expired->at(0).attempt);
  EXPECT_EQ(expired->at(1).job, id<JobId>("job-2"));
  EXPECT_EQ(expired->at(1).attempt->id, id<AttemptId>("att-1"));
  EXPECT_EQ(state("job-2"), JobState::expired);
  EXPECT_EQ(jobs::get(read(), id<JobId>("job-2"))->failure, "deadline_exceeded");
  EXPECT_EQ(state("job-3"), JobState::queued);
  EXPECT_TRUE(commit([](Transaction& t) { return jobs::expire_deadlines(t, at(1000)); })->empty());
}

TEST_F(JobEnd, RetryOfAFinishedJobGivesItBack) {
  ASSERT_TRUE(submit(request("job-1")));
  ASSERT_TRUE(accept(result_of(**lease("inst-1", "att-1"), 1), 1));
  const auto again = submit(request("job-1"), 2);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->job.state, JobState::succeeded);
}

TEST_F(JobEnd, LoadCountsUnfinishedWork) {
  ASSERT_TRUE(submit(request("job-1", {}), 4));
  ASSERT_TRUE(submit(request("job-2"), 2));
  ASSERT_TRUE(submit(request("job-3"), 6));
  ASSERT_TRUE(*lease("inst-1", "att-1", 7));
  const auto load = *jobs::load(read(), id<VersionId>("ver"));
  EXPECT_EQ(load.queued, 1U);
  EXPECT_EQ(load.awaiting_rewrap, 1U);
  EXPECT_EQ(load.leased, 1U);
  EXPECT_EQ(load.oldest_waiting, at(4));
  const auto whole = *jobs::load(read());
  EXPECT_EQ(whole.queued, 1U);
  EXPECT_EQ(whole.awaiting_rewrap, 1U);
  EXPECT_EQ(whole.leased, 1U);
  ASSERT_TRUE(cancel("job-1"));
  ASSERT_TRUE(cancel("job-3"));
  EXPECT_EQ(jobs::load(read(), id<VersionId>("ver"))->oldest_waiting, std::nullopt);
  EXPECT_EQ(jobs::load(read())->queued, 0U);
}

TEST_F(JobEnd, UnfinishedJobsAreCountedByTenant) {
  ASSERT_TRUE(submit(request("job-1")));
  ASSERT_TRUE(submit(request("job-2", {})));
  auto others = request("job-3");
  others.idempotency_key = "theirs";
  ASSERT_TRUE(submit(others, 0, "other"));
  auto counted = jobs::unfinished(read(), id<TenantId>("acme"));
  ASSERT_TRUE(counted) << counted.error().text();
  EXPECT_EQ(counted->of_tenant, 2U);
  EXPECT_EQ(counted->total, 3U);
  ASSERT_TRUE(commit([&](Transaction& t) { return jobs::cancel(t, id<JobId>("job-1"), at(1)); }));
  counted = jobs::unfinished(read(), id<TenantId>("acme"));
  ASSERT_TRUE(counted);
  EXPECT_EQ(counted->of_tenant, 1U);
  EXPECT_EQ(counted->total, 2U);
}

TEST_F(JobEnd, UnknownStateInARowIsCorruption) {
  ASSERT_TRUE(submit(request("job-1")));
  ASSERT_TRUE(commit([](Transaction& t) { return t.run("UPDATE job SET state = 'odd'"); }));
  EXPECT_EQ(jobs::get(read(), id<JobId>("job-1")).error().code(), Errc::storage_corrupt);
}

}  // namespace
}  // namespace cloister::storage
