// Instances that demand the server's own evidence on their channel: what they are shown, and every other demand refused.
#include <gtest/gtest.h>

#include <future>

#include "cloister/policy/server.hpp"
#include "fleet_world.hpp"
#include "support/lab_server.hpp"

namespace cloister::test {
namespace {

using model::InstanceState;
using std::chrono::seconds;

/// A fleet whose server runs in a TD of the lab's, or in none, with one verified host that was asked for an instance.
class FleetEvidence : public testing::Test {
 protected:
  void open(links::ServerProver prove, std::chrono::milliseconds patience = seconds{20}) {
    w.run_in_tee(std::move(prove), patience);
    w.open();
    host.emplace(w);
    host->join();
    host->verify();
    id = host->expect<host::Start>().instance;
  }
  void open() { open(prover()); }
  links::ServerProver prover() {
    return [this](ByteView nonce, const Digest32& hash) -> Result<protocol::ServerProof> {
      ++asked;
      if (broken) return Error{*broken, "broken"};
      return server.prove(nonce, hash);
    };
  }
  void TearDown() override {
    host.reset();
    w.stop();
    w.proofs.stop();  // what it runs may still use `server`
  }
  /// The TD of the instance on a new stream, with its hands shaken and challenged.
  TdEnd challenged() {
    auto td = host->started(id);
    EXPECT_TRUE(td.shake(protocol::Role::instance));
    challenge = td.expect<protocol::Challenge>();
    return td;
  }
  /// The next instance, once one has ended.
  void next() {
    EXPECT_EQ(host->expect<host::Stop>().instance, id);
    w.clock.advance(seconds{70});
    w.fleet->wake();
    id = host->expect<host::Start>().instance;
  }
  void expect_state(InstanceState state) {
    EXPECT_TRUE(w.eventually([&] { return w.instance(id).state == state; })) << model::to_string(w.instance(id).state);
  }
  void expect_ended(InstanceState state, const std::string& failure) {
    expect_state(state);
    EXPECT_EQ(w.instance(id).failure.value_or("").substr(0, failure.size()), failure);
  }
  /// The TD attests and becomes ready.
  void finish(TdEnd& td) {
    EXPECT_TRUE(td.send(td.answer(machine, challenge)));
    td.expect<protocol::Accepted>();
    td.expect<protocol::Release>();
    EXPECT_TRUE(td.send(protocol::Ready{1}));
    expect_state(InstanceState::ready);
  }
  /// What the TD was shown, judged as a guest does.
  Result<policy::AppraisedServer> judged(const TdEnd& td, const protocol::ShownServer& shown) {
    const policy::ServerChannel channel{demand.nonce, td.handshake_hash(), w.world.server_key.public_key()};
    return policy::appraise_server(shown.proof, channel, server.demand, w.clock.now());
  }

  FleetWorld w;
  LabServer server{w.clock.now(), {w.world.server_key.public_key()}};
  std::atomic<int> asked = 0;
  std::optional<Errc> broken;
  std::optional<HostEnd> host;
  InstanceId id;
  World::Td machine = w.world.launch();
  protocol::Challenge challenge;
  protocol::Demand demand{ByteArray<32>{9}};
};

TEST_F(FleetEvidence, IsShownOnceAndTheChallengeOfBeforeIsAnswered) {
  open();
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  const auto appraised = judged(td, td.expect<protocol::ShownServer>());
  ASSERT_TRUE(appraised) << appraised.error().text();
  EXPECT_EQ(appraised->identity().server_id, server.identity.server_id);
  finish(td);
  EXPECT_EQ(asked, 1);
}

TEST_F(FleetEvidence, IsMadeAnewForEveryChannel) {
  open();
  auto first = challenged();
  EXPECT_TRUE(first.send(demand));
  const auto shown = first.expect<protocol::ShownServer>();
  first.close();
  expect_state(InstanceState::attesting);
  auto second = challenged();
  EXPECT_TRUE(second.send(demand));
  const auto again = second.expect<protocol::ShownServer>();
  EXPECT_TRUE(judged(second, again));
  EXPECT_EQ(judged(second, shown).error().code(), Errc::binding_mismatch);
  finish(second);
}

TEST_F(FleetEvidence, OfNobodyIsAskedFor) {
  open();
  auto td = challenged();
  finish(td);
  EXPECT_EQ(asked, 0);
}

TEST_F(FleetEvidence, IsRefusedByAServerInNoTee) {
  open({});
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "unsupported");
  EXPECT_TRUE(td.ended());
  expect_ended(InstanceState::refused, "unsupported: this server has no evidence of its own");
}

TEST_F(FleetEvidence, IsRefusedTheSecondTime) {
  open();
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  td.expect<protocol::ShownServer>();
  EXPECT_TRUE(td.send(demand));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "channel_message_invalid");
  EXPECT_TRUE(td.ended());
  expect_ended(InstanceState::refused, "channel_message_invalid: an attestation was expected");
  EXPECT_EQ(asked, 1);
}

