// Which acts are in the audit log, over real services; and that none of them comes to pass that the log does not take.
#include <gtest/gtest.h>

#include "cloister/audit/refusals.hpp"
#include "world.hpp"

namespace cloister::test {
namespace {

using std::chrono::minutes;

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::internal : result.error().code();
}

class AuditActs : public testing::Test {
 protected:
  /// The newest leaf of that kind about that subject.
  [[nodiscard]] std::optional<merkle::AuditLeaf> leaf(std::string_view kind, std::string_view subject) const {
    const auto index = world.log->find(kind, subject);
    if (!index) return std::nullopt;
    return merkle::decode_audit_leaf(world.log->leaf(*index).value()).value();
  }
  [[nodiscard]] std::string code_in(const std::optional<merkle::AuditLeaf>& leaf) const {
    const auto* code = leaf ? leaf->detail<std::string>("code") : nullptr;
    return code == nullptr ? "none" : *code;
  }
  /// From now on the database takes no leaf; all else it takes.
  void lose_the_log() {
    auto transaction = world.database->write();
    ASSERT_TRUE(transaction->run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
    ASSERT_TRUE(transaction->commit().ok());
  }
  void find_the_log() {
    auto transaction = world.database->write();
    ASSERT_TRUE(transaction->run("ALTER TABLE elsewhere RENAME TO audit_row").ok());
    ASSERT_TRUE(transaction->commit().ok());
  }
  [[nodiscard]] UnixTime now() const { return world.clock.now(); }

  World world;
  const model::SecretRef salt{"salt", "example/salt"};
};

// --- what is recorded ------------------------------------------------------------------------------------------------

TEST_F(AuditActs, ARefusedSecretIsInTheLog) {
  const auto ready = world.ready();
  EXPECT_EQ(code_of(world.broker->decide(ready.session, {"other", "example/other"}, now())), Errc::permission_denied);
  const auto denied = leaf(keybroker::kSecretRefused, "example/other");
  EXPECT_EQ(code_in(denied), "permission_denied");
  EXPECT_EQ(*denied->detail<std::string>("session"), ready.session.id().str());
  EXPECT_EQ(*denied->detail<std::string>("instance"), ready.session.instance().str());
  EXPECT_EQ(*denied->detail<std::string>("role"), "instance");
  EXPECT_EQ(*denied->detail<Bytes>("policy"), to_bytes(ByteView{ready.session.policy_digest()}));
  ASSERT_TRUE(world.broker->remove(world.tenant, salt.path, "tester", now()));
  EXPECT_FALSE(world.broker->release_all(ready.session, now()));
  EXPECT_EQ(code_in(leaf(keybroker::kSecretRefused, salt.path)), "permission_denied");
  world.clock.advance(minutes{60});
  EXPECT_EQ(code_of(world.broker->decide(ready.session, salt, now())), Errc::session_expired);
  EXPECT_EQ(code_in(leaf(keybroker::kSecretRefused, salt.path)), "session_expired");
  EXPECT_FALSE(leaf(keybroker::kSecretReleased, salt.path));
}

TEST_F(AuditActs, RefusedResultsAreCounted) {
  audit::Refusals refusals;
  auto options = World::tried_twice();
  options.refusals = &refusals;
  World counted{options};
  const auto ready = counted.ready();
  const auto job = counted.seal({&ready});
  ASSERT_TRUE(counted.jobs->submit(counted.tenant, job.request, counted.clock.now()));
  const auto assigned = counted.jobs->lease(ready.session, counted.clock.now()).value();
  ASSERT_TRUE(assigned);
  auto result = counted.execute(ready, *assigned);
  result.signature[0] ^= 1;
  EXPECT_EQ(code_of(counted.jobs->accept(ready.session, result, counted.clock.now())), Errc::signature_invalid);
  result.signature[0] ^= 1;
  ASSERT_TRUE(counted.jobs->accept(ready.session, result, counted.clock.now()));
  ASSERT_TRUE(refusals.flush(*counted.database, *counted.log, counted.clock.now() + minutes{1}));
  const auto index = counted.log->find("refused", "signature_invalid");
  ASSERT_TRUE(index) << index.error().text();
  const auto leaf = merkle::decode_audit_leaf(counted.log->leaf(*index).value()).value();
  EXPECT_EQ(*leaf.detail<std::uint64_t>("count"), 1U);
}

TEST_F(AuditActs, ADataKeyIsMadeWithItsLeafOrNotAtAll) {
  bool taken = false;
  storage::Sealer sealer{*world.kms, world.random,
                         [&](storage::Transaction& transaction, const TenantId& tenant, std::string_view key) -> Result<void> {
                           if (!taken) return Error{Errc::storage_failure, "no room"};
                           return world.log->append(
                               transaction, {now(), "data_key.made", std::string{key}, {{"tenant", tenant.str()}}});
                         }};
  keybroker::Broker broker{*world.database, sealer, *world.kms, *world.log, world.random};
  const auto fresh = *TenantId::parse("fresh");
  EXPECT_EQ(code_of(broker.put(fresh, "a/b", to_bytes("x"), "tester", now())), Errc::storage_failure);
  EXPECT_TRUE(broker.list(fresh)->empty());
  taken = true;
  ASSERT_TRUE(broker.put(fresh, "a/b", to_bytes("x"), "tester", now()));
  const auto size = world.log->advance(now())->head.tree_size;
  const auto made = merkle::decode_audit_leaf(world.log->leaf(size - 2).value()).value();
  EXPECT_EQ(made.kind, "data_key.made");
  EXPECT_TRUE(made.subject.starts_with("dk-"));
  EXPECT_EQ(*made.detail<std::string>("tenant"), "fresh");
  ASSERT_TRUE(broker.put(fresh, "a/c", to_bytes("x"), "tester", now()));
  EXPECT_EQ(world.log->advance(now())->head.tree_size, size + 1) << "one key, one leaf";
  auto transaction = *world.database->write();
  taken = false;
  EXPECT_FALSE(sealer.rotate(transaction, fresh));
}

// --- no record, no act -----------------------------------------------------------------------------------------------

TEST_F(AuditActs, NoSecretIsReleasedThatTheLogDoesNotTake) {
  const auto ready = world.ready();
  auto decision = world.broker->decide(ready.session, salt, now());
  ASSERT_TRUE(decision);
  lose_the_log();
  EXPECT_EQ(code_of(world.broker->release(ready.session, *std::move(decision), now())), Errc::storage_failure);
  EXPECT_EQ(code_of(world.broker->release_all(ready.session, now())), Errc::storage_failure);
  // A refusal is none either, so that nobody learns by it.
  EXPECT_EQ(code_of(world.broker->decide(ready.session, {"other", "example/other"}, now())), Errc::storage_failure);
  find_the_log();
  EXPECT_FALSE(leaf(keybroker::kSecretReleased, salt.path));
  EXPECT_TRUE(world.broker->release_all(ready.session, now()));
  EXPECT_TRUE(leaf(keybroker::kSecretReleased, salt.path));
}

TEST_F(AuditActs, NoSecretIsChangedThatTheLogDoesNotTake) {
  const auto before = world.broker->list(world.tenant)->front();
  lose_the_log();
  EXPECT_EQ(code_of(world.broker->put(world.tenant, salt.path, to_bytes("other"), "tester", now())), Errc::storage_failure);
  EXPECT_EQ(code_of(world.broker->put(world.tenant, "example/new", to_bytes("x"), "tester", now())), Errc::storage_failure);
  EXPECT_EQ(code_of(world.broker->remove(world.tenant, salt.path, "tester", now())), Errc::storage_failure);
  const auto after = *world.broker->list(world.tenant);
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0].version, before.version);
}

