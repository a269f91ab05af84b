#include "cloister/token/verify.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/rsa_pss.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "signer.hpp"

namespace cloister::token {
namespace {

namespace json = codec::json;
using crypto::jose::Algorithm;
using json::Object;
using json::Value;

constexpr std::int64_t kNow = 1'780'000'000;
constexpr std::string_view kTrusteeProfile = "tag:github.com,2024:confidential-containers/Trustee";
constexpr std::string_view kTrustAuthorityProfile = "https://portal.trustauthority.intel.com/eat_profile.html";

UnixTime at(std::int64_t seconds) { return UnixTime{std::chrono::seconds{seconds}}; }

/// Sets `value` at a path of members; "submods/cpu0/ear.status". An absent value removes the member.
void set(Value& object, std::string_view path, const std::optional<Value>& value) {
  const auto slash = path.find('/');
  auto& members = *object.as_object();
  const auto found = std::ranges::find(members, path.substr(0, slash), &Object::value_type::first);
  if (slash != std::string_view::npos) return set(found->second, path.substr(slash + 1), value);
  if (value) {
    object.set(path, *value);
  } else {
    members.erase(found);
  }
}

/// What an EAR says, by whichever profile.
Value ear_claims(std::string_view profile = kEarProfile) {
  const Object vector{{"hardware", 2}, {"configuration", 3}, {"executables", 3}};
  Object submodule{{"ear.status", "affirming"}, {"ear.trustworthiness-vector", vector}, {"ear.appraisal-policy-id", "default"}};
  return Object{{"eat_profile", profile},
                {"iss", "verifier"},
                {"iat", kNow},
                {"exp", kNow + 300},
                {"ear.verifier-id", Object{{"developer", "d"}, {"build", "b"}}},
                {"submods", Object{{"cpu0", std::move(submodule)}}}};
}

/// As Intel Trust Authority writes it.
Value trust_authority_claims() {
  return Object{{"eat_profile", kTrustAuthorityProfile},
                {"iss", "Intel Trust Authority"},
                {"iat", kNow},
                {"nbf", kNow},
                {"exp", kNow + 300},
                {"jti", "d2a3f7b4"},
                {"ver", "1.0.0"},
                {"dbgstat", "disabled"},
                {"attester_type", "TDX"},
                {"attester_tcb_status", "UpToDate"},
                {"tdx_is_debuggable", false},
                {"verifier_nonce", Object{{"val", "bm9uY2U="}, {"iat", "x"}}}};
}

/// One signer of each algorithm; making RSA keys takes a while.
const Signer& signer(Algorithm algorithm) {
  static const Signer es256{Algorithm::es256};
  static const Signer es384{Algorithm::es384};
  static const Signer rs256{Algorithm::rs256};
  static const Signer ps384{Algorithm::ps384};
  switch (algorithm) {
    case Algorithm::es256: return es256;
    case Algorithm::es384: return es384;
    case Algorithm::rs256: return rs256;
    case Algorithm::ps384: return ps384;
  }
  return es256;
}

Expected expecting(const Signer& who) {
  Expected out;
  out.keys = {who.jwk()};
  out.at = at(kNow + 1);
  return out;
}

std::string code(std::string_view token, const Expected& expected) {
  const auto verified = verify(token, expected);
  return std::string{verified.ok() ? "ok" : to_string(verified.error().code())};
}

/// The code for a token with one claim changed, by a key and an expectation that are otherwise right.
std::string with_claim(Value claims, std::string_view path, const std::optional<Value>& value,
                       const std::function<void(Expected&)>& change = {}) {
  const bool ear = claims.find("submods") != nullptr;
  const auto& who = signer(ear ? Algorithm::es256 : Algorithm::ps384);
  if (!path.empty()) set(claims, path, value);
  auto expected = expecting(who);
  if (change) change(expected);
  return code(who.sign(claims), expected);
}

TEST(VerifyToken, AcceptsEveryKindByItsAlgorithmsAlone) {
  struct Kinds {
    Kind kind;
    Value claims;
    std::vector<Algorithm> algorithms;
  };
  const std::vector<Algorithm> elliptic{Algorithm::es256, Algorithm::es384};
  const std::vector<Algorithm> rsa{Algorithm::rs256, Algorithm::ps384};
  for (const auto& [kind, claims, algorithms] : {Kinds{Kind::ear, ear_claims(), elliptic},
                                                 Kinds{Kind::trustee, ear_claims(kTrusteeProfile), elliptic},
                                                 Kinds{Kind::trust_authority, trust_authority_claims(), rsa}}) {
    for (const auto algorithm : {Algorithm::es256, Algorithm::es384, Algorithm::rs256, Algorithm::ps384}) {
      const auto& who = signer(algorithm);
      const auto verified = verify(who.sign(claims), expecting(who));
      if (std::ranges::find(algorithms, algorithm) == algorithms.end()) {
        ASSERT_FALSE(verified.ok());
        EXPECT_EQ(verified.error().code(), Errc::token_algorithm_mismatch);
        continue;
      }
      ASSERT_TRUE(verified.ok()) << verified.error().text();
      EXPECT_EQ(verified->kind(), kind);
      EXPECT_EQ(verified->algorithm(), algorithm);
      EXPECT_EQ(verified->key_id(), "key-1");
      EXPECT_EQ(verified->issued(), at(kNow));
      EXPECT_EQ(verified->expires(), at(kNow + 300));
      EXPECT_FALSE(verified->lab());
      ASSERT_EQ(verified->submodules().size(), 1U);
      EXPECT_EQ(verified->submodules().front().status, Tier::affirming);
      EXPECT_EQ(verified->claims(), claims);
    }
  }
}

// --- key and signature ---

TEST(VerifyToken, RefusesASignatureOfAnotherKey) {
  for (const auto algorithm : {Algorithm::es256, Algorithm::es384, Algorithm::rs256, Algorithm::ps384}) {
    const bool rsa = algorithm == Algorithm::rs256 || algorithm == Algorithm::ps384;
    const Signer other{algorithm};
    EXPECT_EQ(code(other.sign(rsa ? trust_authority_claims() : ear_claims()), expecting(signer(algorithm))), "signature_invalid");
  }
}

TEST(VerifyToken, RefusesAnAlgorithmThatIsNotTheKeys) {
  const auto& who = signer(Algorithm::es256);
  for (const auto* name : {"ES384", "RS256", "PS384"}) {
    EXPECT_EQ(code(who.sign(Object{{"alg", name}, {"kid", "key-1"}}, ear_claims()), expecting(who)), "token_algorithm_mismatch");
  }
  // The same RSA key, with the other scheme.
  const auto& rsa = signer(Algorithm::ps384);
  EXPECT_EQ(code(rsa.sign(Object{{"alg", "RS256"}, {"kid", "key-1"}}, trust_authority_claims()), expecting(rsa)),
            "token_algorithm_mismatch");
  EXPECT_EQ(code(who.sign(Object{{"alg", "none"}}, ear_claims()), expecting(who)), "unsupported");
}

TEST(VerifyToken, RefusesAnUnknownKeyId) {
  const auto& who = signer(Algorithm::es256);
  EXPECT_EQ(code(who.sign(Object{{"alg", "ES256"}, {"kid", "key-2"}}, ear_claims()), expecting(who)), "token_key_unknown");
}

TEST(VerifyToken, FindsItsKeyAmongSeveral) {
  const Signer second{Algorithm::es256, "key-2"};
  auto expected = expecting(signer(Algorithm::es256));
  expected.keys.push_back(second.jwk());
  EXPECT_EQ(code(second.sign(ear_claims()), expected), "ok");
  EXPECT_EQ(code(second.sign(Object{{"alg", "ES256"}}, ear_claims()), expected), "token_key_unknown");
  EXPECT_EQ(code(second.sign(Object{{"alg", "ES256"}, {"jwk", to_json(second.jwk())}}, ear_claims()), expected), "ok");
  EXPECT_EQ(code(second.sign(Object{{"alg", "ES256"}, {"kid", "key-1"}}, ear_claims()), expected), "signature_invalid");
  expected.keys.clear();
  EXPECT_EQ(code(second.sign(ear_claims()), expected), "token_key_unknown");
}

TEST(VerifyToken, TakesTheOnlyKeyWhereNoneIsNamed) {
  const Signer nameless{Algorithm::es256, ""};
  EXPECT_EQ(code(nameless.sign(Object{{"alg", "ES256"}}, ear_claims()), expecting(nameless)), "ok");
  EXPECT_EQ(code(nameless.sign(Object{{"alg", "ES256"}, {"kid", "any"}}, ear_claims()), expecting(nameless)), "ok");
}

// The key that a token brings along verifies it, and is nobody's.
TEST(VerifyToken, TrustsNoKeyOfAHeader) {
  const Signer stranger{Algorithm::es256};
  auto jwk = to_json(stranger.jwk());
  const auto expected = expecting(signer(Algorithm::es256));
  EXPECT_EQ(code(stranger.sign(Object{{"alg", "ES256"}, {"jwk", jwk}}, ear_claims()), expected), "token_key_unknown");
  EXPECT_EQ(code(stranger.sign(Object{{"alg", "ES256"}, {"kid", "key-1"}, {"jwk", jwk}}, ear_claims()), expected),
            "token_key_unknown");
  EXPECT_EQ(code(stranger.sign(Object{{"alg", "ES256"}, {"jku", "https://example.com/keys"}}, ear_claims()), expected),
            "signature_invalid");
  jwk.set("x5c", json::Array{"AAAA"});
  const auto refused = verify(stranger.sign(Object{{"alg", "ES256"}, {"jwk", jwk}}, ear_claims()), expected);
  EXPECT_EQ(refused.error().code(), Errc::token_key_unknown);
  EXPECT_NE(refused.error().detail().find("vouch for nothing"), std::string::npos);
}

// --- certificates in the header ---

/// A root of the same name with another key.
crypto::x509::CertificatePtr foreign_root() {
  const auto key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  const auto name = crypto::x509::encode_name({"root", "", "", "", ""});
  const crypto::x509::CertificateSpec spec{.serial = {1}, .issuer = name, .subject = name, .not_before = at(kNow - 100),
                                             .not_after = at(kNow + 1000), .key = key.public_key(), .is_ca = true,
                                             .key_usage = 0x0400};
  return *crypto::x509::parse_certificate(crypto::x509::issue_certificate(spec, key));
}

struct CertificateChain : testing::Test {
  using Spec = crypto::x509::CertificateSpec;
  const Signer& who = signer(Algorithm::es256);
  crypto::EcPrivateKey root_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  crypto::EcPrivateKey authority_key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  Bytes root_name = crypto::x509::encode_name({"root", "", "", "", ""});
  Bytes authority_name = crypto::x509::encode_name({"authority", "", "", "", ""});
  Spec root = spec(root_name, root_name, root_key.public_key(), true);
  Spec authority = spec(root_name, authority_name, authority_key.public_key(), true);
  Spec leaf = spec(authority_name, crypto::x509::encode_name({"leaf", "", "", "", ""}),
                   std::get<crypto::EcPublicKey>(who.jwk().key), false);
  const crypto::EcPrivateKey* authority_signed_by = &root_key;
  const crypto::EcPrivateKey* leaf_signed_by = &authority_key;
  bool with_root = true;

