#pragma once

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/secret.hpp"

/// HPKE base mode (RFC 9180), single-shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
namespace cloister::crypto {

struct HpkeSealed {
  X25519Public enc;
  Bytes ciphertext;  // with tag
};

/// `key_invalid` for a low-order recipient key.
[[nodiscard]] Result<HpkeSealed> hpke_seal(const X25519Public& recipient, ByteView info, ByteView associated,
                                           ByteView plaintext, Random& random);
[[nodiscard]] Result<SecretBytes> hpke_open(const X25519Key& recipient, const X25519Public& enc, ByteView info,
                                            ByteView associated, ByteView ciphertext);

}  // namespace cloister::crypto
