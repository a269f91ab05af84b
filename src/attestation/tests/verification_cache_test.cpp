#include "cloister/attestation/verification_cache.hpp"

#include <gtest/gtest.h>

#include "cloister/attestation/verify_snp.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"
#include "verifying.hpp"

namespace cloister::attestation {
namespace {

using evidence::TeeType;
using std::chrono::hours;
using test::SyntheticEvidence;
using test::SyntheticPlatform;

class VerificationCacheTest : public testing::Test {
 protected:
  Outcome verify_with(VerificationCache* cache, const SyntheticEvidence& built, const TrustAnchors& anchors,
                      UnixTime at = SyntheticPlatform::now()) {
    const auto quote = evidence::view_quote(built.quote);
    const auto documents = evidence::parse_documents(built.collateral);
    EXPECT_TRUE(quote.ok() && documents.ok());
    return verify(*quote, *documents, anchors, at, cache);
  }
  Outcome warm(const SyntheticEvidence& built, UnixTime at = SyntheticPlatform::now()) {
    return verify_with(&cache_, built, anchors_, at);
  }

  /// Another quote of the same platform: with the same certificates, whose signatures differ when they are issued again.
  SyntheticEvidence next_quote() {
    auto out = platform_.build();
    out.collateral = built_.collateral;
    return out;
  }
  static SyntheticPlatform platform() {
    SyntheticPlatform out;
    out.certification = evidence::CertificationData{evidence::CertificationType::pck_chain, to_bytes(out.pck_chain())};
    return out;
  }

