#include "cloister/token/ear.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "cloister/attestation/verify.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/token/verify.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::token {
namespace {

namespace json = codec::json;
using crypto::jose::Algorithm;
using test::SyntheticPlatform;

// No stage can be skipped: neither evidence that is authentic, nor evidence that is bound too, gives a token.
template <class Evidence>
concept GivesToken = requires(Evidence e, const policy::Policy& p, const Issuer& i, const TokenTerms& t) { issue_ear(e, p, i, t); };
static_assert(GivesToken<const policy::Appraised&>);
static_assert(!GivesToken<const attestation::AuthenticEvidence&>);
static_assert(!GivesToken<const attestation::BoundEvidence&>);
static_assert(!GivesToken<const attestation::Report&>);

class Ear : public testing::Test {
 protected:
  /// Through every stage.
  [[nodiscard]] policy::Appraised appraised(attestation::AnchorKind kind = attestation::AnchorKind::given) const {
    const auto built = platform.build();
    attestation::TrustAnchors anchors;
    anchors.add(*attestation::TrustAnchor::make(built.root, kind));
    const auto quote = evidence::parse_quote(built.quote);
    const auto documents = evidence::parse_documents(built.collateral);
    auto outcome = attestation::verify(*quote, *documents, anchors, SyntheticPlatform::now());
    const auto expected = outcome.evidence->claims().report_data();
    auto bound = attestation::bind(std::move(*outcome.evidence), expected);
    auto appraisal = policy::appraise(policy, std::move(bound).value(), SyntheticPlatform::now());
    EXPECT_TRUE(appraisal.appraised.has_value());
    return std::move(*appraisal.appraised);
  }
  [[nodiscard]] Issuer issuer() const { return {"srv-a", "cloister 0.1.0", "key-1", key}; }
  [[nodiscard]] static TokenTerms terms() { return {SyntheticPlatform::now(), std::chrono::minutes{5}, std::nullopt, std::nullopt}; }
  [[nodiscard]] Expected expected() const {
    Expected out;
    out.keys = {{key.public_key(), Algorithm::es256, "key-1"}};
    out.at = SyntheticPlatform::now();
    out.issuer = "srv-a";
    return out;
  }
  void measure() {
    policy::Measurements measured;
    measured.mrtd = platform.td().mr_td;
    policy.measurements = {measured};
  }

