#include "traffic.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "support/support.hpp"

namespace cloister::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const SteadyTime kStart{seconds{1000}};

std::size_t admitted(RateLimiter& limiter, std::string_view key, SteadyTime now, std::size_t tries = 100) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < tries; ++i) out += limiter.admit(key, now) ? 1 : 0;
  return out;
}

TEST(RateLimiter, AdmitsABurstAndThenItsRate) {
  RateLimiter limiter{10};
  EXPECT_EQ(admitted(limiter, "a", kStart), 20U);
  EXPECT_EQ(admitted(limiter, "a", kStart + milliseconds{99}), 0U);
  EXPECT_EQ(admitted(limiter, "a", kStart + milliseconds{101}), 1U);
  EXPECT_EQ(admitted(limiter, "a", kStart + milliseconds{1101}), 10U);
  EXPECT_EQ(admitted(limiter, "a", kStart + seconds{100}), 20U);
}

TEST(RateLimiter, CountsEachKeyAlone) {
  RateLimiter limiter{1};
  EXPECT_EQ(admitted(limiter, "a", kStart), 2U);
  EXPECT_EQ(admitted(limiter, "b", kStart), 2U);
}

TEST(RateLimiter, GivesNothingForAClockThatGoesBack) {
  RateLimiter limiter{1};
  EXPECT_EQ(admitted(limiter, "a", kStart), 2U);
  EXPECT_EQ(admitted(limiter, "a", kStart - seconds{10}), 0U);
  EXPECT_EQ(admitted(limiter, "a", kStart), 0U);
}

TEST(RateLimiter, WithoutARateAdmitsAll) {
  RateLimiter limiter{0};
  EXPECT_EQ(admitted(limiter, "a", kStart), 100U);
}

TEST(RateLimiter, StrangersBeyondItsMemoryShareOneBucket) {
  RateLimiter limiter{1};
  for (int i = 0; i < 65'536; ++i) EXPECT_TRUE(limiter.admit(std::to_string(i), kStart));
  std::size_t more = 0;
  for (int i = 0; i < 100; ++i) more += limiter.admit("stranger " + std::to_string(i), kStart) ? 1 : 0;
  EXPECT_LE(more, 2U);
  EXPECT_TRUE(limiter.admit("1", kStart));  // who is known keeps what is its own
  EXPECT_TRUE(limiter.admit("new", kStart + seconds{60}));  // the others are forgotten by then
  EXPECT_TRUE(limiter.admit("newer", kStart + seconds{60}));
}

TEST(AddressKey, IsTheNetworkForIpv6) {
  EXPECT_EQ(address_key("192.0.2.1"), "192.0.2.1");
  EXPECT_NE(address_key("192.0.2.1"), address_key("192.0.2.2"));
  EXPECT_EQ(address_key("2001:db8:1:2::1"), address_key("2001:db8:1:2:ffff::9"));
  EXPECT_NE(address_key("2001:db8:1:2::1"), address_key("2001:db8:1:3::1"));
}

TEST(AddressKey, IsNothingForLoopback) {
  for (const auto* address : {"127.0.0.1", "127.9.9.9", "::1", ""}) EXPECT_FALSE(address_key(address)) << address;
}

TEST(ConnectionCounts, NumbersTheConnectionsOfAnAddress) {
  ConnectionCounts counts;
  auto first = std::make_unique<ConnectionCounts::Slot>(counts.add("192.0.2.1"));
  const auto second = counts.add("192.0.2.1");
  EXPECT_EQ(first->number(), 1U);
  EXPECT_EQ(second.number(), 2U);
  EXPECT_EQ(counts.add("192.0.2.2").number(), 1U);
  first.reset();
  EXPECT_EQ(counts.add("192.0.2.1").number(), 2U);  // of which one is left
  EXPECT_EQ(counts.add("2001:db8:1:2::1").number(), 1U);
}

TEST(ConnectionCounts, CountsNothingOfLoopback) {
  ConnectionCounts counts;
  const auto first = counts.add("127.0.0.1");
  EXPECT_EQ(first.number(), 0U);
  EXPECT_EQ(counts.add("::1").number(), 0U);
}

TEST(Traffic, LimitsAnAddressAndAToken) {
  ServerLimits limits;
  limits.requests_per_address = 1;
  limits.requests_per_token = 1;
  Traffic traffic{limits};
  int refused = 0;
  for (int i = 0; i < 10; ++i) {
    const auto admitted = traffic.admit_address("192.0.2.1");
    if (!admitted && admitted.error().code() == Errc::rate_limited) ++refused;
    EXPECT_TRUE(traffic.admit_address("127.0.0.1").ok());
  }
  EXPECT_GE(refused, 7);
  EXPECT_TRUE(traffic.admit_address("192.0.2.2").ok());
  refused = 0;
  for (int i = 0; i < 10; ++i) refused += traffic.admit_token("tok-a").ok() ? 0 : 1;
  EXPECT_GE(refused, 7);
}

TEST(Traffic, LimitsAGroupByTheClockThatItIsGiven) {
  ServerLimits limits;
  limits.requests_per_group = 2;
  test::FakeClock clock{UnixTime{}};
  Traffic traffic{limits, &clock};
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(traffic.admit_group("acme/guests").ok()) << i;
  EXPECT_EQ(traffic.admit_group("acme/guests").error().code(), Errc::rate_limited);
  EXPECT_TRUE(traffic.admit_group("acme/operators").ok());
  clock.advance(milliseconds{500});
  EXPECT_TRUE(traffic.admit_group("acme/guests").ok());
  EXPECT_FALSE(traffic.admit_group("acme/guests").ok());
  // The wall clock's jumps count for nothing.
  clock.set(UnixTime{} + std::chrono::hours{1});
  EXPECT_FALSE(traffic.admit_group("acme/guests").ok());
}

TEST(Traffic, GivesWorkAndMemoryBack) {
  ServerLimits limits;
  limits.max_pending = 1;
  limits.max_body_memory = 10;
  Traffic traffic{limits};
  {
    const auto first = traffic.begin_work();
    EXPECT_TRUE(first.ok());
    EXPECT_EQ(traffic.begin_work().error().code(), Errc::overloaded);
  }
  EXPECT_TRUE(traffic.begin_work().ok());
  {
    auto body = traffic.body();
    EXPECT_TRUE(traffic.grow_body(body, 10).ok());
    auto other = traffic.body();
    EXPECT_EQ(traffic.grow_body(other, 1).error().code(), Errc::overloaded);
  }
  auto body = traffic.body();
  EXPECT_EQ(traffic.grow_body(body, 11).error().code(), Errc::overloaded);
  EXPECT_TRUE(traffic.grow_body(body, 4).ok());
  EXPECT_TRUE(traffic.grow_body(body, 6).ok());
}

}  // namespace
}  // namespace cloister::http