  SyntheticPlatform platform_ = platform();
  SyntheticEvidence built_ = platform_.build();
  TrustAnchors anchors_ = anchors_of(built_.root, AnchorKind::given);
  test::SeededRandom random_{1};
  VerificationCache cache_{random_};
};

void expect_same(const Report& a, const Report& b) {
  ASSERT_EQ(a.checks.size(), b.checks.size());
  for (std::size_t i = 0; i < a.checks.size(); ++i) {
    EXPECT_EQ(a.checks[i].id, b.checks[i].id);
    EXPECT_EQ(a.checks[i].result, b.checks[i].result) << to_string(a.checks[i].id);
    EXPECT_EQ(a.checks[i].code, b.checks[i].code);
    EXPECT_EQ(a.checks[i].detail, b.checks[i].detail);
  }
  ASSERT_EQ(a.tcb.has_value(), b.tcb.has_value());
  if (a.tcb && b.tcb) {
    EXPECT_EQ(a.tcb->status, b.tcb->status);
  }
  EXPECT_EQ(a.collateral->issued, b.collateral->issued);
  EXPECT_EQ(a.collateral->expires, b.collateral->expires);
}

TEST_F(VerificationCacheTest, ChangesNoOutcome) {
  for (const auto& [tee, version] : {std::pair{TeeType::sgx, 3}, {TeeType::tdx, 4}, {TeeType::tdx, 5}}) {
    const auto built = SyntheticPlatform{tee, static_cast<std::uint16_t>(version)}.build();
    const auto cold = verify_with(nullptr, built, anchors_);
    const auto first = warm(built);
    const auto second = warm(built);
    EXPECT_TRUE(cold.evidence && first.evidence && second.evidence);
    expect_same(cold.report, first.report);
    expect_same(cold.report, second.report);
  }
}

TEST_F(VerificationCacheTest, KnowsAPlatformAfterItsFirstQuote) {
  ASSERT_TRUE(warm(built_).evidence);
  const auto signatures = cache_.signatures().size();
  EXPECT_EQ(cache_.chains(), 1U);
  ASSERT_TRUE(warm(built_).evidence);
  EXPECT_EQ(cache_.signatures().size(), signatures);
  // Another attestation key is another QE report, and nothing else.
  platform_.attestation_key = platform_.quote_signed_by = "another";
  ASSERT_TRUE(warm(next_quote()).evidence);
  EXPECT_EQ(cache_.signatures().size(), signatures + 1);
  EXPECT_EQ(cache_.chains(), 1U);
}

TEST_F(VerificationCacheTest, EvaluatesDatesAndRevocationEveryTime) {
  ASSERT_TRUE(warm(built_).evidence);
  expect_failed(warm(built_, SyntheticPlatform::now() + hours{24 * 17}),  // 6 February: after the PCK CRL's nextUpdate
                {CheckId::pck_crl}, Errc::pck_crl_expired);
  ASSERT_TRUE(warm(built_).evidence);
  expect_failed(warm(built_, SyntheticPlatform::now() - hours{24 * 9 + 12}),  // 10 January: before the QE identity
                {CheckId::qe_identity_dates}, Errc::qe_identity_not_yet_valid);
  platform_.pck_crl.revoked.push_back(platform_.pck.serial);
  expect_failed(warm(platform_.build()), {CheckId::pck_revocation}, Errc::pck_certificate_revoked);
  ASSERT_TRUE(warm(built_).evidence);
}

TEST_F(VerificationCacheTest, EvaluatesTheTcbEveryTime) {
  ASSERT_EQ(warm(built_).report.tcb->status, TcbStatus::up_to_date);
  platform_.tcb_info.levels.front().status = evidence::TcbStatus::out_of_date;
  EXPECT_EQ(warm(platform_.build()).report.tcb->status, TcbStatus::out_of_date);
}

TEST_F(VerificationCacheTest, TrustsNoRootThatTheCallerDoesNot) {
  ASSERT_TRUE(warm(built_).evidence);
  const auto untrusted = verify_with(&cache_, built_, TrustAnchors{});
  EXPECT_EQ(untrusted.report.error()->code(), Errc::root_untrusted);
  EXPECT_FALSE(untrusted.evidence);
}

TEST_F(VerificationCacheTest, RefusesWhatIsForgedAlsoWhenWarm) {
  ASSERT_TRUE(warm(built_).evidence);
  platform_.quote_signed_by = "forger";
  expect_failed(warm(platform_.build()), {CheckId::quote_signature}, Errc::quote_signature_invalid);
  platform_.quote_signed_by = platform_.attestation_key;
  platform_.qe_report_signed_by = "forger";
  expect_failed(warm(platform_.build()), {CheckId::qe_report_signature}, Errc::qe_report_signature_invalid);
  platform_.qe_report_signed_by = "pck";
  platform_.tcb_info_signed_by = "forger";
  expect_failed(warm(platform_.build()), {CheckId::tcb_info_signature}, Errc::tcb_info_signature_invalid);
}

TEST_F(VerificationCacheTest, TakesNothingOfAForeignRoot) {
  SyntheticPlatform foreign;
  for (auto* plan : {&foreign.root, &foreign.authority, &foreign.tcb_signer, &foreign.qe_signer}) plan->issuer_key = "foreign";
  foreign.root.key = foreign.root_crl.issuer_key = "foreign";
  const auto outcome = warm(foreign.build());
  EXPECT_FALSE(outcome.evidence);
  EXPECT_EQ(outcome.report.error()->code(), Errc::root_untrusted);
  EXPECT_EQ(outcome.report.check(CheckId::qe_report_signature).result, CheckResult::pass);  // by a key of the forger's
  EXPECT_EQ(cache_.signatures().size(), 0U);
  EXPECT_EQ(cache_.chains(), 0U);
}

/// A chain that ends at the trusted root, but whose middle the root did not sign.
TEST_F(VerificationCacheTest, TakesNothingBelowABrokenLink) {
  platform_.authority.issuer_key = "forger";
  platform_.certification.reset();
  const auto outcome = warm(platform_.build());
  EXPECT_EQ(outcome.report.check(CheckId::pck_chain).code, Errc::pck_chain_invalid);
  EXPECT_EQ(cache_.chains(), 0U);
  // The signer of TCB info and QE identity is in order: two chains and two documents.
  EXPECT_EQ(cache_.signatures().size(), 4U);
}

TEST_F(VerificationCacheTest, StaysWithinItsLimits) {
  VerificationCache small{random_, {.signatures = 4, .chains = 4}};
  for (std::uint64_t i = 0; i < 12; ++i) {
    platform_.pck.serial = 1000 + i;
    platform_.certification.reset();
    ASSERT_TRUE(verify_with(&small, platform_.build(), anchors_).evidence);
    EXPECT_LE(small.chains(), 4U);
    EXPECT_LE(small.signatures().size(), 4U);
  }
  ASSERT_TRUE(verify_with(&small, built_, anchors_).evidence);
}

TEST_F(VerificationCacheTest, KnowsAnSnpChipAfterItsFirstReport) {
  test::SyntheticSnp chip;
  auto built = chip.build();
  const auto anchors = anchors_of(built.root, AnchorKind::given);
  const auto verify_report = [&](VerificationCache* cache, UnixTime at = test::SyntheticSnp::now()) {
    return verify(*evidence::parse_snp_report(built.report), built.endorsements, anchors, at, cache);
  };
  const auto cold = verify_report(nullptr);
  EXPECT_TRUE(cold.evidence.has_value());
  expect_same(cold.report, verify_report(&cache_).report);
  EXPECT_EQ(cache_.signatures().size(), 3U);  // VEK, authority, CRL; reports' are not kept
  expect_same(cold.report, verify_report(&cache_).report);
  EXPECT_EQ(cache_.signatures().size(), 3U);
  EXPECT_FALSE(verify_report(&cache_, test::SyntheticSnp::now() + hours{24 * 365 * 40}).evidence.has_value());

  chip.report_signed_by = "forger";
  built = chip.build();
  EXPECT_EQ(verify_report(&cache_).report.error()->code(), Errc::report_signature_invalid);
  const auto other_root = verify(*evidence::parse_snp_report(built.report), built.endorsements, TrustAnchors{},
                                 test::SyntheticSnp::now(), &cache_);
  EXPECT_EQ(other_root.report.check(CheckId::vek_chain).code, Errc::root_untrusted);
}

}  // namespace
}  // namespace cloister::attestation
