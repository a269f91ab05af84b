#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// RFC 8439 ChaCha20-Poly1305, and AES-GCM (NIST SP 800-38D) with keys of 16 or 32 bytes; the ciphertext carries its
/// 16-byte tag at the end. Thread-safe (no state).
namespace cloister::crypto {

using Nonce = ByteArray<12>;
inline constexpr std::size_t kTagSize = 16;

[[nodiscard]] Bytes chacha20poly1305_seal(ByteView key32, const Nonce& nonce, ByteView associated, ByteView plaintext);
/// `decryption_failed` when anything was changed; nothing of the plaintext is returned then.
[[nodiscard]] Result<SecretBytes> chacha20poly1305_open(ByteView key32, const Nonce& nonce, ByteView associated,
                                                        ByteView ciphertext);

/// `key`: 16 or 32 bytes (asserted). A nonce serves a key once.
[[nodiscard]] Bytes aes_gcm_seal(ByteView key, const Nonce& nonce, ByteView associated, ByteView plaintext);
/// Errors: as `chacha20poly1305_open`.
[[nodiscard]] Result<SecretBytes> aes_gcm_open(ByteView key, const Nonce& nonce, ByteView associated, ByteView ciphertext);

}  // namespace cloister::crypto
