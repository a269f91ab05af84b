#pragma once

#include "cloister/attestation/anchors.hpp"
#include "cloister/attestation/outcome.hpp"
#include "cloister/attestation/verification_cache.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"

/// Verification of SEV-SNP reports (AMD 56860, SEV-SNP Firmware ABI 1.58; AMD 57230, VCEK certificates and KDS; RFC
/// 5280). No I/O; the time is the caller's. Thread-safe: no state.
namespace cloister::attestation {

/// Makes every check at `now`, as `verify` does for quotes: all that is wrong in one report, what cannot be checked
/// because something else failed is `skipped`. The endorsements may be of many chips and products: the VEK that fits
/// the report best is taken, with the authority that it names. Revocation is checked where a list is given; whether one
/// must be, and everything that TCB, policy and platform say, is for the policy to decide.
/// A VEK or its authority that is missing fails `vek_chain` with `collateral_missing`.
/// A cache (which may be null) spares signatures that it knows; it never changes the outcome.
[[nodiscard]] Outcome verify(const evidence::SnpReport& report, const evidence::SnpEndorsements& endorsements,
                             const TrustAnchors& anchors, UnixTime now, VerificationCache* cache = nullptr);

/// Makes those of the checks that need no certificate: a known processor, no masked chip key under a VCEK, and the order
/// of the TCBs. The report of evidence that fails them, all other checks `skipped`; nothing for one that may be
/// authentic. Whoever fetches certificates asks this before. The signature can only be verified with what is fetched.
[[nodiscard]] std::optional<Report> refusal_without_endorsements(const evidence::SnpReport& report);

}  // namespace cloister::attestation
