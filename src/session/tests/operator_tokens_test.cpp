#include "cloister/session/operator_tokens.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::session {
namespace {

namespace json = codec::json;
using std::chrono::hours;
using std::chrono::seconds;

struct Scene {
  test::SeededRandom random{3};
  crypto::Secret<32> seed = crypto::Secret<32>::random(random);
  crypto::Ed25519Key key = crypto::Ed25519Key::from_seed(seed.clone());
  OperatorTokens tokens{crypto::Ed25519Key::from_seed(seed.clone()), "server-a"};
  UnixTime now = *from_civil(2026, 1, 1, 0, 0, 0);
  OperatorClaims claims{"tok-a", "alice", *TenantId::parse("default"), "client", now, now + hours{1}};

  json::Value header = json::Object{{"alg", "EdDSA"}, {"kid", "operator"}, {"typ", "JWT"}};
  json::Value payload = json::Object{{"iss", "server-a"},  {"aud", "server-a"}, {"sub", "alice"},
                                     {"jti", "tok-a"},     {"tenant", "default"}, {"role", "client"},
                                     {"iat", at(now)},     {"exp", at(now + hours{1})}};

  static std::int64_t at(UnixTime time) {
    return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  }
  static std::string part(const json::Value& value) { return codec::to_base64url(as_bytes(json::write(value))); }
  [[nodiscard]] std::string signed_by(const crypto::Ed25519Key& signer, const json::Value& head,
                                      const json::Value& body) const {
    const auto text = part(head) + '.' + part(body);
    return text + '.' + codec::to_base64url(signer.sign(as_bytes(text)));
  }
  /// Signed by the server's own key, so that nothing but what a test changes is wrong.
  [[nodiscard]] std::string token(const json::Value& head, const json::Value& body) const {
    return signed_by(key, head, body);
  }
  [[nodiscard]] std::string token() const { return token(header, payload); }
  [[nodiscard]] bool refuses(std::string_view text) const {
    const auto verified = tokens.verify(text, now);
    return !verified && verified.error().code() == Errc::unauthenticated;
  }
};

json::Value with(json::Value value, std::string_view name, json::Value member) {
  value.set(name, std::move(member));
  return value;
}

json::Value without(json::Value value, std::string_view name) {
  std::erase_if(*value.as_object(), [&](const auto& member) { return member.first == name; });
  return value;
}

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

TEST(OperatorTokens, IssuesWhatTheFormatSays) {
  Scene s;
  EXPECT_EQ(s.tokens.issue(s.claims), s.token());
}

TEST(OperatorTokens, RefusesExpiredOnes) {
  Scene s;
  const auto token = s.tokens.issue(s.claims);
  EXPECT_FALSE(s.tokens.verify(token, s.claims.expires));
  EXPECT_TRUE(s.tokens.verify(token, s.claims.expires - seconds{1}));
}

TEST(OperatorTokens, GoOnWhenTheClockWentBack) {
  Scene s;
  const auto token = s.tokens.issue(s.claims);
  const auto verified = s.tokens.verify(token, s.now - hours{1});
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_EQ(verified->issued, s.now);
}

TEST(OperatorTokens, RefusesAForeignKey) {
  Scene s;
  const auto other = crypto::Ed25519Key::generate(s.random);
  EXPECT_TRUE(s.refuses(s.signed_by(other, s.header, s.payload)));
}

TEST(OperatorTokens, RefusesAForeignIssuer) {
  Scene s;
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "iss", "server-b"))));
}

TEST(OperatorTokens, RefusesAnotherAudience) {
  Scene s;
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "aud", "server-b"))));
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "aud", json::Array{"server-a", "server-b"}))));
}

TEST(OperatorTokens, RefusesAnyOtherAlgorithm) {
  Scene s;
  for (const auto* algorithm : {"none", "None", "NONE", "HS256", "ES256", "RS256", "eddsa", ""}) {
    const auto header = with(s.header, "alg", algorithm);
    EXPECT_TRUE(s.refuses(s.token(header, s.payload))) << algorithm;
    EXPECT_TRUE(s.refuses(Scene::part(header) + '.' + Scene::part(s.payload) + '.')) << algorithm << ", not signed";
  }
  EXPECT_TRUE(s.refuses(s.token(without(s.header, "alg"), s.payload)));
}

TEST(OperatorTokens, RefusesAKeyThatTheHeaderBringsAlong) {
  Scene s;
  const auto mallory = crypto::Ed25519Key::generate(s.random);
  const json::Value jwk = json::Object{
      {"kty", "OKP"}, {"crv", "Ed25519"}, {"x", codec::to_base64url(mallory.public_key())}};
  EXPECT_TRUE(s.refuses(s.signed_by(mallory, with(s.header, "jwk", jwk), s.payload)));
  for (const auto* name : {"jwk", "jku", "x5c", "x5u", "x5t", "crit", "b64", "zip"}) {
    EXPECT_TRUE(s.refuses(s.token(with(s.header, name, "https://example.org/"), s.payload))) << name;
  }
}

TEST(OperatorTokens, RefusesAnotherTypeOfToken) {
  Scene s;
  EXPECT_TRUE(s.refuses(s.token(with(s.header, "typ", "ear+jwt"), s.payload)));
  EXPECT_TRUE(s.refuses(s.token(without(s.header, "typ"), s.payload)));
}

TEST(OperatorTokens, RefusesUnknownRolesAndTenants) {
  Scene s;
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "role", "emperor"))));
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "role", json::Array{"admin"}))));
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "tenant", "A Tenant"))));
}

TEST(OperatorTokens, RefusesClaimsThatAreMissingUnknownOrOfAnotherType) {
  Scene s;
  for (const auto* name : {"iss", "aud", "sub", "jti", "tenant", "role", "iat", "exp"}) {
    EXPECT_TRUE(s.refuses(s.token(s.header, without(s.payload, name)))) << name;
    EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, name, nullptr)))) << name;
  }
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "scope", "everything"))));
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "exp", "tomorrow"))));
  EXPECT_TRUE(s.refuses(s.token(s.header, with(s.payload, "exp", -1))));
  EXPECT_TRUE(s.refuses(s.token(s.header, json::Array{})));
}

TEST(OperatorTokens, RefusesWhatWasChangedAfterwards) {
  Scene s;
  const auto good = s.token();
  ASSERT_FALSE(s.refuses(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto changed = good;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_TRUE(s.refuses(changed)) << i;
  }
  EXPECT_TRUE(s.refuses(good.substr(0, good.size() - 1)));
}

TEST(OperatorTokens, RefusesWhatIsNoToken) {
  Scene s;
  const auto good = s.token();
  for (const auto& text : {std::string{}, std::string{"a.b.c"}, std::string{"...."}, std::string{"x"}, good + '=',
                           good + ' ', good + ".e30", good.substr(0, good.rfind('.')), good + std::string(20'000, 'A')}) {
    EXPECT_TRUE(s.refuses(text)) << text;
  }
}

}  // namespace
}  // namespace cloister::session
