#include "cloister/storage/derived_keys.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;

class DerivedKeysTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] static model::DerivedKeyVersion version_of(std::uint64_t number) {
    model::DerivedKeyVersion out;
    out.version = number;
    out.conditions.versions = {id<VersionId>("ver-a")};
    out.conditions.tcb.pce_svn = static_cast<std::uint16_t>(number);
    out.created = at(static_cast<int>(number));
    return out;
  }
  [[nodiscard]] Result<void> add(std::string_view challenge, std::string_view purpose, std::uint64_t number) {
    return commit(
        [&](Transaction& t) { return keys_.add(t, tenant_, id<ChallengeId>(challenge), purpose, version_of(number)); });
  }
  [[nodiscard]] Result<void> revoke(std::string_view challenge, std::string_view purpose, std::uint64_t number) {
    return commit(
        [&](Transaction& t) { return keys_.revoke(t, tenant_, id<ChallengeId>(challenge), purpose, number, at(100)); });
  }
  [[nodiscard]] Result<std::vector<model::DerivedKeyVersion>> versions(std::string_view challenge,
                                                                       std::string_view purpose) {
    return keys_.versions(read(), tenant_, id<ChallengeId>(challenge), purpose);
  }
  [[nodiscard]] Errc tampered(Sql sql) {
    EXPECT_TRUE(commit([&](Transaction& t) { return t.run(sql); }));
    const auto read = versions("chal", "disk");
    return read ? Errc::internal : read.error().code();
  }
  TenantId tenant_ = id<TenantId>("acme");
  Sealer sealer_{kms_, random_};
  DerivedKeys keys_{sealer_};
};

TEST_F(DerivedKeysTest, KeepsEveryVersionInItsOrder) {
  for (const std::uint64_t number : {1U, 2U, 10U}) ASSERT_TRUE(add("chal", "disk", number));
  ASSERT_TRUE(add("chal", "backup", 1));
  ASSERT_TRUE(add("a-chal", "disk", 1));
  const auto disk = versions("chal", "disk");
  ASSERT_TRUE(disk) << disk.error().text();
  EXPECT_EQ(*disk, (std::vector{version_of(1), version_of(2), version_of(10)}));
  const auto list = keys_.list(read(), tenant_);
  ASSERT_TRUE(list) << list.error().text();
  ASSERT_EQ(list->size(), 3U);
  EXPECT_EQ((*list)[0], (model::DerivedKey{id<ChallengeId>("a-chal"), "disk", {version_of(1)}}));
  EXPECT_EQ((*list)[1], (model::DerivedKey{id<ChallengeId>("chal"), "backup", {version_of(1)}}));
  EXPECT_EQ((*list)[2].versions.size(), 3U);
  EXPECT_TRUE(versions("chal", "other")->empty());
}

TEST_F(DerivedKeysTest, TakesAVersionOnce) {
  ASSERT_TRUE(add("chal", "disk", 1));
  EXPECT_EQ(add("chal", "disk", 1).error().code(), Errc::conflict);
}

TEST_F(DerivedKeysTest, AreTheTenantsOwn) {
  ASSERT_TRUE(add("chal", "disk", 1));
  EXPECT_TRUE(keys_.versions(read(), id<TenantId>("other"), id<ChallengeId>("chal"), "disk")->empty());
  EXPECT_TRUE(keys_.list(read(), id<TenantId>("other"))->empty());
}

TEST_F(DerivedKeysTest, RevocationStaysAndLeavesTheRest) {
  ASSERT_TRUE(add("chal", "disk", 1));
  ASSERT_TRUE(add("chal", "disk", 2));
  ASSERT_TRUE(revoke("chal", "disk", 1));
  auto first = version_of(1);
  first.revoked = at(100);
  EXPECT_EQ(*versions("chal", "disk"), (std::vector{first, version_of(2)}));
  EXPECT_EQ(revoke("chal", "disk", 1).error().code(), Errc::conflict);
  EXPECT_EQ(revoke("chal", "disk", 3).error().code(), Errc::not_found);
  EXPECT_EQ(revoke("chal", "other", 1).error().code(), Errc::not_found);
}

TEST_F(DerivedKeysTest, ARowThatWasChangedDoesNotOpen) {
  ASSERT_TRUE(add("chal", "disk", 1));
  EXPECT_EQ(tampered("UPDATE derived_key SET state = CAST(substr(state, 1, length(state) - 1) || x'00' AS BLOB)"),
            Errc::storage_corrupt);
}

TEST_F(DerivedKeysTest, ARowOfAnotherVersionDoesNotOpen) {
  ASSERT_TRUE(add("chal", "disk", 1));
  EXPECT_EQ(tampered("UPDATE derived_key SET version = 2"), Errc::storage_corrupt);
}

TEST_F(DerivedKeysTest, ARowOfAnotherPurposeDoesNotOpen) {
  ASSERT_TRUE(add("chal", "backup", 1));
  EXPECT_EQ(tampered("UPDATE derived_key SET purpose = 'disk'"), Errc::storage_corrupt);
}

TEST_F(DerivedKeysTest, ARowOfAnotherChallengeDoesNotOpen) {
  ASSERT_TRUE(add("other", "disk", 1));
  EXPECT_EQ(tampered("UPDATE derived_key SET challenge = 'chal'"), Errc::storage_corrupt);
}

TEST_F(DerivedKeysTest, ARowOfAnotherTenantDoesNotOpen) {
  ASSERT_TRUE(commit([&](Transaction& t) {
    return keys_.add(t, id<TenantId>("other"), id<ChallengeId>("chal"), "disk", version_of(1));
  }));
  EXPECT_EQ(tampered("UPDATE derived_key SET tenant = 'acme'"), Errc::storage_corrupt);
}

TEST_F(DerivedKeysTest, AnUnreadableNumberIsCorrupt) {
  ASSERT_TRUE(add("chal", "disk", 1));
  EXPECT_EQ(tampered("UPDATE derived_key SET version = -1"), Errc::storage_corrupt);
}

}  // namespace
}  // namespace cloister::storage
