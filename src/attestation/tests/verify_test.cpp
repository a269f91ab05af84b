#include <gtest/gtest.h>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "support/support.hpp"
#include "verifying.hpp"

/// Each check by evidence of which only that check's rule is broken, everything else signed anew.
namespace cloister::attestation {
namespace {

using evidence::TeeType;
using test::CertificatePlan;
using test::SyntheticPlatform;
using std::chrono::microseconds;

UnixTime at(int year, int month, int day) { return *from_civil(year, month, day, 0, 0, 0); }

void expect_only(const SyntheticPlatform& platform, CheckId check, Errc code, AnchorKind kind = AnchorKind::given) {
  expect_failed(verify_built(platform.build(), kind), {check}, code);
}

// --- what holds ---

struct Form {
  TeeType tee;
  std::uint16_t version;
};
class Verify : public testing::TestWithParam<Form> {};

TEST_P(Verify, AcceptsEvidenceOfWhichEverythingHolds) {
  const auto outcome = verify_built(SyntheticPlatform{GetParam().tee, GetParam().version}.build());
  EXPECT_TRUE(failed(outcome.report).empty()) << outcome.report.error()->text();
  ASSERT_TRUE(outcome.evidence.has_value());
  EXPECT_EQ(outcome.evidence->tcb().status, TcbStatus::up_to_date);
  EXPECT_FALSE(outcome.report.lab);
  EXPECT_FALSE(outcome.report.bound);
  EXPECT_EQ(outcome.report.check(CheckId::report_data).result, CheckResult::skipped);
  const bool sgx = GetParam().tee == TeeType::sgx;
  EXPECT_EQ(outcome.report.check(CheckId::tdx_module).result, sgx ? CheckResult::skipped : CheckResult::pass);
  EXPECT_TRUE(outcome.evidence->claims().dcap()->platform.has_value());
}
INSTANTIATE_TEST_SUITE_P(Forms, Verify,
                         testing::Values(Form{TeeType::sgx, 3}, Form{TeeType::sgx, 4}, Form{TeeType::sgx, 5},
                                         Form{TeeType::tdx, 4}, Form{TeeType::tdx, 5}));

TEST(VerifyChain, MayLeaveTheRootAway) {
  SyntheticPlatform platform;
  platform.with_root = false;
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyChain, IsTakenFromTheCollateralWhenTheQuoteBringsNone) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.certification = evidence::CertificationData{evidence::CertificationType::ppid_plain, Bytes(36, 0)};
  auto built = platform.build();
  expect_failed(verify_built(built), {CheckId::pck_chain}, Errc::pck_chain_invalid);
  built.collateral.pck_certificate_chain = platform.pck_chain();
  EXPECT_TRUE(verify_built(built).evidence.has_value());
}

TEST(VerifyChain, OfALeafAloneIsCompletedFromTheCollateral) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto leaf = codec::parse_pem(platform.pck_chain())->front().der;
  platform.certification = evidence::CertificationData{evidence::CertificationType::pck_leaf, leaf};
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyWindow, IsTheIntersectionOfAllThatWasUsed) {
  SyntheticPlatform platform;
  const auto window = verify_built(platform.build()).report.collateral;
  ASSERT_TRUE(window.has_value());
  EXPECT_EQ(window->issued, platform.qe_identity.issue_date);
  EXPECT_EQ(window->expires, platform.pck_crl.next_update);
  platform.tcb_signer.not_before = at(2026, 1, 15);
  platform.pck.not_after = at(2026, 1, 25);
  const auto narrower = verify_built(platform.build()).report.collateral;
  EXPECT_EQ(narrower->issued, at(2026, 1, 15));
  EXPECT_EQ(narrower->expires, at(2026, 1, 25));
}

TEST(VerifyWindow, IncludesBothOfItsEnds) {
  const auto built = SyntheticPlatform{}.build();
  const auto window = *verify_built(built).report.collateral;
  EXPECT_TRUE(verify_built(built, AnchorKind::given, window.issued).evidence.has_value());
  EXPECT_TRUE(verify_built(built, AnchorKind::given, window.expires).evidence.has_value());
  EXPECT_FALSE(verify_built(built, AnchorKind::given, window.issued - microseconds{1}).evidence.has_value());
  EXPECT_FALSE(verify_built(built, AnchorKind::given, window.expires + microseconds{1}).evidence.has_value());
}

TEST(VerifyTrailingBytes, AreCountedAndNothingElse) {
  auto built = SyntheticPlatform{}.build();
  built.quote.insert(built.quote.end(), 70, 0x5A);
  const auto outcome = verify_built(built);
  EXPECT_TRUE(outcome.evidence.has_value());
  EXPECT_EQ(outcome.report.trailing_bytes, 70U);
}

