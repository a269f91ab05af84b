#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

namespace cloister::crypto {

using X25519Public = ByteArray<32>;
using Ed25519Public = ByteArray<32>;
using Ed25519Signature = ByteArray<64>;

/// An X25519 key pair (RFC 7748). Thread-safe after construction.
class X25519Key {
 public:
  [[nodiscard]] static X25519Key generate(Random& random);
  [[nodiscard]] static X25519Key from_private(Secret<32> scalar);
  [[nodiscard]] const X25519Public& public_key() const noexcept { return public_; }
  [[nodiscard]] const Secret<32>& private_key() const noexcept { return private_; }
  /// `key_invalid` when the shared secret is all zero (a low-order point).
  [[nodiscard]] Result<Secret<32>> agree(const X25519Public& peer) const;

 private:
  X25519Key(Secret<32> scalar, X25519Public pub) : private_{std::move(scalar)}, public_{pub} {}
  Secret<32> private_;
  X25519Public public_;
};

/// An Ed25519 key pair (RFC 8032); the private half is the 32-byte seed. Thread-safe after construction.
class Ed25519Key {
 public:
  [[nodiscard]] static Ed25519Key generate(Random& random);
  [[nodiscard]] static Ed25519Key from_seed(Secret<32> seed);
  [[nodiscard]] const Ed25519Public& public_key() const noexcept { return public_; }
  [[nodiscard]] const Secret<32>& seed() const noexcept { return seed_; }
  [[nodiscard]] Ed25519Signature sign(ByteView message) const;

 private:
  Ed25519Key(Secret<32> seed, Ed25519Public pub) : seed_{std::move(seed)}, public_{pub} {}
  Secret<32> seed_;
  Ed25519Public public_;
};

/// `key_invalid` for a point of small order (also in an encoding that is not canonical): under such a key anybody can
/// sign, since RFC 8032's equation holds without a private half.
[[nodiscard]] Result<void> check_ed25519_key(const Ed25519Public& key);

/// `signature_invalid` unless `signature` (64 bytes) is key's over `message`, and the key one of full order.
[[nodiscard]] Result<void> ed25519_verify(const Ed25519Public& key, ByteView message, ByteView signature);

}  // namespace cloister::crypto
