#pragma once

#include <optional>

#include "cloister/core/random.hpp"
#include "cloister/lab_sgx/cpu.hpp"

/// Data that an enclave leaves outside for its later self: AES-128-GCM under its seal key. The blob is a magic number, the
/// KEYREQUEST that gives the key again, the version, and the ciphertext; everything before the ciphertext is authenticated.
namespace cloister::lab_sgx {

inline constexpr std::size_t kMaxSealedSize = std::size_t{16} << 20;  // of a blob, bytes

/// A value of a monotonic counter, which lies where an attacker cannot set it back. Sealed data without one can be
/// replaced by older data of the same enclave: the seal key does not change.
struct SealedVersion {
  ByteArray<16> counter{};
  std::uint64_t value = 0;
  friend bool operator==(const SealedVersion&, const SealedVersion&) = default;
};

/// A blob taken apart; nothing is verified.
struct SealedBlob {
  KeyRequest request;
  std::optional<SealedVersion> version;
  Bytes sealed;  // ciphertext and tag
};
/// `malformed` for anything but a blob, `limit_exceeded` for more than `kMaxSealedSize`.
[[nodiscard]] Result<SealedBlob> parse_sealed(ByteView blob);
[[nodiscard]] Bytes encode_sealed(const SealedBlob& blob);

/// Seals for whoever has the policy's identity (`key_policy`), at the enclave's and the machine's present versions or newer
/// ones. `random` gives the KEYID, hence a key that serves this blob alone. `invalid_argument` for a policy that names
/// neither MRENCLAVE nor MRSIGNER, `limit_exceeded`, `permission_denied` with EGETKEY's code.
[[nodiscard]] Result<Bytes> seal(const Cpu& cpu, unsigned processor, std::uint16_t policy, ByteView plaintext,
                                 const std::optional<SealedVersion>& version, Random& random);
/// `current` is the counter now, where the enclave keeps one: `conflict` unless the blob has exactly this version.
/// `decryption_failed` for a changed blob or another identity's, `permission_denied` with EGETKEY's code.
[[nodiscard]] Result<crypto::SecretBytes> unseal(const Cpu& cpu, unsigned processor, ByteView blob,
                                                 const std::optional<SealedVersion>& current);

}  // namespace cloister::lab_sgx
