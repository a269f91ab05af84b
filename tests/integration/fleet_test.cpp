// The fleet over real connections: what it asks of hosts, what it refuses, and what becomes of instances.
#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/storage/challenges.hpp"
#include "cloister/storage/fleet.hpp"
#include "fleet_world.hpp"
#include "cloister/metrics/text_writer.hpp"

namespace cloister::test {
namespace {

using model::InstanceState;
using std::chrono::seconds;

/// A fleet that serves, with one host that was verified and asked for the one instance of the world's version.
class Fleet : public testing::Test {
 protected:
  void SetUp() override { w.open(); }
  void TearDown() override { w.stop(); }

  /// The instance that the host is asked to start now.
  static InstanceId asked(HostEnd& host) { return host.expect<host::Start>().instance; }
  void expect_state(const InstanceId& id, InstanceState state) {
    EXPECT_TRUE(w.eventually([&] { return w.instance(id).state == state; })) << model::to_string(w.instance(id).state);
  }
  /// The number after this name and its labels; -1 when there is none.
  double metric(const std::string& series) {
    metrics::TextWriter out;
    w.fleet->write_metrics(out);
    const auto at = out.text().find("\n" + series + " ");
    return at == std::string::npos ? -1 : std::stod(out.text().substr(at + series.size() + 2));
  }
  std::string failure(const InstanceId& id) { return w.instance(id).failure.value_or(""); }