// --- without collateral ---

Result<void> alone(const test::SyntheticEvidence& built, const TrustAnchors& anchors, UnixTime when = SyntheticPlatform::now(),
                   VerificationCache* cache = nullptr) {
  const auto refusal = refusal_without_collateral(*evidence::view_quote(built.quote), anchors, when, cache);
  if (!refusal) return {};
  EXPECT_EQ(failed(*refusal).size(), 1U);
  EXPECT_EQ(refusal->check(CheckId::tcb_info_signature).result, CheckResult::skipped);
  return *refusal->error();
}

void expect_refused_alone(const SyntheticPlatform& platform, Errc code, UnixTime when = SyntheticPlatform::now()) {
  const auto built = platform.build();
  const auto anchors = anchors_of(built.root, platform.lab ? AnchorKind::lab : AnchorKind::given);
  const auto refused = alone(built, anchors, when);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), code) << refused.error().text();
}

TEST(RefusalWithoutCollateral, PassesAQuoteThatHoldsByItself) {
  for (const auto& [tee, version] : {std::pair{TeeType::sgx, 3}, {TeeType::tdx, 4}, {TeeType::tdx, 5}}) {
    SyntheticPlatform platform{tee, static_cast<std::uint16_t>(version)};
    platform.pck_crl.revoked.push_back(platform.pck.serial);  // which only the collateral says
    const auto built = platform.build();
    const auto held = alone(built, anchors_of(built.root, AnchorKind::given));
    EXPECT_TRUE(held.ok()) << held.error().text();
  }
}

TEST(RefusalWithoutCollateral, PassesALabsQuoteUnderALabsRootAlone) {
  SyntheticPlatform platform;
  platform.make_lab();
  const auto built = platform.build();
  EXPECT_TRUE(alone(built, anchors_of(built.root, AnchorKind::lab)).ok());
  EXPECT_EQ(alone(built, TrustAnchors::vendors()).error().code(), Errc::lab_root_not_trusted);
}

TEST(RefusalWithoutCollateral, RefusesWhatNoTrustedRootVouchesFor) {
  const auto built = SyntheticPlatform{}.build();
  EXPECT_EQ(alone(built, TrustAnchors::vendors()).error().code(), Errc::root_untrusted);
  SyntheticPlatform platform;
  platform.pck.issuer_key = "forger";
  expect_refused_alone(platform, Errc::pck_chain_invalid);
}

TEST(RefusalWithoutCollateral, RefusesEachThingThatIsForged) {
  SyntheticPlatform platform;
  platform.quote_signed_by = "forger";
  expect_refused_alone(platform, Errc::quote_signature_invalid);
  platform = SyntheticPlatform{};
  platform.qe_report_signed_by = "forger";
  expect_refused_alone(platform, Errc::qe_report_signature_invalid);
  platform = SyntheticPlatform{};
  platform.qe_report_data = Digest64{};
  expect_refused_alone(platform, Errc::qe_report_data_mismatch);
  platform = SyntheticPlatform{};
  platform.header.qe_vendor_id[3] ^= 1;
  expect_refused_alone(platform, Errc::evidence_unsupported);
}

TEST(RefusalWithoutCollateral, RefusesCertificatesOfAnotherTime) {
  const SyntheticPlatform platform;
  expect_refused_alone(platform, Errc::pck_certificate_expired, platform.pck.not_after + microseconds{1});
  expect_refused_alone(platform, Errc::pck_certificate_not_yet_valid, platform.pck.not_before - microseconds{1});
}

TEST(RefusalWithoutCollateral, ChecksTheRestOfAQuoteThatBringsNoChain) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.certification = evidence::CertificationData{evidence::CertificationType::ppid_plain, Bytes(36, 0)};
  const auto built = platform.build();
  EXPECT_TRUE(alone(built, TrustAnchors{}).ok());
  platform.quote_signed_by = "forger";
  expect_refused_alone(platform, Errc::quote_signature_invalid);
}

TEST(RefusalWithoutCollateral, LeavesInACacheWhatARootVouchesForAlone) {
  test::SeededRandom random{1};
  VerificationCache cache{random};
  const auto built = SyntheticPlatform{}.build();
  EXPECT_FALSE(alone(built, TrustAnchors::vendors(), SyntheticPlatform::now(), &cache).ok());
  EXPECT_EQ(cache.signatures().size(), 0U);
  EXPECT_EQ(cache.chains(), 0U);
  EXPECT_TRUE(alone(built, anchors_of(built.root, AnchorKind::given), SyntheticPlatform::now(), &cache).ok());
  EXPECT_EQ(cache.signatures().size(), 3U);  // PCK certificate, its authority, the QE report
  EXPECT_EQ(cache.chains(), 1U);
}

