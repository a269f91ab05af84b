// What the lab makes, before the verifier that shares no code with it but byte layouts.
#include <gtest/gtest.h>

#include "cloister/attestation/verify_snp.hpp"
#include "cloister/lab_snp/authority.hpp"
#include "machine.hpp"

namespace cloister::lab_snp {
namespace {

using attestation::AnchorKind;
using attestation::TrustAnchor;
using attestation::TrustAnchors;
using evidence::SnpProduct;
using evidence::VekKind;

const UnixTime kNow = kCreated + std::chrono::days{10};

struct Case {
  SnpProduct product;
  VekKind kind;
  std::uint32_t version;
};

evidence::SnpCpuid cpuid_of(SnpProduct product) {
  if (product == SnpProduct::turin) return {.family = 0x1A, .model = 0x02, .stepping = 1};
  return {.family = 0x19, .model = static_cast<std::uint8_t>(product == SnpProduct::milan ? 0x01 : 0x11), .stepping = 1};
}

class LabEvidence : public testing::TestWithParam<Case> {
 protected:
  LabEvidence() {
    tcb_ = {.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};
    if (GetParam().product == SnpProduct::turin) tcb_.fmc = 1;
  }
  [[nodiscard]] evidence::SnpReportBody body() const {
    const auto& [product, kind, version] = GetParam();
    evidence::SnpReportBody out;
    out.version = version;
    out.cpuid = version >= 3 ? std::optional{cpuid_of(product)} : std::nullopt;
    if (version >= 5) out.mitigations = evidence::SnpMitigations{.launch = 1, .current = 1};
    out.signing_key = kind;
    if (kind == VekKind::vcek) out.chip_id = authority_.chip_id(product);
    out.reported_tcb = out.current_tcb = out.committed_tcb = out.launch_tcb = evidence::encode_snp_tcb(tcb_, product);
    return out;
  }
  [[nodiscard]] evidence::SnpReport report() const {
    const auto& [product, kind, version] = GetParam();
    return evidence::parse_snp_report(sign_report(body(), authority_.secret(product, kind, tcb_)).value()).value();
  }
  [[nodiscard]] attestation::Outcome verified(const evidence::SnpReport& report, const TrustAnchors& anchors) const {
    const auto& [product, kind, version] = GetParam();
    return attestation::verify(report, authority_.endorsements(product, kind, tcb_, kNow), anchors, kNow);
  }
  [[nodiscard]] TrustAnchors lab_root() const {
    TrustAnchors out = TrustAnchors::vendors();
    out.add(TrustAnchor::make(authority_.root(GetParam().product), AnchorKind::lab).value());
    return out;
  }
  evidence::SnpTcb tcb_;
  const Authority& authority_ = authority();
};

TEST_P(LabEvidence, IsAuthenticUnderTheLabsRoot) {
  const auto outcome = verified(report(), lab_root());
  EXPECT_TRUE(outcome.evidence.has_value());
  EXPECT_TRUE(outcome.report.lab);
  for (const auto& check : outcome.report.checks) {
    EXPECT_NE(check.result, attestation::CheckResult::fail) << static_cast<int>(check.id) << check.detail;
  }
}

/// The report that a guest of the lab's firmware asked for, with its data.
TEST_P(LabEvidence, OfAGuestThatAskedIsBoundToItsData) {
  const auto& [product, kind, version] = GetParam();
  auto options = PlatformOptions::at(product, tcb_);
  options.report_version = version;
  options.vlek_loaded = kind == VekKind::vlek;
  Memory memory{64};
  test::SeededRandom random{3};
  auto firmware = Firmware::start(authority_, memory, random, options).value();
  Host host{memory, firmware};
  const auto image = small_firmware();
  const measure::SnpLaunch launch{.firmware = image, .kernel = {}};
  const auto guest = host.start({.launch = launch}).value();
  ReportRequest request;
  request.report_data.fill(0xDA);
  const auto answer = host.driver(guest)->report(request, host.carrier(guest)).value();
  auto outcome = verified(evidence::parse_snp_report(*answer.value).value(), lab_root());
  ASSERT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  const auto* claims = outcome.evidence->claims().snp();
  ASSERT_NE(claims, nullptr);
  EXPECT_EQ(claims->report.measurement, measure::snp_launch_digest(launch).value());
  EXPECT_EQ(claims->report.report_data, request.report_data);
  EXPECT_FALSE(verified(evidence::parse_snp_report(*answer.value).value(), TrustAnchors::vendors()).evidence.has_value());
}

TEST_P(LabEvidence, IsRefusedWithoutTheLabsRoot) {
  const auto outcome = verified(report(), TrustAnchors::vendors());
  EXPECT_FALSE(outcome.evidence.has_value());
  ASSERT_TRUE(outcome.report.error().has_value());
  EXPECT_EQ(outcome.report.error()->code(), Errc::lab_root_not_trusted);
}

TEST_P(LabEvidence, UnderVendorNamesIsNoAnchorsOfOurs) {
  const auto vendor = Authority::create(crypto::Secret<32>{ByteArray<32>{7}}, AuthorityKeys::generate(2048), kCreated, Names::vendor);
  for (const auto kind : {AnchorKind::amd, AnchorKind::given, AnchorKind::lab}) {
    EXPECT_FALSE(TrustAnchor::make(vendor.root(GetParam().product), kind).ok());
  }
}

/// Also where its own root is trusted as hardware's would be: by name, by key, with and without the authorities.
TEST_P(LabEvidence, UnderVendorNamesIsAuthenticToNobody) {
  const auto& [product, kind, version] = GetParam();
  auto keys = AuthorityKeys::generate(2048);
  const auto vendor = Authority::create(crypto::Secret<32>{ByteArray<32>{7}}, std::move(keys), kCreated, Names::vendor);
  auto endorsements = vendor.endorsements(product, kind, tcb_, kNow);
  const auto parsed = report();  // the same chip's: VEKs do not depend on names
  auto outcome = attestation::verify(parsed, endorsements, lab_root(), kNow);
  EXPECT_FALSE(outcome.evidence.has_value());
  EXPECT_TRUE(outcome.report.lab);
  EXPECT_EQ(outcome.report.error()->code(), Errc::lab_root_not_trusted);
  endorsements.certificates.resize(1);  // the VEK alone, which carries no marker
  outcome = attestation::verify(parsed, endorsements, lab_root(), kNow);
  EXPECT_FALSE(outcome.evidence.has_value());
  EXPECT_EQ(outcome.report.error()->code(), Errc::collateral_missing);
}

/// The lab profile's rule: under a lab's root every certificate is marked. Here a VEK of AMD's profile, signed by the lab's
/// own authority, whose keys both profiles share.
TEST_P(LabEvidence, UnderTheLabsRootAnUnmarkedVekIsRefused) {
  const auto& [product, kind, version] = GetParam();
  const auto keys = AuthorityKeys::generate(2048);
  const auto copy = [&keys] { return parse_authority_keys(as_text(write_authority_keys(keys).reveal())).value(); };
  const auto lab = Authority::create(crypto::Secret<32>{ByteArray<32>{7}}, copy(), kCreated);
  const auto good = lab.issue_vek(product, kind, tcb_);
  crypto::x509::CertificateSpec spec{.serial = {1}, .issuer = good->issuer, .subject = good->subject, .not_before = good->not_before,
                                     .not_after = good->not_after, .key = std::get<crypto::EcPublicKey>(good->key), .key_usage = 0};
  spec.extensions = evidence::encode_vek_extension(evidence::vek_extension(*good).value());
  auto endorsements = lab.endorsements(product, kind, tcb_, kNow);
  auto anchors = TrustAnchors::vendors();
  anchors.add(TrustAnchor::make(lab.root(product), AnchorKind::lab).value());
  EXPECT_TRUE(attestation::verify(report(), endorsements, anchors, kNow).evidence.has_value());
  const auto& signer = kind == VekKind::vlek ? keys.asvk : keys.ask;
  endorsements.certificates[0] = crypto::x509::parse_certificate(crypto::x509::issue_certificate(spec, signer)).value();
  const auto outcome = attestation::verify(report(), endorsements, anchors, kNow);
  EXPECT_FALSE(outcome.evidence.has_value());
  EXPECT_EQ(outcome.report.error()->code(), Errc::lab_root_not_trusted);
}

TEST_P(LabEvidence, IsRefusedWhenAnySignedByteChanges) {
  const auto good = report();
  for (std::size_t at = 0; at < evidence::kSnpSignedSize; at += 7) {
    auto changed = good.bytes();
    changed[at] ^= 1;
    const auto parsed = evidence::parse_snp_report(changed);
    if (!parsed) continue;
    EXPECT_FALSE(verified(*parsed, lab_root()).evidence.has_value()) << at;
  }
}

TEST_P(LabEvidence, OfAnOlderTcbIsNotCoveredByTheNewerKey) {
  const auto& [product, kind, version] = GetParam();
  auto old = tcb_;
  --old.microcode;
  auto claims = body();
  const auto signed_by_old = sign_report(claims, authority_.secret(product, kind, old)).value();
  const auto outcome = verified(evidence::parse_snp_report(signed_by_old).value(), lab_root());
  ASSERT_TRUE(outcome.report.error().has_value());
  EXPECT_EQ(outcome.report.error()->code(), Errc::report_signature_invalid);
}

INSTANTIATE_TEST_SUITE_P(
    All, LabEvidence,
    testing::Values(Case{SnpProduct::milan, VekKind::vcek, 2}, Case{SnpProduct::milan, VekKind::vlek, 2},
                    Case{SnpProduct::milan, VekKind::vcek, 3}, Case{SnpProduct::genoa, VekKind::vcek, 3},
                    Case{SnpProduct::genoa, VekKind::vlek, 5}, Case{SnpProduct::genoa, VekKind::vcek, 5},
                    Case{SnpProduct::turin, VekKind::vcek, 3}, Case{SnpProduct::turin, VekKind::vcek, 5},
                    Case{SnpProduct::turin, VekKind::vlek, 5}),
    [](const auto& test) {
      return std::string{evidence::to_string(test.param.product)} + "_" + std::string{evidence::to_string(test.param.kind)} + "_v" +
             std::to_string(test.param.version);
    });

}  // namespace
}  // namespace cloister::lab_snp
