#pragma once

#include <span>
#include <vector>

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

/// A chain whose names, links, signatures, constraints and lab markers hold. Dates and revocation are not looked at.
struct Chain {
  std::vector<crypto::x509::CertificatePtr> certificates;  // leaf first, root last
  AnchorKind kind;

  [[nodiscard]] const crypto::x509::Certificate& leaf() const { return *certificates.front(); }
  [[nodiscard]] const crypto::x509::Certificate& issuer() const { return *certificates[1]; }
  [[nodiscard]] const crypto::x509::Certificate& root() const { return *certificates.back(); }
};

/// The certificates, each before its issuer, by their names: some quotes bring them in another order, and Intel's own
/// verification takes them in any. Unchanged when they are no single chain.
[[nodiscard]] std::vector<crypto::x509::CertificatePtr> leaf_first(std::vector<crypto::x509::CertificatePtr> given);

/// `given` is leaf first; the root itself may be missing. Errors: `invalid` for what is wrong with the chain,
/// `root_untrusted`, `lab_root_not_trusted`.
[[nodiscard]] Result<Chain> resolve_chain(std::span<const crypto::x509::CertificatePtr> given, ChainShape shape,
                                          const TrustAnchors& anchors, Errc invalid);

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
                                     CrlCodes codes);

}  // namespace cloister::attestation