// --- the quote's format ---

TEST(VerifyFormat, RefusesAnotherQuotingEnclavesVendor) {
  SyntheticPlatform platform;
  platform.header.qe_vendor_id[3] ^= 1;
  expect_only(platform, CheckId::quote_format, Errc::evidence_unsupported);
}

// --- the PCK chain ---

TEST(VerifyPckChain, RefusesAnUnknownRoot) {
  const auto outcome = verify_built(SyntheticPlatform{}.build(), TrustAnchors::vendors());
  expect_failed(outcome, {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain}, Errc::root_untrusted);
  EXPECT_EQ(outcome.report.check(CheckId::pck_revocation).result, CheckResult::skipped);
}

TEST(VerifyPckChain, RefusesAnUnknownRootThatIsLeftAway) {
  SyntheticPlatform platform;
  platform.with_root = false;
  expect_failed(verify_built(platform.build(), TrustAnchors{}),
                {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain}, Errc::root_untrusted);
}

TEST(VerifyPckChain, RefusesARootOfTheSameNameAndAnotherKey) {
  SyntheticPlatform impostor;
  impostor.root.key = impostor.root.issuer_key = "another root";
  for (auto* plan : {&impostor.authority, &impostor.tcb_signer, &impostor.qe_signer}) plan->issuer_key = "another root";
  impostor.root_crl.issuer_key = "another root";
  const auto built = impostor.build();
  EXPECT_TRUE(verify_built(built).evidence.has_value());  // under its own root everything holds
  expect_failed(verify_built(built, anchors_of(SyntheticPlatform{}.build().root, AnchorKind::given)),
                {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain}, Errc::root_untrusted);
}

TEST(VerifyPckChain, RefusesALeafThatTheAuthorityDidNotSign) {
  SyntheticPlatform platform;
  platform.pck.issuer_key = "somebody";
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesALeafThatNamesAnotherIssuer) {
  SyntheticPlatform platform;
  platform.pck.issuer_name = "Test PCK Processor CA";
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesAnAuthorityThatTheRootDidNotSign) {
  SyntheticPlatform platform;
  platform.authority.issuer_key = "somebody";
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesAnAuthorityThatIsNone) {
  SyntheticPlatform platform;
  platform.authority.is_ca = false;
  platform.authority.path_length.reset();
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesAnAuthorityThatMayNotSignCertificates) {
  SyntheticPlatform platform;
  platform.authority.key_usage = 0x0200;
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesALeafThatIsAnAuthority) {
  SyntheticPlatform platform;
  platform.pck.is_ca = true;
  platform.pck.key_usage = 0x8600;
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesALeafThatMayNotSignData) {
  SyntheticPlatform platform;
  platform.pck.key_usage = 0x0800;
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, RefusesACriticalExtensionThatItDoesNotKnow) {
  SyntheticPlatform platform;
  platform.authority.extensions.push_back({codec::der::oid("1.2.3.4"), true, codec::der::null()});
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyPckChain, AcceptsAnExtensionThatItDoesNotKnowAndIsNotCritical) {
  SyntheticPlatform platform;
  platform.authority.extensions.push_back({codec::der::oid("1.2.3.4"), false, codec::der::null()});
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyPckChain, RefusesARootThatIsNotTheAnchorThoughItsKeyIs) {
  const auto anchor = SyntheticPlatform{}.build().root;
  SyntheticPlatform platform;
  platform.root.serial = 77;               // other bytes,
  platform.root.issuer_key = "somebody";   // and not signed by the anchor's key
  expect_failed(verify_built(platform.build(), anchors_of(anchor, AnchorKind::given)),
                {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain}, Errc::pck_chain_invalid);
  platform.root.issuer_key = "root";       // the same authority under a renewed certificate
  EXPECT_TRUE(verify_built(platform.build(), anchors_of(anchor, AnchorKind::given)).evidence.has_value());
}

TEST(VerifyPckChain, RefusesOtherNumbersOfCertificates) {
  SyntheticPlatform platform;
  const auto blocks = *codec::parse_pem(platform.pck_chain());
  const auto chain = [&](std::initializer_list<std::size_t> which) {
    std::string out;
    for (const auto i : which) out += codec::to_pem("CERTIFICATE", blocks[i].der);
    return out;
  };
  for (const auto& pem : {chain({0}), chain({0, 2}), chain({0, 1, 1, 2}), chain({1, 2}), chain({0, 1, 2, 2})}) {
    platform.certification = evidence::CertificationData{evidence::CertificationType::pck_chain, to_bytes(pem)};
    const auto outcome = verify_built(platform.build());
    EXPECT_EQ(outcome.report.check(CheckId::pck_chain).result, CheckResult::fail);
    EXPECT_FALSE(outcome.evidence.has_value());
  }
}

