#pragma once

#include <memory>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// Elliptic-curve Diffie-Hellman on NIST's curves (NIST SP 800-56A revision 3, section 5.7.1.2; RFC 7518 section 4.6), and
/// the key derivation that goes with it.
namespace cloister::crypto {

enum class DhCurve { p256, p384, p521 };
/// Bytes of a coordinate.
[[nodiscard]] constexpr std::size_t coordinate_size(DhCurve curve) noexcept {
  switch (curve) {
    case DhCurve::p256: return 32;
    case DhCurve::p384: return 48;
    case DhCurve::p521: return 66;
  }
  return 0;
}

/// A point that is known to be on its curve, and not the one at infinity; the curves have cofactor 1, so that no more is
/// to be checked. Cheap to copy (shared, immutable); thread-safe.
class DhPublicKey {
 public:
  /// x || y, big-endian, each as wide as a coordinate. `key_invalid` when the length is wrong or the point is not on the
  /// curve.
  [[nodiscard]] static Result<DhPublicKey> from_xy(DhCurve curve, ByteView xy);
  [[nodiscard]] DhCurve curve() const noexcept { return curve_; }
  /// x || y.
  [[nodiscard]] const Bytes& xy() const noexcept { return xy_; }

 private:
  friend class DhPrivateKey;
  struct Handle;
  DhPublicKey(DhCurve curve, Bytes xy, std::shared_ptr<const Handle> handle)
      : curve_{curve}, xy_{std::move(xy)}, handle_{std::move(handle)} {}
  DhCurve curve_;
  Bytes xy_;
  std::shared_ptr<const Handle> handle_;
};

/// A private key; movable, not copyable. Thread-safe after construction.
class DhPrivateKey {
 public:
  /// From OpenSSL's own random generator.
  [[nodiscard]] static DhPrivateKey generate(DhCurve curve);
  /// Of the big-endian scalar, as wide as a coordinate. `key_invalid` unless it is from 1 to the order - 1.
  [[nodiscard]] static Result<DhPrivateKey> from_scalar(DhCurve curve, const SecretBytes& scalar);
  DhPrivateKey(DhPrivateKey&&) noexcept;
  DhPrivateKey& operator=(DhPrivateKey&&) noexcept;
  ~DhPrivateKey();

  [[nodiscard]] const DhPublicKey& public_key() const noexcept { return public_; }
  /// The x coordinate of the shared point, in full width. `key_invalid` for a key of another curve.
  [[nodiscard]] Result<SecretBytes> agree(const DhPublicKey& peer) const;

 private:
  struct Handle;
  DhPrivateKey(std::unique_ptr<const Handle> handle, DhPublicKey pub);
  [[nodiscard]] static DhPrivateKey make(DhCurve curve, std::unique_ptr<const Handle> handle);
  std::unique_ptr<const Handle> handle_;
  DhPublicKey public_;
};

/// The Concat KDF with SHA-256 (NIST SP 800-56A revision 3, section 5.8.2.1; RFC 7518 section 4.6.2). `length` at most
/// 2^16 (asserted).
[[nodiscard]] SecretBytes concat_kdf(const SecretBytes& shared, ByteView other_info, std::size_t length);

}  // namespace cloister::crypto
