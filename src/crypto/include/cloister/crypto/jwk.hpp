#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/x509.hpp"

/// Public keys that verify signatures, as JSON (RFC 7517, RFC 7518 section 6).
namespace cloister::crypto::jose {

/// The algorithms of signatures that are verified here, and no others: neither `none` nor any with a shared secret.
enum class Algorithm { es256, es384, rs256, ps384 };
[[nodiscard]] std::string_view to_string(Algorithm algorithm) noexcept;  // "ES256"
[[nodiscard]] std::optional<Algorithm> algorithm_from_string(std::string_view name) noexcept;

using PublicKey = std::variant<EcPublicKey, x509::RsaPublicKey>;

/// A key with the one algorithm that it may be used with (RFC 8725 section 3.1). Immutable by habit; thread-safe.
struct Jwk {
  PublicKey key;
  Algorithm algorithm = Algorithm::es256;
  std::string key_id;  // empty when absent
  /// `x5c` as it stands: base64 of DER, leaf first; its first certificate has this key, the others were not looked at.
  std::vector<std::string> certificates = {};
};

inline constexpr std::size_t kMaxJwksSize = 256 * 1024;
inline constexpr std::size_t kMaxJwks = 64;

/// One JWK of kind EC (P-256, P-384) or RSA (2048 to 8192 bits, an odd exponent from 3 on). RSA keys must say their
/// `alg`; EC keys have that of their curve, and may say no other. Refused: a use but `sig`, key operations without
/// `verify`, private members, an `x5c` whose first certificate has another key (section 4.7). Members that are not
/// known are ignored, as section 4 demands. `unsupported` for other kinds, curves, algorithms and uses; `key_invalid`,
/// `malformed` and the codec's errors for what is wrong.
[[nodiscard]] Result<Jwk> parse_jwk(std::string_view json);
/// A set, {"keys":[…]}. Keys that are `unsupported` are left out (section 5); any other mistake refuses the set, as does
/// a key id that comes twice (`duplicate_member`), and a set without a key that is left (`key_invalid`).
[[nodiscard]] Result<std::vector<Jwk>> parse_jwks(std::string_view json);
/// A set, a single JWK, or PEM of one EC public key (SubjectPublicKeyInfo): what people have in files.
[[nodiscard]] Result<std::vector<Jwk>> parse_keys(std::string_view text);

/// With alg, use and, unless it is empty, kid; without certificates.
[[nodiscard]] codec::json::Value to_json(const Jwk& key);
/// {"keys":[…]}.
[[nodiscard]] codec::json::Value to_json(const std::vector<Jwk>& keys);

/// RFC 7638 with SHA-256, base64url: a name that every holder of the key finds alike.
[[nodiscard]] std::string thumbprint(const PublicKey& key);

}  // namespace cloister::crypto::jose
