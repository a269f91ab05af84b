#pragma once

#include <algorithm>
#include <memory>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// ECDSA on P-256 with SHA-256 and on P-384 with SHA-384. Signatures are r || s, big-endian, fixed width, unless
/// the name says DER.
namespace cloister::crypto {

enum class Curve { p256, p384 };
[[nodiscard]] constexpr std::size_t field_size(Curve curve) noexcept { return curve == Curve::p256 ? 32 : 48; }

/// A digest of either size, by value.
class MessageDigest {
 public:
  MessageDigest() = default;
  MessageDigest(const Digest32& digest) : size_{32} { std::copy(digest.begin(), digest.end(), bytes_.begin()); }
  MessageDigest(const Digest48& digest) : bytes_{digest}, size_{48} {}
  [[nodiscard]] ByteView view() const noexcept { return ByteView{bytes_}.first(size_); }

 private:
  Digest48 bytes_{};
  std::size_t size_ = 0;
};
/// With the hash that goes with the curve. The message is public.
[[nodiscard]] MessageDigest digest_for(Curve curve, ByteView message);

/// A public key whose point is known to be on its curve. Cheap to copy (shared, immutable); thread-safe.
class EcPublicKey {
 public:
  /// x || y, big-endian. `key_invalid` when the length is wrong or the point is not on the curve.
  [[nodiscard]] static Result<EcPublicKey> from_xy(Curve curve, ByteView xy);
  [[nodiscard]] Curve curve() const noexcept { return curve_; }
  /// x || y.
  [[nodiscard]] const Bytes& xy() const noexcept { return xy_; }
  /// `signature_invalid` unless r || s is this key's signature over `message` (hashed with the curve's hash).
  [[nodiscard]] Result<void> verify(ByteView message, ByteView signature) const;
  /// The same with a DER ECDSA-Sig-Value, as certificates carry it; strict DER.
  [[nodiscard]] Result<void> verify_der(ByteView message, ByteView der) const;
  /// The same over the curve's hash of a message.
  [[nodiscard]] Result<void> verify_digest(ByteView digest, ByteView signature) const;
  [[nodiscard]] Result<void> verify_digest_der(ByteView digest, ByteView der) const;

 private:
  struct Handle;
  EcPublicKey(Curve curve, Bytes xy, std::shared_ptr<const Handle> handle)
      : curve_{curve}, xy_{std::move(xy)}, handle_{std::move(handle)} {}
  Curve curve_;
  Bytes xy_;
  std::shared_ptr<const Handle> handle_;
};

/// For a key that is used once: as `EcPublicKey::from_xy` and then `verify_digest`, without keeping anything.
[[nodiscard]] Result<void> verify_digest_once(Curve curve, ByteView xy, ByteView digest, ByteView signature);

/// A private key; movable, not copyable. Thread-safe after construction.
class EcPrivateKey {
 public:
  /// From OpenSSL's own random generator.
  [[nodiscard]] static EcPrivateKey generate(Curve curve);
  /// The key that a seed stands for: HKDF-SHA256 (no salt) of `seed` with `info`, 16 bytes more than the order has,
  /// reduced to 1..n-1 (FIPS 186-5 A.2.1). The same seed and info give the same key everywhere.
  [[nodiscard]] static EcPrivateKey derive(Curve curve, ByteView seed, ByteView info);
  EcPrivateKey(EcPrivateKey&&) noexcept;
  EcPrivateKey& operator=(EcPrivateKey&&) noexcept;
  ~EcPrivateKey();

  [[nodiscard]] const EcPublicKey& public_key() const noexcept { return public_; }
  /// r || s. Signatures are randomised: two of the same message differ.
  [[nodiscard]] Bytes sign(ByteView message) const;
  /// DER ECDSA-Sig-Value.
  [[nodiscard]] Bytes sign_der(ByteView message) const;

 private:
  struct Handle;
  EcPrivateKey(EcPublicKey pub, std::unique_ptr<const Handle> handle);
  EcPublicKey public_;
  std::unique_ptr<const Handle> handle_;
};

}  // namespace cloister::crypto