TEST_F(AuditActs, NoSessionIsOpenedThatTheLogDoesNotTake) {
  const auto td = world.launch();
  const auto answer = world.attest(td, world.new_instance());
  lose_the_log();
  EXPECT_EQ(code_of(world.appraise(td, answer)), Errc::storage_failure);
  find_the_log();
  // The nonce was not used up either.
  const auto session = world.appraise(td, answer);
  ASSERT_TRUE(session) << session.error().text();
  EXPECT_TRUE(leaf(session::kAppraisalAccepted, session->id().str()));
}

TEST_F(AuditActs, NoResultIsAcceptedThatTheLogDoesNotTake) {
  const auto ready = world.ready();
  const auto job = world.seal({&ready});
  ASSERT_TRUE(world.jobs->submit(world.tenant, job.request, now()));
  const auto assigned = world.jobs->lease(ready.session, now()).value();
  ASSERT_TRUE(assigned);
  const auto result = world.execute(ready, *assigned);
  lose_the_log();
  EXPECT_EQ(code_of(world.jobs->accept(ready.session, result, now())), Errc::storage_failure);
  EXPECT_EQ(code_of(world.jobs->cancel(world.tenant, job.keys.job(), "tester", now())), Errc::storage_failure);
  EXPECT_EQ(world.jobs->get(world.tenant, job.keys.job())->state, model::JobState::leased);
  find_the_log();
  EXPECT_TRUE(world.jobs->accept(ready.session, result, now()));
}

TEST_F(AuditActs, NoVersionIsRegisteredThatTheLogDoesNotTake) {
  auto spec = world.version.spec;
  spec.max_output_bytes += 1;
  lose_the_log();
  EXPECT_EQ(code_of(world.registry->add(world.tenant, spec, "tester", now())), Errc::storage_failure);
  EXPECT_EQ(world.registry->versions(spec.challenge)->size(), 1U);
}

}  // namespace
}  // namespace cloister::test
