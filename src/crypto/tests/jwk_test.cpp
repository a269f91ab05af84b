#include "cloister/crypto/jwk.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/jose.hpp"
#include "jws.hpp"
#include "support/support.hpp"

namespace cloister::crypto::jose {
namespace {

namespace json = codec::json;
using json::Object;
using json::Value;

// RFC 7515 appendix A.3.
constexpr std::string_view kRfcKey =
    R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";
constexpr std::string_view kRfcToken =
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
// RFC 7638 section 3.1.
constexpr std::string_view kRsaModulus =
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn"
    "64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1"
    "n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

std::string rsa_jwk(std::string_view members) {
  return R"({"kty":"RSA","n":")" + std::string{kRsaModulus} + R"(","e":"AQAB")" + std::string{members} + "}";
}

TEST(SignedToken, Rfc7515Es256KnownAnswer) {
  const auto key = parse_jwk(kRfcKey).value();
  const auto token = parse_signed(kRfcToken).value();
  EXPECT_EQ(token.algorithm, Algorithm::es256);
  EXPECT_FALSE(token.key_id);
  EXPECT_TRUE(verify_signature(token, key).ok());
  EXPECT_EQ(*payload_of(token)->find("iss"), Value{"joe"});
}

TEST(Thumbprint, Rfc7638KnownAnswer) {
  const auto key = parse_jwk(rsa_jwk(R"(,"alg":"RS256","kid":"2011-04-29")")).value();
  EXPECT_EQ(thumbprint(key.key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

Errc refusal(std::string_view jwk) {
  const auto key = parse_jwk(jwk);
  return key.ok() ? Errc::internal : key.error().code();
}

/// The key of the RFC with members changed or added.
std::string with(const Object& members) {
  auto value = json::parse(kRfcKey).value();
  for (const auto& [name, member] : members) value.set(name, member);
  return json::write(value);
}

TEST(Jwk, IsReadAndWrittenAlike) {
  for (const auto& text : {with({{"kid", "a"}}), rsa_jwk(R"(,"alg":"PS384","kid":"b")")}) {
    const auto key = parse_jwk(text).value();
    const auto again = parse_jwk(json::write(to_json(key))).value();
    EXPECT_EQ(again.algorithm, key.algorithm);
    EXPECT_EQ(again.key_id, key.key_id);
    EXPECT_TRUE(same_key(again.key, key.key));
  }
}

TEST(Jwk, IgnoresMembersThatAreNotKnown) { EXPECT_TRUE(parse_jwk(with({{"x5t", "AA"}, {"ext", true}})).ok()); }

TEST(Jwk, OfAnotherKindCurveAlgorithmOrUseIsUnsupported) {
  EXPECT_EQ(refusal(R"({"kty":"oct","k":"AAAA"})"), Errc::unsupported);
  EXPECT_EQ(refusal(R"({"kty":"OKP","crv":"Ed25519","x":"AAAA"})"), Errc::unsupported);
  EXPECT_EQ(refusal(with({{"crv", "P-521"}})), Errc::unsupported);
  EXPECT_EQ(refusal(with({{"alg", "ES512"}})), Errc::unsupported);
  EXPECT_EQ(refusal(with({{"alg", "none"}})), Errc::unsupported);
  EXPECT_EQ(refusal(with({{"use", "enc"}})), Errc::unsupported);
  EXPECT_EQ(refusal(with({{"key_ops", json::Array{"sign"}}})), Errc::unsupported);
  EXPECT_TRUE(parse_jwk(with({{"use", "sig"}, {"key_ops", json::Array{"verify"}}, {"alg", "ES256"}})).ok());
}

TEST(Jwk, HasOneAlgorithm) {
  EXPECT_EQ(refusal(rsa_jwk("")), Errc::unsupported);
  EXPECT_EQ(refusal(rsa_jwk(R"(,"alg":"ES256")")), Errc::key_invalid);
  EXPECT_EQ(refusal(with({{"alg", "ES384"}})), Errc::key_invalid);
  EXPECT_EQ(refusal(with({{"alg", "RS256"}})), Errc::key_invalid);
}

TEST(Jwk, OffItsCurveOrOfAnotherWidthIsRefused) {
  EXPECT_EQ(refusal(with({{"y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4"}})), Errc::key_invalid);
  EXPECT_EQ(refusal(with({{"x", "g83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvR"}})), Errc::key_invalid);
  EXPECT_EQ(refusal(with({{"crv", "P-384"}})), Errc::key_invalid);
  EXPECT_EQ(refusal(with({{"x", "not base64url!"}})), Errc::malformed);
}

TEST(Jwk, WithAWeakRsaKeyIsRefused) {
  const auto rsa = [](std::string_view n, std::string_view e) {
    return R"({"kty":"RSA","alg":"RS256","n":")" + std::string{n} + R"(","e":")" + std::string{e} + "\"}";
  };
  EXPECT_TRUE(parse_jwk(rsa(kRsaModulus, "AQAB")).ok());
  EXPECT_EQ(refusal(rsa(kRsaModulus, "AQ")), Errc::key_invalid);
  EXPECT_EQ(refusal(rsa(kRsaModulus, "Ag")), Errc::key_invalid);
  EXPECT_EQ(refusal(rsa(kRsaModulus, "")), Errc::key_invalid);
  EXPECT_EQ(refusal(rsa(kRsaModulus, "AAEAAQ")), Errc::key_invalid);
  EXPECT_EQ(refusal(rsa("AQAB", "AQAB")), Errc::key_invalid);
}

TEST(Jwk, ThatIsPrivateIsRefused) {
  EXPECT_EQ(refusal(with({{"d", "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}})), Errc::key_invalid);
}

TEST(Jwk, WhoseCertificateHasAnotherKeyIsRefused) {
  const auto certified = EcPrivateKey::generate(Curve::p256);
  const auto name = x509::encode_name({"a", "", "", "", ""});
  const auto now = from_civil(2026, 1, 1, 0, 0, 0).value();
  const auto der = x509::issue_certificate({{1}, name, name, now, now + std::chrono::hours{1}, certified.public_key()}, certified);
  const json::Array chain{codec::to_base64(der)};
  EXPECT_EQ(refusal(with({{"x5c", chain}})), Errc::key_invalid);
  EXPECT_EQ(refusal(with({{"x5c", json::Array{"AAAA"}}})), Errc::certificate_malformed);
  auto own = to_json(Jwk{certified.public_key(), Algorithm::es256, ""});
  own.set("x5c", chain);
  EXPECT_EQ(parse_jwk(json::write(own))->certificates, std::vector<std::string>{codec::to_base64(der)});
  own.set("x5c", json::Array{codec::to_base64(der), 1});
  EXPECT_EQ(parse_jwk(json::write(own)).error().code(), Errc::malformed);
}

TEST(JwkSet, LeavesOutWhatItCannotUse) {
  const auto set = R"({"keys":[{"kty":"oct","k":"AAAA"},)" + with({{"use", "enc"}}) + "," + with({{"kid", "a"}}) + "]}";
  const auto keys = parse_jwks(set).value();
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys.front().key_id, "a");
  EXPECT_EQ(parse_jwks(json::write(to_json(keys)))->size(), 1U);
}

TEST(JwkSet, WithAMistakeIsRefusedWhole) {
  const auto code = [](const std::string& keys) {
    const auto set = parse_jwks(R"({"keys":[)" + keys + "]}");
    return set.ok() ? Errc::internal : set.error().code();
  };
  const auto good = with({{"kid", "a"}});
  EXPECT_EQ(code(good + "," + good), Errc::duplicate_member);
  EXPECT_EQ(code(good + "," + with({{"kid", "b"}, {"x", "AA"}})), Errc::key_invalid);
  EXPECT_EQ(code(R"({"kty":"oct","k":"AAAA"})"), Errc::key_invalid);
  EXPECT_EQ(code(""), Errc::key_invalid);
  EXPECT_EQ(code("1"), Errc::malformed);
  std::string many = good;
  for (std::size_t i = 0; i < kMaxJwks; ++i) many += ',' + with({{"kid", std::to_string(i)}});
  EXPECT_EQ(code(many), Errc::limit_exceeded);
  EXPECT_EQ(parse_jwks("{}").error().code(), Errc::missing_member);
  EXPECT_EQ(parse_jwks(R"({"keys":[],"keys":[]})").error().code(), Errc::duplicate_member);
  EXPECT_EQ(parse_jwks(std::string(kMaxJwksSize + 1, ' ')).error().code(), Errc::limit_exceeded);
}

// The PEM was made by OpenSSL of the key of RFC 7515 appendix A.3.
TEST(Keys, AreTakenFromPemJwkAndSet) {
  constexpr std::string_view kPem =
      "-----BEGIN PUBLIC KEY-----\n"
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
      "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
      "-----END PUBLIC KEY-----\n";
  const auto key = parse_jwk(kRfcKey).value();
  for (const auto& text : {std::string{kPem}, std::string{kRfcKey}, R"({"keys":[)" + std::string{kRfcKey} + "]}"}) {
    const auto keys = parse_keys(text);
    ASSERT_TRUE(keys.ok()) << keys.error().text();
    EXPECT_TRUE(same_key(keys->front().key, key.key));
  }
  const auto refused = [](std::string_view text) { return parse_keys(text).error().code(); };
  EXPECT_EQ(refused(codec::to_pem("PUBLIC KEY", Bytes{0x30, 0x00})), Errc::truncated);
  EXPECT_EQ(refused(codec::to_pem("PRIVATE KEY", Bytes{0x30, 0x00})), Errc::unsupported);
  EXPECT_EQ(refused("key"), Errc::malformed);
}

class OtherTokens : public testing::Test {
 protected:
  [[nodiscard]] std::string with_header(std::string_view header) const { return sign_jws(key_, header, as_bytes("{}")); }
  [[nodiscard]] static Errc refusal(std::string_view token) {
    const auto parsed = parse_signed(token);
    return parsed.ok() ? Errc::internal : parsed.error().code();
  }
  EcPrivateKey key_ = EcPrivateKey::generate(Curve::p256);
  Jwk jwk_{key_.public_key(), Algorithm::es256, "key-1"};
  std::string token_ = sign_es256(key_, "key-1", "JWT", Value{Object{{"sub", "a"}}});
};

TEST_F(OtherTokens, OpenWithTheirKey) {
  const auto token = parse_signed(token_).value();
  EXPECT_EQ(token.key_id, "key-1");
  EXPECT_EQ(token.type, "JWT");
  EXPECT_TRUE(verify_signature(token, jwk_).ok());
  EXPECT_EQ(payload_of(token).value(), (Value{Object{{"sub", "a"}}}));
}

TEST_F(OtherTokens, OfAnotherKeyAreRefused) {
  const auto other = EcPrivateKey::generate(Curve::p256);
  const Jwk wrong{other.public_key(), Algorithm::es256, "key-1"};
  EXPECT_EQ(verify_signature(parse_signed(token_).value(), wrong).error().code(), Errc::signature_invalid);
}

TEST_F(OtherTokens, OfAnotherAlgorithmThanTheKeysAreRefused) {
  for (const auto* header : {R"({"alg":"ES384"})", R"({"alg":"RS256"})", R"({"alg":"PS384"})"}) {
    const auto text = with_header(header);
    const auto token = parse_signed(text).value();
    EXPECT_EQ(verify_signature(token, jwk_).error().code(), Errc::token_algorithm_mismatch) << header;
  }
}

TEST_F(OtherTokens, OfAnyOtherAlgorithmAreUnsupported) {
  for (const std::string name : {"none", "None", "HS256", "EdDSA", "ES512", "es256", "PS256", "RS384", ""}) {
    EXPECT_EQ(refusal(with_header(R"({"alg":")" + name + "\"}")), Errc::unsupported) << name;
  }
  EXPECT_EQ(refusal(with_header(R"({"typ":"JWT"})")), Errc::missing_member);
}

TEST_F(OtherTokens, WithWhatChangesTheirMeaningAreUnsupported) {
  EXPECT_EQ(refusal(with_header(R"({"alg":"ES256","crit":["exp"]})")), Errc::unsupported);
  EXPECT_EQ(refusal(with_header(R"({"alg":"ES256","b64":false})")), Errc::unsupported);
}

TEST_F(OtherTokens, MayBringAKeyThatIsOnlyShown) {
  auto header = Value{Object{{"alg", "ES256"}}};
  header.set("jwk", to_json(jwk_)).set("jku", "https://example.com").set("x5c", json::Array{"AAAA"});
  const auto text = with_header(json::write(header));
  const auto token = parse_signed(text).value();
  ASSERT_TRUE(token.key);
  EXPECT_TRUE(same_key(*token.key, jwk_.key));
  EXPECT_TRUE(token.brings_certificates);
  EXPECT_EQ(refusal(with_header(R"({"alg":"ES256","jwk":{"kty":"EC"}})")), Errc::missing_member);
}

TEST_F(OtherTokens, OfAnotherShapeAreRefused) {
  EXPECT_EQ(refusal(""), Errc::malformed);
  EXPECT_EQ(refusal("a.b"), Errc::malformed);
  EXPECT_EQ(refusal(token_ + ".x"), Errc::malformed);
  EXPECT_EQ(refusal(token_ + "="), Errc::malformed);
  EXPECT_EQ(refusal(with_header(R"({"alg":"ES256","alg":"ES256"})")), Errc::duplicate_member);
  EXPECT_EQ(refusal(std::string(kMaxSignedTokenSize + 1, 'a')), Errc::limit_exceeded);
}

TEST_F(OtherTokens, EveryChangedCharacterIsRefused) {
  for (std::size_t i = 0; i < token_.size(); ++i) {
    auto changed = token_;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const auto token = parse_signed(changed);
    EXPECT_FALSE(token.ok() && verify_signature(*token, jwk_).ok()) << i;
  }
}

TEST_F(OtherTokens, PayloadThatIsNoObjectIsRefused) {
  const auto code = [&](std::string_view payload) {
    const auto text = sign_jws(key_, R"({"alg":"ES256"})", as_bytes(payload));
    return payload_of(parse_signed(text).value()).error().code();
  };
  EXPECT_EQ(code("[1]"), Errc::malformed);
  EXPECT_EQ(code(""), Errc::truncated);
  EXPECT_EQ(code(R"({"a":1,"a":1})"), Errc::duplicate_member);
}

// --- Wycheproof ---

/// Whether a token opens under the keys of a group: by its key id where it has one, else under any.
bool accepts(const Value& keys, std::string_view text) {
  const auto token = parse_signed(text);
  if (!token) return false;
  const auto found = parse_keys(json::write(keys));
  if (!found) return false;
  return std::ranges::any_of(*found, [&](const Jwk& key) {
    return (!token->key_id || key.key_id.empty() || key.key_id == *token->key_id) && verify_signature(*token, key).ok();
  });
}

std::string member(const Value& value, std::string_view name) {
  const auto* found = value.find(name);
  return found == nullptr || found->as_string() == nullptr ? "" : *found->as_string();
}

/// The algorithm that a token names, also where it is none of ours.
std::string algorithm_of(std::string_view token) {
  const auto header = codec::from_base64url(token.substr(0, token.find('.')));
  const auto value = header ? json::parse(as_text(*header)) : Result<Value>{Error{Errc::malformed}};
  return value ? member(*value, "alg") : "";
}

struct Tally {
  std::size_t valid = 0;
  std::size_t invalid = 0;
};

/// What is valid and of an algorithm of ours, bound to the key, is accepted; everything else is refused.
Tally run(const std::string& name) {
  Tally out;
  const auto folder = test::vectors();
  if (!folder) return out;
  const auto document =
      json::parse(test::read_text(*folder / "crypto/wycheproof" / (name + "_test.json")), {.bytes = 16U << 20}).value();
  for (const auto& group : *document.find("testGroups")->as_array()) {
    const auto* keys = group.find("public");
    for (const auto& test : *group.find("tests")->as_array()) {
      const auto text = member(test, "jws");
      const auto algorithm = algorithm_of(text);
      // A group without a public key has a shared secret. A key that names another algorithm than the token's is for
      // that one: the examples of RFC 7520 that the file so relabels are refused.
      const auto bound = keys == nullptr ? "" : member(*keys, "alg");
      const bool ours = keys != nullptr && algorithm_from_string(algorithm) && (keys->find("keys") || bound == algorithm);
      const bool expected = member(test, "result") == "valid" && ours;
      EXPECT_EQ(keys != nullptr && accepts(*keys, text), expected)
          << name << " case " << test.find("tcId")->as_int().value_or(0) << ": " << member(test, "comment");
      ++(expected ? out.valid : out.invalid);
    }
  }
  return out;
}

TEST(JoseWycheproof, JsonWebSignature) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  static_cast<void>(folder);
  const auto tally = run("json_web_signature");
  EXPECT_EQ(tally.valid + tally.invalid, 401U);
  EXPECT_GE(tally.valid, 12U);
}

TEST(JoseWycheproof, JsonWebKey) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  static_cast<void>(folder);
  const auto tally = run("json_web_key");
  EXPECT_EQ(tally.valid + tally.invalid, 26U);
  EXPECT_GE(tally.valid, 1U);
}

}  // namespace
}  // namespace cloister::crypto::jose
