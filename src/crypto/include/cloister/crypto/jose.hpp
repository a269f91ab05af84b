#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/jwk.hpp"

/// Compact JWS (RFC 7515). Base64url is canonical, JSON has no duplicate members.
namespace cloister::crypto::jose {

// --- our own tokens: EdDSA over Ed25519 (RFC 8037) ---
// A header has the members alg, kid and typ, and no others: so none that must be understood (`crit`), and none that
// brings a key along (`jwk`, `jku`, `x5c`, `x5u`).

inline constexpr std::size_t kMaxTokenSize = 16 * 1024;

/// Header {"alg":"EdDSA","kid":key_id,"typ":type}; `payload` is an object.
[[nodiscard]] std::string sign_ed25519(const Ed25519Key& key, std::string_view key_id, std::string_view type,
                                       const codec::json::Value& payload);

struct Unverified {
  std::string key_id;  // empty when absent
  std::string type;    // empty when absent
};
/// The header alone, to choose a key by. Nothing is verified.
[[nodiscard]] Result<Unverified> peek(std::string_view token);
/// The payload, an object, after the signature was verified. `signature_invalid`; `unsupported` for another algorithm;
/// `malformed` (another `typ` included), `unknown_member`, `duplicate_member` or `limit_exceeded` with the place.
[[nodiscard]] Result<codec::json::Value> verify_ed25519(std::string_view token, const Ed25519Public& key,
                                                        std::string_view type);

// --- tokens that others make too: ES256, ES384, RS256, PS384 ---

inline constexpr std::size_t kMaxSignedTokenSize = 1U << 20;

/// A token, decoded, of which nothing is verified. Nothing in a header is ever trusted or fetched: a key that it brings
/// (`jwk`) can only be compared with one that somebody trusts already; `jku` and `x5u` are not read, `x5c` is not decoded.
struct SignedToken {
  Algorithm algorithm;
  std::optional<std::string> key_id;
  std::optional<std::string> type;
  std::optional<PublicKey> key;    // `jwk` of the header
  bool brings_certificates;        // `x5c`, in the header or in its `jwk`
  std::vector<std::string> certificates;  // its texts (RFC 7515 section 4.1.6); empty when it is no list of texts
  std::string_view signing_input;  // a view into the token
  Bytes payload;
  Bytes signature;
};
/// `unsupported` for another algorithm, and for `crit` and `b64`, which would change what the signature means;
/// `malformed`, `duplicate_member` or `limit_exceeded` with the place.
[[nodiscard]] Result<SignedToken> parse_signed(std::string_view token);
/// `token_algorithm_mismatch` unless the token names the key's one algorithm; `signature_invalid`.
[[nodiscard]] Result<void> verify_signature(const SignedToken& token, const Jwk& key);
/// The payload as an object, strictly; for after the verification.
[[nodiscard]] Result<codec::json::Value> payload_of(const SignedToken& token);

/// Header {"alg":"ES256","kid":key_id,"typ":type}; `payload` is an object, `key` is on P-256 (asserted).
[[nodiscard]] std::string sign_es256(const EcPrivateKey& key, std::string_view key_id, std::string_view type,
                                     const codec::json::Value& payload);

}  // namespace cloister::crypto::jose
