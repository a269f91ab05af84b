#pragma once

#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"

namespace cloister::attestation {

/// Whose root it is, which decides what the certificates under it must look like.
enum class AnchorKind {
  intel,  // Intel's subject names are demanded; no certificate may carry the lab marker
  amd,    // the same with AMD's
  given,  // a root that somebody named: links, signatures and constraints, no names; no lab marker either
  lab,    // a lab's root: every certificate must carry the lab marker, and the report says `lab`
};

/// A root certificate that somebody decided to trust. Made only by `make`.
class TrustAnchor {
 public:
  /// `root_untrusted` when the certificate is no self-signed CA; `lab_root_not_trusted` when it carries the lab
  /// marker (or a lab's name) and `kind` is not `lab`; `root_untrusted` when `kind` is `lab` and it does not.
  [[nodiscard]] static Result<TrustAnchor> make(crypto::x509::CertificatePtr root, AnchorKind kind);
  [[nodiscard]] const crypto::x509::Certificate& root() const noexcept { return *root_; }
  [[nodiscard]] const crypto::x509::CertificatePtr& shared_root() const noexcept { return root_; }
  [[nodiscard]] AnchorKind kind() const noexcept { return kind_; }

 private:
  TrustAnchor(crypto::x509::CertificatePtr root, AnchorKind kind) : root_{std::move(root)}, kind_{kind} {}
  crypto::x509::CertificatePtr root_;
  AnchorKind kind_;
};

/// The roots that a verification accepts; a value, cheap to copy. Const use is thread-safe.
class TrustAnchors {
 public:
  /// Nothing is trusted.
  TrustAnchors() = default;
  /// The vendors' roots that are built in: the Intel SGX Root CA, AMD's ARKs of Milan, Genoa and Turin.
  [[nodiscard]] static TrustAnchors vendors();
  /// A root is listed once; the same key again keeps the first.
  void add(TrustAnchor anchor);
  [[nodiscard]] const std::vector<TrustAnchor>& all() const noexcept { return anchors_; }
  /// The anchor with this certificate's subject and public key, or null.
  [[nodiscard]] const TrustAnchor* find(const crypto::x509::Certificate& root) const noexcept;
  /// The anchor that issued this certificate, by name and signature, or null.
  [[nodiscard]] const TrustAnchor* issuer_of(const crypto::x509::Certificate& certificate,
                                             crypto::SignatureCache* cache = nullptr) const;

 private:
  std::vector<TrustAnchor> anchors_;
};

}  // namespace cloister::attestation
