#pragma once

#include <span>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/crypto/x509.hpp"

/// Keys that a certificate chain vouches for: the header's of a token (`x5c`, RFC 7515 section 4.1.6), or that of a key in
/// a set (RFC 7517 section 4.7).
namespace cloister::token {

struct CertifiedKey {
  crypto::jose::Jwk key;  // of a header: its id is its thumbprint
  bool lab = false;       // a certificate carries the marker of a lab
};

/// The leaf's key, when its chain ends in one of `roots` (RFC 5280 section 6.1, without policies and revocation): one to
/// six certificates, leaf first, each issued and signed by the next; all valid at `at`, the root too; authorities may sign
/// certificates and allow the chain's length; the leaf is none, and may sign; no critical extension but basicConstraints
/// and keyUsage. A chain of a root alone is a certificate that the caller named. `root_untrusted`; `token_key_unknown`
/// with the reason; `certificate_malformed`, `malformed`; `signature_invalid` of a certificate; `unsupported`.
[[nodiscard]] Result<CertifiedKey> certified_key(const crypto::jose::SignedToken& token,
                                                 std::span<const crypto::x509::CertificatePtr> roots, UnixTime at);

/// A key that was given with its chain, which must hold in the same way.
[[nodiscard]] Result<CertifiedKey> certified_key(const crypto::jose::Jwk& key,
                                                 std::span<const crypto::x509::CertificatePtr> roots, UnixTime at);

}  // namespace cloister::token
