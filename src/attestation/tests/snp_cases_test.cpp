#include <gtest/gtest.h>

#include "cloister/attestation/verify_snp.hpp"
#include "cloister/evidence/detect.hpp"
#include "support/support.hpp"

/// The public SNP evidence: each report with the certificates that it is to be verified with, and what must come out.
namespace cloister::attestation {
namespace {

struct Case {
  std::string_view name;
  std::string_view evidence;
  std::vector<std::string_view> certificates;
  std::string_view at;
  std::optional<Errc> refused;  // the first check that fails
};

constexpr std::string_view kTime = "2026-03-01T00:00:00Z";
constexpr std::string_view kMilan = "attestation/snp/roots/milan_ask_ark_asvk.pem";
constexpr std::string_view kGenoa = "attestation/snp/roots/genoa_ask_ark_asvk.pem";
constexpr std::string_view kTurin = "attestation/snp/roots/turin_ask_ark_asvk.pem";

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"automata_output", "attestation/snp/automata/output.json", {kMilan}, kTime, {}},
      {"automata_output_vek_given", "attestation/snp/automata/output.json", {"attestation/snp/automata/sev_vcek.pem", kMilan}, kTime, {}},
      {"go_sev_guest", "attestation/snp/go-sev-guest/attestation.bin",
       {"attestation/snp/go-sev-guest/vcek.testcer", "attestation/snp/go-sev-guest/milan.testcer"}, kTime, {}},
      {"go_sev_guest_before_its_vcek", "attestation/snp/go-sev-guest/attestation.bin",
       {"attestation/snp/go-sev-guest/vcek.testcer", "attestation/snp/go-sev-guest/milan.testcer"},
       "2022-09-01T00:00:00Z", Errc::vek_certificate_not_yet_valid},
      {"go_sev_guest_chain_of_vleks", "attestation/snp/go-sev-guest/attestation.bin",
       {"attestation/snp/go-sev-guest/vcek.testcer", "attestation/snp/go-sev-guest/milanvlek.testcer"}, kTime,
       Errc::collateral_missing},
      {"tav_genoa", "attestation/snp/tav/genoa_attestation_report.bin",
       {"attestation/snp/tav/genoa_vcek.pem", "attestation/snp/tav/genoa_ask.pem"}, kTime, {}},
      {"tav_milan", "attestation/snp/tav/milan_attestation_report.bin",
       {"attestation/snp/tav/milan_vcek.pem", "attestation/snp/tav/milan_ask.pem"}, kTime, {}},
      {"tav_milan_renewed_vcek", "attestation/snp/tav/milan_attestation_report.bin",
       {"attestation/snp/tav-crypto/milan_vcek.pem", kMilan}, kTime, {}},
      {"tav_milan_either_vcek", "attestation/snp/tav/milan_attestation_report.bin",
       {"attestation/snp/tav/milan_vcek.pem", "attestation/snp/tav-crypto/milan_vcek.pem", kMilan},
       "2026-01-15T00:00:00Z", {}},
      {"tav_milan_before_its_vcek", "attestation/snp/tav/milan_attestation_report.bin",
       {"attestation/snp/tav/milan_vcek.pem", kMilan}, "2026-01-15T00:00:00Z", Errc::vek_certificate_not_yet_valid},
      {"trustee_report", "attestation/snp/trustee/test-report.bin", {"attestation/snp/trustee/test-vcek.der", kMilan}, kTime, {}},
      {"trustee_report_tampered_vcek", "attestation/snp/trustee/test-report.bin",
       {"attestation/snp/trustee/test-vcek-invalid-legacy.der", kMilan}, kTime, Errc::vek_chain_invalid},
      {"trustee_vlek_in_time", "attestation/snp/trustee/test-vlek-report.bin",
       {"attestation/snp/trustee/test-vlek.der", kMilan}, "2025-06-01T00:00:00Z", {}},
      {"trustee_vlek_kds_chain", "attestation/snp/trustee/test-vlek-report.bin",
       {"attestation/snp/trustee/test-vlek.der", "attestation/snp/go-sev-guest/milanvlek.testcer"}, "2025-06-01T00:00:00Z", {}},
      {"trustee_vlek_expired", "attestation/snp/trustee/test-vlek-report.bin",
       {"attestation/snp/trustee/test-vlek.der", kMilan}, kTime, Errc::vek_certificate_expired},
      {"trustee_vlek_report_with_vcek", "attestation/snp/trustee/test-vlek-report.bin",
       {"attestation/snp/trustee/test-vcek.der", kMilan}, "2025-06-01T00:00:00Z", Errc::vek_kind_mismatch},
      {"veraison_tsm_report", "attestation/snp/veraison/sevsnp-tsm-report.json", {}, kTime, {}},
      {"virtee_turin_vcek_of_another", "attestation/snp/tav/milan_attestation_report.bin",
       {"attestation/snp/virtee/vcek_turin.der", kTurin}, kTime, Errc::vek_product_mismatch},
      {"virtee_turin_vcek_other_product", "attestation/snp/tav/milan_attestation_report.bin",
       {"attestation/snp/virtee/vcek_turin.der", kGenoa}, kTime, Errc::collateral_missing},
      {"lab_report_milan", "lab/snp/report_milan.hex", {"lab/snp/vcek_milan.der", "lab/snp/cert_chain_milan"}, kTime, {}},
      {"lab_report_milan_without_vcek", "lab/snp/report_milan.hex", {"lab/snp/cert_chain_milan"}, kTime, Errc::collateral_missing},
      {"lab_turin_vcek", "lab/snp/report_milan.hex", {"lab/snp/vcek_turin.der", "lab/snp/cert_chain_turin"}, kTime,
       Errc::vek_tcb_mismatch},
      {"azure_hcl_report", "attestation/az-snp-vtpm/trustee/hcl-report.bin",
       {"attestation/az-snp-vtpm/trustee/vcek.pem"}, kTime, {}},
      {"azure_hcl_report_of_another", "attestation/az-snp-vtpm/azure-cvm-tooling/hcl-report-snp.bin",
       {"attestation/az-snp-vtpm/azure-cvm-tooling/certs.pem"}, kTime, Errc::vek_chip_id_mismatch},
      {"azure_evidence_v0", "attestation/az-snp-vtpm/trustee/evidence-v0.json", {kMilan}, kTime, {}},
      {"azure_evidence_v1", "attestation/az-snp-vtpm/trustee/evidence-v1.json", {kMilan}, kTime, {}},
      {"azure_evidence_v1_other", "attestation/az-snp-vtpm/attestation-rs/evidence-v1.json", {kMilan}, kTime, {}},
      {"azure_milan_v3", "attestation/az-snp-vtpm/attestation-rs/milan-v3-attestation.json", {kMilan}, kTime, {}},
  };
  return kCases;
}

