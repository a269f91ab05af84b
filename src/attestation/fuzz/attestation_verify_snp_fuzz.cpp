#include <cstdlib>

#include "cloister/attestation/verify_snp.hpp"
#include "cloister/evidence/detect.hpp"

/// Input: an extended report, that is a report and a certificate table. The last certificate of the table is the
/// anchor, so that inputs can get all the way.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto found = evidence::detect({data, size});
  if (!found || found->kind != evidence::EvidenceKind::snp_report) return 0;
  const auto report = evidence::parse_snp_report(found->bytes);
  if (!report) return 0;
  const auto& endorsements = found->endorsements;

  attestation::TrustAnchors anchors;
  if (!endorsements.certificates.empty()) {
    if (auto anchor = attestation::TrustAnchor::make(endorsements.certificates.back(), attestation::AnchorKind::given)) {
      anchors.add(*anchor);
    }
  }
  const auto now = *from_civil(2026, 1, 20, 0, 0, 0);
  const auto outcome = attestation::verify(*report, endorsements, anchors, now);
  const auto untrusting = attestation::verify(*report, endorsements, attestation::TrustAnchors{}, now);

  if (outcome.evidence.has_value() != outcome.report.authentic()) std::abort();
  if (outcome.report.authentic() == outcome.report.error().has_value()) std::abort();
  if (outcome.evidence) {
    const auto* claims = outcome.evidence->claims().snp();
    if (claims == nullptr || !claims->product || !claims->vek || !outcome.report.collateral || outcome.report.bound) std::abort();
  }
  if (untrusting.report.authentic()) std::abort();
  if (outcome.report.checks.size() != untrusting.report.checks.size()) std::abort();
  const auto refusal = attestation::refusal_without_endorsements(*report);
  if (refusal && (refusal->authentic() || outcome.report.authentic())) std::abort();
  return 0;
}
