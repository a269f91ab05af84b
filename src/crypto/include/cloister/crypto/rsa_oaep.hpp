#pragma once

#include <memory>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/rsa.hpp"
#include "cloister/crypto/secret.hpp"

/// RSAES-OAEP with SHA-256, MGF1 with SHA-256 and an empty label (RFC 8017 section 7.1; "RSA-OAEP-256" of RFC 7518).
namespace cloister::crypto {

/// As long as the modulus. Randomised, from OpenSSL's own generator. `key_invalid` for keys that are not of 2048 to 8192
/// bits or that the library refuses; `limit_exceeded` for more than the modulus's length less 66 bytes.
[[nodiscard]] Result<Bytes> rsa_oaep_encrypt(const RsaPublicKey& key, ByteView message);

/// A private key; movable, not copyable. Thread-safe after construction.
class RsaOaepKey {
 public:
  /// From OpenSSL's own random generator, exponent 65537. `bits`: 2048 to 4096 (asserted).
  [[nodiscard]] static RsaOaepKey generate(unsigned bits = 2048);
  /// PKCS#8 PrivateKeyInfo (RFC 5208), DER, not encrypted. `key_invalid` for anything but an RSA key of 2048 to 4096 bits.
  [[nodiscard]] static Result<RsaOaepKey> from_pkcs8(ByteView der);
  RsaOaepKey(RsaOaepKey&&) noexcept;
  RsaOaepKey& operator=(RsaOaepKey&&) noexcept;
  ~RsaOaepKey();

  [[nodiscard]] const RsaPublicKey& public_key() const noexcept { return public_; }
  /// `decryption_failed`, whatever is wrong.
  [[nodiscard]] Result<SecretBytes> decrypt(ByteView ciphertext) const;

 private:
  struct Handle;
  RsaOaepKey(RsaPublicKey pub, std::unique_ptr<const Handle> handle);
  RsaPublicKey public_;
  std::unique_ptr<const Handle> handle_;
};

}  // namespace cloister::crypto
