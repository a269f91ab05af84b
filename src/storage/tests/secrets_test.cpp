#include "cloister/storage/secrets.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;

class SecretsTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<std::uint64_t> put(std::string_view path, std::string_view value, int when = 0) {
    return commit([&](Transaction& t) { return secrets_.put(t, tenant_, path, as_bytes(value), at(when)); });
  }
  [[nodiscard]] std::string get(std::string_view path, std::optional<std::uint64_t> version = std::nullopt) {
    const auto value = secrets_.get(read(), tenant_, path, version);
    return value ? std::string{as_text(value->value.reveal())} : value.error().text();
  }
  TenantId tenant_ = id<TenantId>("acme");
  Sealer sealer_{kms_, random_};
  Secrets secrets_{sealer_};
};

TEST_F(SecretsTest, KeepsEveryVersion) {
  EXPECT_EQ(*put("db/password", "one", 1), 1U);
  EXPECT_EQ(*put("db/password", "two", 2), 2U);
  EXPECT_EQ(*put("db/user", "root", 3), 1U);
  EXPECT_EQ(get("db/password"), "two");
  EXPECT_EQ(get("db/password", 1), "one");
  EXPECT_EQ(secrets_.get(read(), tenant_, "db/password", 3).error().code(), Errc::not_found);
  const auto list = *secrets_.list(read(), tenant_);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].path, "db/password");
  EXPECT_EQ(list[0].version, 2U);
  EXPECT_EQ(list[0].created, at(2));
  EXPECT_EQ(list[1].path, "db/user");
}

TEST_F(SecretsTest, AreTheTenantsOwn) {
  ASSERT_TRUE(put("a", "value"));
  EXPECT_EQ(secrets_.get(read(), id<TenantId>("other"), "a").error().code(), Errc::not_found);
  EXPECT_TRUE(secrets_.list(read(), id<TenantId>("other"))->empty());
}

TEST_F(SecretsTest, RemovalErasesValuesAndNeverReusesANumber) {
  ASSERT_TRUE(put("a", "one"));
  ASSERT_TRUE(put("a", "two"));
  const auto remove = [&](Transaction& t) { return secrets_.remove(t, tenant_, "a"); };
  ASSERT_TRUE(commit(remove));
  EXPECT_EQ(secrets_.get(read(), tenant_, "a").error().code(), Errc::not_found);
  EXPECT_EQ(secrets_.get(read(), tenant_, "a", 1).error().code(), Errc::not_found);
  EXPECT_TRUE(secrets_.list(read(), tenant_)->empty());
  EXPECT_EQ(commit(remove).error().code(), Errc::not_found);
  EXPECT_EQ(*put("a", "three"), 3U);
  EXPECT_EQ(get("a"), "three");
}

TEST_F(SecretsTest, RefuseBadPathsAndLargeValues) {
  EXPECT_EQ(put("", "x").error().code(), Errc::invalid_argument);
  EXPECT_EQ(put("../a", "x").error().code(), Errc::invalid_argument);
  EXPECT_EQ(put("a/b/c/d/e", "x").error().code(), Errc::invalid_argument);
  EXPECT_TRUE(put("a", std::string(Secrets::kMaxValue, 'x')));
  EXPECT_EQ(put("a", std::string(Secrets::kMaxValue + 1, 'x')).error().code(), Errc::limit_exceeded);
}

TEST_F(SecretsTest, AreNotInTheDatabaseFile) {
  const std::string planted = "PLANTED-7f3a9c-PLAINTEXT";
  ASSERT_TRUE(put("a", planted));
  database_.reset();
  for (const auto& entry : std::filesystem::directory_iterator{dir_.path()}) {
    EXPECT_EQ(test::read_text(entry.path()).find(planted), std::string::npos) << entry.path();
  }
}

TEST_F(SecretsTest, OlderVersionInTheNewerOnesPlaceDoesNotOpen) {
  ASSERT_TRUE(put("a", "one"));
  ASSERT_TRUE(put("a", "two"));
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("UPDATE secret SET value = (SELECT value FROM secret s WHERE s.version = 1) WHERE version = 2");
  }));
  EXPECT_EQ(secrets_.get(read(), tenant_, "a").error().code(), Errc::decryption_failed);
}

}  // namespace
}  // namespace cloister::storage