  FleetWorld w;
};

// --- login ---

TEST_F(Fleet, AsksAVerifiedHostForAnInstanceUntilItIsReady) {
  HostEnd host{w};
  host.join(7);
  EXPECT_EQ(w.validator_row().capacity, 7U);
  host.verify();
  const auto start = host.expect<host::Start>();
  EXPECT_EQ(start.configuration, w.world.version.configuration);
  EXPECT_EQ(start.memory_mib, w.world.version.spec.memory_mib);
  EXPECT_FALSE(start.blobs.empty());
  EXPECT_EQ(w.instance(start.instance).state, InstanceState::starting);
  auto td = host.started(start.instance);
  const auto machine = w.world.launch();
  EXPECT_TRUE(td.become_ready(machine));
  expect_state(start.instance, InstanceState::ready);
  EXPECT_EQ(w.known.chains(), 1U) << "the validator's TD and the instance are of one platform";
  EXPECT_GT(w.known.signatures().size(), 0U);
  EXPECT_EQ(w.instance(start.instance).payload_key, machine.payload_key.public_key());
  EXPECT_EQ(w.validator_row().state, model::ValidatorState::verified);
}

TEST_F(Fleet, RefusesAnUnknownHotkeyAndAWrongSignatureInTheSameWords) {
  HostEnd stranger{w};
  stranger.log_in(crypto::Ed25519Key::generate(w.random));
  const auto unknown = stranger.expect<host::RefusedLogin>();
  EXPECT_TRUE(stranger.ended());

  HostEnd forger{w};
  const auto hello = forger.expect<host::Hello>();
  const auto other_nonce = host::login_message(hello.server_id, ByteArray<32>{});
  EXPECT_TRUE(forger.send(host::Login{w.hotkey.public_key(), w.hotkey.sign(other_nonce), 4, {}}));
  const auto forged = forger.expect<host::RefusedLogin>();
  EXPECT_TRUE(forger.ended());
  EXPECT_EQ(unknown.code, "unauthenticated");
  EXPECT_EQ(unknown.code + unknown.detail, forged.code + forged.detail);
}

TEST_F(Fleet, RefusesADrainingValidatorAndKeepsItsState) {
  auto transaction = w.world.database->write();
  ASSERT_TRUE(storage::validators::set_state(*transaction, w.validator, model::ValidatorState::draining));
  ASSERT_TRUE(transaction->commit());
  HostEnd host{w};
  host.log_in(w.hotkey);
  EXPECT_EQ(host.expect<host::RefusedLogin>().code, "conflict");
  EXPECT_TRUE(host.ended());
}

TEST_F(Fleet, LeavesAValidatorDrainingThatWasMadeSoMeanwhile) {
  {
    HostEnd host{w};
    host.join();
    auto transaction = w.world.database->write();
    ASSERT_TRUE(storage::validators::set_state(*transaction, w.validator, model::ValidatorState::draining));
    ASSERT_TRUE(transaction->commit());
    host.verify();
  }
  w.stop();
  EXPECT_EQ(w.validator_row().state, model::ValidatorState::draining);
}

TEST_F(Fleet, EndsAConnectionThatSaysSomethingBeforeItsLogin) {
  HostEnd host{w};
  host.expect<host::Hello>();
  EXPECT_TRUE(host.send(host::Exited{}));
  EXPECT_TRUE(host.ended());
}

TEST_F(Fleet, EndsAConnectionThatLogsInTwice) {
  HostEnd host{w};
  host.join();
  EXPECT_TRUE(host.send(host::Login{w.hotkey.public_key(), {}, 4, {}}));
  EXPECT_TRUE(host.ended());
}

TEST_F(Fleet, ServesTheNewestConnectionOfAHotkeyAlone) {
  HostEnd first{w};
  HostEnd second{w};
  HostEnd third{w};
  first.join();
  second.log_in(w.hotkey);
  second.expect<host::Welcome>();  // the server has concluded this login: the next is newer
  third.log_in(w.hotkey);
  EXPECT_TRUE(first.ended());
  EXPECT_TRUE(second.ended());
  third.expect<host::Welcome>();
  third.expect<host::StartValidatorTd>();
  third.verify();
  EXPECT_FALSE(asked(third).empty());
  EXPECT_EQ(w.validator_row().state, model::ValidatorState::verified);
}

TEST_F(Fleet, EndsEveryConnectionWhenItStops) {
  HostEnd silent{w};
  silent.expect<host::Hello>();
  HostEnd host{w};
  host.join();
  w.stop();
  EXPECT_TRUE(silent.ended());
  EXPECT_TRUE(host.ended());
}

TEST(FleetToken, IsRenewedWhileTheConnectionLasts) {
  FleetWorld w;
  w.options.token_renewal = std::chrono::milliseconds{1};
  w.open();
  HostEnd host{w};
  host.join();
  EXPECT_EQ(host.expect<host::Token>().token, "token of " + w.validator.str());
  EXPECT_EQ(host.expect<host::Token>().token, "token of " + w.validator.str());
}

// --- the host's own TD ---

TEST_F(Fleet, EndsTheConnectionOfAHostWhoseOwnTdIsAnother) {
  HostEnd host{w};
  host.join();
  auto other = w.world.guest_program;
  other[7] ^= 1;
  const auto td = w.world.launch_validator(other);
  const auto stream = host.next_stream();
  auto end = host.open(stream);
  ASSERT_TRUE(host.send(host::StartedValidatorTd{stream}));
  ASSERT_TRUE(end.shake(protocol::Role::validator));
  ASSERT_TRUE(end.send(end.answer(td, end.expect<protocol::Challenge>(), protocol::Role::validator)));
  EXPECT_EQ(end.expect<protocol::Refused>().code, "measurement_mismatch");
  EXPECT_TRUE(host.ended());
}

TEST_F(Fleet, EndsTheConnectionOfAHostThatHasTwoTdsOfItsOwnOrNone) {
  HostEnd two{w};
  two.join();
  EXPECT_TRUE(two.send(host::StartedValidatorTd{1}));
  EXPECT_TRUE(two.send(host::StartedValidatorTd{2}));
  EXPECT_TRUE(two.ended());
  HostEnd none{w};
  none.join();
  EXPECT_TRUE(none.send(host::StartFailed{{}, "io_error", "no memory"}));
  EXPECT_TRUE(none.ended());
}

TEST_F(Fleet, AsksNothingOfAHostThatIsNotVerified) {
  HostEnd host{w};
  host.join();
  w.fleet->wake();
  host.verify();  // what comes next is the first start, and nothing came before
  EXPECT_FALSE(asked(host).empty());
}

// --- starts ---

TEST_F(Fleet, AsksForNoMoreThanAHostOffers) {
  HostEnd host{w};
  w.add_version(3);
  host.join(2);
  host.verify();
  const auto first = asked(host);
  const auto second = asked(host);
  EXPECT_NE(first, second);
  w.clock.advance(seconds{1});
  w.fleet->wake();
  EXPECT_TRUE(host.send(host::StartFailed{first, "unavailable", "no"}));  // room for one more
  EXPECT_NE(asked(host), second);
  EXPECT_EQ(w.instances().size(), 3U);
}

TEST_F(Fleet, TriesAgainAfterAFailedStartButNotAtOnce) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto first = asked(host);
  EXPECT_TRUE(host.send(host::StartFailed{first, "measurement_mismatch", "the host says so"}));
  expect_state(first, InstanceState::lost);  // a host's word about a TD is not the TD's fault
  EXPECT_EQ(failure(first), "unavailable: measurement_mismatch: the host says so");
  w.fleet->wake();
  EXPECT_TRUE(host.send(host::Exited{first, 0}));
  EXPECT_EQ(w.instances().size(), 1U);
  w.clock.advance(seconds{1});
  w.fleet->wake();
  EXPECT_NE(asked(host), first);
}

TEST_F(Fleet, RefusesAFailedStartOfAnInstanceThatHasStarted) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  EXPECT_TRUE(host.send(host::StartFailed{id, "unavailable", "no"}));
  EXPECT_TRUE(host.ended());
}

