#pragma once

#include <memory>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"

/// RSA signatures by PKCS#1 v1.5 with SHA-256 (RFC 8017 section 8.2), as SGX's SIGSTRUCT has them.
namespace cloister::crypto {

using RsaPublicKey = x509::RsaPublicKey;

/// `signature_invalid`; `unsupported` for keys that are not of 2048 to 8192 bits.
[[nodiscard]] Result<void> verify_rsa_pkcs1_sha256(const RsaPublicKey& key, ByteView message, ByteView signature);

/// A private key; movable, not copyable. Thread-safe after construction.
class RsaPrivateKey {
 public:
  /// The 3072-bit key with exponent 3 that a seed stands for: each prime is the first from a start that HKDF-SHA256 of
  /// `seed` with `info` gives, upwards. The same seed and info give the same key everywhere. Takes about half a second.
  [[nodiscard]] static RsaPrivateKey derive_3072_e3(ByteView seed, ByteView info);
  RsaPrivateKey(RsaPrivateKey&&) noexcept;
  RsaPrivateKey& operator=(RsaPrivateKey&&) noexcept;
  ~RsaPrivateKey();

  [[nodiscard]] const RsaPublicKey& public_key() const noexcept { return public_; }
  /// As long as the modulus, big-endian. Deterministic.
  [[nodiscard]] Bytes sign_pkcs1_sha256(ByteView message) const;

 private:
  struct Handle;
  RsaPrivateKey(RsaPublicKey pub, std::unique_ptr<const Handle> handle);
  RsaPublicKey public_;
  std::unique_ptr<const Handle> handle_;
};

/// floor(a * b / n) and a * b mod n; big-endian, each padded to the length of `n`.
struct MultipliedAndDivided {
  Bytes quotient;
  Bytes remainder;
};
/// Of public numbers, each at most as long as `n`. `invalid_argument` unless a < n, b < n.
[[nodiscard]] Result<MultipliedAndDivided> multiply_and_divide(ByteView a, ByteView b, ByteView n);

}  // namespace cloister::crypto
