#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "cloister/codec/json.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/ecdh.hpp"
#include "cloister/crypto/rsa_oaep.hpp"
#include "cloister/crypto/secret.hpp"

/// JSON Web Encryption in the flattened JSON serialisation (RFC 7516 section 7.2.2) with A256GCM under a fresh content key,
/// which goes by ECDH-ES+A256KW on P-256, P-384 or P-521, or by RSA-OAEP-256 (RFC 7518 section 4). No others: not RSA1_5.
namespace cloister::crypto::jose {

inline constexpr std::size_t kMaxJweSize = 4U << 20;  // bytes of JSON

/// The public key of a recipient.
class EncryptionKey {
 public:
  explicit EncryptionKey(DhPublicKey key) : key_{std::move(key)} {}
  explicit EncryptionKey(RsaPublicKey key) : key_{std::move(key)} {}
  /// {"kty":"EC","crv":…,"alg":"ECDH-ES+A256KW","x":…,"y":…} or {"kty":"RSA","alg":"RSA-OAEP-256","n":…,"e":…}, with
  /// these members and no others, in any order. Coordinates have their full width, numbers no leading zeros. `unsupported`
  /// for other kinds, curves and algorithms; `key_invalid` for a point off its curve and an RSA key that is too small, or
  /// whose exponent is even or 1; `unknown_member`, `missing_member`, `malformed`.
  [[nodiscard]] static Result<EncryptionKey> parse(const codec::json::Value& jwk);

  [[nodiscard]] const std::variant<DhPublicKey, RsaPublicKey>& key() const noexcept { return key_; }
  /// "ECDH-ES+A256KW" or "RSA-OAEP-256".
  [[nodiscard]] std::string_view algorithm() const noexcept;
  /// As `parse` takes it: kty, crv, alg, x, y, or kty, alg, n, e.
  [[nodiscard]] codec::json::Value to_json() const;

 private:
  std::variant<DhPublicKey, RsaPublicKey> key_;
};

/// The private key of a recipient; movable, not copyable. Thread-safe after construction.
class DecryptionKey {
 public:
  explicit DecryptionKey(DhPrivateKey key) : key_{std::move(key)} {}
  explicit DecryptionKey(RsaOaepKey key) : key_{std::move(key)} {}
  [[nodiscard]] const std::variant<DhPrivateKey, RsaOaepKey>& key() const noexcept { return key_; }
  [[nodiscard]] EncryptionKey public_key() const;

 private:
  std::variant<DhPrivateKey, RsaOaepKey> key_;
};

/// An encrypted message, decoded. The protected header stays as the text that it is authenticated as.
struct Jwe {
  std::string protected_header;  // base64url
  Bytes encrypted_key;
  Bytes iv;
  Bytes ciphertext;
  Bytes tag;
};

/// Sealed to `key`. The protected header is compact JSON with `alg`, `enc` and, of ECDH, `epk` in this order, the
/// members of `epk` being crv, kty, x, y: some readers write the header anew, sorted, before they authenticate it, and
/// find these bytes again. The ephemeral key comes from OpenSSL's own generator. `key_invalid` for an RSA key that the
/// library refuses.
[[nodiscard]] Result<Jwe> encrypt(const EncryptionKey& key, ByteView plaintext, Random& random);
/// `decryption_failed`, whatever of key, ciphertext or tag is not as it was; `key_invalid` for an `epk` that is no point of
/// the key's curve; `unsupported` for another algorithm, for `crit` and `zip`, and for `apu` and `apv`; the codec's errors. Header members that change nothing are ignored.
[[nodiscard]] Result<SecretBytes> decrypt(const Jwe& message, const DecryptionKey& key);

/// {"protected":…,"encrypted_key":…,"iv":…,"ciphertext":…,"tag":…}, compact.
[[nodiscard]] std::string write(const Jwe& message);
/// The same five members; `aad` may be there when it is empty or null, nothing else.
[[nodiscard]] Result<Jwe> parse_jwe(std::string_view text);

}  // namespace cloister::crypto::jose
