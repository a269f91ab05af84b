#include "cloister/storage/revocations.hpp"

#include <algorithm>

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::tenant;

class RevocationsTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<void> add(const revocations::Scope& scope, std::string_view id, std::string_view value = "aa",
                                 std::optional<UnixTime> expires = std::nullopt, int created = 7) {
    const revocations::Record record{std::string{id}, "chip", std::string{value}, "stolen", "ops", at(created), expires};
    return commit([&](Transaction& t) { return revocations::add(t, scope, record); });
  }
  [[nodiscard]] std::vector<std::string> ids(const revocations::Scope& scope, int now = 8) {
    std::vector<std::string> out;
    const auto listed = revocations::list(read(), scope, at(now)).value();
    for (const auto& one : listed) out.push_back(one.id);
    return out;
  }
  const revocations::Scope acme_ = tenant("acme");
  const revocations::Scope all_;
};

TEST_F(RevocationsTest, OutliveARestart) {
  ASSERT_TRUE(add(acme_, "rev-a", "aa", at(100)));
  open();
  const auto listed = revocations::list(read(), acme_, at(8)).value();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].id, "rev-a");
  EXPECT_EQ(listed[0].kind, "chip");
  EXPECT_EQ(listed[0].value, "aa");
  EXPECT_EQ(listed[0].reason, "stolen");
  EXPECT_EQ(listed[0].by, "ops");
  EXPECT_EQ(listed[0].created, at(7));
  EXPECT_EQ(listed[0].expires, at(100));
}

TEST_F(RevocationsTest, AreOfOneTenantOrOfAll) {
  ASSERT_TRUE(add(acme_, "rev-a"));
  ASSERT_TRUE(add(all_, "rev-b"));
  ASSERT_TRUE(add(tenant("other"), "rev-c"));
  EXPECT_EQ(ids(acme_), std::vector<std::string>{"rev-a"});
  EXPECT_EQ(ids(all_), std::vector<std::string>{"rev-b"});
  EXPECT_EQ(commit([&](Transaction& t) { return revocations::remove(t, acme_, "rev-b"); }).error().code(), Errc::not_found);
  EXPECT_EQ(commit([&](Transaction& t) { return revocations::remove(t, all_, "rev-a"); }).error().code(), Errc::not_found);
  ASSERT_TRUE(commit([&](Transaction& t) { return revocations::remove(t, acme_, "rev-a"); }));
  EXPECT_TRUE(ids(acme_).empty());
  const auto counts = revocations::count(read(), at(8)).value();
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_FALSE(counts[0].everywhere);
  EXPECT_TRUE(counts[1].everywhere);
  EXPECT_EQ(counts[1].entries, 1U);
}

TEST_F(RevocationsTest, AreThereOnceAndNewestFirst) {
  ASSERT_TRUE(add(acme_, "rev-a", "aa", std::nullopt, 7));
  EXPECT_EQ(add(acme_, "rev-b", "aa").error().code(), Errc::conflict);
  ASSERT_TRUE(add(acme_, "rev-b", "bb", std::nullopt, 8));
  EXPECT_EQ(ids(acme_), (std::vector<std::string>{"rev-b", "rev-a"}));
}

TEST_F(RevocationsTest, EndWithTheirTime) {
  ASSERT_TRUE(add(acme_, "rev-a", "aa", at(100)));
  ASSERT_TRUE(add(acme_, "rev-b", "bb"));
  EXPECT_EQ(ids(acme_, 99).size(), 2U);
  EXPECT_EQ(ids(acme_, 100), std::vector<std::string>{"rev-b"});
  EXPECT_EQ(*commit([](Transaction& t) { return revocations::sweep(t, at(99)); }), 0U);
  EXPECT_EQ(*commit([](Transaction& t) { return revocations::sweep(t, at(100)); }), 1U);
  EXPECT_EQ(ids(acme_, 0), std::vector<std::string>{"rev-b"});
}

}  // namespace
}  // namespace cloister::storage
