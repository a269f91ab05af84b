#include "worker.hpp"

#include <gtest/gtest.h>

#include "cloister/channel/channel.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/protocol/job.hpp"
#include "support/support.hpp"

namespace cloister::guest {
namespace {

using std::chrono::seconds;

const VersionId kVersion = *VersionId::parse("ver-a");
const InstanceId kInstance = *InstanceId::parse("inst-a");

/// An instance and a client that seals jobs to it.
struct Scene {
  test::SeededRandom random{5};
  test::FakeClock clock{*from_civil(2026, 1, 1, 0, 0, 0)};
  crypto::X25519Key payload_key = crypto::X25519Key::generate(random);
  crypto::X25519Public payload_public = payload_key.public_key();
  crypto::Ed25519Key result_key = crypto::Ed25519Key::generate(random);
  crypto::Ed25519Public result_public = result_key.public_key();
  Worker worker{Identity{kInstance, kVersion, crypto::sha256(to_bytes("image")), *SessionId::parse("ses-a"),
                         std::move(payload_key), std::move(result_key)},
                1, clock, random};
  crypto::Secret<32> client = crypto::Secret<32>::random(random);
  Digest32 salt = protocol::ClientJobKeys::salt(client, "k", to_bytes("in"));
  protocol::ClientJobKeys keys = protocol::ClientJobKeys::derive(client, salt);

  protocol::AssignJob job(const char* attempt = "att-a", ByteView payload = as_bytes("in")) {
    const auto request = protocol::seal_job(keys, kVersion, "k", salt, payload, seconds{60});
    auto recipient = *protocol::seal_recipient(keys.content_key(), keys.job(), kVersion, kInstance, payload_public,
                                               request.input_commitment, crypto::sha256(request.ciphertext), random);
    protocol::AssignJob out;
    out.job = keys.job();
    out.attempt = *AttemptId::parse(attempt);
    out.fence = 1;
    out.version = kVersion;
    out.input_commitment = request.input_commitment;
    out.enc = recipient.enc;
    out.sealed_key = recipient.sealed_key;
    out.ciphertext = request.ciphertext;
    out.timeout_ms = 10'000;
    return out;
  }
  /// The name of the job that the challenge gets now; empty when it gets none.
  std::string given() {
    const auto job = worker.give();
    return job ? job->job : "";
  }
};

std::string failure(const std::optional<protocol::AttemptFailed>& failed) { return failed ? failed->code : ""; }
AttemptId attempt(const char* name) { return *AttemptId::parse(name); }
protocol::challenge::Result answer(const char* name) { return {name, "ok", {'o', 'u', 't'}}; }

TEST(Worker, ExecutesAndSignsAResultThatTheClientOpens) {
  Scene s;
  const auto job = s.job();
  ASSERT_EQ(failure(s.worker.assign(job)), "");
  const auto given = s.worker.give();
  ASSERT_TRUE(given);
  EXPECT_EQ(as_text(given->payload), "in");
  s.clock.advance(seconds{1});
  auto result = s.worker.finish(answer("att-a"));
  ASSERT_TRUE(result && *result);
  const auto& sent = **result;
  EXPECT_TRUE(crypto::ed25519_verify(s.result_public, sent.envelope, sent.signature));
  auto envelope = protocol::decode_envelope(sent.envelope);
  ASSERT_TRUE(envelope);
  EXPECT_EQ(envelope->finished - envelope->started, seconds{1});
  model::JobResult stored;
  stored.job = job.job;
  stored.attempt = job.attempt;
  stored.enc = sent.enc;
  stored.sealed_output = sent.sealed_output;
  auto output = protocol::open_output(s.keys, *envelope, stored);
  ASSERT_TRUE(output) << output.error().text();
  EXPECT_EQ(as_text(output->reveal()), "out");
}

TEST(Worker, KeepsAResultUntilItIsSettled) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job())), "");
  ASSERT_EQ(s.given(), "att-a");
  ASSERT_TRUE(s.worker.finish(answer("att-a")));
  EXPECT_EQ(s.worker.unsettled().size(), 1U);
  s.worker.settled(attempt("att-a"));
  EXPECT_TRUE(s.worker.unsettled().empty());
}

TEST(Worker, SaysInWhichSessionAJobWasAssigned) {
  Scene s;
  EXPECT_FALSE(s.worker.assign(s.job()));
  s.worker.in_session(*SessionId::parse("ses-b"));
  s.given();
  const auto first = s.worker.finish(answer("att-a"));
  ASSERT_TRUE(first && *first);
  EXPECT_EQ(protocol::decode_envelope((*first)->envelope)->session, *SessionId::parse("ses-a"));
  EXPECT_EQ(s.worker.unsettled().size(), 1U) << "to be brought again in the next session, as it is";
  s.worker.settled(attempt("att-a"));
  EXPECT_FALSE(s.worker.assign(s.job("att-b")));
  s.given();
  const auto second = s.worker.finish(answer("att-b"));
  ASSERT_TRUE(second && *second);
  EXPECT_EQ(protocol::decode_envelope((*second)->envelope)->session, *SessionId::parse("ses-b"));
}

TEST(Worker, RefusesWhatDoesNotOpenOrIsNotForIt) {
  Scene s;
  auto job = s.job();
  job.ciphertext[0] ^= 1;
  EXPECT_EQ(failure(s.worker.assign(job)), "decryption_failed");
  job = s.job();
  job.input_commitment[0] ^= 1;
  EXPECT_EQ(failure(s.worker.assign(job)), "decryption_failed");
  job = s.job();
  job.version = *VersionId::parse("ver-b");
  EXPECT_EQ(failure(s.worker.assign(job)), "invalid_argument");
  EXPECT_EQ(s.worker.running(), 0U);
  EXPECT_EQ(s.given(), "");
}

