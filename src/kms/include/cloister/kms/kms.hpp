#pragma once

#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/secret.hpp"

/// Keys that never leave their keeper: everything is derived from, wrapped by or signed under one master key.
namespace cloister::kms {

/// A keeper of a master key. Implementations are thread-safe. A call that the keeper cannot serve is `unavailable`.
class Kms {
 public:
  virtual ~Kms() = default;

  /// 32 bytes that only this master key and `info` give: the same at every call. `info` is a deterministic CBOR array
  /// that begins with a domain string of the caller's, so that no two uses share a key.
  [[nodiscard]] virtual Result<crypto::Secret<32>> derive(ByteView info) const = 0;

  /// A data key under the master key. `associated` says whose key it is, and must be the same at `unwrap`.
  [[nodiscard]] virtual Result<Bytes> wrap(const crypto::Secret<32>& key, ByteView associated) const = 0;
  /// `decryption_failed` when key, associated data or master key are not those of `wrap`.
  [[nodiscard]] virtual Result<crypto::Secret<32>> unwrap(ByteView wrapped, ByteView associated) const = 0;

  /// A small value of any length (at most `kMaxSealed`) under the master key.
  [[nodiscard]] virtual Result<Bytes> seal(ByteView associated, ByteView plaintext) const = 0;
  /// `decryption_failed` as with `unwrap`; a wrapped key does not open here, nor a sealed value there.
  [[nodiscard]] virtual Result<crypto::SecretBytes> open(ByteView associated, ByteView sealed) const = 0;

  /// The Ed25519 key of that name (an id, core/ids.hpp), which exists from the first mention on.
  [[nodiscard]] virtual Result<crypto::Ed25519Public> public_key(std::string_view name) const = 0;
  /// Signed by the key of that name. The caller's message begins with a domain string.
  [[nodiscard]] virtual Result<crypto::Ed25519Signature> sign(std::string_view name, ByteView message) const = 0;

  /// Whether the keeper serves now: one short use of the master key, whose outcome nobody keeps.
  [[nodiscard]] virtual Result<void> probe() const = 0;
};

inline constexpr std::size_t kMaxSealed = 1U << 20;

}  // namespace cloister::kms
