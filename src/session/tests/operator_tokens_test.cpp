#include "cloister/session/operator_tokens.hpp"

#include <gtest/gtest.h>

#include "support/support.hpp"

namespace cloister::session {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

struct Scene {
  test::SeededRandom random{3};
  OperatorTokens tokens{crypto::Ed25519Key::generate(random), "server-a"};
  UnixTime now = *from_civil(2026, 1, 1, 0, 0, 0);
  OperatorClaims claims{"tok-a", "alice", *TenantId::parse("default"), "client", now, now + hours{1}};
};

TEST(OperatorTokens, VerifiesWhatItIssued) {
  Scene s;
  auto verified = s.tokens.verify(s.tokens.issue(s.claims), s.now + seconds{10});
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_EQ(verified->id, "tok-a");
  EXPECT_EQ(verified->subject, "alice");
  EXPECT_EQ(verified->tenant.str(), "default");
  EXPECT_EQ(verified->role, "client");
  EXPECT_EQ(verified->expires, s.claims.expires);
}

TEST(OperatorTokens, RefusesExpiredAndEarlyOnes) {
  Scene s;
  const auto token = s.tokens.issue(s.claims);
  EXPECT_FALSE(s.tokens.verify(token, s.claims.expires));
  EXPECT_TRUE(s.tokens.verify(token, s.claims.expires - seconds{1}));
  EXPECT_TRUE(s.tokens.verify(token, s.now - seconds{60}));
  EXPECT_FALSE(s.tokens.verify(token, s.now - seconds{61}));
}

TEST(OperatorTokens, RefusesForeignOnes) {
  Scene s;
  const OperatorTokens other_key{crypto::Ed25519Key::generate(s.random), "server-a"};
  EXPECT_EQ(s.tokens.verify(other_key.issue(s.claims), s.now).error().code(), Errc::unauthenticated);
  auto seed = crypto::Secret<32>{ByteArray<32>{1}};
  const OperatorTokens here{crypto::Ed25519Key::from_seed(seed.clone()), "server-a"};
  const OperatorTokens elsewhere{crypto::Ed25519Key::from_seed(std::move(seed)), "server-b"};
  EXPECT_FALSE(here.verify(elsewhere.issue(s.claims), s.now));
}

TEST(OperatorTokens, RefusesUnknownRolesAndGarbage) {
  Scene s;
  s.claims.role = "emperor";
  EXPECT_FALSE(s.tokens.verify(s.tokens.issue(s.claims), s.now));
  for (const auto* text : {"", "a.b.c", "....", "x"}) EXPECT_FALSE(s.tokens.verify(text, s.now)) << text;
}

}  // namespace
}  // namespace cloister::session