TEST(Worker, RefusesTheSameAttemptTwice) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job())), "");
  EXPECT_EQ(failure(s.worker.assign(s.job())), "conflict");
  // Nor while the challenge still has it, or its result is kept.
  ASSERT_EQ(s.given(), "att-a");
  s.worker.cancel(attempt("att-a"));
  EXPECT_EQ(failure(s.worker.assign(s.job())), "conflict");
  ASSERT_TRUE(s.worker.finish(answer("att-a")));
  ASSERT_EQ(failure(s.worker.assign(s.job("att-b"))), "");
  ASSERT_EQ(s.given(), "att-b");
  ASSERT_TRUE(s.worker.finish(answer("att-b")));
  EXPECT_EQ(failure(s.worker.assign(s.job("att-b"))), "conflict");
}

TEST(Worker, RefusesMoreAttemptsThanSlots) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job())), "");
  EXPECT_EQ(failure(s.worker.assign(s.job("att-b"))), "overloaded");
}

TEST(Worker, CancelledJobHoldsItsSlotUntilItsResultComes) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job("att-a"))), "");
  ASSERT_EQ(s.given(), "att-a");
  s.worker.cancel(attempt("att-a"));
  // The server leases the slot again at once; the challenge is still executing.
  ASSERT_EQ(failure(s.worker.assign(s.job("att-b"))), "");
  EXPECT_EQ(s.given(), "");
  EXPECT_EQ(s.worker.heartbeats().size(), 1U);
  auto dropped = s.worker.finish(answer("att-a"));
  ASSERT_TRUE(dropped);
  EXPECT_FALSE(*dropped);
  EXPECT_EQ(s.given(), "att-b");
  auto sent = s.worker.finish(answer("att-b"));
  ASSERT_TRUE(sent);
  EXPECT_TRUE(*sent);
}

TEST(Worker, CancelDropsAJobThatWaits) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job("att-a"))), "");
  ASSERT_EQ(s.given(), "att-a");
  s.worker.cancel(attempt("att-a"));
  ASSERT_EQ(failure(s.worker.assign(s.job("att-b"))), "");
  s.worker.cancel(attempt("att-b"));
  ASSERT_TRUE(s.worker.finish(answer("att-a")));
  EXPECT_EQ(s.given(), "");
  EXPECT_EQ(s.worker.running(), 0U);
  EXPECT_FALSE(s.worker.busy());
}

TEST(Worker, RefusesAResultForAJobThatTheChallengeDoesNotHave) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job())), "");
  EXPECT_EQ(s.worker.finish(answer("att-a")).error().code(), Errc::challenge_failed);  // not given yet
  ASSERT_EQ(s.given(), "att-a");
  ASSERT_TRUE(s.worker.finish(answer("att-a")));
  EXPECT_EQ(s.worker.finish(answer("att-a")).error().code(), Errc::challenge_failed);  // a second time
}

TEST(Worker, IsOverdueWhenAJobTakesLongerThanItMay) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job())), "");
  s.clock.advance(seconds{20});  // waiting does not count
  ASSERT_EQ(s.given(), "att-a");
  s.clock.advance(seconds{9});
  EXPECT_FALSE(s.worker.overdue());
  s.clock.advance(seconds{1});
  EXPECT_TRUE(s.worker.overdue());
  const auto failed = s.worker.fail_all();
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].code, "job_timeout");
  EXPECT_EQ(s.worker.running(), 0U);
}

TEST(Worker, IsOverdueAlsoForACancelledJob) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job("att-a"))), "");
  ASSERT_EQ(s.given(), "att-a");
  s.worker.cancel(attempt("att-a"));
  ASSERT_EQ(failure(s.worker.assign(s.job("att-b"))), "");
  s.clock.advance(seconds{10});
  EXPECT_TRUE(s.worker.overdue());
  const auto failed = s.worker.fail_all();
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].attempt, attempt("att-b"));
  EXPECT_EQ(failed[0].code, "challenge_failed");
}

TEST(Worker, LargestPayloadAndOutputPassEveryHop) {
  constexpr auto kLargest = protocol::challenge::kMaxOutput;  // of payloads, too
  Scene s;
  const Bytes payload(kLargest, 0x20);
  const auto job = s.job("att-a", payload);
  EXPECT_LE(protocol::encode(protocol::ToTd{job}).size(), channel::kMaxMessage);
  ASSERT_EQ(failure(s.worker.assign(job)), "");
  const auto given = s.worker.give();
  ASSERT_TRUE(given);
  EXPECT_EQ(given->payload.size(), kLargest);
  EXPECT_LE(protocol::challenge::frame(protocol::challenge::ToChallenge{*given}).size(), protocol::challenge::kMaxFrame);
  auto sent = s.worker.finish({"att-a", "ok", crypto::CleansedBytes(kLargest)});
  ASSERT_TRUE(sent && *sent);
  EXPECT_LE(protocol::encode(protocol::ToServer{**sent}).size(), channel::kMaxMessage);
}

TEST(Worker, BeatsForRunningAttemptsWithTheirProgress) {
  Scene s;
  ASSERT_EQ(failure(s.worker.assign(s.job())), "");
  s.worker.progress({"att-a", 40});
  s.worker.progress({"att-other", 90});
  const auto beats = s.worker.heartbeats();
  ASSERT_EQ(beats.size(), 1U);
  EXPECT_EQ(beats[0].percent, 40);
  EXPECT_EQ(s.worker.fail_all().size(), 1U);
  EXPECT_TRUE(s.worker.heartbeats().empty());
}

}  // namespace
}  // namespace cloister::guest
