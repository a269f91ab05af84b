#include "cloister/storage/data_keys.hpp"

#include <cstdlib>
#include <regex>
#include <set>

#include "cloister/storage/access.hpp"
#include "cloister/storage/resources.hpp"
#include "cloister/storage/secrets.hpp"
#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;

class DataKeysTest : public testing::DatabaseTest {
 protected:
  void fill(const TenantId& tenant, int resources) {
    ASSERT_TRUE(commit([&](Transaction& t) -> Result<void> {
      for (int i = 0; i < resources; ++i) {
        CLOISTER_CHECK(resources_.put(t, tenant, "a/b/" + std::to_string(i), as_bytes("resource"), at(i)));
      }
      CLOISTER_CHECK(secrets_.put(t, tenant, "a/secret", as_bytes("secret"), at(0)));
      CLOISTER_CHECK(secrets_.put(t, tenant, "a/removed", as_bytes("removed"), at(0)));
      CLOISTER_CHECK(secrets_.remove(t, tenant, "a/removed"));
      Sessions::Record session;
      session.id = id<SessionId>("ses-" + tenant.str());
      session.tenant = tenant;
      session.subject = "inst-1";
      session.state = crypto::SecretBytes::copy_of(as_bytes("state"));
      return sessions_.add(t, session);
    }));
  }
  [[nodiscard]] Result<std::string> rotate() {
    return commit([&](Transaction& t) { return sealer_.rotate(t, tenant_); });
  }
  [[nodiscard]] Result<std::uint64_t> step(Sealer& sealer) {
    return commit([&](Transaction& t) { return data_keys::reseal_some(t, sealer, tenant_); });
  }
  [[nodiscard]] Result<std::uint64_t> retire() {
    return commit([&](Transaction& t) { return data_keys::retire(t, sealer_, tenant_); });
  }
  [[nodiscard]] data_keys::Status status() { return *data_keys::status(read(), tenant_); }

  TenantId tenant_ = id<TenantId>("acme");
  TenantId other_ = id<TenantId>("other");
  Sealer sealer_{kms_, random_};
  Secrets secrets_{sealer_};
  Sessions sessions_{sealer_};
  Resources resources_{sealer_};
};

TEST_F(DataKeysTest, OfATenantThatHasNothingAreNone) {
  EXPECT_FALSE(status().active);
  EXPECT_EQ(*step(sealer_), 0U);
  EXPECT_EQ(*retire(), 0U);
  ASSERT_TRUE(rotate());
  EXPECT_TRUE(status().active);
}

TEST_F(DataKeysTest, EveryValueIsSealedAgainAndTheOldKeyGoes) {
  fill(tenant_, 3);
  fill(other_, 1);
  const auto before = *status().active;
  const auto theirs = data_keys::status(read(), other_)->active;
  EXPECT_EQ(status().remaining, 0U);
  const auto after = *rotate();
  EXPECT_EQ(*status().active, after);
  EXPECT_NE(after, before);
  EXPECT_EQ(status().older, 1U);
  EXPECT_EQ(status().remaining, 5U);
  EXPECT_EQ(retire().error().code(), Errc::conflict);
  EXPECT_EQ(*step(sealer_), 5U);
  EXPECT_EQ(status().remaining, 0U);
  EXPECT_EQ(*step(sealer_), 0U);
  EXPECT_EQ(*retire(), 1U);
  EXPECT_EQ(status().older, 0U);
  Sealer fresh{kms_, random_};
  EXPECT_EQ(as_text(Resources{fresh}.get(read(), tenant_, "a/b/1")->value.reveal()), "resource");
  EXPECT_EQ(as_text(Secrets{fresh}.get(read(), tenant_, "a/secret")->value.reveal()), "secret");
  EXPECT_EQ(as_text(Sessions{fresh}.get(read(), id<SessionId>("ses-acme"))->state.reveal()), "state");
  EXPECT_EQ(as_text(resources_.get(read(), tenant_, "a/b/1")->value.reveal()), "resource") << "who had the old key in memory";
  EXPECT_EQ(data_keys::status(read(), other_)->active, theirs) << "keys of other tenants stay";
  EXPECT_TRUE(*database_->empty_log());
  for (const auto& entry : std::filesystem::directory_iterator{dir_.path()}) {
    EXPECT_EQ(test::read_text(entry.path()).find(before), std::string::npos) << entry.path();
  }
}