TEST(VerifyPckChain, RefusesCertificationDataThatIsNoChain) {
  SyntheticPlatform platform;
  platform.certification = evidence::CertificationData{evidence::CertificationType::pck_chain, to_bytes("no certificates")};
  const auto outcome = verify_built(platform.build());
  expect_failed(outcome, {CheckId::pck_chain}, Errc::pck_chain_invalid);
  EXPECT_EQ(outcome.report.check(CheckId::qe_report_signature).result, CheckResult::skipped);
  EXPECT_FALSE(outcome.report.tcb.has_value());
}

// --- names: only an Intel anchor has rules for them ---

SyntheticPlatform with_intel_names() {
  SyntheticPlatform platform;
  platform.root.common_name = "Intel SGX Root CA";
  platform.authority.common_name = platform.pck.issuer_name = platform.pck_crl.issuer_name = "Intel SGX PCK Platform CA";
  platform.pck.common_name = "Intel SGX PCK Certificate";
  platform.tcb_signer.common_name = platform.qe_signer.common_name = "Intel SGX TCB Signing";
  for (auto* plan : {&platform.root, &platform.authority, &platform.tcb_signer, &platform.qe_signer}) {
    plan->issuer_name = "Intel SGX Root CA";
  }
  platform.root_crl.issuer_name = "Intel SGX Root CA";
  return platform;
}

TEST(VerifyNames, OfIntelHoldUnderAnIntelAnchor) {
  EXPECT_TRUE(verify_built(with_intel_names().build(), AnchorKind::intel).evidence.has_value());
  auto processor = with_intel_names();
  processor.authority.common_name = processor.pck.issuer_name = processor.pck_crl.issuer_name = "Intel SGX PCK Processor CA";
  EXPECT_TRUE(verify_built(processor.build(), AnchorKind::intel).evidence.has_value());
}

TEST(VerifyNames, OfTheLeafAreCheckedUnderAnIntelAnchor) {
  auto platform = with_intel_names();
  platform.pck.common_name = "SGX PCK Certificate";
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid, AnchorKind::intel);
  EXPECT_TRUE(verify_built(platform.build(), AnchorKind::given).evidence.has_value());
}

TEST(VerifyNames, OfTheAuthorityAreCheckedUnderAnIntelAnchor) {
  auto platform = with_intel_names();
  platform.authority.common_name = platform.pck.issuer_name = platform.pck_crl.issuer_name = "Intel SGX Root CA Too";
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid, AnchorKind::intel);
}

TEST(VerifyNames, OfTheSignersAreCheckedUnderAnIntelAnchor) {
  auto platform = with_intel_names();
  platform.tcb_signer.common_name = "Intel SGX PCK Certificate";
  expect_only(platform, CheckId::tcb_info_chain, Errc::tcb_signing_chain_invalid, AnchorKind::intel);
  platform = with_intel_names();
  platform.qe_signer.common_name = "Intel SGX PCK Certificate";
  expect_only(platform, CheckId::qe_identity_chain, Errc::tcb_signing_chain_invalid, AnchorKind::intel);
}

TEST(VerifyNames, OfTheRootAreCheckedUnderAnIntelAnchor) {
  expect_failed(verify_built(SyntheticPlatform{}.build(), AnchorKind::intel),
                {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain}, Errc::pck_chain_invalid);
}

// --- dates ---

TEST(VerifyPckDates, RefuseALeafBeforeAndAfterItsTime) {
  SyntheticPlatform platform;
  platform.pck.not_before = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_only(platform, CheckId::pck_dates, Errc::pck_certificate_not_yet_valid);
  platform.pck.not_before = at(2025, 1, 1);
  platform.pck.not_after = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_only(platform, CheckId::pck_dates, Errc::pck_certificate_expired);
}

TEST(VerifyPckDates, RefuseAnAuthorityBeforeAndAfterItsTime) {
  SyntheticPlatform platform;
  platform.authority.not_before = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_only(platform, CheckId::pck_dates, Errc::ca_certificate_not_yet_valid);
  platform.authority.not_before = at(2025, 1, 1);
  platform.authority.not_after = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_only(platform, CheckId::pck_dates, Errc::ca_certificate_expired);
}

TEST(VerifyPckDates, RefuseARootBeforeAndAfterItsTime) {
  const std::vector everywhere{CheckId::pck_dates, CheckId::tcb_info_chain, CheckId::qe_identity_chain};
  SyntheticPlatform platform;
  platform.root.not_before = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_failed(verify_built(platform.build()), everywhere, Errc::ca_certificate_not_yet_valid);
  platform.root.not_before = at(2020, 1, 1);
  platform.root.not_after = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_failed(verify_built(platform.build()), everywhere, Errc::ca_certificate_expired);
}