  static Spec spec(Bytes issuer, Bytes subject, crypto::x509::SubjectKey key, bool is_ca) {
    return {.serial = {1}, .issuer = std::move(issuer), .subject = std::move(subject), .not_before = at(kNow - 100),
            .not_after = at(kNow + 1000), .key = std::move(key), .is_ca = is_ca,
            .key_usage = static_cast<std::uint16_t>(is_ca ? 0x0400 : 0x8000)};
  }
  /// The chain as `x5c` has it, and the root.
  struct Built {
    json::Array x5c;
    crypto::x509::CertificatePtr root;
  };
  [[nodiscard]] Built build() const {
    const auto root_der = crypto::x509::issue_certificate(root, root_key);
    Built out{{codec::to_base64(crypto::x509::issue_certificate(leaf, *leaf_signed_by)),
               codec::to_base64(crypto::x509::issue_certificate(authority, *authority_signed_by))},
              *crypto::x509::parse_certificate(root_der)};
    if (with_root) out.x5c.emplace_back(codec::to_base64(root_der));
    return out;
  }
  static Expected under(const crypto::x509::CertificatePtr& root) {
    Expected out;
    out.roots = {root};
    out.at = at(kNow + 1);
    return out;
  }
  [[nodiscard]] std::string token(const json::Array& x5c) const {
    return who.sign(Object{{"alg", "ES256"}, {"x5c", x5c}}, ear_claims());
  }
  /// "ok", or the code and the detail.
  [[nodiscard]] std::string verdict() const {
    const auto built = build();
    const auto verified = verify(token(built.x5c), under(built.root));
    return verified ? "ok" : verified.error().text();
  }
  void expect(std::string_view refusal) const {
    EXPECT_NE(verdict().find(refusal), std::string::npos) << verdict();
  }
};

TEST_F(CertificateChain, IsTrustedUnderAGivenRoot) {
  EXPECT_EQ(verdict(), "ok");
  with_root = false;
  EXPECT_EQ(verdict(), "ok");
  const auto built = build();
  const auto verified = verify(token(built.x5c), under(built.root));
  ASSERT_TRUE(verified.ok());
  EXPECT_EQ(verified->key_id(), crypto::jose::thumbprint(who.jwk().key));
}

TEST_F(CertificateChain, StandsInsideTheJwkAsTrusteeWritesIt) {
  const auto built = build();
  auto jwk = to_json(who.jwk());
  jwk.set("x5c", built.x5c);
  EXPECT_EQ(code(who.sign(Object{{"alg", "ES256"}, {"jwk", jwk}}, ear_claims(kTrusteeProfile)), under(built.root)), "ok");
}

TEST_F(CertificateChain, OfAForeignRootIsRefused) {
  const auto built = build();
  const auto other = foreign_root();
  EXPECT_EQ(code(token(built.x5c), under(other)), "root_untrusted");
  with_root = false;
  EXPECT_EQ(code(token(build().x5c), under(other)), "root_untrusted");
  Expected nothing;
  nothing.at = at(kNow + 1);
  EXPECT_EQ(code(token(built.x5c), nothing), "token_key_unknown");
}

TEST_F(CertificateChain, MustHoldInEverySignature) {
  const auto stranger = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  leaf_signed_by = &stranger;
  expect("signature");
  leaf_signed_by = &authority_key;
  const auto other = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  authority_signed_by = &other;
  expect("signature");
  with_root = false;
  expect("none of the roots");
}

TEST_F(CertificateChain, VouchesForItsLeafAlone) {
  const auto built = build();
  const Signer stranger{Algorithm::es256};
  EXPECT_EQ(code(stranger.sign(Object{{"alg", "ES256"}, {"x5c", built.x5c}}, ear_claims()), under(built.root)), "signature_invalid");
  const auto jwk = to_json(stranger.jwk());
  EXPECT_EQ(code(who.sign(Object{{"alg", "ES256"}, {"x5c", built.x5c}, {"jwk", jwk}}, ear_claims()), under(built.root)),
            "token_key_unknown");
  const Signer es384{Algorithm::es384};
  EXPECT_EQ(code(es384.sign(Object{{"alg", "ES384"}, {"x5c", built.x5c}}, ear_claims()), under(built.root)),
            "token_algorithm_mismatch");
}

TEST_F(CertificateChain, MustBeOneOfNames) {
  leaf.issuer = root_name;
  expect("\"leaf\" is not issued by \"authority\"");
  leaf.issuer = authority_name;
  auto built = build();
  std::swap(built.x5c[0], built.x5c[1]);
  EXPECT_NE(code(token(built.x5c), under(built.root)), "ok");
}

TEST_F(CertificateChain, MustBeValidAtTheTime) {
  for (auto* one : {&leaf, &authority, &root}) {
    const auto good = *one;
    one->not_after = at(kNow);
    expect("expired at");
    *one = good;
    one->not_before = at(kNow + 2);
    expect("is valid from");
    *one = good;
  }
  EXPECT_EQ(verdict(), "ok");
}

TEST_F(CertificateChain, NeedsAuthoritiesThatMaySign) {
  for (auto* one : {&authority, &root}) {
    const auto good = *one;
    one->is_ca = false;
    expect("is no authority");
    *one = good;
    one->key_usage = 0x8000;
    expect("may not sign certificates");
    *one = good;
  }
  root.path_length = 0;
  expect("allows no chain of this length");
  root.path_length = 1;
  authority.path_length = 0;
  EXPECT_EQ(verdict(), "ok");
}

TEST_F(CertificateChain, NeedsALeafThatSigns) {
  leaf.is_ca = true;
  expect("is an authority");
  leaf.is_ca = false;
  leaf.key_usage = 0x0200;
  expect("may not sign");
}

TEST_F(CertificateChain, HasNoCriticalExtensionThatIsNotKnown) {
  for (auto* one : {&leaf, &authority, &root}) {
    one->extensions = {{.oid = {0x2A, 0x03, 0x04}, .critical = true, .value = {0x30, 0x00}}};
    expect("critical extension");
    one->extensions = {};
  }
}

TEST_F(CertificateChain, OfALabIsSimulated) {
  leaf.extensions = {evidence::lab_marker()};
  const auto built = build();
  auto expected = under(built.root);
  EXPECT_EQ(code(token(built.x5c), expected), "token_of_lab");
  expected.allow_lab = true;
  EXPECT_TRUE(verify(token(built.x5c), expected)->lab());
}

TEST_F(CertificateChain, IsReadStrictly) {
  const auto built = build();
  const auto expected = under(built.root);
  EXPECT_EQ(code(token({}), expected), "token_key_unknown");
  EXPECT_EQ(code(token({1}), expected), "token_key_unknown");
  EXPECT_EQ(code(token(json::Array(7, built.x5c[0])), expected), "token_key_unknown");
  EXPECT_EQ(code(token({"AAAA"}), expected), "certificate_malformed");
  EXPECT_EQ(code(token({"*"}), expected), "malformed");
}

// --- certificates in a key set, as Intel Trust Authority publishes them ---

struct CertifiedKeys : CertificateChain {
  const Signer& rsa = signer(Algorithm::ps384);