/// Whoever seals values names the cell where they stand: {"table", key, "column", version}.
TEST_F(DataKeysTest, KnowEveryTableThatHoldsSealedValues) {
  const auto* root = std::getenv("CLOISTER_SOURCE_DIR");
  ASSERT_NE(root, nullptr);
  const std::regex cell{R"re(\{"([a-z_]+)",\s+[a-z_.()]+,\s+"[a-z_]+",\s+[a-z_.0-9]+\})re"};
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator{std::filesystem::path{root} / "src" / "storage" / "src"}) {
    const auto text = test::read_text(entry.path());
    if (entry.path().extension() != ".cpp" || text.find("sealer_.seal(") == std::string::npos) continue;
    const std::sregex_iterator first{text.begin(), text.end(), cell};
    EXPECT_NE(first, std::sregex_iterator{}) << entry.path() << " seals values: in which table?";
    for (auto at = first; at != std::sregex_iterator{}; ++at) found.insert((*at)[1].str());
  }
  const auto known = data_keys::tables();
  EXPECT_EQ(found, (std::set<std::string>{known.begin(), known.end()}));
}

TEST_F(DataKeysTest, AStepIsBoundedAndGoesOnAfterARestart) {
  fill(tenant_, 300);
  ASSERT_TRUE(rotate());
  EXPECT_EQ(status().remaining, 302U);
  EXPECT_EQ(*step(sealer_), data_keys::kStepValues);
  {
    auto dropped = write();  // the process ends here
    ASSERT_TRUE(data_keys::reseal_some(dropped, sealer_, tenant_));
  }
  open();
  Sealer fresh{kms_, random_};
  EXPECT_EQ(status().remaining, 302U - data_keys::kStepValues);
  EXPECT_EQ(*step(fresh), data_keys::kStepValues);
  EXPECT_EQ(*step(fresh), 46U);
  EXPECT_EQ(status().remaining, 0U);
  for (const auto* path : {"a/b/0", "a/b/127", "a/b/128", "a/b/299"}) {
    EXPECT_TRUE(Resources{fresh}.get(read(), tenant_, path)) << path;
  }
}

TEST_F(DataKeysTest, AStepIsBoundedInBytes) {
  ASSERT_TRUE(commit([&](Transaction& t) -> Result<void> {
    for (const auto* path : {"a/b/1", "a/b/2", "a/b/3", "a/b/4", "a/b/5"}) {
      CLOISTER_CHECK(resources_.put(t, tenant_, path, Bytes(Resources::kMaxValue, 1), at(0)));
    }
    return {};
  }));
  ASSERT_TRUE(rotate());
  EXPECT_EQ(*step(sealer_), 2U);
  EXPECT_EQ(*step(sealer_), 2U);
  EXPECT_EQ(*step(sealer_), 1U);
  EXPECT_EQ(*step(sealer_), 0U);
}

TEST_F(DataKeysTest, AValueThatDoesNotOpenStopsTheStepAndKeepsItsKey) {
  fill(tenant_, 2);
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("UPDATE resource SET value = (SELECT value FROM resource r WHERE r.path = 'a/b/0') WHERE path = 'a/b/1'");
  }));
  ASSERT_TRUE(rotate());
  EXPECT_EQ(step(sealer_).error().code(), Errc::decryption_failed);
  EXPECT_EQ(status().remaining, 4U);
  EXPECT_EQ(retire().error().code(), Errc::conflict);
}

}  // namespace
}  // namespace cloister::storage
