#pragma once

#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"

/// Compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037): the only algorithm that is made or accepted here.
/// A header has the members alg, kid and typ, and no others: so none that must be understood (`crit`), and none that
/// brings a key along (`jwk`, `jku`, `x5c`, `x5u`). Base64url is canonical, JSON has no duplicate members.
namespace cloister::crypto::jose {

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

}  // namespace cloister::crypto::jose
