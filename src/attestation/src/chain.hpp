#pragma once

#include <array>
#include <span>

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/x509.hpp"

/// Certificate chains of a fixed shape, up to a trust anchor.
namespace cloister::attestation {

enum class ChainShape {
  pck,          // leaf, PCK platform or processor CA, root
  tcb_signing,  // signer, root
  vek,          // VCEK or VLEK, ASK or ASVK, ARK; the leaf has a P-384 key, where the others have P-256
};

/// Up to three certificates, leaf first.
class Path {
 public:
  void push_back(crypto::x509::CertificatePtr certificate) {
    CLOISTER_ASSERT(size_ < items_.size());
    items_[size_++] = std::move(certificate);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const crypto::x509::CertificatePtr* data() const noexcept { return items_.data(); }
  [[nodiscard]] const crypto::x509::CertificatePtr* begin() const noexcept { return data(); }
  [[nodiscard]] const crypto::x509::CertificatePtr* end() const noexcept { return data() + size_; }
  [[nodiscard]] const crypto::x509::CertificatePtr& front() const noexcept { return items_.front(); }
  [[nodiscard]] const crypto::x509::CertificatePtr& back() const noexcept { return items_[size_ - 1]; }
  [[nodiscard]] const crypto::x509::CertificatePtr& operator[](std::size_t i) const noexcept { return items_[i]; }

 private:
  std::array<crypto::x509::CertificatePtr, 3> items_;
  std::size_t size_ = 0;
};

/// A chain whose names, links, signatures, constraints and lab markers hold. Dates and revocation are not looked at.
struct Chain {
  Path certificates;  // leaf first, root last
  AnchorKind kind;

  [[nodiscard]] const crypto::x509::Certificate& leaf() const { return *certificates.front(); }
  [[nodiscard]] const crypto::x509::Certificate& issuer() const { return *certificates[1]; }
  [[nodiscard]] const crypto::x509::Certificate& root() const { return *certificates.back(); }
};

/// `given` is leaf first; the root itself may be missing. Errors: `invalid` for what is wrong with the chain,
/// `root_untrusted`, `lab_root_not_trusted`. The cache may be null.
[[nodiscard]] Result<Chain> resolve_chain(std::span<const crypto::x509::CertificatePtr> given, ChainShape shape,
                                          const TrustAnchors& anchors, Errc invalid, crypto::SignatureCache* cache);

/// True when a certificate carries the lab marker.
[[nodiscard]] bool any_lab_marker(std::span<const crypto::x509::CertificatePtr> certificates);

/// Codes for the two ends of a window.
struct WindowCodes {
  Errc early;
  Errc late;
};
/// `from <= now <= until`, else the code and a detail that begins with `what`.
[[nodiscard]] Result<void> check_window(UnixTime from, UnixTime until, UnixTime now, WindowCodes codes, std::string_view what);
/// Every certificate of the chain; `leaf` are the codes for the first, `ca_certificate_*` those of the others.
[[nodiscard]] Result<void> check_dates(const Chain& chain, UnixTime now, WindowCodes leaf);

struct CrlCodes {
  Errc invalid;
  WindowCodes window;
};
/// Issued and signed by `issuer`, which may do so, and within its dates.
[[nodiscard]] Result<void> check_crl(const crypto::x509::Crl& crl, const crypto::x509::Certificate& issuer, UnixTime now,
                                     CrlCodes codes, crypto::SignatureCache* cache);

}  // namespace cloister::attestation
