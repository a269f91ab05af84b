#include "cloister/token/trustee.hpp"

#include <gtest/gtest.h>

#include "cloister/attestation/verify.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/token/verify.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::token {
namespace {

namespace json = codec::json;
using crypto::jose::Algorithm;
using test::SyntheticPlatform;

// No stage can be skipped: evidence that nobody bound gives no attester.
template <class Evidence>
concept GivesAttester = requires(Evidence e, const appraisal::Appraisal& a) { Attester::of(e, a); };
static_assert(GivesAttester<const attestation::BoundEvidence&>);
static_assert(!GivesAttester<const attestation::AuthenticEvidence&>);
static_assert(!GivesAttester<const attestation::Report&>);
static_assert(!std::is_default_constructible_v<Attester>);

constexpr std::string_view kAffirms = R"(package policy
trust_claims := {"hardware": 2, "configuration": 2, "executables": 3})";

class Trustee : public testing::Test {
 protected:
  [[nodiscard]] static appraisal::Policy policy(std::string_view text) { return appraisal::Policy::compile("p.rego", std::string{text}).value(); }
  [[nodiscard]] Result<Attester> attester(std::string_view text, attestation::AnchorKind kind = attestation::AnchorKind::given) const {
    const auto built = platform.build();
    attestation::TrustAnchors anchors;
    anchors.add(*attestation::TrustAnchor::make(built.root, kind));
    auto outcome = attestation::verify(*evidence::parse_quote(built.quote), *evidence::parse_documents(built.collateral), anchors,
                                       SyntheticPlatform::now());
    const auto expected = outcome.evidence->claims().report_data();
    const auto bound = attestation::bind(std::move(*outcome.evidence), expected).value();
    return Attester::of(bound, appraisal::decide(policy(text), bound.authentic(), {}));
  }
  [[nodiscard]] static Attester sample() {
    const json::Value claims = json::Object{{"sample", json::Object{{"svn", "1"}}}, {"report_data", "00"}};
    return Attester::of_sample(claims, appraisal::decide_sample(policy(kAffirms), claims, {})).value();
  }
  [[nodiscard]] Result<std::string> issue(const Attester& cpu, std::span<const Attester> devices = {},
                                          std::string session = {}) const {
    const Issuer issuer{"srv-a", "cloisterd 0.1.0", "key-1", key};
    const TokenTerms terms{SyntheticPlatform::now(), std::chrono::minutes{5}, "srv-a", std::nullopt};
    GuestData guest{"bm9uY2U=", json::Object{{"kty", "EC"}}, ""};
    guest.session = std::move(session);
    return issue_trustee(cpu, devices, guest, issuer, "tok-1", terms);
  }
  [[nodiscard]] Result<Verified> verified(const Result<std::string>& token, bool allow_lab = false) const {
    Expected expected;
    expected.keys = {{key.public_key(), Algorithm::es256, "key-1"}};
    expected.at = SyntheticPlatform::now();
    expected.issuer = "srv-a";
    expected.audience = "srv-a";
    expected.worst = Tier::contraindicated;
    expected.allow_lab = allow_lab;
    return verify(token.value(), expected);
  }

  SyntheticPlatform platform;
  crypto::EcPrivateKey key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
};

TEST_F(Trustee, FurtherPoliciesStandBesideTheStatus) {
  auto cpu = attester(kAffirms).value();
  const json::Value claims = json::Object{{"sample", json::Object{}}};
  cpu.judged("doubts", {}, appraisal::decide_sample(policy("package policy\ntrust_claims := {\"hardware\": 33}"), claims, {}));
  cpu.judged("fails", {}, appraisal::decide_sample(policy("package policy\nother := 1"), claims, {}));
  const auto token = verified(issue(cpu));
  ASSERT_TRUE(token.ok()) << token.error().text();
  EXPECT_EQ(token->submodules()[0].status, Tier::affirming);
  const auto* further = token->claims().find("submods")->find("cpu0")->find(kPoliciesClaim);
  ASSERT_NE(further, nullptr);
  EXPECT_EQ(json::write(*further->find("doubts")),
            R"({"status":"warning","trustworthiness-vector":{"hardware":33},"policy":")" + std::string(64, '0') + "\"}");
  EXPECT_EQ(json::write(*further->find("fails")), R"({"status":"contraindicated","trustworthiness-vector":{},"policy":")" +
                                                      std::string(64, '0') + R"(","error":"policy_evaluation_failed"})");
}

