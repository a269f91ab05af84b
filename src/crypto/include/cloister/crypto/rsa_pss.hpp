#pragma once

#include <memory>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/crypto/x509.hpp"

namespace cloister::crypto {

/// A private RSA key that signs by RSASSA-PSS with SHA-384, MGF1 of SHA-384 and a salt of 48 bytes (RFC 8017 section 8.1;
/// AMD 57230, section 2). Public exponent 65537. Movable, not copyable; thread-safe after construction.
class RsaPssKey {
 public:
  static constexpr unsigned kMinBits = 2048;
  static constexpr unsigned kMaxBits = 4096;

  /// From OpenSSL's own random generator; 4096 bits take a second or more. `bits`: `kMinBits` to `kMaxBits` (asserted).
  [[nodiscard]] static RsaPssKey generate(unsigned bits = kMaxBits);
  /// PKCS#8 PrivateKeyInfo (RFC 5208), DER, not encrypted. `key_invalid` for anything but an RSA key of these sizes.
  [[nodiscard]] static Result<RsaPssKey> from_pkcs8(ByteView der);
  [[nodiscard]] SecretBytes to_pkcs8() const;
  RsaPssKey(RsaPssKey&&) noexcept;
  RsaPssKey& operator=(RsaPssKey&&) noexcept;
  ~RsaPssKey();

  [[nodiscard]] const x509::RsaPublicKey& public_key() const noexcept { return public_; }
  /// Randomised: two signatures of the same message differ.
  [[nodiscard]] Bytes sign(ByteView message) const;

 private:
  struct Handle;
  RsaPssKey(x509::RsaPublicKey pub, std::unique_ptr<const Handle> handle);
  x509::RsaPublicKey public_;
  std::unique_ptr<const Handle> handle_;
};

namespace x509 {
/// As `issue_certificate` and `issue_crl` with an EC key, signed by `rsa_pss_sha384`.
[[nodiscard]] Bytes issue_certificate(const CertificateSpec& spec, const RsaPssKey& issuer_key);
[[nodiscard]] Bytes issue_crl(const CrlSpec& spec, const RsaPssKey& issuer_key);
}  // namespace x509

}  // namespace cloister::crypto