TEST_F(Fleet, RefusesASecondStartOfAnInstance) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  EXPECT_TRUE(host.send(host::Started{id, host.next_stream()}));
  EXPECT_TRUE(host.ended());
}

TEST_F(Fleet, StopsWhatItDidNotAskFor) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  const auto nobody = InstanceId::make(w.random);
  auto td = host.started(nobody);
  EXPECT_EQ(host.expect<host::Stop>().instance, nobody);
  EXPECT_TRUE(td.ended());
  EXPECT_TRUE(host.send(host::StartFailed{nobody, "unavailable", "no"}));  // of no consequence
  auto mine = host.started(id);
  EXPECT_TRUE(mine.become_ready(w.world.launch()));
}

TEST_F(Fleet, RefusesAnInstanceThatWasAskedOfAnotherValidator) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  const auto other_key = crypto::Ed25519Key::generate(w.random);
  w.enrol(other_key);
  HostEnd other{w};
  other.log_in(other_key);
  other.expect<host::Welcome>();
  other.expect<host::StartValidatorTd>();
  auto claimed = other.started(id);
  EXPECT_TRUE(other.ended());
  auto td = host.started(id);
  EXPECT_TRUE(td.become_ready(w.world.launch()));
}

TEST_F(Fleet, EndsAStartThatIsOverdue) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  w.clock.advance(w.options.step_timeout);
  w.fleet->wake();
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(failure(id), "deadline_exceeded: the host did not start it in time");
  auto late = host.started(id);
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
  EXPECT_TRUE(late.ended());
}

// --- instances ---

TEST_F(Fleet, EndsAnInstanceThatIsNotWhatWasAskedFor) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  auto other = w.world.guest_program;
  other[7] ^= 1;
  const auto machine = w.world.launch(other, w.world.version.spec.image_digest, w.world.version.configuration);
  ASSERT_TRUE(td.shake(protocol::Role::instance));
  ASSERT_TRUE(td.send(td.answer(machine, td.expect<protocol::Challenge>())));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "measurement_mismatch");
  EXPECT_TRUE(td.ended());
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
  expect_state(id, InstanceState::refused);
  EXPECT_EQ(metric(R"(cloister_attestation_refusals_total{role="instance",code="measurement_mismatch"})"), 1);
  EXPECT_EQ(metric(R"(cloister_attestation_duration_seconds_count{role="instance",outcome="refused"})"), 1);
  EXPECT_EQ(metric(R"(cloister_attestation_duration_seconds_count{role="instance",outcome="accepted"})"), -1);
  EXPECT_EQ(metric(R"(cloister_attestation_duration_seconds_count{role="validator",outcome="accepted"})"), 1);
}

TEST_F(Fleet, LooksForNoCollateralOfAForgedQuote) {
  HostEnd host{w};
  host.join();
  host.verify();
  ASSERT_EQ(w.collateral_asked, 1);  // of the validator's own TD
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  ASSERT_TRUE(td.shake(protocol::Role::instance));
  auto forged = td.answer(machine, td.expect<protocol::Challenge>());
  forged.evidence[evidence::kQuoteHeaderSize + 136] ^= 1;  // MRTD, which the quote's signature covers
  ASSERT_TRUE(td.send(std::move(forged)));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "quote_signature_invalid");
  expect_state(id, InstanceState::refused);
  EXPECT_EQ(w.collateral_asked, 1);
}