TEST_F(FleetEvidence, IsRefusedAfterTheTdsOwn) {
  open();
  {
    auto td = challenged();
    EXPECT_TRUE(td.send(td.answer(machine, challenge)));
    td.expect<protocol::Accepted>();
    td.expect<protocol::Release>();
    EXPECT_TRUE(td.send(demand));
    EXPECT_EQ(td.expect<protocol::Refused>().code, "channel_message_invalid");
    EXPECT_TRUE(td.ended());
    expect_ended(InstanceState::refused, "channel_message_invalid: ready or failed was expected");
  }
  next();
  machine = w.world.launch();
  {
    auto td = challenged();
    finish(td);
    EXPECT_TRUE(td.send(demand));
    EXPECT_EQ(td.expect<protocol::Refused>().code, "channel_message_invalid");
    EXPECT_TRUE(td.ended());
    expect_ended(InstanceState::refused, "channel_message_invalid: this message was not expected");
  }
  EXPECT_EQ(asked, 0);
}

TEST_F(FleetEvidence, IsRefusedInThePlaceOfALaterAttestation) {
  open();
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  td.expect<protocol::ShownServer>();
  finish(td);
  w.clock.advance(std::chrono::minutes{31});
  w.fleet->wake();
  td.expect<protocol::Challenge>();
  EXPECT_TRUE(td.send(demand));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "channel_message_invalid");
  expect_state(InstanceState::refused);
  EXPECT_EQ(asked, 1);
}

TEST_F(FleetEvidence, IsRefusedToAValidatorsTd) {
  w.run_in_tee(prover());
  w.open();
  host.emplace(w);
  host->join();
  const auto stream = host->next_stream();
  auto td = host->open(stream);
  ASSERT_TRUE(host->send(host::StartedValidatorTd{stream}));
  ASSERT_TRUE(td.shake(protocol::Role::validator));
  td.expect<protocol::Challenge>();
  EXPECT_TRUE(td.send(demand));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "channel_message_invalid");
  EXPECT_TRUE(host->ended());
  EXPECT_EQ(asked, 0);
}

TEST_F(FleetEvidence, ThatTheTdRefusesEndsTheInstanceWithItsReason) {
  open();
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  td.expect<protocol::ShownServer>();
  EXPECT_TRUE(td.send(protocol::Failed{"measurement_mismatch", "MRTD: another"}));
  EXPECT_TRUE(td.ended());
  expect_ended(InstanceState::refused, "measurement_mismatch: the TD does not take this server's evidence: MRTD: another; register a version");
}

TEST_F(FleetEvidence, OfATdThatSaysNothingToItIsNotWaitedForForEver) {
  w.options.step_timeout = std::chrono::milliseconds{300};
  open();
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  td.expect<protocol::ShownServer>();
  EXPECT_TRUE(td.ended());
  expect_ended(InstanceState::lost, "deadline_exceeded");
}

TEST_F(FleetEvidence, DoesNotMakeUpForTheTdsOwn) {
  open();
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  td.expect<protocol::ShownServer>();
  auto answer = td.answer(machine, challenge);
  answer.evidence[100] ^= 1;
  EXPECT_TRUE(td.send(answer));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "quote_signature_invalid");
  EXPECT_TRUE(td.ended());
  expect_state(InstanceState::refused);
}

