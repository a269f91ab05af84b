#include "cloister/attestation/anchors.hpp"

#include <algorithm>

#include "cloister/evidence/lab_marker.hpp"
#include "constraints.hpp"
#include "vendor_roots.hpp"

namespace cloister::attestation {
namespace {

namespace x509 = crypto::x509;

bool claims_lab(const x509::Certificate& root) {
  return evidence::has_lab_marker(root) || root.subject_common_name.find(evidence::kLabRootName) != std::string::npos;
}

bool same_root(const x509::Certificate& a, const x509::Certificate& b) {
  return a.subject == b.subject && a.public_key_info == b.public_key_info;
}

}  // namespace

Result<TrustAnchor> TrustAnchor::make(x509::CertificatePtr root, AnchorKind kind) {
  const auto& name = root->subject_common_name;
  if (root->issuer != root->subject) return Error{Errc::root_untrusted, '"' + name + "\" is no root: it is not self-signed"};
  if (auto signature = x509::verify_signature(*root, *root); !signature) {
    return Error{Errc::root_untrusted, '"' + name + "\": " + signature.error().detail()};
  }
  if (auto constraints = check_ca(*root, 1); !constraints) return Error{Errc::root_untrusted, constraints.error().detail()};
  if (kind != AnchorKind::lab && claims_lab(*root)) {
    return Error{Errc::lab_root_not_trusted,
                 '"' + name + "\" is a lab's root: it vouches for simulated hardware, and belongs into lab_roots of a trust file"};
  }
  if (kind == AnchorKind::lab &&
      (!evidence::has_lab_marker(*root) || name.find(evidence::kLabRootName) == std::string::npos)) {
    return Error{Errc::root_untrusted, '"' + name + "\" is listed as a lab root, but carries no lab marker or no lab's name"};
  }
  return TrustAnchor{std::move(root), kind};
}

TrustAnchors TrustAnchors::vendors() {
  // Parsed and checked once; the certificates are part of the program.
  static const TrustAnchors kVendors = [] {
    TrustAnchors anchors;
    const auto add = [&anchors](ByteView root, AnchorKind kind) {
      auto certificate = x509::parse_certificate(root);
      CLOISTER_ASSERT(certificate.ok());
      auto anchor = TrustAnchor::make(*certificate, kind);
      CLOISTER_ASSERT(anchor.ok());
      anchors.add(*anchor);
    };
    add(kIntelSgxRootCa, AnchorKind::intel);
    for (const auto root : kArks) add(root, AnchorKind::amd);
    return anchors;
  }();
  return kVendors;
}

void TrustAnchors::add(TrustAnchor anchor) {
  if (find(anchor.root()) == nullptr) anchors_.push_back(std::move(anchor));
}

const TrustAnchor* TrustAnchors::find(const x509::Certificate& root) const noexcept {
  const auto found = std::ranges::find_if(anchors_, [&](const TrustAnchor& a) { return same_root(a.root(), root); });
  return found == anchors_.end() ? nullptr : &*found;
}

const TrustAnchor* TrustAnchors::issuer_of(const x509::Certificate& certificate, crypto::SignatureCache* cache) const {
  const auto found = std::ranges::find_if(anchors_, [&](const TrustAnchor& a) {
    return a.root().subject == certificate.issuer && x509::verify_signature(certificate, a.root(), cache).ok();
  });
  return found == anchors_.end() ? nullptr : &*found;
}

}  // namespace cloister::attestation
