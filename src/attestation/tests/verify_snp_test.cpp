#include "cloister/attestation/verify_snp.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "cloister/codec/der.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "support/synthetic_snp.hpp"
#include "verifying.hpp"

/// Each check by evidence of which only that check's rule is broken, everything else signed anew.
namespace cloister::attestation {
namespace {

using evidence::SnpProduct;
using evidence::VekKind;
using std::chrono::microseconds;
using test::SyntheticSnp;
using test::SyntheticSnpEvidence;

Outcome verify_built(const SyntheticSnpEvidence& built, const TrustAnchors& anchors, UnixTime at = SyntheticSnp::now()) {
  const auto report = evidence::parse_snp_report(built.report);
  EXPECT_TRUE(report.ok()) << report.error().text();
  return verify(*report, built.endorsements, anchors, at);
}

Outcome verify_built(const SyntheticSnpEvidence& built, AnchorKind kind = AnchorKind::given, UnixTime at = SyntheticSnp::now()) {
  return verify_built(built, anchors_of(built.root, kind), at);
}

void expect_only(const SyntheticSnp& chip, CheckId check, Errc code, UnixTime at = SyntheticSnp::now()) {
  expect_failed(verify_built(chip.build(), AnchorKind::given, at), {check}, code);
}

CheckResult result_of(const Outcome& outcome, CheckId id) { return outcome.report.check(id).result; }

UnixTime at(int year, int month, int day) { return *from_civil(year, month, day, 0, 0, 0); }

// --- what holds ---

struct Form {
  SnpProduct product;
  VekKind kind;
  std::uint32_t version;
};
class VerifySnp : public testing::TestWithParam<Form> {};

TEST_P(VerifySnp, AcceptsEvidenceOfWhichEverythingHolds) {
  const auto& form = GetParam();
  const auto outcome = verify_built(SyntheticSnp{form.product, form.kind, form.version}.build());
  EXPECT_TRUE(failed(outcome.report).empty()) << outcome.report.error()->text();
  ASSERT_TRUE(outcome.evidence.has_value());
  const auto* claims = outcome.evidence->claims().snp();
  ASSERT_NE(claims, nullptr);
  EXPECT_EQ(claims->product, form.product);
  EXPECT_EQ(claims->vek->kind(), form.kind);
  EXPECT_EQ(claims->report.version, form.version);
  EXPECT_FALSE(outcome.report.tcb.has_value());
  EXPECT_FALSE(outcome.report.lab);
  EXPECT_FALSE(outcome.report.bound);
  EXPECT_EQ(result_of(outcome, CheckId::report_data), CheckResult::skipped);
  EXPECT_EQ(result_of(outcome, CheckId::vek_chip_id), form.kind == VekKind::vlek ? CheckResult::skipped : CheckResult::pass);
  EXPECT_EQ(result_of(outcome, CheckId::vek_revocation), CheckResult::pass);
}
INSTANTIATE_TEST_SUITE_P(Forms, VerifySnp,
                         testing::Values(Form{SnpProduct::milan, VekKind::vcek, 2}, Form{SnpProduct::milan, VekKind::vcek, 3},
                                         Form{SnpProduct::milan, VekKind::vlek, 3}, Form{SnpProduct::genoa, VekKind::vcek, 4},
                                         Form{SnpProduct::genoa, VekKind::vcek, 5}, Form{SnpProduct::genoa, VekKind::vlek, 5},
                                         Form{SnpProduct::turin, VekKind::vcek, 3}, Form{SnpProduct::turin, VekKind::vcek, 5},
                                         Form{SnpProduct::turin, VekKind::vlek, 5}));

// --- without certificates ---

Result<void> alone(const SyntheticSnp& chip) {
  const auto refusal = refusal_without_endorsements(*evidence::parse_snp_report(chip.build().report));
  if (!refusal) return {};
  return *refusal->error();
}

TEST(RefusalWithoutEndorsements, PassesAReportThatHoldsByItself) {
  EXPECT_TRUE(alone(SyntheticSnp{}).ok());
  EXPECT_TRUE(alone(SyntheticSnp{SnpProduct::turin, VekKind::vlek, 5}).ok());
  EXPECT_TRUE(alone(SyntheticSnp{SnpProduct::milan, VekKind::vcek, 2}).ok());
  SyntheticSnp forged;
  forged.report_signed_by = "forger";  // which only the certificate says
  EXPECT_TRUE(alone(forged).ok());
}

TEST(RefusalWithoutEndorsements, RefusesWhatNoCertificateWouldMend) {
  SyntheticSnp chip;
  chip.body.chip_key_masked = true;
  EXPECT_EQ(alone(chip).error().code(), Errc::chip_key_masked);
  chip = SyntheticSnp{};
  ++chip.body.committed_tcb[0];
  EXPECT_EQ(alone(chip).error().code(), Errc::tcb_order_invalid);
  chip = SyntheticSnp{};
  chip.body.cpuid->family = 0x20;
  EXPECT_EQ(alone(chip).error().code(), Errc::evidence_unsupported);
}

TEST(VerifySnpChain, MayLeaveTheRootAway) {
  SyntheticSnp chip;
  chip.with_root = false;
  EXPECT_TRUE(verify_built(chip.build()).evidence.has_value());
}

TEST(VerifySnpChain, MayComeInAnyOrderAmongOthers) {
  auto built = SyntheticSnp{}.build();
  SyntheticSnp other{SnpProduct::turin};
  other.vek.key = "other vek";
  built.endorsements.add(other.build().endorsements);
  std::ranges::reverse(built.endorsements.certificates);
  EXPECT_TRUE(verify_built(built).evidence.has_value());
}

TEST(VerifySnpChain, TakesTheHwidInBothForms) {
  SyntheticSnp chip;
  chip.hwid_form = evidence::HwidForm::raw;
  EXPECT_TRUE(verify_built(chip.build()).evidence.has_value());
}

TEST(VerifySnpChain, TakesTheVekThatIsValidOfTwoForTheSameTcb) {
  SyntheticSnp old;
  old.vek.not_after = at(2026, 1, 1);
  auto built = old.build();
  built.endorsements.certificates.push_back(SyntheticSnp{}.build().endorsements.certificates.front());
  EXPECT_TRUE(verify_built(built).evidence.has_value());
}

TEST(VerifySnpWindow, IsTheIntersectionOfAllThatWasUsedAndIncludesItsEnds) {
  const auto built = SyntheticSnp{}.build();
  const auto window = verify_built(built).report.collateral;
  ASSERT_TRUE(window.has_value());
  EXPECT_EQ(window->issued, at(2026, 1, 1));
  EXPECT_EQ(window->expires, at(2027, 1, 1));
  EXPECT_TRUE(verify_built(built, AnchorKind::given, window->issued).evidence.has_value());
  EXPECT_TRUE(verify_built(built, AnchorKind::given, window->expires).evidence.has_value());
  EXPECT_FALSE(verify_built(built, AnchorKind::given, window->issued - microseconds{1}).evidence.has_value());
  EXPECT_FALSE(verify_built(built, AnchorKind::given, window->expires + microseconds{1}).evidence.has_value());
}

TEST(VerifySnpBinding, WantsAllBytesOfTheReportData) {
  const auto built = SyntheticSnp{}.build();
  auto expected = Digest64{};
  expected.fill(0xDA);
  auto outcome = verify_built(built);
  auto bound = attestation::bind(std::move(*outcome.evidence), expected);
  ASSERT_TRUE(bound.ok());
  EXPECT_TRUE(bound->report().bound);
  expected[63] ^= 1;
  outcome = verify_built(built);
  EXPECT_EQ(attestation::bind(std::move(*outcome.evidence), expected).error().code(), Errc::report_data_mismatch);
  check_report_data(outcome.report, expected);
  EXPECT_EQ(failed(outcome.report), std::vector{CheckId::report_data});
}

// --- the format ---

TEST(VerifySnpFormat, RefusesAProcessorThatIsNotKnown) {
  SyntheticSnp chip;
  chip.body.cpuid->model = 0x20;
  expect_only(chip, CheckId::report_format, Errc::evidence_unsupported);
}

// --- the chain ---

TEST(VerifySnpChain, RefusesAnUnknownRoot) {
  for (const bool with_root : {true, false}) {
    SyntheticSnp chip;
    chip.with_root = with_root;
    const auto outcome = verify_built(chip.build(), TrustAnchors::vendors());
    expect_failed(outcome, {CheckId::vek_chain}, Errc::root_untrusted);
    EXPECT_EQ(result_of(outcome, CheckId::vek_crl), CheckResult::skipped);
  }
}

TEST(VerifySnpChain, RefusesARootOfTheSameNameAndAnotherKey) {
  SyntheticSnp impostor;
  impostor.root.key = impostor.root.issuer_key = impostor.authority.issuer_key = impostor.crl->issuer_key = "another root";
  EXPECT_TRUE(verify_built(impostor.build()).evidence.has_value());  // under its own root everything holds
  expect_failed(verify_built(impostor.build(), anchors_of(SyntheticSnp{}.build().root, AnchorKind::given)),
                {CheckId::vek_chain}, Errc::root_untrusted);
}

TEST(VerifySnpChain, RefusesNamesOfTheVendorUnderAnotherRoot) {
  SyntheticSnp impostor;
  impostor.root.common_name = impostor.root.issuer_name = impostor.authority.issuer_name = impostor.crl->issuer_name = "ARK-Milan";
  impostor.authority.common_name = impostor.vek.issuer_name = "SEV-Milan";
  impostor.vek.common_name = "SEV-VCEK";
  EXPECT_TRUE(verify_built(impostor.build()).evidence.has_value());
  expect_failed(verify_built(impostor.build(), TrustAnchors::vendors()), {CheckId::vek_chain}, Errc::root_untrusted);
}

TEST(VerifySnpChain, DemandsTheVendorsNamesUnderItsRoots) {
  const auto named = [](std::string root, std::string authority, std::string vek) {
    SyntheticSnp chip;
    chip.root.common_name = chip.root.issuer_name = chip.authority.issuer_name = chip.crl->issuer_name = std::move(root);
    chip.authority.common_name = chip.vek.issuer_name = std::move(authority);
    chip.vek.common_name = std::move(vek);
    return chip.build();
  };
  EXPECT_TRUE(verify_built(named("ARK-Milan", "SEV-Milan", "SEV-VCEK"), AnchorKind::amd).evidence.has_value());
  for (const auto& [root, authority, vek] : {std::tuple{"Root", "SEV-Milan", "SEV-VCEK"}, {"ARK-Milan", "SEV-Genoa", "SEV-VCEK"},
                                             {"ARK-Milan", "SEV-Milan", "SEV-VLEK"}, {"ARK-Milan", "SEV-VLEK-Milan", "SEV-VCEK"},
                                             {"ARK-Milan", "SEV-Milan", "VCEK"}}) {
    expect_failed(verify_built(named(root, authority, vek), AnchorKind::amd), {CheckId::vek_chain}, Errc::vek_chain_invalid);
  }
  expect_failed(verify_built(named("ARK-Genoa", "SEV-Genoa", "SEV-VCEK"), AnchorKind::amd), {CheckId::vek_product},
                Errc::vek_product_mismatch);
}

TEST(VerifySnpChain, IsNothingThatAnotherVendorsRootVouchesFor) {
  SyntheticSnp chip;
  chip.root.common_name = chip.root.issuer_name = chip.authority.issuer_name = chip.crl->issuer_name = "Intel SGX Root CA";
  expect_failed(verify_built(chip.build(), AnchorKind::intel), {CheckId::vek_chain}, Errc::vek_chain_invalid);
  test::SyntheticPlatform platform;
  expect_failed(verify_built(platform.build(), AnchorKind::amd),
                {CheckId::pck_chain, CheckId::tcb_info_chain, CheckId::qe_identity_chain}, Errc::pck_chain_invalid);
}

TEST(VerifySnpChain, RefusesAVekThatTheAuthorityDidNotSign) {
  SyntheticSnp chip;
  chip.vek.issuer_key = "somebody";
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesAnAuthorityThatTheRootDidNotSign) {
  SyntheticSnp chip;
  chip.authority.issuer_key = "somebody";
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesAnAuthorityThatIsNone) {
  SyntheticSnp chip;
  chip.authority.is_ca = false;
  chip.authority.path_length.reset();
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesAnAuthorityThatMayNotSignCertificates) {
  SyntheticSnp chip;
  chip.authority.key_usage = 0x0200;
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesAVekThatIsAnAuthority) {
  SyntheticSnp chip;
  chip.vek.is_ca = true;
  chip.vek.key_usage = 0x8600;
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesAVekThatMayNotSignData) {
  SyntheticSnp chip;
  chip.vek.key_usage = 0x0800;
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesACriticalExtensionThatItDoesNotKnow) {
  SyntheticSnp chip;
  chip.vek.extensions.push_back({codec::der::oid("1.2.3.4"), true, codec::der::null()});
  expect_only(chip, CheckId::vek_chain, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, RefusesAVekOnAnotherCurve) {
  SyntheticSnp chip;
  chip.vek_curve = crypto::Curve::p256;
  expect_failed(verify_built(chip.build()), {CheckId::vek_chain, CheckId::report_signature}, Errc::vek_chain_invalid);
}

TEST(VerifySnpChain, SaysWhichCertificateIsMissing) {
  auto built = SyntheticSnp{}.build();
  const auto vek = built.endorsements.certificates.front();
  const auto authority = built.endorsements.certificates[1];
  built.endorsements.certificates = {authority, built.root};
  const auto without_vek = verify_built(built);
  expect_failed(without_vek, {CheckId::vek_chain}, Errc::collateral_missing);
  EXPECT_EQ(result_of(without_vek, CheckId::report_signature), CheckResult::skipped);
  EXPECT_EQ(result_of(without_vek, CheckId::vek_extension), CheckResult::skipped);
  built.endorsements.certificates = {vek, built.root};
  expect_failed(verify_built(built), {CheckId::vek_chain}, Errc::collateral_missing);
}

TEST(VerifySnpChain, RefusesADamagedAuthorityThatItDoesNotNeed) {
  auto built = SyntheticSnp{}.build();
  SyntheticSnp damaged{SnpProduct::milan, VekKind::vlek};
  damaged.authority.issuer_key = "somebody";
  built.endorsements.certificates.push_back(damaged.build().endorsements.certificates[1]);
  expect_failed(verify_built(built), {CheckId::vek_chain}, Errc::vek_chain_invalid);
}

// --- dates ---

TEST(VerifySnpDates, RefusesWhatIsNotYetOrNoLongerValid) {
  SyntheticSnp chip;
  chip.vek.not_before = SyntheticSnp::now() + std::chrono::seconds{1};
  expect_only(chip, CheckId::vek_dates, Errc::vek_certificate_not_yet_valid);
  chip = SyntheticSnp{};
  chip.vek.not_after = SyntheticSnp::now() - std::chrono::seconds{1};
  expect_only(chip, CheckId::vek_dates, Errc::vek_certificate_expired);
  for (auto plan : {&SyntheticSnp::authority, &SyntheticSnp::root}) {
    chip = SyntheticSnp{};
    (chip.*plan).not_before = SyntheticSnp::now() + std::chrono::seconds{1};
    expect_only(chip, CheckId::vek_dates, Errc::ca_certificate_not_yet_valid);
    chip = SyntheticSnp{};
    (chip.*plan).not_after = SyntheticSnp::now() - std::chrono::seconds{1};
    expect_only(chip, CheckId::vek_dates, Errc::ca_certificate_expired);
  }
}

// --- revocation ---

TEST(VerifySnpCrl, IsSkippedWhereNoneWasGiven) {
  SyntheticSnp chip;
  chip.crl.reset();
  const auto outcome = verify_built(chip.build());
  EXPECT_TRUE(outcome.evidence.has_value());
  EXPECT_EQ(result_of(outcome, CheckId::vek_crl), CheckResult::skipped);
  EXPECT_EQ(result_of(outcome, CheckId::vek_revocation), CheckResult::skipped);
}

TEST(VerifySnpCrl, RefusesAListThatTheRootDidNotSign) {
  SyntheticSnp chip;
  chip.crl->issuer_key = "somebody";
  expect_only(chip, CheckId::vek_crl, Errc::vek_crl_invalid);
}

TEST(VerifySnpCrl, RefusesAListOfAnotherIssuerAlone) {
  SyntheticSnp chip;
  chip.crl->issuer_name = "Somebody";
  expect_only(chip, CheckId::vek_crl, Errc::vek_crl_invalid);
}

TEST(VerifySnpCrl, RefusesARootThatMayNotSignLists) {
  SyntheticSnp chip;
  chip.root.key_usage = 0x0400;
  expect_only(chip, CheckId::vek_crl, Errc::vek_crl_invalid);
}

TEST(VerifySnpCrl, RefusesAListOutsideOfItsDates) {
  SyntheticSnp chip;
  chip.crl->this_update = SyntheticSnp::now() + std::chrono::seconds{1};
  expect_only(chip, CheckId::vek_crl, Errc::vek_crl_not_yet_valid);
  chip = SyntheticSnp{};
  chip.crl->next_update = SyntheticSnp::now() - std::chrono::seconds{1};
  expect_only(chip, CheckId::vek_crl, Errc::vek_crl_expired);
}

TEST(VerifySnpCrl, TakesTheNewestListForFreshnessAndAnyForRevocation) {
  SyntheticSnp old;
  old.crl->this_update = at(2025, 1, 1);
  old.crl->next_update = at(2025, 2, 1);
  auto built = SyntheticSnp{}.build();
  built.endorsements.crls.push_back(old.build().endorsements.crls.front());
  EXPECT_TRUE(verify_built(built).evidence.has_value());
  old.crl->revoked = {2};
  built.endorsements.crls.back() = old.build().endorsements.crls.front();
  expect_failed(verify_built(built), {CheckId::vek_revocation}, Errc::ca_certificate_revoked);
}

TEST(VerifySnpRevocation, RefusesARevokedAuthority) {
  SyntheticSnp chip;
  chip.crl->revoked = {100, 2};
  expect_only(chip, CheckId::vek_revocation, Errc::ca_certificate_revoked);
}

// --- the VEK ---

TEST(VerifySnpExtension, RefusesOneThatCannotBeRead) {
  SyntheticSnp chip;
  chip.extension.reset();
  chip.vek.extensions = evidence::encode_vek_extension(*SyntheticSnp{}.extension);
  chip.vek.extensions.erase(chip.vek.extensions.begin() + 2);
  expect_only(chip, CheckId::vek_extension, Errc::vek_extension_invalid);
}

TEST(VerifySnpProduct, RefusesAVekOfAnotherProduct) {
  SyntheticSnp chip;
  chip.extension->product_name = "Genoa";
  expect_only(chip, CheckId::vek_product, Errc::vek_product_mismatch);
  chip.extension->product_name = "Rome-B0";
  expect_only(chip, CheckId::vek_product, Errc::vek_product_mismatch);
}

TEST(VerifySnpProduct, DemandsAnFmcLevelOfTurinAndOfNoOther) {
  SyntheticSnp milan;
  milan.extension = SyntheticSnp{SnpProduct::turin}.extension;
  milan.extension->product_name = "Milan-B0";
  milan.body.chip_id = SyntheticSnp{SnpProduct::turin}.body.chip_id;
  milan.body.reported_tcb = {1, 4, 0, 24, 0, 0, 0, 219};  // as the VEK has it
  milan.body.current_tcb = milan.body.committed_tcb = milan.body.reported_tcb;
  expect_only(milan, CheckId::vek_product, Errc::vek_product_mismatch);
  SyntheticSnp turin{SnpProduct::turin};
  turin.extension = SyntheticSnp{SnpProduct::genoa}.extension;
  turin.extension->product_name = "Turin";
  turin.body.chip_id = SyntheticSnp{SnpProduct::genoa}.body.chip_id;
  turin.body.reported_tcb = turin.body.current_tcb = turin.body.committed_tcb = turin.extension->tcb_version();
  expect_only(turin, CheckId::vek_product, Errc::vek_product_mismatch);
}

TEST(VerifySnpKind, RefusesAKeyOfTheOtherKind) {
  SyntheticSnp chip;
  chip.body.signing_key = VekKind::vlek;
  expect_only(chip, CheckId::vek_kind, Errc::vek_kind_mismatch);
  SyntheticSnp loaded{SnpProduct::milan, VekKind::vlek};
  loaded.body.signing_key = VekKind::vcek;
  expect_only(loaded, CheckId::vek_kind, Errc::vek_kind_mismatch);
}

TEST(VerifySnpKind, RefusesAReportThatNobodySigned) {
  SyntheticSnp chip;
  chip.body.signing_key.reset();
  expect_only(chip, CheckId::vek_kind, Errc::vek_kind_mismatch);
}

TEST(VerifySnpChipKey, RefusesAMaskedKeyThatSigned) {
  SyntheticSnp chip;
  chip.body.chip_key_masked = true;
  expect_only(chip, CheckId::chip_key, Errc::chip_key_masked);
  SyntheticSnp loaded{SnpProduct::milan, VekKind::vlek};
  loaded.body.chip_key_masked = true;
  EXPECT_TRUE(verify_built(loaded.build()).evidence.has_value());
}

TEST(VerifySnpTcb, DemandsEqualityInEveryComponent) {
  for (const auto product : {SnpProduct::milan, SnpProduct::turin}) {
    for (std::size_t i = 0; i < 8; ++i) {
      SyntheticSnp chip{product};
      ++chip.body.reported_tcb[i];
      chip.body.current_tcb = chip.body.committed_tcb = chip.body.reported_tcb;
      expect_only(chip, CheckId::vek_tcb, Errc::vek_tcb_mismatch);
    }
  }
}

TEST(VerifySnpTcb, RefusesALowerOneThanTheVeksToo) {
  SyntheticSnp chip;
  --chip.body.reported_tcb[7];
  expect_only(chip, CheckId::vek_tcb, Errc::vek_tcb_mismatch);
}

TEST(VerifySnpChipId, RefusesAnotherChip) {
  for (const auto product : {SnpProduct::milan, SnpProduct::turin}) {
    SyntheticSnp chip{product};
    chip.body.chip_id[7] ^= 1;
    expect_only(chip, CheckId::vek_chip_id, Errc::vek_chip_id_mismatch);
  }
}

TEST(VerifySnpChipId, OfTurinEndsAfterEightBytes) {
  SyntheticSnp chip{SnpProduct::turin};
  chip.body.chip_id[8] = 1;
  expect_only(chip, CheckId::vek_chip_id, Errc::vek_chip_id_mismatch);
}

TEST(VerifySnpChipId, IsNotComparedWhereTheHostMasksIt) {
  SyntheticSnp chip;
  chip.body.chip_id = {};
  const auto outcome = verify_built(chip.build());
  EXPECT_TRUE(outcome.evidence.has_value());
  EXPECT_EQ(result_of(outcome, CheckId::vek_chip_id), CheckResult::skipped);
}

TEST(VerifySnpOrder, RefusesAReportedOrCommittedTcbAboveTheCurrent) {
  for (const std::size_t i : {0, 1, 6, 7}) {  // what Milan's TCB has
    SyntheticSnp chip;
    chip.extension->tee = 1;
    chip.body.reported_tcb = chip.body.current_tcb = chip.body.committed_tcb = chip.extension->tcb_version();
    --chip.body.current_tcb[i];
    --chip.body.committed_tcb[i];
    expect_only(chip, CheckId::tcb_order, Errc::tcb_order_invalid);  // reported
    chip.body.current_tcb = chip.body.reported_tcb;
    chip.body.committed_tcb = chip.body.reported_tcb;
    ++chip.body.committed_tcb[i];
    expect_only(chip, CheckId::tcb_order, Errc::tcb_order_invalid);
  }
}

TEST(VerifySnpOrder, FollowsTheProductsLayout) {
  SyntheticSnp turin{SnpProduct::turin};
  ++turin.body.committed_tcb[3];  // snp; reserved on Milan
  expect_only(turin, CheckId::tcb_order, Errc::tcb_order_invalid);
  SyntheticSnp turin_v2{SnpProduct::turin, VekKind::vcek, 2};  // the VEK says what the report does not
  ++turin_v2.body.committed_tcb[0];
  expect_only(turin_v2, CheckId::tcb_order, Errc::tcb_order_invalid);
}

TEST(VerifySnpOrder, RefusesCommittedFirmwareAboveTheCurrent) {
  SyntheticSnp chip;
  ++chip.body.committed_version.build;
  expect_only(chip, CheckId::tcb_order, Errc::tcb_order_invalid);
  chip.body.current_version.minor = chip.body.committed_version.minor;
  ++chip.body.current_version.minor;
  EXPECT_TRUE(verify_built(chip.build()).evidence.has_value());
}

TEST(VerifySnpOrder, AllowsCurrentFirmwareThatIsNewer) {
  SyntheticSnp chip;
  ++chip.body.current_tcb[7];
  EXPECT_TRUE(verify_built(chip.build()).evidence.has_value());
}

TEST(VerifySnpSignature, RefusesAnotherKeys) {
  SyntheticSnp chip;
  chip.report_signed_by = "somebody";
  expect_only(chip, CheckId::report_signature, Errc::report_signature_invalid);
}

// --- labs ---

TEST(VerifySnpLab, HoldsUnderALabRootAlone) {
  SyntheticSnp chip;
  chip.make_lab();
  const auto built = chip.build();
  const auto outcome = verify_built(built, AnchorKind::lab);
  ASSERT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  EXPECT_TRUE(outcome.evidence->lab());
  expect_failed(verify_built(built, TrustAnchors::vendors()), {CheckId::vek_chain}, Errc::lab_root_not_trusted);
}

TEST(VerifySnpLab, DemandsTheMarkerInEveryCertificate) {
  SyntheticSnp chip;
  chip.make_lab();
  const auto root = chip.build().root;
  chip.lab = false;
  chip.with_root = false;
  expect_failed(verify_built(chip.build(), anchors_of(root, AnchorKind::lab)), {CheckId::vek_chain}, Errc::lab_root_not_trusted);
}

TEST(VerifySnpLab, RefusesAMarkerUnderAnotherRoot) {
  SyntheticSnp chip;
  chip.vek.extensions.push_back(evidence::lab_marker());
  expect_failed(verify_built(chip.build()), {CheckId::vek_chain}, Errc::lab_root_not_trusted);
}

}  // namespace
}  // namespace cloister::attestation