TEST_F(Fleet, CountsReleasesAndThoseThatItRefused) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  ASSERT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  EXPECT_EQ(metric(R"(cloister_secret_release_duration_seconds_count{outcome="released"})"), 1);
  EXPECT_EQ(metric(R"(cloister_secret_release_duration_seconds_count{outcome="refused"})"), -1);
  ASSERT_TRUE(w.world.broker->remove(w.world.tenant, "example/salt", "tester", w.clock.now()));
  EXPECT_TRUE(host.send(host::Exited{id, 0}));
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
  w.clock.advance(seconds{1});
  w.fleet->wake();
  auto other = host.started(asked(host));
  const auto machine = w.world.launch();
  ASSERT_TRUE(other.shake(protocol::Role::instance));
  ASSERT_TRUE(other.send(other.answer(machine, other.expect<protocol::Challenge>())));
  other.expect<protocol::Accepted>();
  EXPECT_TRUE(other.ended());
  EXPECT_EQ(metric(R"(cloister_secret_release_duration_seconds_count{outcome="refused"})"), 1);
  EXPECT_EQ(metric(R"(cloister_secret_release_duration_seconds_count{outcome="released"})"), 1);
}

TEST_F(Fleet, EndsAnInstanceWhoseTdEnded) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  ASSERT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  EXPECT_TRUE(host.send(host::Exited{id, -9}));
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(failure(id), "peer_closed: its TD ended, status -9");
  EXPECT_TRUE(td.ended());
}

TEST_F(Fleet, GivesUpTheLeasesOfAnInstanceThatItLost) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  ASSERT_TRUE(td.become_ready(machine));
  expect_state(id, InstanceState::ready);
  const auto job = w.world.seal_to({{id, machine.payload_key.public_key()}});
  ASSERT_TRUE(w.world.jobs->submit(w.world.tenant, job.request, w.clock.now()));
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, job.keys.job());
  EXPECT_TRUE(host.send(host::Exited{id, 0}));
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(w.world.jobs->get(w.world.tenant, job.keys.job())->state, model::JobState::awaiting_rewrap);
}

// --- sessions end, instances go on ---

TEST_F(Fleet, ChallengesAnInstanceAgainBeforeItsSessionEnds) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  const auto first = td.become_ready(machine);
  expect_state(id, InstanceState::ready);
  w.clock.advance(std::chrono::minutes{31});
  w.fleet->wake();
  const auto second = td.attest_again(machine);
  EXPECT_NE(first, second);
  EXPECT_TRUE(w.eventually([&] { return w.instance(id).evidence->session == second; }));
  // A result of the first session, which had not ended when the work did, is taken in the second.
  const auto job = w.world.seal_to({{id, machine.payload_key.public_key()}});
  ASSERT_TRUE(w.world.jobs->submit(w.world.tenant, job.request, w.clock.now()));
  const auto assigned = td.expect<protocol::AssignJob>();
  w.world.clock.set(w.clock.now());
  EXPECT_TRUE(td.send(w.world.execute(machine, id, *first, assigned)));
  EXPECT_EQ(td.expect<protocol::ResultAccepted>().attempt, assigned.attempt);
}

TEST_F(Fleet, EndsAnInstanceThatAttestsAgainWithOtherKeys) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  ASSERT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  w.clock.advance(std::chrono::minutes{31});
  w.fleet->wake();
  EXPECT_TRUE(td.send(td.answer(w.world.launch(), td.expect<protocol::Challenge>())));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "conflict");
  expect_state(id, InstanceState::refused);
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
}

TEST_F(Fleet, GivesNoFurtherSessionToWhatIsRevoked) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  ASSERT_TRUE(td.become_ready(machine));
  expect_state(id, InstanceState::ready);
  const auto chip = codec::to_hex(w.world.platform.fmspc());
  ASSERT_TRUE(w.revoked.add({revocation::Kind::chip, chip, "recalled", std::nullopt}, "root", w.clock.now()));
  EXPECT_EQ(w.instance(id).state, InstanceState::ready);  // the session that it has goes on
  w.clock.advance(std::chrono::minutes{31});
  w.fleet->wake();
  EXPECT_TRUE(td.send(td.answer(machine, td.expect<protocol::Challenge>())));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "attestation_revoked");
  expect_state(id, InstanceState::refused);
}

TEST_F(Fleet, EndsAnInstanceThatDoesNotAttestAgain) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  ASSERT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  w.clock.advance(std::chrono::minutes{31});
  w.fleet->wake();
  td.expect<protocol::Challenge>();
  w.clock.advance(w.options.step_timeout);
  w.fleet->wake();
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
}

TEST_F(Fleet, RefusesEvidenceThatNobodyAskedFor) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  ASSERT_TRUE(td.become_ready(machine));
  EXPECT_TRUE(td.send(td.answer(machine, protocol::Challenge{{}, id, std::nullopt})));
  expect_state(id, InstanceState::refused);
}

