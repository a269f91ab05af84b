#include "cloister/storage/broker_sessions.hpp"

#include <atomic>
#include <thread>

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::bytes32;
using testing::tenant;

constexpr broker_sessions::Id kId{1, 2, 3};
constexpr broker_sessions::Id kOther{4, 5, 6};

class BrokerSessionsTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<void> conclude(const broker_sessions::Id& id, const std::optional<std::string>& token, int when = 1,
                                      int expires = 300) {
    return commit([&](Transaction& t) {
      return broker_sessions::conclude(t, tenant("default"), id, {"tdx", at(expires), token}, at(when));
    });
  }
};

TEST_F(BrokerSessionsTest, OutliveARestart) {
  ASSERT_TRUE(conclude(kId, "a.b.c", 299));
  open();
  const auto attested = broker_sessions::get(read(), tenant("default"), kId, at(299)).value();
  EXPECT_EQ(attested.tee, "tdx");
  EXPECT_EQ(attested.expires, at(300));
  EXPECT_EQ(attested.token, "a.b.c");
  EXPECT_EQ(conclude(kId, "a.b.c", 299).error().code(), Errc::nonce_invalid);
}

TEST_F(BrokerSessionsTest, HaveOneAttempt) {
  ASSERT_TRUE(conclude(kId, std::nullopt));
  EXPECT_EQ(conclude(kId, "a.b.c").error().code(), Errc::nonce_invalid);
  EXPECT_FALSE(broker_sessions::get(read(), tenant("default"), kId, at(1))->token);
  ASSERT_TRUE(conclude(kOther, "first"));
  EXPECT_EQ(conclude(kOther, "second").error().code(), Errc::nonce_invalid);
  EXPECT_EQ(broker_sessions::get(read(), tenant("default"), kOther, at(1))->token, "first");
}

TEST_F(BrokerSessionsTest, AreOneTenants) {
  ASSERT_TRUE(conclude(kId, "a.b.c"));
  EXPECT_EQ(broker_sessions::get(read(), tenant("other"), kId, at(1)).error().code(), Errc::not_found);
}

TEST_F(BrokerSessionsTest, EndWithTheirTime) {
  EXPECT_EQ(conclude(kId, "a.b.c", 300).error().code(), Errc::nonce_invalid);
  ASSERT_TRUE(conclude(kId, "a.b.c", 299));
  EXPECT_EQ(broker_sessions::get(read(), tenant("default"), kId, at(300)).error().code(), Errc::not_found);
}

TEST_F(BrokerSessionsTest, AreForgottenAndStayUsedWhateverTheClockSays) {
  ASSERT_TRUE(conclude(kId, "a.b.c"));
  ASSERT_TRUE(conclude(kOther, "a.b.c", 1, 301));
  EXPECT_EQ(*commit([](Transaction& t) { return broker_sessions::sweep(t, at(300)); }), 1U);
  EXPECT_TRUE(broker_sessions::get(read(), tenant("default"), kOther, at(300)).ok());
  EXPECT_EQ(broker_sessions::get(read(), tenant("default"), kId, at(1)).error().code(), Errc::not_found);
  EXPECT_EQ(conclude(kId, "again").error().code(), Errc::nonce_invalid);
  EXPECT_EQ(*commit([](Transaction& t) { return broker_sessions::sweep(t, at(2)); }), 0U);
  open();
  EXPECT_EQ(conclude(kId, "again").error().code(), Errc::nonce_invalid);
  EXPECT_TRUE(conclude({7}, "a.b.c", 1, 301).ok());
}

TEST_F(BrokerSessionsTest, AreListedWhileTheyLast) {
  ASSERT_TRUE(conclude(kId, std::nullopt));
  ASSERT_TRUE(conclude(kOther, "a.b.c", 1, 301));
  const auto all = broker_sessions::list(read(), tenant("default"), at(1), 10).value();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].first, kOther);
  EXPECT_EQ(all[0].second.token, "a.b.c");
  EXPECT_EQ(all[1].first, kId);
  EXPECT_FALSE(all[1].second.token);
  EXPECT_EQ(broker_sessions::list(read(), tenant("default"), at(1), 1)->size(), 1U);
  EXPECT_EQ(broker_sessions::list(read(), tenant("default"), at(300), 10)->size(), 1U);
  const auto attested = broker_sessions::list(read(), tenant("default"), at(1), 10, true).value();
  ASSERT_EQ(attested.size(), 1U);
  EXPECT_EQ(attested[0].first, kOther);
  EXPECT_TRUE(broker_sessions::list(read(), tenant("other"), at(1), 10)->empty());
  EXPECT_EQ(broker_sessions::count(read(), at(1)).value(), 2U);
  EXPECT_EQ(broker_sessions::count(read(), at(300)).value(), 1U);
}

TEST_F(BrokerSessionsTest, OfManyAttemptsAtOnceOneWins) {
  std::atomic<int> won = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] { won += conclude(kId, std::to_string(i)).ok() ? 1 : 0; });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

}  // namespace
}  // namespace cloister::storage
