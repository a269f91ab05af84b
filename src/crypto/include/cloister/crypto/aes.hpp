#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/crypto/secret.hpp"

/// AES with 128-bit keys as a MAC, as SGX uses it; AES-GCM is in aead.hpp. Thread-safe (no state).
namespace cloister::crypto {

/// NIST SP 800-38B. Secret, because SGX derives keys by it.
[[nodiscard]] Secret<16> aes128_cmac(std::span<const std::uint8_t, 16> key, ByteView message);

}  // namespace cloister::crypto
