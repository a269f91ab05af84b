#pragma once

#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/jwk.hpp"

/// Compact JWS below the level of JSON payloads.
namespace cloister::crypto::jose {

struct Header {
  std::string key_id;  // empty when absent
  std::string type;    // empty when absent
};

struct Jws {
  Header header;
  std::string_view signing_input;  // a view into the token
  Bytes payload;
  Bytes signature;
};

/// Splits and decodes; nothing is verified.
[[nodiscard]] Result<Jws> parse_jws(std::string_view token);
/// The payload, after the signature was verified.
[[nodiscard]] Result<Bytes> verified_payload(const Jws& jws, const Ed25519Public& key);
[[nodiscard]] std::string sign_jws(const Ed25519Key& key, std::string_view header, ByteView payload);
[[nodiscard]] std::string sign_jws(const EcPrivateKey& key, std::string_view header, ByteView payload);

/// The members of a JWK that make the key (`kty` and its own), without what it may be used for.
[[nodiscard]] Result<PublicKey> read_public_key(const codec::json::Value& value);
[[nodiscard]] Result<Jwk> read_jwk(const codec::json::Value& value);
/// A member in base64url; fails `fields` for what is none.
[[nodiscard]] Bytes base64url(codec::json::Fields& fields, std::string_view name);
[[nodiscard]] bool same_key(const PublicKey& a, const PublicKey& b);

}  // namespace cloister::crypto::jose
