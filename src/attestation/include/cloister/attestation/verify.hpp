#pragma once

#include <optional>

#include "cloister/attestation/anchors.hpp"
#include "cloister/attestation/report.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"

/// Verification of SGX and TDX quotes (Intel SGX ECDSA QuoteLibReference DCAP API; Intel SGX PCK Certificate and CRL
/// Profile Specification; PCS API v4; RFC 5280). No I/O; the time is the caller's. Thread-safe: no state.
namespace cloister::attestation {

struct Outcome;
class BoundEvidence;

/// Evidence of which every check held at the time of the verification. Made by `verify` only.
class AuthenticEvidence {
 public:
  [[nodiscard]] const Claims& claims() const noexcept { return report_.claims.unverified(); }
  [[nodiscard]] const Tcb& tcb() const noexcept { return *report_.tcb; }
  [[nodiscard]] bool lab() const noexcept { return report_.lab; }
  [[nodiscard]] const Report& report() const noexcept { return report_; }

 private:
  friend Outcome verify(const evidence::Quote&, const evidence::CollateralDocuments&, const TrustAnchors&, UnixTime);
  friend Result<BoundEvidence> bind(AuthenticEvidence&&, const Digest64&);
  explicit AuthenticEvidence(Report report) : report_{std::move(report)} {}
  Report report_;
};

/// Authentic evidence whose report data is what the verifier expected: fresh, and of this peer. Made by `bind` only.
class BoundEvidence {
 public:
  [[nodiscard]] const Claims& claims() const noexcept { return evidence_.claims(); }
  [[nodiscard]] const Tcb& tcb() const noexcept { return evidence_.tcb(); }
  [[nodiscard]] bool lab() const noexcept { return evidence_.lab(); }
  [[nodiscard]] const Report& report() const noexcept { return evidence_.report(); }
  [[nodiscard]] const AuthenticEvidence& authentic() const noexcept { return evidence_; }

 private:
  friend Result<BoundEvidence> bind(AuthenticEvidence&&, const Digest64&);
  explicit BoundEvidence(AuthenticEvidence evidence) : evidence_{std::move(evidence)} {}
  AuthenticEvidence evidence_;
};

/// The report is always there; the evidence only when every check held.
struct Outcome {
  Report report;
  std::optional<AuthenticEvidence> evidence;
};

/// Makes every check at `now`. Checks are independent where they can be, so that one report names all that is wrong;
/// a check whose input is missing because another failed is `skipped`. Attribute findings and the TCB status do not
/// make evidence inauthentic (`NotSupported` and `Revoked` levels included): that is the policy's part.
/// For documents `issueDate <= now <= nextUpdate`, for CRLs `thisUpdate <= now <= nextUpdate`, for certificates
/// `notBefore <= now <= notAfter`.
/// The collateral's PCK CRL is checked against the intermediate that issued the quote's PCK certificate; its own
/// issuer chain is used only for quotes that bring no chain (certification data 1 to 4).
[[nodiscard]] Outcome verify(const evidence::Quote& quote, const evidence::CollateralDocuments& collateral,
                             const TrustAnchors& anchors, UnixTime now);

/// `report_data_mismatch` unless all 64 bytes of the report data are the expected ones.
[[nodiscard]] Result<BoundEvidence> bind(AuthenticEvidence&& evidence, const Digest64& expected);

/// The same for a report, which may be one of evidence that failed: sets its `report_data` check and `bound`.
void check_report_data(Report& report, const Digest64& expected);

}  // namespace cloister::attestation