  CertifiedKeys() { leaf.key = std::get<crypto::x509::RsaPublicKey>(rsa.jwk().key); }
  /// A set as its file has it.
  [[nodiscard]] static std::vector<crypto::jose::Jwk> set_of(const crypto::jose::Jwk& key, const json::Array& x5c) {
    auto shown = to_json(key);
    if (!x5c.empty()) shown.set("x5c", x5c);
    auto keys = crypto::jose::parse_jwks(json::write(Object{{"keys", json::Array{shown}}}));
    EXPECT_TRUE(keys.ok()) << keys.error().text();
    return keys ? std::move(keys).value() : std::vector<crypto::jose::Jwk>{};
  }
  [[nodiscard]] std::string verdict_under(const crypto::x509::CertificatePtr& trusted, const Built& built) const {
    auto expected = under(trusted);
    expected.keys = set_of(rsa.jwk(), built.x5c);
    return code(rsa.sign(trust_authority_claims()), expected);
  }
  /// "ok", or the code and the detail.
  [[nodiscard]] std::string key_verdict() const {
    const auto built = build();
    auto expected = under(built.root);
    expected.keys = set_of(rsa.jwk(), built.x5c);
    const auto verified = verify(rsa.sign(trust_authority_claims()), expected);
    return verified ? "ok" : verified.error().text();
  }
};

TEST_F(CertifiedKeys, AreTrustedUnderAGivenRoot) {
  for (const auto algorithm : {Algorithm::ps384, Algorithm::rs256}) {
    const auto& issuer = signer(algorithm);
    leaf.key = std::get<crypto::x509::RsaPublicKey>(issuer.jwk().key);
    for (const bool whole : {true, false}) {
      with_root = whole;
      const auto chain = build();
      auto expected = under(chain.root);
      expected.keys = set_of(issuer.jwk(), chain.x5c);
      const auto verified = verify(issuer.sign(trust_authority_claims()), expected);
      ASSERT_TRUE(verified.ok()) << verified.error().text();
      EXPECT_EQ(verified->kind(), Kind::trust_authority);
      EXPECT_EQ(verified->algorithm(), algorithm);
      EXPECT_EQ(verified->key_id(), "key-1");  // as the set calls it
    }
  }
}

TEST_F(CertifiedKeys, AreTrustedAsTheyAreWithoutRoots) {
  const auto built = build();
  auto expected = expecting(rsa);
  EXPECT_EQ(code(rsa.sign(trust_authority_claims()), expected), "ok");  // a bare key
  expected.keys = set_of(rsa.jwk(), built.x5c);
  EXPECT_EQ(code(rsa.sign(trust_authority_claims()), expected), "ok");
  expected.roots = {foreign_root()};
  EXPECT_EQ(code(rsa.sign(trust_authority_claims()), expected), "root_untrusted");
  expected.keys = set_of(rsa.jwk(), {});
  EXPECT_EQ(code(rsa.sign(trust_authority_claims()), expected), "ok");  // bare again: whoever gave it vouches for it
}

TEST_F(CertifiedKeys, OfAForeignRootAreRefused) {
  EXPECT_EQ(verdict_under(foreign_root(), build()), "root_untrusted");
  with_root = false;
  EXPECT_EQ(verdict_under(foreign_root(), build()), "root_untrusted");
}

TEST_F(CertifiedKeys, MustHoldInEverySignatureDateAndConstraint) {
  EXPECT_EQ(key_verdict(), "ok");
  const auto stranger = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  leaf_signed_by = &stranger;
  EXPECT_TRUE(key_verdict().starts_with("signature_invalid")) << key_verdict();
  leaf_signed_by = &authority_key;
  const auto good = leaf;
  leaf.not_after = at(kNow);
  EXPECT_NE(key_verdict().find("expired at"), std::string::npos) << key_verdict();
  leaf = good;
  leaf.is_ca = true;
  EXPECT_NE(key_verdict().find("is an authority"), std::string::npos) << key_verdict();
  leaf = good;
  authority.is_ca = false;
  EXPECT_NE(key_verdict().find("is no authority"), std::string::npos) << key_verdict();
}

TEST_F(CertifiedKeys, OfALabAreSimulated) {
  leaf.extensions = {evidence::lab_marker()};
  EXPECT_TRUE(key_verdict().starts_with("token_of_lab")) << key_verdict();
}

TEST_F(CertifiedKeys, VouchForTheirOwnKeyAlone) {
  const auto built = build();
  auto shown = to_json(signer(Algorithm::rs256).jwk());
  shown.set("x5c", built.x5c);  // of another key
  EXPECT_EQ(crypto::jose::parse_jwks(json::write(Object{{"keys", json::Array{shown}}})).error().code(), Errc::key_invalid);
  auto expected = under(built.root);
  expected.keys = {signer(Algorithm::rs256).jwk()};
  for (const auto& one : built.x5c) expected.keys.front().certificates.push_back(*one.as_string());
  EXPECT_EQ(code(signer(Algorithm::rs256).sign(trust_authority_claims()), expected), "token_key_unknown");
}

/// A chain of RSA keys alone, as Trust Authority's is.
TEST_F(CertifiedKeys, MayBeIssuedByRsaKeys) {
  const auto issuer = crypto::RsaPssKey::generate(2048);
  root.key = issuer.public_key();
  leaf.issuer = root_name;
  const auto root_der = crypto::x509::issue_certificate(root, issuer);
  const auto leaf_der = crypto::x509::issue_certificate(leaf, issuer);
  auto expected = under(*crypto::x509::parse_certificate(root_der));
  expected.keys = set_of(rsa.jwk(), {codec::to_base64(leaf_der), codec::to_base64(root_der)});
  EXPECT_EQ(code(rsa.sign(trust_authority_claims()), expected), "ok");
  auto changed = leaf_der;
  changed.back() ^= 1;
  expected.keys = set_of(rsa.jwk(), {codec::to_base64(changed), codec::to_base64(root_der)});
  EXPECT_EQ(code(rsa.sign(trust_authority_claims()), expected), "signature_invalid");
}

/// The header of a token may bring a chain with an RSA leaf, too.
TEST_F(CertifiedKeys, OrAHeadersChainMayHaveAnRsaLeaf) {
  const auto built = build();
  const auto token_of = [&](const Signer& who_signs, std::string_view algorithm) {
    return who_signs.sign(Object{{"alg", algorithm}, {"x5c", built.x5c}}, trust_authority_claims());
  };
  EXPECT_EQ(code(token_of(rsa, "PS384"), under(built.root)), "ok");
  EXPECT_EQ(code(token_of(signer(Algorithm::rs256), "RS256"), under(built.root)), "signature_invalid");
  EXPECT_EQ(code(token_of(rsa, "ES256"), under(built.root)), "token_algorithm_mismatch");
}

// --- form ---

TEST(VerifyToken, AllowsABlankAfterIt) {
  const auto& who = signer(Algorithm::es256);
  EXPECT_EQ(code(who.sign(ear_claims()) + "\r\n", expecting(who)), "ok");
  EXPECT_EQ(code(' ' + who.sign(ear_claims()), expecting(who)), "malformed");
  EXPECT_EQ(code("", expecting(who)), "malformed");
  EXPECT_EQ(code("\n", expecting(who)), "malformed");
}

TEST(VerifyToken, RefusesKindsThatAreNotKnown) {
  EXPECT_EQ(with_claim(ear_claims(), "eat_profile", std::nullopt), "token_kind_unknown");
  EXPECT_EQ(with_claim(ear_claims(), "eat_profile", Value{"tag:example.com,2026:other"}), "token_kind_unknown");
  EXPECT_EQ(with_claim(ear_claims(), "eat_profile", Value{1}), "token_kind_unknown");
}

// --- times ---

TEST(VerifyToken, RefusesItOutsideItsTime) {
  const auto when = [](std::int64_t seconds) { return [seconds](Expected& expected) { expected.at = at(seconds); }; };
  EXPECT_EQ(with_claim(ear_claims(), "", {}, when(kNow)), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "", {}, when(kNow + 299)), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "", {}, when(kNow + 300)), "token_expired");
  EXPECT_EQ(with_claim(ear_claims(), "", {}, when(kNow - 1)), "token_not_yet_valid");
  EXPECT_EQ(with_claim(ear_claims(), "iat", Value{kNow + 2}), "token_not_yet_valid");
  EXPECT_EQ(with_claim(ear_claims(), "nbf", Value{kNow + 2}), "token_not_yet_valid");
  EXPECT_EQ(with_claim(ear_claims(), "nbf", Value{kNow + 1}), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "exp", Value{static_cast<double>(kNow) + 1.5}), "ok");
  EXPECT_EQ(with_claim(trust_authority_claims(), "exp", Value{kNow + 1}), "token_expired");
  EXPECT_EQ(with_claim(trust_authority_claims(), "nbf", Value{kNow + 2}), "token_not_yet_valid");
}

