#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/ecdsa.hpp"

namespace cloister::crypto {

/// Signatures that were found to be valid, so that they need not be verified again. Nothing else is remembered: no
/// refusal, no date, no name; and what is remembered is true for ever, so that there is nothing to expire.
///
/// An entry is the SHA-256 of a salt, the scheme, the key, the digest of the message and the signature, each with its
/// length, so that an entry serves these alone. The salt is unpredictable and never leaves the object: nobody can aim
/// at the place of somebody else's entry. Of bounded size, all of it allocated at once; a full place forgets its
/// oldest entry. Who may add entries is the caller's to decide: see `attestation::VerificationCache`.
/// Thread-safe.
class SignatureCache {
 public:
  static constexpr std::size_t kWays = 4;
  /// Room for about `capacity` signatures (rounded up), 32 bytes each; at least one.
  explicit SignatureCache(Random& random, std::size_t capacity = 4096);

  /// Which scheme the key and the signature are of; part of an entry.
  enum class Scheme : std::uint8_t { ecdsa_fixed = 1, ecdsa_der = 2, rsa = 3 };
  using Id = Digest32;
  [[nodiscard]] Id id(Scheme scheme, ByteView key, ByteView digest, ByteView signature) const;
  [[nodiscard]] bool holds(const Id& id) const noexcept;
  /// Only for a signature that was just found valid.
  void add(const Id& id) noexcept;

  /// How many signatures are remembered.
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct Place {
    std::array<Id, kWays> ids{};
    std::uint32_t used = 0;  // how many were ever added; the next one goes to used % kWays
  };
  static constexpr std::size_t kLocks = 16;
  [[nodiscard]] std::size_t place_of(const Id& id) const noexcept;

  Digest32 salt_{};
  std::vector<Place> places_;
  mutable std::array<std::mutex, kLocks> locks_;  // of the places with this number modulo kLocks
};

/// `key.verify_digest`, unless `cache` (which may be null) holds it; a valid one is added.
[[nodiscard]] Result<void> verify_digest(const EcPublicKey& key, ByteView digest, ByteView signature,
                                         SignatureCache* cache);

}  // namespace cloister::crypto
