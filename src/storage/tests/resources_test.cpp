#include "cloister/storage/resources.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;

class ResourcesTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<std::uint64_t> put(std::string_view path, ByteView value, int when = 0) {
    return commit([&](Transaction& t) { return resources_.put(t, tenant_, path, value, at(when)); });
  }
  [[nodiscard]] std::string get(std::string_view path) {
    const auto value = resources_.get(read(), tenant_, path);
    return value ? std::string{as_text(value->value.reveal())} : value.error().text();
  }
  TenantId tenant_ = id<TenantId>("acme");
  Sealer sealer_{kms_, random_};
  Resources resources_{sealer_};
};

TEST_F(ResourcesTest, GiveTheirNewestVersion) {
  EXPECT_EQ(*put("a/Key/1", as_bytes("one"), 1), 1U);
  EXPECT_EQ(*put("a/Key/1", as_bytes("two"), 2), 2U);
  EXPECT_EQ(*put("a/Key/2", {}, 3), 1U);
  EXPECT_EQ(get("a/Key/1"), "two");
  EXPECT_EQ(get("a/Key/2"), "");
  const auto list = *resources_.list(read(), tenant_);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].path, "a/Key/1");
  EXPECT_EQ(list[0].version, 2U);
  EXPECT_EQ(list[0].created, at(2));
  EXPECT_EQ(list[1].path, "a/Key/2");
}

TEST_F(ResourcesTest, AreTheTenantsOwn) {
  ASSERT_TRUE(put("a/b/c", as_bytes("value")));
  EXPECT_EQ(resources_.get(read(), id<TenantId>("other"), "a/b/c").error().code(), Errc::not_found);
  EXPECT_TRUE(resources_.list(read(), id<TenantId>("other"))->empty());
  EXPECT_EQ(commit([&](Transaction& t) { return resources_.remove(t, id<TenantId>("other"), "a/b/c"); }).error().code(),
            Errc::not_found);
}

TEST_F(ResourcesTest, RemovalErasesValuesAndNeverReusesANumber) {
  ASSERT_TRUE(put("a/b/c", as_bytes("one")));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.remove(t, tenant_, "a/b/c"); }));
  EXPECT_EQ(resources_.get(read(), tenant_, "a/b/c").error().code(), Errc::not_found);
  EXPECT_TRUE(resources_.list(read(), tenant_)->empty());
  EXPECT_EQ(commit([&](Transaction& t) { return resources_.remove(t, tenant_, "a/b/c"); }).error().code(), Errc::not_found);
  EXPECT_EQ(*put("a/b/c", as_bytes("two")), 2U);
  EXPECT_EQ(get("a/b/c"), "two");
}

TEST_F(ResourcesTest, HoldTwoMebibytesAndNoMore) {
  EXPECT_TRUE(put("a/b/c", Bytes(Resources::kMaxValue, 1)).ok());
  EXPECT_EQ(put("a/b/c", Bytes(Resources::kMaxValue + 1, 1)).error().code(), Errc::limit_exceeded);
}

TEST_F(ResourcesTest, AreSealedWhereTheyStand) {
  ASSERT_TRUE(put("a/b/c", as_bytes("one")));
  ASSERT_TRUE(put("a/b/d", as_bytes("two")));
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("UPDATE resource SET value = (SELECT value FROM resource r WHERE r.path = 'a/b/c') WHERE path = 'a/b/d'");
  }));
  EXPECT_EQ(resources_.get(read(), tenant_, "a/b/d").error().code(), Errc::decryption_failed);
}

}  // namespace
}  // namespace cloister::storage