TEST(VerifyToken, DemandsItsTimes) {
  EXPECT_EQ(with_claim(ear_claims(), "exp", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(ear_claims(), "iat", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(trust_authority_claims(), "exp", std::nullopt), "missing_member");
  for (const auto& wrong : {Value{"1780000300"}, Value{}, Value{-1}, Value{1e300}, Value{true}}) {
    EXPECT_EQ(with_claim(ear_claims(), "exp", wrong), "token_claim_invalid");
    EXPECT_EQ(with_claim(ear_claims(), "iat", wrong), "token_claim_invalid");
    EXPECT_EQ(with_claim(ear_claims(), "nbf", wrong), "token_claim_invalid");
  }
}

// --- names ---

TEST(VerifyToken, RefusesAnotherIssuer) {
  const auto from = [](std::string issuer) { return [issuer](Expected& expected) { expected.issuer = issuer; }; };
  EXPECT_EQ(with_claim(ear_claims(), "", {}, from("verifier")), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "", {}, from("other")), "token_issuer_mismatch");
  EXPECT_EQ(with_claim(ear_claims(), "iss", std::nullopt, from("verifier")), "token_issuer_mismatch");
  EXPECT_EQ(with_claim(ear_claims(), "iss", Value{1}, from("verifier")), "token_issuer_mismatch");
  EXPECT_EQ(with_claim(trust_authority_claims(), "", {}, from("Intel Trust Authority")), "ok");
}

TEST(VerifyToken, RefusesAnotherAudience) {
  const auto to = [](Expected& expected) { expected.audience = "us"; };
  EXPECT_EQ(with_claim(ear_claims(), "aud", Value{"us"}, to), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "aud", Value{json::Array{"them", "us"}}, to), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "aud", Value{"them"}, to), "token_audience_mismatch");
  EXPECT_EQ(with_claim(ear_claims(), "aud", Value{json::Array{}}, to), "token_audience_mismatch");
  EXPECT_EQ(with_claim(ear_claims(), "", {}, to), "token_audience_mismatch");
}