// --- the disk is slow ---

TEST_F(Fleet, WritesDownWhatEndedOnceTheDiskTakesIt) {
  std::optional<HostEnd> host{std::in_place, w};
  host->join();
  host->verify();
  const auto id = asked(*host);
  auto td = host->started(id);
  ASSERT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  {
    const auto other_writer = w.world.database->write();
    ASSERT_TRUE(w.eventually([&] { return w.world.database->slow(); }));
    EXPECT_TRUE(host->send(host::Exited{id, 0}));
    EXPECT_TRUE(td.ended());
    host.reset();
    EXPECT_TRUE(w.eventually([&] { return w.logger.count >= 2; })) << "neither could be written";
    EXPECT_EQ(w.instance(id).state, InstanceState::ready);
  }
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(failure(id), "peer_closed: its TD ended, status 0");
  EXPECT_TRUE(w.eventually([&] { return w.validator_row().state == model::ValidatorState::lost; }));
}

TEST_F(Fleet, AttestsAnewWhatCouldNotBeWrittenDownAsReady) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  ASSERT_TRUE(td.shake(protocol::Role::instance));
  ASSERT_TRUE(td.send(td.answer(machine, td.expect<protocol::Challenge>())));
  td.expect<protocol::Accepted>();
  td.expect<protocol::Release>();
  {
    const auto other_writer = w.world.database->write();
    ASSERT_TRUE(w.eventually([&] { return w.world.database->slow(); }));
    EXPECT_TRUE(td.send(protocol::Ready{1}));
    EXPECT_TRUE(td.ended());
  }
  auto again = host.started(id);
  EXPECT_TRUE(again.become_ready(machine));
  expect_state(id, InstanceState::ready);
  EXPECT_EQ(w.instances().size(), 1U);
}

// --- the server's clock jumps, and nobody else's ---

class ClockJump : public Fleet, public testing::WithParamInterface<std::chrono::hours> {};

/// Guests date their work rightly all the while.
TEST_P(ClockJump, CostsASessionAndNoResult) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  const auto machine = w.world.launch();
  const auto submit = [&](const std::string& key) {
    auto job = w.world.seal_to({{id, machine.payload_key.public_key()}}, key);
    job.request.deadline = std::chrono::hours{24};
    EXPECT_TRUE(w.world.jobs->submit(w.world.tenant, job.request, w.clock.now()));
    return job;
  };
  auto first = host.started(id);
  const auto before = first.become_ready(machine);
  const auto early = submit("early");
  const auto assigned = first.expect<protocol::AssignJob>();

  // Its session is of another time: nothing of it counts until it has attested anew, which it does by itself.
  w.clock.jump(GetParam());
  EXPECT_TRUE(first.send(w.world.execute(machine, id, *before, assigned)));
  EXPECT_TRUE(first.ended());
  auto second = host.started(id);
  const auto after = second.become_ready(machine);
  EXPECT_TRUE(second.send(w.world.execute(machine, id, *before, assigned)));
  EXPECT_EQ(second.expect<protocol::ResultAccepted>().attempt, assigned.attempt);
  const auto during = submit("during");
  const auto next = second.expect<protocol::AssignJob>();
  EXPECT_TRUE(second.send(w.world.execute(machine, id, *after, next)));
  EXPECT_EQ(second.expect<protocol::ResultAccepted>().attempt, next.attempt);

  w.clock.jump(-GetParam());
  const auto late = submit("late");
  EXPECT_TRUE(second.ended());
  auto third = host.started(id);
  const auto again = third.become_ready(machine);
  const auto last = third.expect<protocol::AssignJob>();
  EXPECT_TRUE(third.send(w.world.execute(machine, id, *again, last)));
  EXPECT_EQ(third.expect<protocol::ResultAccepted>().attempt, last.attempt);

  EXPECT_EQ(w.instances().size(), 1U);
  for (const auto* job : {&early, &during, &late}) {
    EXPECT_EQ(w.world.jobs->get(w.world.tenant, job->keys.job())->state, model::JobState::succeeded);
    // Its receipt holds for whoever has the right time.
    ASSERT_TRUE(w.world.log->advance(w.clock.now()));
    receipt::CheckOptions options;
    options.now = w.clock.now();
    const auto checked = receipt::check(w.world.receipt_of(*job), w.world.trust(), options);
    EXPECT_TRUE(checked) << checked.error().text();
  }
}

