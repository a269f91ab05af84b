#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/evidence/snp/vek.hpp"
#include "support/synthetic_platform.hpp"

/// A vendor with one SNP chip, in memory: root, authority, VEK, CRL and a report that fit together. A test changes one
/// thing before `build` signs everything, so that only one check can fail. All keys are on P-384, the authorities' too.
namespace cloister::test {

/// What `build` makes.
struct SyntheticSnpEvidence {
  Bytes report;
  evidence::SnpEndorsements endorsements;
  crypto::x509::CertificatePtr root;
};

class SyntheticSnp {
 public:
  /// Everything holds at `now()`. Versions 2 to 5; a VLEK's report has no chip id.
  explicit SyntheticSnp(evidence::SnpProduct product = evidence::SnpProduct::milan,
                        evidence::VekKind kind = evidence::VekKind::vcek, std::uint32_t version = 3);

  /// Inside every window.
  [[nodiscard]] static UnixTime now();

  CertificatePlan root;
  CertificatePlan authority;
  CertificatePlan vek;
  crypto::Curve vek_curve = crypto::Curve::p384;
  std::optional<evidence::VekExtension> extension;
  evidence::HwidForm hwid_form = evidence::HwidForm::octet_string;
  std::optional<CrlPlan> crl;
  bool lab = false;        // the marker in every certificate; names as they are
  bool with_root = true;   // the root is among the endorsements
  evidence::SnpReportBody body;
  std::string report_signed_by = "vek";

  /// Marks everything as a lab's, under a lab's root.
  void make_lab();
  [[nodiscard]] SyntheticSnpEvidence build() const;
};

}  // namespace cloister::test
