#pragma once

#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"

/// Compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037): the only algorithm that is made or accepted here.
namespace cloister::crypto::jose {

/// Header {"alg":"EdDSA","kid":key_id,"typ":type}.
[[nodiscard]] std::string sign_ed25519(const Ed25519Key& key, std::string_view key_id, std::string_view type,
                                       const codec::json::Value& payload);

struct Unverified {
  std::string key_id;
  std::string type;
};
/// The header alone, to choose a key by; refuses any alg but EdDSA, `crit`, and keys in the header.
[[nodiscard]] Result<Unverified> peek(std::string_view token);
/// The payload, after the signature was verified; `signature_invalid`, or `malformed` with the place.
[[nodiscard]] Result<codec::json::Value> verify_ed25519(std::string_view token, const Ed25519Public& key,
                                                        std::string_view type);

}  // namespace cloister::crypto::jose
