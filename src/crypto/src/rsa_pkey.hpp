#pragma once

#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"
#include "openssl.hpp"

/// RSA keys between their numbers, PKCS#8, and OpenSSL.
namespace cloister::crypto::ossl {

/// An unsigned number, big-endian.
[[nodiscard]] BnPtr number_from(ByteView big_endian);
/// Null when the library refuses it; its error queue is then not cleared.
[[nodiscard]] PkeyPtr rsa_from_public(const x509::RsaPublicKey& key);
[[nodiscard]] x509::RsaPublicKey rsa_public_of(const EVP_PKEY* key);
/// From OpenSSL's own random generator, exponent 65537.
[[nodiscard]] PkeyPtr generate_rsa(unsigned bits);
/// The private key of a PKCS#8 PrivateKeyInfo (RFC 5208), DER, not encrypted; its parts fit each other. `key_invalid` for
/// anything but an RSA key of `min_bits` to `max_bits`.
[[nodiscard]] Result<PkeyPtr> parse_rsa_pkcs8(ByteView der, unsigned min_bits, unsigned max_bits);

}  // namespace cloister::crypto::ossl
