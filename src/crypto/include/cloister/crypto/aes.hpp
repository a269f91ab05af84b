#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// AES with 128-bit keys, as SGX uses it. Thread-safe (no state).
namespace cloister::crypto {

using AesTag = ByteArray<16>;

/// NIST SP 800-38B. Secret, because SGX derives keys by it.
[[nodiscard]] Secret<16> aes128_cmac(std::span<const std::uint8_t, 16> key, ByteView message);

/// NIST SP 800-38D with a 12-byte IV, which may serve a key once only; the 16-byte tag stands at the end.
[[nodiscard]] Bytes aes128_gcm_seal(std::span<const std::uint8_t, 16> key, const ByteArray<12>& iv, ByteView associated,
                                    ByteView plaintext);
/// `decryption_failed` when anything was changed; nothing of the plaintext is returned then.
[[nodiscard]] Result<SecretBytes> aes128_gcm_open(std::span<const std::uint8_t, 16> key, const ByteArray<12>& iv,
                                                  ByteView associated, ByteView ciphertext);

}  // namespace cloister::crypto
