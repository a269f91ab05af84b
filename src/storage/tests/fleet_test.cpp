#include "cloister/storage/fleet.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using model::InstanceState;
using model::ValidatorState;
using testing::at;
using testing::bytes32;
using testing::id;

class ValidatorsTest : public testing::FleetDatabaseTest {};

TEST_F(ValidatorsTest, AreKnownByIdAndHotkey) {
  const auto found = validators::by_hotkey(read(), bytes32(1));
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->id, id<ValidatorId>("val"));
  EXPECT_EQ(found->state, ValidatorState::enrolled);
  EXPECT_EQ(found->verified, std::nullopt);
  EXPECT_EQ(validators::by_hotkey(read(), bytes32(2)).error().code(), Errc::not_found);
  EXPECT_EQ(validators::get(read(), id<ValidatorId>("none")).error().code(), Errc::not_found);
  model::Validator same_key;
  same_key.id = id<ValidatorId>("val-2");
  same_key.hotkey = bytes32(1);
  EXPECT_EQ(commit([&](Transaction& t) { return validators::enrol(t, same_key); }).error().code(), Errc::conflict);
  same_key.hotkey = bytes32(2);
  EXPECT_TRUE(commit([&](Transaction& t) { return validators::enrol(t, same_key); }));
  EXPECT_EQ(validators::list(read())->size(), 2U);
}

TEST_F(ValidatorsTest, ChangeAndAreVerified) {
  const auto val = id<ValidatorId>("val");
  EXPECT_EQ(*validators::session(read(), val), std::nullopt);
  ASSERT_TRUE(commit([&](Transaction& t) -> Result<void> {
    CLOISTER_CHECK(validators::set_state(t, val, ValidatorState::verified));
    CLOISTER_CHECK(validators::set_capacity(t, val, 4));
    CLOISTER_CHECK(evidence::add(t, testing::shown("ses-1")));
    return validators::verified(t, val, id<SessionId>("ses-1"), at(7));
  }));
  const auto validator = *validators::get(read(), val);
  EXPECT_EQ(validator.state, ValidatorState::verified);
  EXPECT_EQ(validator.capacity, 4U);
  EXPECT_EQ(validator.verified, at(7));
  EXPECT_EQ(*validators::session(read(), val), id<SessionId>("ses-1"));
  const auto without = [&](Transaction& t) { return validators::verified(t, val, id<SessionId>("ses-2"), at(8)); };
  EXPECT_EQ(commit(without).error().code(), Errc::conflict) << "no evidence of that session";
  const auto none = id<ValidatorId>("none");
  EXPECT_EQ(commit([&](Transaction& t) { return validators::set_state(t, none, ValidatorState::lost); }).error().code(),
            Errc::not_found);
}

TEST_F(ValidatorsTest, EvidenceIsKeptWhole) {
  const auto given = testing::shown("ses-1");
  ASSERT_TRUE(commit([&](Transaction& t) { return evidence::add(t, given); }));
  const auto stored = *evidence::get(read(), id<SessionId>("ses-1"));
  EXPECT_EQ(stored.shown.evidence, given.shown.evidence);
  EXPECT_EQ(stored.shown.event_log, given.shown.event_log);
  EXPECT_EQ(stored.shown.configuration, given.shown.configuration);
  EXPECT_EQ(stored.shown.preimage, given.shown.preimage);
  EXPECT_EQ(stored.shown.collateral, given.shown.collateral);
  EXPECT_EQ(stored.shown.appraised, given.shown.appraised);
  EXPECT_EQ(stored.shown.expires, given.shown.expires);
  EXPECT_EQ(stored.appraisal, given.appraisal);
  EXPECT_EQ(commit([&](Transaction& t) { return evidence::add(t, given); }).error().code(), Errc::conflict);
  EXPECT_EQ(evidence::get(read(), id<SessionId>("ses-2")).error().code(), Errc::not_found);
}

class InstancesTest : public testing::FleetDatabaseTest {
 protected:
  [[nodiscard]] Result<void> verify(std::string_view name, std::string_view session, std::uint8_t payload,
                                    std::uint8_t result) {
    return commit([&](Transaction& t) -> Result<void> {
      CLOISTER_CHECK(evidence::add(t, testing::shown(session)));
      return instances::verified(t, id<InstanceId>(name), id<SessionId>(session), bytes32(payload), bytes32(result));
    });
  }
};

TEST_F(InstancesTest, ShowWhatTheyBoundOnceVerified) {
  add_instance("inst-1", InstanceState::attesting);
  const auto before = *instances::get(read(), id<InstanceId>("inst-1"));
  EXPECT_EQ(before.evidence, std::nullopt);
  EXPECT_EQ(before.payload_key, ByteArray<32>{});
  EXPECT_EQ(before.state, InstanceState::attesting);
  ASSERT_TRUE(verify("inst-1", "ses-1", 1, 2));
  const auto after = *instances::get(read(), id<InstanceId>("inst-1"));
  ASSERT_TRUE(after.evidence);
  EXPECT_EQ(after.evidence->session, id<SessionId>("ses-1"));
  EXPECT_EQ(after.evidence->collateral, Bytes{5});
  EXPECT_EQ(after.payload_key, bytes32(1));
  EXPECT_EQ(after.result_key, bytes32(2));
}