TEST(VerifyToken, RefusesAnotherNonce) {
  const auto about = [](std::string nonce) { return [nonce](Expected& expected) { expected.nonce = nonce; }; };
  EXPECT_EQ(with_claim(ear_claims(), "eat_nonce", Value{"01"}, about("01")), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "eat_nonce", Value{"02"}, about("01")), "token_nonce_mismatch");
  EXPECT_EQ(with_claim(ear_claims(), "", {}, about("01")), "token_nonce_mismatch");
  EXPECT_EQ(with_claim(trust_authority_claims(), "", {}, about("bm9uY2U=")), "ok");
  EXPECT_EQ(with_claim(trust_authority_claims(), "verifier_nonce/val", Value{"b3RoZXI="}, about("bm9uY2U=")),
            "token_nonce_mismatch");
}

// --- EAR ---

TEST(VerifyEar, DemandsItsParts) {
  EXPECT_EQ(with_claim(ear_claims(), "ear.verifier-id", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(ear_claims(), "ear.verifier-id/build", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(ear_claims(), "ear.verifier-id/developer", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(ear_claims(), "submods", Value{Object{}}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), "submods/cpu0", Value{"affirming"}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), "submods/cpu0/ear.status", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(ear_claims(), "submods/cpu0/ear.trustworthiness-vector", std::nullopt), "ok");
  Object many;
  for (int i = 0; i < 65; ++i) many.emplace_back("cpu" + std::to_string(i), *ear_claims().find("submods")->find("cpu0"));
  EXPECT_EQ(with_claim(ear_claims(), "submods", Value{many}), "token_claim_invalid");
  many.pop_back();
  EXPECT_EQ(with_claim(ear_claims(), "submods", Value{many}), "ok");
}

TEST(VerifyEar, RefusesStatusesAndVectorsThatAreNone) {
  constexpr std::string_view kStatus = "submods/cpu0/ear.status";
  EXPECT_EQ(with_claim(ear_claims(), kStatus, Value{"fine"}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), kStatus, Value{3}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), kStatus, Value{2}), "ok");
  const std::string vector = "submods/cpu0/ear.trustworthiness-vector/";
  EXPECT_EQ(with_claim(ear_claims(), vector + "hardware", Value{128}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), vector + "hardware", Value{"2"}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), vector + "luck", Value{2}), "token_claim_invalid");
}