/// A nonce lives for a minute of the server's own dates.
TEST_P(ClockJump, EndsAnAttestationOrNot) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  const auto machine = w.world.launch();
  ASSERT_TRUE(td.shake(protocol::Role::instance));
  const auto challenge = td.expect<protocol::Challenge>();
  w.clock.jump(GetParam());
  EXPECT_TRUE(td.send(td.answer(machine, challenge)));
  if (GetParam() < std::chrono::hours{0}) {
    EXPECT_FALSE(td.expect<protocol::Accepted>().session.empty());
    return;
  }
  EXPECT_EQ(td.expect<protocol::Refused>().code, "nonce_invalid");
  expect_state(id, InstanceState::refused);
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
  w.clock.advance(seconds{1});
  w.fleet->wake();
  const auto another = asked(host);
  auto fresh = host.started(another);
  EXPECT_TRUE(fresh.become_ready(w.world.launch()));
  expect_state(another, InstanceState::ready);
}

INSTANTIATE_TEST_SUITE_P(AnHour, ClockJump, testing::Values(std::chrono::hours{1}, -std::chrono::hours{1}),
                         [](const auto& jump) { return jump.param.count() > 0 ? "Ahead" : "Back"; });

// --- derived keys ---

/// The world's keys in a keeper that can be unplugged.
class Unpluggable final : public kms::Kms {
 public:
  explicit Unpluggable(const kms::Kms& keeper) : keeper_{keeper} {}
  void unplug(bool gone) { gone_ = gone; }

  [[nodiscard]] Result<crypto::Secret<32>> derive(ByteView info) const override {
    if (gone_) return gone();
    return keeper_.derive(info);
  }
  [[nodiscard]] Result<Bytes> wrap(const crypto::Secret<32>& key, ByteView associated) const override {
    if (gone_) return gone();
    return keeper_.wrap(key, associated);
  }
  [[nodiscard]] Result<crypto::Secret<32>> unwrap(ByteView wrapped, ByteView associated) const override {
    if (gone_) return gone();
    return keeper_.unwrap(wrapped, associated);
  }
  [[nodiscard]] Result<Bytes> seal(ByteView associated, ByteView plaintext) const override {
    if (gone_) return gone();
    return keeper_.seal(associated, plaintext);
  }
  [[nodiscard]] Result<crypto::SecretBytes> open(ByteView associated, ByteView sealed) const override {
    if (gone_) return gone();
    return keeper_.open(associated, sealed);
  }
  [[nodiscard]] Result<crypto::Ed25519Public> public_key(std::string_view name) const override {
    if (gone_) return gone();
    return keeper_.public_key(name);
  }
  [[nodiscard]] Result<crypto::Ed25519Signature> sign(std::string_view name, ByteView message) const override {
    if (gone_) return gone();
    return keeper_.sign(name, message);
  }
  [[nodiscard]] Result<void> probe() const override { return gone_ ? Result<void>{gone()} : keeper_.probe(); }

 private:
  static Error gone() { return Error{Errc::unavailable, "unplugged"}; }
  const kms::Kms& keeper_;
  std::atomic<bool> gone_ = false;
};

/// The world's version names a derived key.
class FleetWithKeys : public Fleet {
 protected:
  void SetUp() override {
    auto& world = w.world;
    auto transaction = world.database->write();
    ASSERT_TRUE(transaction && storage::challenges::set_active(*transaction, world.version.id, false) &&
                transaction->commit());
    auto spec = world.version.spec;
    spec.derived_keys = {"disk"};
    auto added = world.registry->add(world.tenant, spec, "tester", w.clock.now());
    ASSERT_TRUE(added) << added.error().text();
    world.version = *std::move(added);
    world.broker = std::make_unique<keybroker::Broker>(*world.database, *world.sealer, kms, *world.log, world.random);
    Fleet::SetUp();
  }
  void make_key() {
    model::ReleaseConditions conditions;
    conditions.any_version = true;
    ASSERT_TRUE(w.world.broker->derived_keys().put(w.world.tenant, w.world.version.spec.challenge, "disk", 1,
                                                   conditions, "tester", w.clock.now()));
  }
  Unpluggable kms{*w.world.kms};
};