// --- CRLs ---

TEST(VerifyRootCrl, RefusesAnotherIssuer) {
  SyntheticPlatform platform;
  platform.root_crl.issuer_name = "Test PCK Platform CA";
  expect_only(platform, CheckId::root_crl, Errc::root_crl_invalid);
}

TEST(VerifyRootCrl, RefusesAnotherSigner) {
  SyntheticPlatform platform;
  platform.root_crl.issuer_key = "somebody";
  expect_only(platform, CheckId::root_crl, Errc::root_crl_invalid);
}

TEST(VerifyRootCrl, RefusesAListBeforeAndAfterItsTime) {
  SyntheticPlatform platform;
  platform.root_crl.this_update = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_only(platform, CheckId::root_crl, Errc::root_crl_not_yet_valid);
  platform.root_crl.this_update = at(2025, 1, 1);
  platform.root_crl.next_update = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_only(platform, CheckId::root_crl, Errc::root_crl_expired);
}

TEST(VerifyRootCrl, RefusesAnIssuerThatMayNotSignCrls) {
  SyntheticPlatform platform;
  platform.root.key_usage = 0x0400;
  expect_only(platform, CheckId::root_crl, Errc::root_crl_invalid);
}

TEST(VerifyPckCrl, RefusesAnotherIssuer) {
  SyntheticPlatform platform;
  platform.pck_crl.issuer_name = "Test PCK Processor CA";
  expect_only(platform, CheckId::pck_crl, Errc::pck_crl_invalid);
}

TEST(VerifyPckCrl, RefusesAnotherSigner) {
  SyntheticPlatform platform;
  platform.pck_crl.issuer_key = "somebody";
  expect_only(platform, CheckId::pck_crl, Errc::pck_crl_invalid);
}

TEST(VerifyPckCrl, RefusesAListBeforeAndAfterItsTime) {
  SyntheticPlatform platform;
  platform.pck_crl.this_update = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_only(platform, CheckId::pck_crl, Errc::pck_crl_not_yet_valid);
  platform.pck_crl.this_update = at(2025, 1, 1);
  platform.pck_crl.next_update = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_only(platform, CheckId::pck_crl, Errc::pck_crl_expired);
}

TEST(VerifyPckCrl, RefusesAnIssuerThatMayNotSignCrls) {
  SyntheticPlatform platform;
  platform.authority.key_usage = 0x0400;
  expect_only(platform, CheckId::pck_crl, Errc::pck_crl_invalid);
}

TEST(VerifyRevocation, RefusesARevokedLeaf) {
  SyntheticPlatform platform;
  platform.pck_crl.revoked.push_back(platform.pck.serial);
  expect_only(platform, CheckId::pck_revocation, Errc::pck_certificate_revoked);
}

TEST(VerifyRevocation, RefusesARevokedAuthority) {
  SyntheticPlatform platform;
  platform.root_crl.revoked.push_back(platform.authority.serial);
  expect_only(platform, CheckId::pck_revocation, Errc::ca_certificate_revoked);
}

TEST(VerifyRevocation, RefusesARevokedSigner) {
  SyntheticPlatform platform;
  platform.root_crl.revoked.push_back(platform.tcb_signer.serial);
  expect_only(platform, CheckId::tcb_info_chain, Errc::tcb_signing_certificate_revoked);
  platform.root_crl.revoked = {platform.qe_signer.serial};
  expect_only(platform, CheckId::qe_identity_chain, Errc::tcb_signing_certificate_revoked);
}

TEST(VerifyRevocation, OfTheOtherListSaysNothing) {
  SyntheticPlatform platform;
  platform.root_crl.revoked.push_back(platform.pck.serial);
  platform.pck_crl.revoked.push_back(platform.tcb_signer.serial);
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyPckExtension, MustBeThere) {
  SyntheticPlatform platform;
  platform.platform.reset();
  const auto outcome = verify_built(platform.build());
  expect_failed(outcome, {CheckId::pck_extension}, Errc::pck_extension_invalid);
  EXPECT_EQ(outcome.report.check(CheckId::tcb_info_match).result, CheckResult::skipped);
  EXPECT_FALSE(outcome.report.tcb.has_value());
}

// --- signed documents ---

/// The same rules hold for the signers of both documents.
struct Document {
  CertificatePlan SyntheticPlatform::*signer;
  std::string SyntheticPlatform::*signed_by;
  CheckId chain;
  CheckId signature;
  Errc signature_invalid;
};
class VerifyDocument : public testing::TestWithParam<Document> {
 protected:
  [[nodiscard]] CertificatePlan& signer() { return platform_.*GetParam().signer; }
  void expect_chain_refused(Errc code) { expect_only(platform_, GetParam().chain, code); }
  SyntheticPlatform platform_;
};

