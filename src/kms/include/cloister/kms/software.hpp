#pragma once

#include <filesystem>
#include <memory>

#include "cloister/core/random.hpp"
#include "cloister/kms/kms.hpp"

namespace cloister::kms {

/// A Kms whose master key is 32 bytes of this process's memory, read from a file of mode 0600.
///
/// Sealed and wrapped values are the CBOR array ["cloister/kms/1", use, salt, ciphertext], use "wrap" or "seal":
/// ChaCha20-Poly1305 under HKDF-Expand(master, ["cloister/kms/1", use, salt]) with a random 32-byte salt; each key
/// encrypts once, so the nonce is zero. Thread-safe.
class SoftwareKms final : public Kms {
 public:
  /// The master key in `file`, made there at the first start (mode 0600, on disk before this returns; of two
  /// processes that make it at once both read one key). Refuses (`configuration_invalid`) a file that is no regular
  /// file, that others than its owner may touch, that another user owns, or whose length is not 32.
  /// `random` outlives this.
  [[nodiscard]] static Result<std::unique_ptr<SoftwareKms>> open(const std::filesystem::path& file, Random& random);
  /// A master key held elsewhere.
  SoftwareKms(crypto::Secret<32> master, Random& random) : master_{std::move(master)}, random_{random} {}

  [[nodiscard]] Result<crypto::Secret<32>> derive(ByteView info) const override;
  [[nodiscard]] Result<Bytes> wrap(const crypto::Secret<32>& key, ByteView associated) const override;
  [[nodiscard]] Result<crypto::Secret<32>> unwrap(ByteView wrapped, ByteView associated) const override;
  [[nodiscard]] Result<Bytes> seal(ByteView associated, ByteView plaintext) const override;
  [[nodiscard]] Result<crypto::SecretBytes> open(ByteView associated, ByteView sealed) const override;
  [[nodiscard]] Result<crypto::Ed25519Public> public_key(std::string_view name) const override;
  [[nodiscard]] Result<crypto::Ed25519Signature> sign(std::string_view name, ByteView message) const override;
  /// Always: the key is in memory.
  [[nodiscard]] Result<void> probe() const override { return {}; }

 private:
  crypto::Secret<32> master_;
  Random& random_;
};

}  // namespace cloister::kms