TEST_F(InstancesTest, ContinueWithEqualKeysAndNoOthers) {
  add_instance("inst-1");
  ASSERT_TRUE(verify("inst-1", "ses-1", 1, 2));
  EXPECT_EQ(verify("inst-1", "ses-2", 1, 3).error().code(), Errc::conflict);
  EXPECT_EQ(verify("inst-1", "ses-2", 3, 2).error().code(), Errc::conflict);
  EXPECT_EQ(evidence::get(read(), id<SessionId>("ses-2")).error().code(), Errc::not_found) << "nothing was committed";
  ASSERT_TRUE(verify("inst-1", "ses-3", 1, 2));
  EXPECT_EQ(instances::get(read(), id<InstanceId>("inst-1"))->evidence->session, id<SessionId>("ses-3"));
  EXPECT_TRUE(evidence::get(read(), id<SessionId>("ses-1"))) << "results of that session need it";
}

TEST_F(InstancesTest, DoNotShareKeys) {
  add_instance("inst-1");
  add_instance("inst-2");
  ASSERT_TRUE(verify("inst-1", "ses-1", 1, 2));
  EXPECT_EQ(verify("inst-2", "ses-2", 1, 4).error().code(), Errc::conflict);
  EXPECT_EQ(verify("inst-2", "ses-2", 3, 2).error().code(), Errc::conflict);
  EXPECT_EQ(verify("none", "ses-2", 3, 4).error().code(), Errc::not_found);
}

TEST_F(InstancesTest, NeverComeBack) {
  for (const auto over : {InstanceState::lost, InstanceState::refused, InstanceState::stopped}) {
    const auto name = "inst-" + std::string{model::to_string(over)};
    add_instance(name);
    set_state(name, over);
    const auto back = [&](Transaction& t) {
      return instances::set_state(t, id<InstanceId>(name), InstanceState::ready);
    };
    EXPECT_EQ(commit(back).error().code(), Errc::conflict);
    EXPECT_EQ(verify(name, "ses-1", 1, 2).error().code(), Errc::conflict) << "a dead instance proves nothing";
    set_state(name, over);
  }
}

TEST_F(InstancesTest, SayWhyTheyFailed) {
  add_instance("inst-1");
  const auto fail = [](Transaction& t) {
    return instances::set_state(t, id<InstanceId>("inst-1"), InstanceState::refused, "binding_mismatch: nonce");
  };
  ASSERT_TRUE(commit(fail));
  set_state("inst-1", InstanceState::refused);
  EXPECT_EQ(instances::get(read(), id<InstanceId>("inst-1"))->failure, "binding_mismatch: nonce");
}

TEST_F(InstancesTest, AreFiltered) {
  ASSERT_TRUE(
      commit([](Transaction& t) { return challenges::add(t, id<TenantId>("acme"), testing::version("ver-2")); }));
  add_instance("inst-b");
  add_instance("inst-a", InstanceState::stopped);
  add_instance("inst-c", InstanceState::starting, "ver-2");
  ASSERT_TRUE(verify("inst-b", "ses-1", 1, 2));
  const auto names = [&](const instances::Filter& filter) {
    std::string out;
    const auto listed = instances::list(read(), filter);
    EXPECT_TRUE(listed);
    for (const auto& found : *listed) out += found.id.str() + " ";
    return out;
  };
  EXPECT_EQ(names({}), "inst-b inst-a inst-c ");
  EXPECT_EQ(names({.version = id<VersionId>("ver")}), "inst-b inst-a ");
  EXPECT_EQ(names({.validator = id<ValidatorId>("none")}), "");
  EXPECT_EQ(names({.state = InstanceState::stopped}), "inst-a ");
  EXPECT_EQ(names({.live_only = true}), "inst-b inst-c ");
  EXPECT_EQ(names({.live_only = true, .with_evidence = true}), "inst-b inst-c ");
  EXPECT_EQ(instances::list(read(), {})->front().evidence, std::nullopt);
  const auto whole = *instances::list(read(), {.with_evidence = true});
  EXPECT_TRUE(whole[0].evidence);
  EXPECT_FALSE(whole[1].evidence);
}

TEST_F(InstancesTest, AreCountedByState) {
  EXPECT_TRUE(instances::count(read())->empty());
  add_instance("inst-a", InstanceState::stopped);
  add_instance("inst-b", InstanceState::ready);
  add_instance("inst-c", InstanceState::ready);
  const auto counts = *instances::count(read());
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_EQ(counts[0].state, InstanceState::ready);
  EXPECT_EQ(counts[0].instances, 2U);
  EXPECT_EQ(counts[1].state, InstanceState::stopped);
  EXPECT_EQ(counts[1].instances, 1U);
}

TEST_F(InstancesTest, NeedTheirVersionAndValidator) {
  const auto lonely = [](Transaction& t) { return instances::add(t, testing::instance("inst-1", "none")); };
  EXPECT_EQ(commit(lonely).error().code(), Errc::conflict);
  add_instance("inst-1");
  const auto twice = [](Transaction& t) { return instances::add(t, testing::instance("inst-1", "ver")); };
  EXPECT_EQ(commit(twice).error().code(), Errc::conflict);
}

}  // namespace
}  // namespace cloister::storage
