#pragma once

#include <optional>

#include "cloister/attestation/report.hpp"
#include "cloister/core/result.hpp"

/// What every verifier gives, whatever the kind of evidence, and the two types that say how far it was believed.
namespace cloister::attestation {

class BoundEvidence;

/// Evidence of which every check held at the time of the verification. Made by verifiers only.
class AuthenticEvidence {
 public:
  [[nodiscard]] const Claims& claims() const noexcept { return report_.claims.unverified(); }
  /// Of an SGX or TDX quote, whose TCB is always evaluated (asserted); others have none.
  [[nodiscard]] const Tcb& tcb() const noexcept {
    CLOISTER_ASSERT(report_.tcb.has_value());
    return *report_.tcb;
  }
  [[nodiscard]] bool lab() const noexcept { return report_.lab; }
  [[nodiscard]] const Report& report() const noexcept { return report_; }

 private:
  friend struct Conclusion;
  friend Result<BoundEvidence> bind(AuthenticEvidence&&, const Digest64&);
  explicit AuthenticEvidence(Report report) : report_{std::move(report)} {}
  Report report_;
};

/// Authentic evidence whose report data is what the verifier expected: fresh, and of this peer. Made by `bind` only.
class BoundEvidence {
 public:
  [[nodiscard]] const Claims& claims() const noexcept { return evidence_.claims(); }
  [[nodiscard]] const Tcb& tcb() const noexcept { return evidence_.tcb(); }  // as of AuthenticEvidence
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

/// `report_data_mismatch` unless all 64 bytes of the report data are the expected ones.
[[nodiscard]] Result<BoundEvidence> bind(AuthenticEvidence&& evidence, const Digest64& expected);

/// The same for a report, which may be one of evidence that failed: sets its `report_data` check and `bound`.
void check_report_data(Report& report, const Digest64& expected);

}  // namespace cloister::attestation