TEST(VerifyEar, RefusesAStatusThatIsBetterThanItsVector) {
  const std::string vector = "submods/cpu0/ear.trustworthiness-vector/";
  EXPECT_EQ(with_claim(ear_claims(), vector + "hardware", Value{33}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), vector + "sourced-data", Value{-100}), "token_claim_invalid");
  EXPECT_EQ(with_claim(ear_claims(), vector + "hardware", Value{0}), "ok");
}

TEST(VerifyEar, RefusesAStatusWorseThanAccepted) {
  constexpr std::string_view kStatus = "submods/cpu0/ear.status";
  const auto worst = [](Tier tier) { return [tier](Expected& expected) { expected.worst = tier; }; };
  for (const auto* status : {"none", "warning", "contraindicated"}) {
    // `none` beside claims would be better than they are.
    auto claims = ear_claims();
    set(claims, "submods/cpu0/ear.trustworthiness-vector", std::nullopt);
    EXPECT_EQ(with_claim(claims, kStatus, Value{status}), "token_status_not_accepted") << status;
    EXPECT_EQ(with_claim(claims, kStatus, Value{status}, worst(Tier::contraindicated)), "ok") << status;
  }
  EXPECT_EQ(with_claim(ear_claims(), kStatus, Value{"warning"}, worst(Tier::warning)), "ok");
  EXPECT_EQ(with_claim(ear_claims(), kStatus, Value{"contraindicated"}, worst(Tier::warning)), "token_status_not_accepted");
}

