#include "cloister/storage/challenges.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;
using testing::version;

class ChallengesTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<bool> add(std::string_view tenant, const model::Version& v) {
    return commit([&](Transaction& t) { return challenges::add(t, id<TenantId>(tenant), v); });
  }
};

TEST_F(ChallengesTest, KeepVersionsWhole) {
  auto given = version("ver-1");
  given.spec.secrets = {{"token", "acme/token"}};
  given.spec.memory_mib = 512;
  EXPECT_TRUE(*add("acme", given));
  const auto stored = challenges::version(read(), given.id);
  ASSERT_TRUE(stored) << stored.error().text();
  EXPECT_EQ(stored->tenant, id<TenantId>("acme"));
  EXPECT_EQ(stored->version.spec, given.spec);
  EXPECT_EQ(stored->version.configuration, given.configuration);
  EXPECT_EQ(stored->version.reference, given.reference);
  EXPECT_TRUE(stored->version.active);
  EXPECT_EQ(stored->version.registered, at(0));
  EXPECT_EQ(challenges::version(read(), id<VersionId>("none")).error().code(), Errc::not_found);
  const auto challenge = *challenges::get(read(), id<ChallengeId>("chal"));
  EXPECT_EQ(challenge.tenant, id<TenantId>("acme"));
  EXPECT_EQ(challenge.created, at(0));
}

TEST_F(ChallengesTest, AddingTheSameVersionAgainChangesNothing) {
  auto given = version("ver-1");
  EXPECT_TRUE(*add("acme", given));
  ASSERT_TRUE(commit([&](Transaction& t) { return challenges::set_active(t, given.id, false); }));
  EXPECT_FALSE(*add("acme", given));
  EXPECT_FALSE(challenges::version(read(), given.id)->version.active);
  auto other = given;
  other.configuration.push_back(1);
  EXPECT_EQ(add("acme", other).error().code(), Errc::conflict);
  other = given;
  other.spec.memory_mib += 1;
  EXPECT_EQ(add("acme", other).error().code(), Errc::conflict);
  other = given;
  other.reference.mrtd[0] ^= 1;
  EXPECT_EQ(add("acme", other).error().code(), Errc::conflict);
}

TEST_F(ChallengesTest, BelongToWhoRegisteredThemFirst) {
  EXPECT_TRUE(*add("acme", version("ver-1")));
  EXPECT_EQ(add("other", version("ver-2")).error().code(), Errc::conflict);
  EXPECT_TRUE(*add("other", version("ver-3", "theirs")));
  EXPECT_EQ(challenges::list(read())->size(), 2U);
  const auto mine = *challenges::list(read(), id<TenantId>("acme"));
  ASSERT_EQ(mine.size(), 1U);
  EXPECT_EQ(mine[0].id, id<ChallengeId>("chal"));
}

TEST_F(ChallengesTest, ListVersionsNewestFirstAndActiveOnes) {
  auto first = version("ver-1");
  auto second = version("ver-2");
  second.registered = at(5);
  ASSERT_TRUE(add("acme", first));
  ASSERT_TRUE(add("acme", second));
  const auto all = *challenges::versions(read(), id<ChallengeId>("chal"));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].version.id, second.id);
  ASSERT_TRUE(commit([&](Transaction& t) { return challenges::set_active(t, second.id, false); }));
  const auto active = *challenges::active_versions(read());
  ASSERT_EQ(active.size(), 1U);
  EXPECT_EQ(active[0].version.id, first.id);
  EXPECT_EQ(commit([](Transaction& t) { return challenges::set_active(t, id<VersionId>("no"), true); }).error().code(),
            Errc::not_found);
}

TEST_F(ChallengesTest, SpecThatDoesNotParseIsCorruption) {
  ASSERT_TRUE(add("acme", version("ver-1")));
  ASSERT_TRUE(commit([](Transaction& t) { return t.run("UPDATE version SET spec = '{}'"); }));
  EXPECT_EQ(challenges::version(read(), id<VersionId>("ver-1")).error().code(), Errc::storage_corrupt);
}

}  // namespace
}  // namespace cloister::storage