TEST_F(FleetWithKeys, RefusesAnInstanceWhoseKeyNobodyMade) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  ASSERT_TRUE(td.shake(protocol::Role::instance));
  EXPECT_TRUE(td.send(td.answer(w.world.launch(), td.expect<protocol::Challenge>())));
  td.expect<protocol::Accepted>();
  EXPECT_TRUE(td.ended());
  expect_state(id, InstanceState::refused);
  EXPECT_NE(failure(id).find("derived-key create"), std::string::npos) << failure(id);
  make_key();
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
  w.clock.advance(seconds{1});
  w.fleet->wake();
  const auto next = asked(host);
  auto another = host.started(next);
  EXPECT_TRUE(another.become_ready(w.world.launch()));
  expect_state(next, InstanceState::ready);
}

TEST_F(FleetWithKeys, TakesAnInstanceBackThatAnUnpluggedHsmKeptFromItsKeys) {
  make_key();
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  const auto machine = w.world.launch();
  auto first = host.started(id);
  ASSERT_TRUE(first.become_ready(machine));
  expect_state(id, InstanceState::ready);
  kms.unplug(true);
  first.close();
  expect_state(id, InstanceState::attesting);
  auto second = host.started(id);
  ASSERT_TRUE(second.shake(protocol::Role::instance));
  EXPECT_TRUE(second.send(second.answer(machine, second.expect<protocol::Challenge>())));
  second.expect<protocol::Accepted>();
  EXPECT_TRUE(second.ended());
  EXPECT_EQ(w.instance(id).state, InstanceState::attesting);
  kms.unplug(false);
  auto third = host.started(id);
  ASSERT_TRUE(third.become_ready(machine));
  expect_state(id, InstanceState::ready);
}

// --- streams and connections end, instances go on ---

TEST_F(Fleet, ServesAnInstanceOverANewStream) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  const auto machine = w.world.launch();
  auto first = host.started(id);
  ASSERT_TRUE(first.become_ready(machine));
  expect_state(id, InstanceState::ready);
  first.close();
  expect_state(id, InstanceState::attesting);
  auto second = host.started(id);
  ASSERT_TRUE(second.become_ready(machine));
  expect_state(id, InstanceState::ready);
  EXPECT_EQ(w.instances().size(), 1U);
}

TEST_F(Fleet, RefusesOtherKeysOverANewStream) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto first = host.started(id);
  ASSERT_TRUE(first.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  first.close();
  expect_state(id, InstanceState::attesting);
  auto second = host.started(id);
  ASSERT_TRUE(second.shake(protocol::Role::instance));
  EXPECT_TRUE(second.send(second.answer(w.world.launch(), second.expect<protocol::Challenge>())));
  EXPECT_EQ(second.expect<protocol::Refused>().code, "conflict");
  expect_state(id, InstanceState::refused);
}

TEST_F(Fleet, EndsAnInstanceWhoseStreamsEndOneAfterTheOther) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  for (int i = 0; i < 6; ++i) host.started(id).close();
  expect_state(id, InstanceState::lost);
}

TEST_F(Fleet, LosesAnInstanceThatDoesNotComeBackInTime) {
  HostEnd host{w};
  host.join();
  host.verify();
  const auto id = asked(host);
  auto td = host.started(id);
  ASSERT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  td.close();
  expect_state(id, InstanceState::attesting);
  w.clock.advance(w.options.return_window);
  w.fleet->wake();
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(failure(id), "peer_closed: it did not come back in time");
  auto late = host.started(id);
  EXPECT_EQ(host.expect<host::Stop>().instance, id);
}

/// An instance that has a job, and its host.
struct Working {
  FleetWorld& w;
  InstanceId id;
  World::Td machine;
  SessionId session;
  World::ClientJob job;
  protocol::AssignJob assigned;

  static Working over(FleetWorld& w, HostEnd& host) {
    host.join();
    host.verify();
    const auto id = host.expect<host::Start>().instance;
    auto td = host.started(id);
    auto machine = w.world.launch();
    const auto session = td.become_ready(machine);
    EXPECT_TRUE(w.eventually([&] { return w.instance(id).state == InstanceState::ready; }));
    auto job = w.world.seal_to({{id, machine.payload_key.public_key()}});
    EXPECT_TRUE(w.world.jobs->submit(w.world.tenant, job.request, w.clock.now()));
    auto assigned = td.expect<protocol::AssignJob>();
    return {w, id, std::move(machine), *session, std::move(job), std::move(assigned)};
  }
  /// The host is back; so is the instance, with the result of its work.
  void finish_over(HostEnd& host) {
    host.join(4, {id});
    auto td = host.started(id);
    host.verify();
    EXPECT_TRUE(td.become_ready(machine));
    w.world.clock.set(w.clock.now());
    EXPECT_TRUE(td.send(w.world.execute(machine, id, session, assigned)));
    EXPECT_EQ(td.expect<protocol::ResultAccepted>().attempt, assigned.attempt);
    EXPECT_EQ(w.world.jobs->get(w.world.tenant, job.keys.job())->state, model::JobState::succeeded);
    EXPECT_EQ(w.instances().size(), 1U);
  }
};