TEST(VerifyEar, RefusesALabsUnlessAllowed) {
  EXPECT_EQ(with_claim(ear_claims(), "cloister.lab", Value{true}), "token_of_lab");
  EXPECT_EQ(with_claim(ear_claims(), "cloister.lab", Value{true}, [](Expected& e) { e.allow_lab = true; }), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "cloister.lab", Value{false}), "ok");
  EXPECT_EQ(with_claim(ear_claims(), "cloister.lab", Value{"no"}), "token_claim_invalid");
}

// --- Intel Trust Authority ---

TEST(VerifyTrustAuthority, DemandsAnAttesterWithoutDebug) {
  EXPECT_EQ(with_claim(trust_authority_claims(), "attester_type", std::nullopt), "missing_member");
  EXPECT_EQ(with_claim(trust_authority_claims(), "dbgstat", Value{"enabled"}), "debug_not_accepted");
  EXPECT_EQ(with_claim(trust_authority_claims(), "tdx_is_debuggable", Value{true}), "debug_not_accepted");
  EXPECT_EQ(with_claim(trust_authority_claims(), "tdx_is_debuggable", Value{"false"}), "debug_not_accepted");
  auto sgx = trust_authority_claims();
  sgx.set("attester_type", "SGX").set("sgx_is_debuggable", true);
  EXPECT_EQ(with_claim(sgx, "", {}), "debug_not_accepted");
}

