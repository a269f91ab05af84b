#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// AES with 128-bit keys as a MAC, as SGX uses it, and for wrapping keys; AES-GCM is in aead.hpp. Thread-safe (no state).
namespace cloister::crypto {

/// NIST SP 800-38B. Secret, because SGX derives keys by it.
[[nodiscard]] Secret<16> aes128_cmac(std::span<const std::uint8_t, 16> key, ByteView message);

/// RFC 3394 section 2.2.1 with the default initial value: eight bytes more than `secret`, which has at least 16 and is a
/// multiple of 8. `key`: 16, 24 or 32 bytes. All asserted.
[[nodiscard]] Bytes aes_key_wrap(ByteView key, ByteView secret);
/// Section 2.2.2. `decryption_failed` for another key, and for what was changed or has no such length.
[[nodiscard]] Result<SecretBytes> aes_key_unwrap(ByteView key, ByteView wrapped);

}  // namespace cloister::crypto