TEST_P(VerifyDocument, RefusesASignerThatTheRootDidNotSign) {
  signer().issuer_key = "somebody";
  expect_chain_refused(Errc::tcb_signing_chain_invalid);
}

TEST_P(VerifyDocument, RefusesASignerThatIsAnAuthority) {
  signer().is_ca = true;
  signer().key_usage = 0x8600;
  expect_chain_refused(Errc::tcb_signing_chain_invalid);
}

TEST_P(VerifyDocument, RefusesASignerThatMayNotSignData) {
  signer().key_usage = 0x0800;
  expect_chain_refused(Errc::tcb_signing_chain_invalid);
}

TEST_P(VerifyDocument, RefusesASignerBeforeAndAfterItsTime) {
  signer().not_before = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_chain_refused(Errc::tcb_signing_certificate_not_yet_valid);
  signer().not_before = at(2024, 1, 1);
  signer().not_after = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_chain_refused(Errc::tcb_signing_certificate_expired);
}

TEST_P(VerifyDocument, RefusesAnotherSignature) {
  platform_.*GetParam().signed_by = "somebody";
  expect_only(platform_, GetParam().signature, GetParam().signature_invalid);
}

INSTANTIATE_TEST_SUITE_P(
    Documents, VerifyDocument,
    testing::Values(Document{&SyntheticPlatform::tcb_signer, &SyntheticPlatform::tcb_info_signed_by, CheckId::tcb_info_chain,
                             CheckId::tcb_info_signature, Errc::tcb_info_signature_invalid},
                    Document{&SyntheticPlatform::qe_signer, &SyntheticPlatform::qe_identity_signed_by,
                             CheckId::qe_identity_chain, CheckId::qe_identity_signature, Errc::qe_identity_signature_invalid}));

TEST(VerifySigner, OfAnotherTrustedRootIsRefused) {
  SyntheticPlatform other;
  other.root.common_name = "Other Root CA";
  other.root.key = "other root";
  for (auto* plan : {&other.root, &other.authority, &other.tcb_signer, &other.qe_signer}) {
    plan->issuer_name = "Other Root CA";
    plan->issuer_key = "other root";
  }
  const auto theirs = other.build();
  auto built = SyntheticPlatform{}.build();
  built.collateral.tcb_info_issuer_chain = theirs.collateral.tcb_info_issuer_chain;
  auto anchors = anchors_of(built.root, AnchorKind::given);
  anchors.add(*TrustAnchor::make(theirs.root, AnchorKind::given));
  expect_failed(verify_built(built, anchors), {CheckId::tcb_info_chain}, Errc::tcb_signing_chain_invalid);
}

TEST(VerifyTcbInfo, RefusesADocumentBeforeAndAfterItsTime) {
  SyntheticPlatform platform;
  platform.tcb_info.issue_date = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_only(platform, CheckId::tcb_info_dates, Errc::tcb_info_not_yet_valid);
  platform.tcb_info.issue_date = at(2025, 1, 1);
  platform.tcb_info.next_update = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_only(platform, CheckId::tcb_info_dates, Errc::tcb_info_expired);
}

TEST(VerifyTcbInfo, RefusesAnotherBodyUnderTheSameSignature) {
  auto built = SyntheticPlatform{}.build();
  SyntheticPlatform kinder;
  kinder.tcb_info.tcb_evaluation_data_number = 18;
  built.collateral.tcb_info = kinder.build().collateral.tcb_info;
  expect_failed(verify_built(built), {CheckId::tcb_info_signature}, Errc::tcb_info_signature_invalid);
}

TEST(VerifyTcbInfo, RefusesThatOfAnotherTee) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.tcb_info = SyntheticPlatform{TeeType::tdx, 4}.tcb_info;
  const auto outcome = verify_built(platform.build());
  expect_failed(outcome, {CheckId::tcb_info_match}, Errc::tcb_info_mismatch);
  EXPECT_FALSE(outcome.report.tcb.has_value());
}

TEST(VerifyTcbInfo, RefusesAnotherFmspc) {
  SyntheticPlatform platform;
  platform.tcb_info.fmspc[0] ^= 1;
  expect_only(platform, CheckId::tcb_info_match, Errc::fmspc_mismatch);
}

TEST(VerifyTcbInfo, RefusesAnotherPceId) {
  SyntheticPlatform platform;
  platform.tcb_info.pce_id[1] ^= 1;
  expect_only(platform, CheckId::tcb_info_match, Errc::pce_id_mismatch);
}