  SyntheticPlatform platform;
  policy::Policy policy;
  crypto::EcPrivateKey key = crypto::EcPrivateKey::generate(crypto::Curve::p256);
};

TEST_F(Ear, IsVerifiedByItsOwnRules) {
  measure();
  auto wanted = terms();
  wanted.audience = "relying-party";
  wanted.nonce = "0102";
  const auto token = issue_ear(appraised(), policy, issuer(), wanted).value();
  auto rules = expected();
  rules.audience = "relying-party";
  rules.nonce = "0102";
  const auto verified = verify(token, rules);
  ASSERT_TRUE(verified.ok()) << verified.error().text();
  EXPECT_EQ(verified->kind(), Kind::ear);
  EXPECT_EQ(verified->issued(), SyntheticPlatform::now());
  EXPECT_EQ(verified->expires(), SyntheticPlatform::now() + std::chrono::minutes{5});
  EXPECT_FALSE(verified->lab());
  ASSERT_EQ(verified->submodules().size(), 1U);
  const auto& cpu = verified->submodules().front();
  EXPECT_EQ(cpu.name, "cpu0");
  EXPECT_EQ(cpu.status, Tier::affirming);
  EXPECT_EQ(cpu.policy_id, "sha256:" + codec::to_hex(policy::digest(policy)));
  const auto& claims = verified->claims();
  EXPECT_EQ(*claims.find("ear.verifier-id")->find("build"), json::Value{"cloister 0.1.0"});
  EXPECT_EQ(*claims.find("nbf"), *claims.find("iat"));
  const auto* evidence = claims.find("submods")->find("cpu0")->find("ear.veraison.annotated-evidence");
  EXPECT_EQ(*evidence->find("tdx")->find("mrtd"), json::Value{codec::to_hex(platform.td().mr_td)});
  EXPECT_EQ(*evidence->find("report_data"), json::Value{codec::to_hex(platform.td().report_data)});
  EXPECT_EQ(*evidence->find("tcb")->find("status"), json::Value{"UpToDate"});
}

TEST_F(Ear, WarnsWhereNobodySaidWhatMayRun) {
  const auto token = issue_ear(appraised(), policy, issuer(), terms()).value();
  EXPECT_EQ(verify(token, expected()).error().code(), Errc::token_status_not_accepted);
  auto rules = expected();
  rules.worst = Tier::warning;
  EXPECT_EQ(verify(token, rules)->submodules().front().status, Tier::warning);
}

TEST_F(Ear, OfALabSaysSo) {
  platform.make_lab();
  measure();
  const auto token = issue_ear(appraised(attestation::AnchorKind::lab), policy, issuer(), terms()).value();
  EXPECT_EQ(verify(token, expected()).error().code(), Errc::token_of_lab);
  auto rules = expected();
  rules.allow_lab = true;
  EXPECT_TRUE(verify(token, rules)->lab());
}

TEST_F(Ear, EndsWithItsCollateral) {
  const auto evidence = appraised();
  auto wanted = terms();
  wanted.lifetime = std::chrono::hours{24 * 3650};
  auto rules = expected();
  rules.worst = Tier::warning;
  const auto verified = verify(issue_ear(evidence, policy, issuer(), wanted).value(), rules);
  EXPECT_EQ(verified->expires(), evidence.report().collateral->expires);
}

TEST_F(Ear, IsNotMadeByAnotherPolicy) {
  const auto evidence = appraised();
  policy.allow_debug = true;
  EXPECT_EQ(issue_ear(evidence, policy, issuer(), terms()).error().code(), Errc::invalid_argument);
}

TEST_F(Ear, OfAnEnclaveIsCalledSgx) {
  platform = SyntheticPlatform{evidence::TeeType::sgx};
  auto rules = expected();
  rules.worst = Tier::warning;
  const auto verified = verify(issue_ear(appraised(), policy, issuer(), terms()).value(), rules);
  ASSERT_TRUE(verified.ok());
  EXPECT_NE(verified->claims().find("submods")->find("cpu0")->find("ear.veraison.annotated-evidence")->find("sgx"), nullptr);
}

// --- the trust vector: each claim by the one thing that it depends on ---

TEST_F(Ear, OfAnSnpGuestVouchesForHardwareByAMinimumTcbAlone) {
  const auto built = test::SyntheticSnp{}.build();
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  const auto appraise = [&] {
    auto outcome = attestation::verify(*evidence::parse_snp_report(built.report), built.endorsements, anchors,
                                       test::SyntheticSnp::now());
    const auto bound_to = outcome.evidence->claims().report_data();
    auto appraisal = policy::appraise(policy, attestation::bind(std::move(*outcome.evidence), bound_to).value(),
                                      test::SyntheticSnp::now());
    EXPECT_TRUE(appraisal.appraised.has_value());
    return std::move(*appraisal.appraised);
  };
  EXPECT_EQ(trust_vector(appraise(), policy).hardware, 0);
  policy.snp.min_tcb = {{evidence::SnpProduct::milan, evidence::SnpTcb{}}};
  const auto known = appraise();
  EXPECT_EQ(trust_vector(known, policy).hardware, 2);
  auto rules = expected();
  rules.worst = Tier::warning;
  rules.at = test::SyntheticSnp::now();
  auto wanted = terms();
  wanted.now = test::SyntheticSnp::now();
  const auto verified = verify(issue_ear(known, policy, issuer(), wanted).value(), rules);
  ASSERT_TRUE(verified.ok()) << verified.error().text();
  const auto* evidence = verified->claims().find("submods")->find("cpu0")->find("ear.veraison.annotated-evidence");
  EXPECT_NE(evidence->find("snp"), nullptr);
  EXPECT_TRUE(evidence->find("tcb")->find("status")->is_null());
}

TEST_F(Ear, VectorOfWhatIsKnownAndMeasured) {
  measure();
  const TrustVector wanted{.instance_identity = 2, .configuration = 2, .executables = 3, .hardware = 2, .runtime_opaque = 2};
  EXPECT_EQ(trust_vector(appraised(), policy), wanted);
  EXPECT_EQ(wanted.worst(), Tier::affirming);
}

TEST_F(Ear, VectorWithoutMeasurements) {
  const auto vector = trust_vector(appraised(), policy);
  EXPECT_EQ(vector.executables, 33);
  EXPECT_EQ(vector.configuration, 3);
  EXPECT_EQ(vector.worst(), Tier::warning);
}

TEST_F(Ear, VectorOfAnOldTcb) {
  measure();
  policy.accepted_statuses = {attestation::TcbStatus::up_to_date, attestation::TcbStatus::out_of_date};
  platform.qe_identity.levels.front().status = evidence::TcbStatus::out_of_date;
  const auto vector = trust_vector(appraised(), policy);
  EXPECT_EQ(vector.hardware, 32);
  EXPECT_EQ(vector.worst(), Tier::warning);
}

TEST_F(Ear, VectorUnderDebug) {
  measure();
  policy.allow_debug = true;
  platform.td().td_attributes |= 1;
  const auto vector = trust_vector(appraised(), policy);
  EXPECT_EQ(vector.configuration, 96);
  EXPECT_EQ(vector.runtime_opaque, 96);
  EXPECT_EQ(vector.worst(), Tier::contraindicated);
}

TEST_F(Ear, VectorWithReservedAttributes) {
  measure();
  policy.allow_reserved_attributes = true;
  platform.td().td_attributes |= std::uint64_t{1} << 40;
  EXPECT_EQ(trust_vector(appraised(), policy).configuration, 32);
}

}  // namespace
}  // namespace cloister::token
