#pragma once

#include <vector>

#include "cloister/attestation/verify.hpp"
#include "support/synthetic_platform.hpp"

/// What the tests of this module share.
namespace cloister::attestation {

/// Verifies what the platform builds; its root is the one anchor, of this kind.
[[nodiscard]] Outcome verify_built(const test::SyntheticEvidence& built, AnchorKind kind = AnchorKind::given,
                                   UnixTime at = test::SyntheticPlatform::now());
[[nodiscard]] Outcome verify_built(const test::SyntheticEvidence& built, const TrustAnchors& anchors,
                                   UnixTime at = test::SyntheticPlatform::now());
[[nodiscard]] TrustAnchors anchors_of(const crypto::x509::CertificatePtr& root, AnchorKind kind);
/// The checks that failed, in order.
[[nodiscard]] std::vector<CheckId> failed(const Report& report);
/// That exactly these checks failed, the first with this code, and that there is no evidence.
void expect_failed(const Outcome& outcome, const std::vector<CheckId>& checks, Errc code);

}  // namespace cloister::attestation
