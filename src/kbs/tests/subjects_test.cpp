// That a token says what its evidence said, of whatever TEE: else a revocation would miss guests that have one.
#include "subjects.hpp"

#include <gtest/gtest.h>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/attestation/verify.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;

json::Value token_of(const attestation::AuthenticEvidence& evidence) {
  return json::Object{
      {"jti", "tok-1"},
      {"cloister.session", std::string(64, '1')},
      {"submods", json::Object{{"cpu0", json::Object{{"ear.veraison.annotated-evidence", appraisal::claims_of(evidence)}}}}}};
}

void expect_same(const attestation::AuthenticEvidence& evidence, std::size_t measurements, std::size_t chips) {
  const auto said = subjects_in(token_of(evidence));
  const auto shown = revocation::subjects_of(evidence.claims());
  EXPECT_EQ(said.measurements, shown.measurements);
  EXPECT_EQ(said.chips, shown.chips);
  EXPECT_EQ(said.measurements.size(), measurements);
  EXPECT_EQ(said.chips.size(), chips);
  EXPECT_EQ(said.token, "tok-1");
  EXPECT_EQ(said.session, std::string(64, '1'));
}

TEST(SubjectsInTokens, AreThoseOfQuotes) {
  for (const auto tee : {evidence::TeeType::tdx, evidence::TeeType::sgx}) {
    test::SyntheticPlatform platform{tee, tee == evidence::TeeType::tdx ? std::uint16_t{4} : std::uint16_t{3}};
    ASSERT_TRUE(platform.platform.has_value());
    platform.platform->ppid.fill(0xA1);
    platform.platform->platform_instance_id = ByteArray<16>{0xB2};
    if (tee == evidence::TeeType::tdx) {
      platform.td().mr_td.fill(0xC3);
      for (auto& rtmr : platform.td().rtmr) rtmr.fill(static_cast<std::uint8_t>(&rtmr - platform.td().rtmr.data()));  // RTMR0: zeros
    } else {
      platform.enclave().mr_enclave.fill(0xC3);
      platform.enclave().mr_signer.fill(0xD4);
    }
    const auto built = platform.build();
    attestation::TrustAnchors anchors;
    anchors.add(attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given).value());
    const auto quote = evidence::parse_quote(built.quote).value();
    const auto outcome = attestation::verify(quote, evidence::parse_documents(built.collateral).value(), anchors, test::SyntheticPlatform::now());
    ASSERT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
    expect_same(*outcome.evidence, tee == evidence::TeeType::tdx ? 4 : 2, 3);
  }
}

TEST(SubjectsInTokens, AreThoseOfSnpReports) {
  test::SyntheticSnp chip;
  chip.body.measurement.fill(0xAB);
  const auto built = chip.build();
  attestation::TrustAnchors anchors;
  anchors.add(attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given).value());
  const auto report = evidence::parse_snp_report(built.report).value();
  const auto outcome = attestation::verify(report, built.endorsements, anchors, test::SyntheticSnp::now());
  ASSERT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  expect_same(*outcome.evidence, 1, 1);
}

TEST(SubjectsInTokens, AreNoneWhereNothingIsSaid) {
  const auto none = subjects_in(json::Object{{"jti", 7}, {"submods", json::Object{{"cpu0", json::Array{}}}}});
  EXPECT_TRUE(none.token.empty() && none.session.empty() && none.measurements.empty() && none.chips.empty());
  // What is no measurement is left out.
  const json::Value odd = json::Object{{"snp", json::Object{{"measurement", "x"}, {"chip_id", std::string(128, '0')}}}};
  const auto found = subjects_in(json::Object{{"submods", json::Object{{"cpu0", json::Object{{"ear.veraison.annotated-evidence", odd}}}}}});
  EXPECT_TRUE(found.measurements.empty() && found.chips.empty());
}

}  // namespace
}  // namespace cloister::kbs
