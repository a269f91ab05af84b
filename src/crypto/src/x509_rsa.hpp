#pragma once

#include "cloister/crypto/x509.hpp"

/// RSA signatures, for certificates and for tokens.
namespace cloister::crypto::x509 {

/// PKCS#1 v1.5 or PSS (RFC 8017); PSS with MGF1 of the same hash and a salt of its size.
struct RsaScheme {
  const char* hash;  // OpenSSL's name
  bool pss;
};
/// `signature_invalid`; `unsupported` for keys that are not of 2048 to 8192 bits.
[[nodiscard]] Result<void> verify_rsa(const RsaPublicKey& key, const RsaScheme& scheme, ByteView message, ByteView signature);

}  // namespace cloister::crypto::x509