TEST_F(FleetEvidence, ThatCannotBeMadeForAWhileCostsAStreamAndNoInstance) {
  open();
  const auto ends = [&] {
    auto td = challenged();
    EXPECT_TRUE(td.send(demand));
    EXPECT_TRUE(td.ended());
    EXPECT_EQ(w.instance(id).state, InstanceState::attesting);
  };
  broken = Errc::tee_failure;
  ends();
  broken.reset();
  server.without_collateral = true;
  ends();
  server.without_collateral = false;
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  EXPECT_TRUE(judged(td, td.expect<protocol::ShownServer>()));
  finish(td);
  EXPECT_EQ(w.instances().size(), 1U);
}

TEST_F(FleetEvidence, ThatCanNeverBeMadeIsRefused) {
  open();
  broken = Errc::conflict;  // RTMR3 is not as this server left it
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  EXPECT_EQ(td.expect<protocol::Refused>().code, "conflict");
  expect_state(InstanceState::refused);
}

TEST_F(FleetEvidence, HasABoundedQueueAndWhoeverFindsItFullComesBack) {
  open();
  std::promise<void> released;
  std::promise<void> running;
  w.proofs.post([&running, gate = released.get_future().share()] {
    running.set_value();
    gate.wait();
  });
  running.get_future().wait();
  for (std::size_t i = 0; i < FleetWorld::kProofQueue; ++i) w.proofs.post([] {});
  {
    auto td = challenged();
    EXPECT_TRUE(td.send(demand));
    EXPECT_TRUE(td.ended());
    EXPECT_EQ(w.instance(id).state, InstanceState::attesting);
    EXPECT_EQ(asked, 0);
  }
  released.set_value();
  EXPECT_TRUE(w.eventually([&] { return w.proofs.queued() == 0; }));
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  EXPECT_TRUE(judged(td, td.expect<protocol::ShownServer>()));
  finish(td);
}

TEST_F(FleetEvidence, OfATeeThatDoesNotAnswerIsNotWaitedForTooLong) {
  std::promise<void> released;
  const auto gate = released.get_future().share();
  const auto slow = [this, gate](ByteView nonce, const Digest32& hash) {
    gate.wait();
    return server.prove(nonce, hash);
  };
  open(slow, std::chrono::milliseconds{20});
  auto td = challenged();
  EXPECT_TRUE(td.send(demand));
  EXPECT_TRUE(td.ended());
  EXPECT_EQ(w.instance(id).state, InstanceState::attesting) << "it may come back";
  released.set_value();
}

TEST_F(FleetEvidence, IsAskedForByNoVersionWhoseDemandNobodyCouldMeet) {
  open();
  auto spec = w.world.version.spec;
  spec.server_evidence = server.demand;
  const auto refused = [&] {
    const auto added = w.world.registry->add(w.world.tenant, spec, "tester", w.clock.now());
    EXPECT_FALSE(added);
    return added ? Errc::internal : added.error().code();
  };
  spec.server_evidence->roots = {Bytes(100, 1)};
  EXPECT_EQ(refused(), Errc::certificate_malformed);
  spec.server_evidence = server.demand;
  spec.server_evidence->not_before = w.clock.now() + std::chrono::hours{3};
  EXPECT_EQ(refused(), Errc::invalid_argument);
  spec.server_evidence = server.demand;
  spec.instances = 0;
  const auto added = w.world.registry->add(w.world.tenant, spec, "tester", w.clock.now());
  ASSERT_TRUE(added) << added.error().text();
  EXPECT_EQ(protocol::decode_configuration(added->configuration)->demand, server.demand);
  const auto stored = w.world.registry->version(added->id);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->version.spec, spec);
}

TEST_F(FleetEvidence, IsNotToBeDemandedOfAServerThatHasNone) {
  auto& world = w.world;
  challenge::Registry registry{*world.database, *world.blobs, *world.log, challenge::Platform{Digest48{1}, {world.server_key.public_key()}}};
  auto spec = world.version.spec;
  spec.instances = 0;
  spec.server_evidence = server.demand;
  const auto before = registry.versions(spec.challenge)->size();
  const auto refused = registry.add(world.tenant, spec, "tester", w.clock.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::unsupported);
  EXPECT_NE(refused.error().detail().find("[tee]"), std::string::npos) << "names the remedy";
  EXPECT_EQ(registry.versions(spec.challenge)->size(), before);
  spec.server_evidence.reset();
  EXPECT_TRUE(registry.add(world.tenant, spec, "tester", w.clock.now()));
}

}  // namespace
}  // namespace cloister::test