class SnpCases : public testing::TestWithParam<Case> {};

TEST_P(SnpCases, HaveTheExpectedVerdict) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto& c = GetParam();
  const auto detected = evidence::detect(test::read_file(folder / c.evidence));
  ASSERT_TRUE(detected.ok()) << detected.error().text();
  ASSERT_EQ(detected->kind, evidence::EvidenceKind::snp_report);
  const auto report = evidence::parse_snp_report(detected->bytes);
  ASSERT_TRUE(report.ok()) << report.error().text();
  auto endorsements = detected->endorsements;
  for (const auto path : c.certificates) {
    const auto file = test::read_file(folder / path);
    if (auto certificate = crypto::x509::parse_certificate(file)) {
      endorsements.certificates.push_back(*certificate);
      continue;
    }
    auto chain = crypto::x509::parse_chain(as_text(file));
    ASSERT_TRUE(chain.ok()) << path << chain.error().text();
    endorsements.add({*chain, {}});
  }

  const auto outcome = verify(*report, endorsements, TrustAnchors::vendors(), *parse_rfc3339(c.at));
  const auto error = outcome.report.error();
  EXPECT_EQ(outcome.evidence.has_value(), !error.has_value());
  if (!c.refused) {
    EXPECT_FALSE(error.has_value()) << error->text();
    return;
  }
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(to_string(error->code()), to_string(*c.refused)) << error->detail();
}

INSTANTIATE_TEST_SUITE_P(Public, SnpCases, testing::ValuesIn(cases()),
                         [](const auto& param) { return std::string{param.param.name}; });

}  // namespace
}  // namespace cloister::attestation
