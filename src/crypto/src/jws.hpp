#pragma once

#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"

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

}  // namespace cloister::crypto::jose