TEST_F(Fleet, ContinuesInstancesAndTheirAttemptsAfterABrokenConnection) {
  std::optional<HostEnd> host{std::in_place, w};
  auto working = Working::over(w, *host);
  host.reset();
  expect_state(working.id, InstanceState::attesting);
  HostEnd again{w};
  working.finish_over(again);
}

TEST_F(Fleet, ContinuesInstancesAndTheirAttemptsAfterItsOwnRestart) {
  std::optional<HostEnd> host{std::in_place, w};
  auto working = Working::over(w, *host);
  w.stop();
  host.reset();
  EXPECT_EQ(w.instance(working.id).state, InstanceState::attesting);
  w.clock.advance(seconds{60});  // longer than the lease
  w.open();
  ASSERT_TRUE(w.world.jobs->tick(w.clock.now()));
  HostEnd again{w};
  working.finish_over(again);
}

/// The server ends while a host starts a TD, whether or not the host heard of it.
TEST_F(Fleet, ServesAfterItsRestartWhatWasStarting) {
  std::optional<HostEnd> host{std::in_place, w};
  host->join();
  host->verify();
  const auto id = asked(*host);
  EXPECT_EQ(w.instance(id).state, InstanceState::starting);
  w.stop();
  host.reset();
  w.open();
  HostEnd again{w};
  again.join(4, {id});
  auto td = again.started(id);
  again.verify();
  EXPECT_TRUE(td.become_ready(w.world.launch()));
  expect_state(id, InstanceState::ready);
  EXPECT_EQ(w.instances().size(), 1U);
}

TEST_F(Fleet, StartsAnotherAfterItsRestartForOneThatNeverStarted) {
  std::optional<HostEnd> host{std::in_place, w};
  host->join();
  host->verify();
  const auto id = asked(*host);
  w.stop();
  host.reset();
  w.open();
  HostEnd again{w};
  again.join();
  expect_state(id, InstanceState::lost);
  EXPECT_EQ(failure(id), "peer_closed: its host does not have it any more");
  again.verify();
  w.clock.advance(seconds{1});
  w.fleet->wake();
  const auto other = asked(again);
  EXPECT_NE(other, id);
  auto td = again.started(other);
  EXPECT_TRUE(td.become_ready(w.world.launch()));
  expect_state(other, InstanceState::ready);
}

TEST_F(Fleet, LosesAtOnceWhatAHostDoesNotHaveAnyMore) {
  std::optional<HostEnd> host{std::in_place, w};
  const auto working = Working::over(w, *host);
  host.reset();
  HostEnd again{w};
  again.join();
  expect_state(working.id, InstanceState::lost);
  EXPECT_EQ(w.world.jobs->get(w.world.tenant, working.job.keys.job())->state, model::JobState::awaiting_rewrap);
}

TEST_F(Fleet, RefusesToContinueAnInstanceOverAnotherValidator) {
  std::optional<HostEnd> host{std::in_place, w};
  const auto working = Working::over(w, *host);
  host.reset();
  expect_state(working.id, InstanceState::attesting);
  const auto other_key = crypto::Ed25519Key::generate(w.random);
  w.enrol(other_key);
  HostEnd other{w};
  other.log_in(other_key, 4, {working.id});
  other.expect<host::Welcome>();
  other.expect<host::StartValidatorTd>();
  auto claimed = other.started(working.id);
  EXPECT_TRUE(other.ended());
  EXPECT_EQ(w.instance(working.id).state, InstanceState::attesting);
}

TEST_F(Fleet, LosesTheInstancesOfAHostThatStaysAway) {
  std::optional<HostEnd> host{std::in_place, w};
  const auto working = Working::over(w, *host);
  host.reset();
  expect_state(working.id, InstanceState::attesting);
  EXPECT_TRUE(w.eventually([&] { return w.validator_row().state == model::ValidatorState::lost; }));
  w.clock.advance(w.options.return_window);
  w.fleet->wake();
  expect_state(working.id, InstanceState::lost);
}

}  // namespace
}  // namespace cloister::test