TEST_F(Trustee, TokensAreVerifiedByTheirKind) {
  const auto token = verified(issue(attester(kAffirms).value()));
  ASSERT_TRUE(token.ok()) << token.error().text();
  EXPECT_EQ(token->kind(), Kind::trustee);
  EXPECT_EQ(token->expires(), SyntheticPlatform::now() + std::chrono::minutes{5});
  EXPECT_FALSE(token->lab());
  ASSERT_EQ(token->submodules().size(), 1U);
  EXPECT_EQ(token->submodules()[0].name, "cpu0");
  EXPECT_EQ(token->submodules()[0].status, Tier::affirming);
  EXPECT_EQ(token->submodules()[0].policy_id, "default");
  EXPECT_EQ(token->submodules()[0].vector.executables, 3);
  const auto& claims = token->claims();
  EXPECT_EQ(*claims.find("jti"), json::Value{"tok-1"});
  EXPECT_EQ(claims.find("nbf"), nullptr);
  EXPECT_EQ(claims.find(kSampleClaim), nullptr);
  const auto* evidence = claims.find("submods")->find("cpu0")->find("ear.veraison.annotated-evidence");
  EXPECT_EQ(*evidence->find("tdx")->find("quote")->find("body")->find("mr_td"), json::Value{codec::to_hex(platform.td().mr_td)});
  EXPECT_EQ(*evidence->find("runtime_data_claims")->find("nonce"), json::Value{"bm9uY2U="});
  ASSERT_NE(tee_pubkey_of(claims), nullptr);
  EXPECT_EQ(*tee_pubkey_of(claims), (json::Value{json::Object{{"kty", "EC"}}}));
  EXPECT_EQ(tee_pubkey_of(json::Value{json::Object{}}), nullptr);
}

TEST_F(Trustee, TokensSayWhatThePolicySaid) {
  const auto status = [&](std::string_view text) { return verified(issue(attester(text).value()))->submodules()[0].status; };
  EXPECT_EQ(status("package policy\ntrust_claims := {\"hardware\": 2, \"executables\": 33}"), Tier::warning);
  EXPECT_EQ(status("package policy\ntrust_claims := {\"hardware\": 97}"), Tier::contraindicated);
  EXPECT_EQ(status("package policy\ntrust_claims := {}"), Tier::none);
}

TEST_F(Trustee, NameTheSessionThatTheyCameOf) {
  const auto cpu = attester(kAffirms).value();
  EXPECT_EQ(verified(issue(cpu))->claims().find(kSessionClaim), nullptr);
  EXPECT_EQ(*verified(issue(cpu, {}, "ab12"))->claims().find(kSessionClaim), json::Value{"ab12"});
}

TEST_F(Trustee, GiveNoTokenWhenThePolicySaidNothing) {
  EXPECT_EQ(attester("package policy\nx := 1").error().code(), Errc::policy_evaluation_failed);
  EXPECT_EQ(attester("package policy\ntrust_claims := {\"hardness\": 2}").error().code(), Errc::policy_evaluation_failed);
}

TEST_F(Trustee, CarryThePolicysExtensions) {
  const auto token = verified(issue(attester(R"(package policy
trust_claims := {"hardware": 2}
extensions := [{"name": "ear.trustee.identifiers", "key": -18, "value": {"validated": {"x": 1}}},
               {"name": "ear.status", "key": 1, "value": "none"}, {"name": 5, "value": 1}, {"name": "x"}])").value()));
  const auto* cpu = token->claims().find("submods")->find("cpu0");
  EXPECT_EQ(json::write(*cpu->find("ear.trustee.identifiers")), R"({"validated":{"x":1}})");
  EXPECT_EQ(*cpu->find("ear.status"), json::Value{"affirming"});
  EXPECT_EQ(cpu->find("x"), nullptr);
}

TEST_F(Trustee, NeverAffirmATcbThatIsRevoked) {
  for (auto& level : platform.tcb_info.levels) level.status = evidence::TcbStatus::revoked;
  const auto token = verified(issue(attester(kAffirms).value()));
  EXPECT_EQ(token->submodules()[0].status, Tier::contraindicated);
}

TEST_F(Trustee, TokensEndWithTheCollateral) {
  platform.tcb_info.next_update = SyntheticPlatform::now() + std::chrono::seconds{90};
  EXPECT_EQ(verified(issue(attester(kAffirms).value()))->expires(), SyntheticPlatform::now() + std::chrono::seconds{90});
}

TEST_F(Trustee, TaintLabEvidence) {
  platform.make_lab();
  const auto token = issue(attester(kAffirms, attestation::AnchorKind::lab).value());
  EXPECT_EQ(verified(token).error().code(), Errc::token_of_lab);
  EXPECT_TRUE(verified(token, true)->lab());
  EXPECT_EQ(verified(token, true)->claims().find(kSampleClaim), nullptr);
}

TEST_F(Trustee, TaintSampleEvidence) {
  const auto token = issue(sample());
  EXPECT_EQ(verified(token).error().code(), Errc::token_of_lab);
  EXPECT_EQ(*verified(token, true)->claims().find(kSampleClaim), json::Value{true});
  // Also a device's.
  const Attester devices[] = {sample()};
  const auto mixed = issue(attester(kAffirms).value(), devices);
  EXPECT_EQ(verified(mixed).error().code(), Errc::token_of_lab);
  const auto read = verified(mixed, true);
  EXPECT_EQ(*read->claims().find(kSampleClaim), json::Value{true});
  ASSERT_EQ(read->submodules().size(), 2U);
  EXPECT_EQ(read->submodules()[1].name, "gpu0");
}

}  // namespace
}  // namespace cloister::token