TEST(VerifyTrustAuthority, JudgesTheTcb) {
  const auto worst = [](Tier tier) { return [tier](Expected& expected) { expected.worst = tier; }; };
  constexpr std::string_view kStatus = "attester_tcb_status";
  EXPECT_EQ(with_claim(trust_authority_claims(), kStatus, Value{"OutOfDate"}), "token_status_not_accepted");
  EXPECT_EQ(with_claim(trust_authority_claims(), kStatus, Value{"OutOfDate"}, worst(Tier::warning)), "ok");
  EXPECT_EQ(with_claim(trust_authority_claims(), kStatus, Value{"Revoked"}, worst(Tier::warning)), "token_status_not_accepted");
  EXPECT_EQ(with_claim(trust_authority_claims(), kStatus, std::nullopt), "token_status_not_accepted");
}

TEST(VerifiedToken, IsShownAsJson) {
  const auto& who = signer(Algorithm::es256);
  const auto shown = to_json(verify(who.sign(ear_claims()), expecting(who)).value());
  EXPECT_EQ(*shown.find("kind"), Value{"ear"});
  EXPECT_EQ(*shown.find("issuer"), Value{"verifier"});
  EXPECT_EQ(*shown.find("submodules")->find("cpu0")->find("status"), Value{"affirming"});
  EXPECT_EQ(*shown.find("claims"), ear_claims());
}

}  // namespace
}  // namespace cloister::token
