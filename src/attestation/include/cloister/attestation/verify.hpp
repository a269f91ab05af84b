#pragma once

#include "cloister/attestation/anchors.hpp"
#include "cloister/attestation/outcome.hpp"
#include "cloister/attestation/verification_cache.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"

/// Verification of SGX and TDX quotes (Intel SGX ECDSA QuoteLibReference DCAP API; Intel SGX PCK Certificate and CRL
/// Profile Specification; PCS API v4; RFC 5280). No I/O; the time is the caller's. Thread-safe: no state.
namespace cloister::attestation {

/// Makes every check at `now`. Checks are independent where they can be, so that one report names all that is wrong;
/// a check whose input is missing because another failed is `skipped`. Attribute findings and the TCB status do not
/// make evidence inauthentic (`NotSupported` and `Revoked` levels included): that is the policy's part.
/// For documents `issueDate <= now <= nextUpdate`, for CRLs `thisUpdate <= now <= nextUpdate`, for certificates
/// `notBefore <= now <= notAfter`.
/// The collateral's PCK CRL is checked against the intermediate that issued the quote's PCK certificate; its own
/// issuer chain is used only for quotes that bring no chain (certification data 1 to 4).
/// A cache (which may be null) spares signatures and chains that it knows; it never changes the outcome.
[[nodiscard]] Outcome verify(const evidence::QuoteView& quote, const evidence::CollateralDocuments& collateral,
                             const TrustAnchors& anchors, UnixTime now, VerificationCache* cache = nullptr);
[[nodiscard]] Outcome verify(const evidence::Quote& quote, const evidence::CollateralDocuments& collateral,
                             const TrustAnchors& anchors, UnixTime now, VerificationCache* cache = nullptr);

/// Makes those of the checks that need no collateral: the quote's format, the PCK chain that it brings, up to an anchor
/// and within its dates, the signatures of QE report and quote, and that the QE vouches for the attestation key. The
/// report of a quote that fails them, all other checks `skipped`; nothing for one that may be authentic. Whoever fetches
/// collateral asks this before, so that a forged quote makes nobody fetch.
/// A quote that brings no whole chain (certification data 1 to 4) is checked for the rest alone.
[[nodiscard]] std::optional<Report> refusal_without_collateral(const evidence::QuoteView& quote, const TrustAnchors& anchors,
                                                               UnixTime now, VerificationCache* cache = nullptr);

}  // namespace cloister::attestation