TEST(VerifyQeIdentity, RefusesADocumentBeforeAndAfterItsTime) {
  SyntheticPlatform platform;
  platform.qe_identity.issue_date = SyntheticPlatform::now() + microseconds{1'000'000};
  expect_only(platform, CheckId::qe_identity_dates, Errc::qe_identity_not_yet_valid);
  platform.qe_identity.issue_date = at(2025, 1, 1);
  platform.qe_identity.next_update = SyntheticPlatform::now() - microseconds{1'000'000};
  expect_only(platform, CheckId::qe_identity_dates, Errc::qe_identity_expired);
}

TEST(VerifyQeIdentity, RefusesThatOfTheOtherQuotingEnclave) {
  SyntheticPlatform tdx;
  tdx.qe_identity.id = evidence::EnclaveId::qe;
  expect_only(tdx, CheckId::qe_identity_match, Errc::qe_identity_mismatch);
  SyntheticPlatform sgx{TeeType::sgx, 3};
  sgx.qe_identity.id = evidence::EnclaveId::td_qe;
  expect_only(sgx, CheckId::qe_identity_match, Errc::qe_identity_mismatch);
}

// --- the quoting enclave and the quote ---

TEST(VerifyQeReport, RefusesAnotherSigner) {
  SyntheticPlatform platform;
  platform.qe_report_signed_by = "somebody";
  expect_only(platform, CheckId::qe_report_signature, Errc::qe_report_signature_invalid);
}

TEST(VerifyQeReport, RefusesReportDataOfAnotherKey) {
  SyntheticPlatform platform;
  platform.qe_report_data = Digest64{};
  expect_only(platform, CheckId::qe_report_data, Errc::qe_report_data_mismatch);
}

TEST(VerifyQeReport, RefusesReportDataThatDoesNotEndInZeros) {
  SyntheticPlatform platform;
  const auto quote = evidence::parse_quote(platform.build().quote);
  auto data = quote->signature().qe_report.report_data;
  data[63] = 1;
  platform.qe_report_data = data;
  expect_only(platform, CheckId::qe_report_data, Errc::qe_report_data_mismatch);
}

TEST(VerifyQeReport, TakesAuthenticationDataOfAnyLength) {
  for (const std::size_t length : {0U, 1U, 33U, 1000U}) {
    SyntheticPlatform platform;
    platform.qe_auth_data = Bytes(length, 0x42);
    EXPECT_TRUE(verify_built(platform.build()).evidence.has_value()) << length;
  }
}

TEST(VerifyQeReport, RefusesAnotherMiscSelect) {
  SyntheticPlatform platform;
  platform.qe_report.misc_select = 1;
  expect_only(platform, CheckId::qe_report, Errc::qe_report_mismatch);
  platform.qe_identity.misc_select_mask = 0xFFFFFFFE;
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyQeReport, RefusesOtherAttributesUnderTheMask) {
  SyntheticPlatform platform;
  platform.qe_report.attributes[0] |= 0x02;  // DEBUG
  expect_only(platform, CheckId::qe_report, Errc::qe_report_mismatch);
  platform.qe_report.attributes[0] = 0x11;   // MODE64 is outside of the mask
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyQeReport, RefusesAnotherMrSigner) {
  SyntheticPlatform platform;
  platform.qe_report.mr_signer[31] ^= 1;
  expect_only(platform, CheckId::qe_report, Errc::qe_report_mismatch);
}

TEST(VerifyQeReport, RefusesAnotherProduct) {
  SyntheticPlatform platform;
  platform.qe_report.isv_prod_id = 3;
  expect_only(platform, CheckId::qe_report, Errc::qe_report_mismatch);
}

TEST(VerifyQuote, RefusesAnotherSigner) {
  SyntheticPlatform platform;
  platform.quote_signed_by = "somebody";
  expect_only(platform, CheckId::quote_signature, Errc::quote_signature_invalid);
}

TEST(VerifyQuote, RefusesAnAttestationKeyThatTheQeDidNotVouchFor) {
  SyntheticPlatform platform;
  platform.qe_report_data = evidence::parse_quote(platform.build().quote)->signature().qe_report.report_data;
  platform.attestation_key = platform.quote_signed_by = "somebody";
  expect_only(platform, CheckId::qe_report_data, Errc::qe_report_data_mismatch);
}

// --- the TDX module ---

TEST(VerifyTdxModule, RefusesAVersionWithoutIdentity) {
  SyntheticPlatform platform;
  platform.td().tee_tcb_svn[1] = 2;
  const auto outcome = verify_built(platform.build());
  expect_failed(outcome, {CheckId::tdx_module}, Errc::tdx_module_mismatch);
  EXPECT_EQ(outcome.report.tcb->status, TcbStatus::not_supported);
}

TEST(VerifyTdxModule, RefusesAnotherSigner) {
  SyntheticPlatform platform;
  platform.td().mr_signer_seam[0] = 1;
  expect_only(platform, CheckId::tdx_module, Errc::tdx_module_mismatch);
}

TEST(VerifyTdxModule, RefusesOtherAttributes) {
  SyntheticPlatform platform;
  platform.tcb_info.tdx_module_identities[0].module.attributes[0] = 1;
  expect_only(platform, CheckId::tdx_module, Errc::tdx_module_mismatch);
}

TEST(VerifyTdxModule, RefusesAttributesThatAreNotZeroEvenWhenTheIdentityHasThem) {
  SyntheticPlatform platform;
  platform.td().seam_attributes[0] = 1;
  platform.tcb_info.tdx_module_identities[0].module.attributes[0] = 1;
  expect_only(platform, CheckId::tdx_module, Errc::tdx_module_mismatch);
}

TEST(VerifyTdxModule, OfMajorVersionZeroIsTheBaseEntry) {
  SyntheticPlatform platform;
  platform.td().tee_tcb_svn.fill(5);
  platform.td().tee_tcb_svn[1] = 0;
  for (auto& level : platform.tcb_info.levels) (*level.tdx)[1].svn = 0;
  platform.tcb_info.tdx_module_identities.clear();
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
  platform.td().mr_signer_seam[0] = 1;
  expect_only(platform, CheckId::tdx_module, Errc::tdx_module_mismatch);
}

// --- binding ---

TEST(Bind, TakesTheExpectedReportDataOnly) {
  const auto built = SyntheticPlatform{}.build();
  Digest64 expected;
  expected.fill(0xDA);
  auto outcome = verify_built(built);
  const auto bound = attestation::bind(std::move(*outcome.evidence), expected);
  ASSERT_TRUE(bound.ok());
  EXPECT_TRUE(bound->report().bound);
  EXPECT_EQ(bound->report().check(CheckId::report_data).result, CheckResult::pass);

  for (const std::size_t i : {0U, 31U, 32U, 63U}) {
    auto other = expected;
    other[i] ^= 1;
    auto again = verify_built(built);
    const auto refused = attestation::bind(std::move(*again.evidence), other);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Errc::report_data_mismatch);
  }
}

TEST(Bind, ShowsInTheReportOfEvidenceThatFailed) {
  auto outcome = verify_built(SyntheticPlatform{}.build(), TrustAnchors{});
  check_report_data(outcome.report, Digest64{});
  EXPECT_EQ(outcome.report.check(CheckId::report_data).code, Errc::report_data_mismatch);
  EXPECT_FALSE(outcome.report.bound);
}

// --- labs ---

TEST(VerifyLab, HoldsUnderALabAnchorAndSaysSo) {
  SyntheticPlatform platform;
  platform.make_lab();
  const auto outcome = verify_built(platform.build(), AnchorKind::lab);
  ASSERT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  EXPECT_TRUE(outcome.evidence->lab());
}

TEST(VerifyLab, IsRefusedWithoutItsRoot) {
  SyntheticPlatform platform;
  platform.make_lab();
  const auto outcome = verify_built(platform.build(), TrustAnchors::vendors());
  expect_failed(outcome, {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain},
                Errc::lab_root_not_trusted);
  EXPECT_TRUE(outcome.report.lab);
}

TEST(VerifyLab, AMarkedCertificateIsRefusedUnderAnyOtherAnchor) {
  for (auto plan : {&SyntheticPlatform::pck, &SyntheticPlatform::authority}) {
    SyntheticPlatform platform = with_intel_names();
    (platform.*plan).extensions.push_back(evidence::lab_marker());
    for (const auto kind : {AnchorKind::intel, AnchorKind::given}) {
      expect_only(platform, CheckId::pck_chain, Errc::lab_root_not_trusted, kind);
    }
  }
  SyntheticPlatform platform = with_intel_names();
  platform.tcb_signer.extensions.push_back(evidence::lab_marker());
  expect_only(platform, CheckId::tcb_info_chain, Errc::lab_root_not_trusted, AnchorKind::intel);
}

TEST(VerifyLab, ACertificateWithoutMarkIsRefusedUnderALabAnchor) {
  SyntheticPlatform platform;
  platform.make_lab();
  platform.lab = false;
  platform.root.extensions = platform.authority.extensions = platform.tcb_signer.extensions =
      platform.qe_signer.extensions = {evidence::lab_marker()};
  expect_only(platform, CheckId::pck_chain, Errc::lab_root_not_trusted, AnchorKind::lab);
}

}  // namespace
}  // namespace cloister::attestation
