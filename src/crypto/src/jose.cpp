#include "cloister/crypto/jose.hpp"

#include "cloister/codec/text.hpp"
#include "jws.hpp"
#include "x509_rsa.hpp"

namespace cloister::crypto::jose {
namespace {

namespace json = codec::json;

constexpr json::Limits kLimits{.bytes = kMaxTokenSize, .depth = 16, .values = 1024};
constexpr json::Limits kSignedLimits{.bytes = kMaxSignedTokenSize, .depth = 32, .values = 100'000};

Result<Bytes> decode(std::string_view part, std::string_view place) {
  auto bytes = codec::from_base64url(part);
  if (!bytes) return Error{Errc::malformed, "token " + std::string{place} + ": " + bytes.error().detail()};
  return bytes;
}

/// Unknown members are refused, and with them `crit` and every way to bring a key along (jwk, jku, x5c, x5u).
Result<Header> parse_header(ByteView bytes) {
  auto value = json::parse(as_text(bytes), kLimits);
  if (!value) return value.error().in("token header");
  json::Fields fields{*value, "token header"};
  if (const auto algorithm = fields.string("alg"); !fields.failed() && algorithm != "EdDSA") {
    fields.fail(Errc::unsupported, "alg", "EdDSA expected");
  }
  Header out;
  out.key_id = fields.optional_string("kid").value_or("");
  out.type = fields.optional_string("typ").value_or("");
  CLOISTER_CHECK(fields.finish());
  return out;
}

struct Parts {
  Bytes header;
  Bytes payload;
  Bytes signature;
  std::string_view signing_input;
};

Result<Parts> split(std::string_view token, std::size_t at_most) {
  if (token.size() > at_most) {
    return Error{Errc::limit_exceeded, "token: at most " + std::to_string(at_most) + " bytes expected, got " +
                                           std::to_string(token.size())};
  }
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  if (first == std::string_view::npos || first == last || token.find('.', first + 1) != last) {
    return Error{Errc::malformed, "token: three parts with two dots between them expected"};
  }
  CLOISTER_TRY(header, decode(token.substr(0, first), "header"));
  CLOISTER_TRY(payload, decode(token.substr(first + 1, last - first - 1), "payload"));
  CLOISTER_TRY(signature, decode(token.substr(last + 1), "signature"));
  return Parts{std::move(header), std::move(payload), std::move(signature), token.substr(0, last)};
}

}  // namespace

Result<Jws> parse_jws(std::string_view token) {
  CLOISTER_TRY(parts, split(token, kMaxTokenSize));
  CLOISTER_TRY(header, parse_header(parts.header));
  return Jws{std::move(header), parts.signing_input, std::move(parts.payload), std::move(parts.signature)};
}

Result<Bytes> verified_payload(const Jws& jws, const Ed25519Public& key) {
  CLOISTER_CHECK(ed25519_verify(key, as_bytes(jws.signing_input), jws.signature));
  return jws.payload;
}

std::string sign_jws(const Ed25519Key& key, std::string_view header, ByteView payload) {
  auto token = codec::to_base64url(as_bytes(header)) + "." + codec::to_base64url(payload);
  token += "." + codec::to_base64url(key.sign(as_bytes(token)));
  return token;
}

std::string sign_jws(const EcPrivateKey& key, std::string_view header, ByteView payload) {
  auto token = codec::to_base64url(as_bytes(header)) + "." + codec::to_base64url(payload);
  token += "." + codec::to_base64url(key.sign(as_bytes(token)));
  return token;
}

std::string sign_ed25519(const Ed25519Key& key, std::string_view key_id, std::string_view type,
                         const json::Value& payload) {
  json::Value header{json::Object{}};
  header.set("alg", "EdDSA").set("kid", key_id).set("typ", type);
  return sign_jws(key, json::write(header), as_bytes(json::write(payload)));
}

Result<Unverified> peek(std::string_view token) {
  CLOISTER_TRY(jws, parse_jws(token));
  return Unverified{std::move(jws.header.key_id), std::move(jws.header.type)};
}

Result<json::Value> verify_ed25519(std::string_view token, const Ed25519Public& key, std::string_view type) {
  CLOISTER_TRY(jws, parse_jws(token));
  CLOISTER_TRY(payload, verified_payload(jws, key));
  if (jws.header.type != type) {
    return Error{Errc::malformed, "token header: typ \"" + std::string{type} + "\" expected"};
  }
  auto value = json::parse(as_text(payload), kLimits);
  if (!value) return value.error().in("token payload");
  if (value->as_object() == nullptr) return Error{Errc::malformed, "token payload: an object expected"};
  return value;
}

namespace {

std::vector<std::string> texts_of(const json::Value* list) {
  std::vector<std::string> out;
  if (list == nullptr || list->as_array() == nullptr) return out;
  for (const auto& item : *list->as_array()) {
    if (item.as_string() == nullptr) return {};
    out.push_back(*item.as_string());
  }
  return out;
}

}  // namespace

Result<SignedToken> parse_signed(std::string_view token) {
  CLOISTER_TRY(parts, split(token, kMaxSignedTokenSize));
  auto value = json::parse(as_text(parts.header), kLimits);
  if (!value) return value.error().in("token header");
  json::Fields fields{*value, "token header"};
  const auto name = fields.string("alg");
  auto key_id = fields.optional_string("kid");
  auto type = fields.optional_string("typ");
  const auto* jwk = fields.optional_object("jwk");
  const auto* chain = fields.optional_any("x5c");
  CLOISTER_CHECK(fields.finish_lenient());
  for (const auto* changing : {"crit", "b64"}) {
    if (value->find(changing) != nullptr) {
      return Error{Errc::unsupported, std::string{"token header: "} + changing + " is not supported"};
    }
  }
  const auto algorithm = algorithm_from_string(name);
  if (!algorithm) return Error{Errc::unsupported, "token header: ES256, ES384, RS256 or PS384 expected, got " + name};
  std::optional<PublicKey> key;
  if (jwk != nullptr) {
    auto read = read_public_key(*jwk);
    if (!read) return read.error().in("token header");
    key = *std::move(read);
  }
  if (chain == nullptr && jwk != nullptr) chain = jwk->find("x5c");
  return SignedToken{*algorithm,
                     std::move(key_id),
                     std::move(type),
                     std::move(key),
                     chain != nullptr,
                     texts_of(chain),
                     parts.signing_input,
                     std::move(parts.payload),
                     std::move(parts.signature)};
}

Result<void> verify_signature(const SignedToken& token, const Jwk& key) {
  if (token.algorithm != key.algorithm) {
    return Error{Errc::token_algorithm_mismatch, "token: signed with " + std::string{to_string(token.algorithm)} +
                                                     ", and the key is one for " + std::string{to_string(key.algorithm)}};
  }
  const auto message = as_bytes(token.signing_input);
  if (const auto* ec = std::get_if<EcPublicKey>(&key.key)) return ec->verify(message, token.signature);
  const auto& rsa = std::get<x509::RsaPublicKey>(key.key);
  // RFC 8017 sections 8.1.2 and 8.2.2, step 1.
  if (token.signature.size() != rsa.modulus.size()) {
    return Error{Errc::signature_invalid, "RSA: a signature of " + std::to_string(rsa.modulus.size()) + " bytes expected"};
  }
  const auto scheme = key.algorithm == Algorithm::ps384 ? x509::RsaScheme{"SHA2-384", true} : x509::RsaScheme{"SHA2-256", false};
  return x509::verify_rsa(rsa, scheme, message, token.signature);
}

Result<json::Value> payload_of(const SignedToken& token) {
  auto value = json::parse(as_text(token.payload), kSignedLimits);
  if (!value) return value.error().in("token payload");
  if (value->as_object() == nullptr) return Error{Errc::malformed, "token payload: an object expected"};
  return value;
}

std::string sign_es256(const EcPrivateKey& key, std::string_view key_id, std::string_view type, const json::Value& payload) {
  CLOISTER_ASSERT(key.public_key().curve() == Curve::p256);
  json::Value header{json::Object{}};
  header.set("alg", "ES256").set("kid", key_id).set("typ", type);
  return sign_jws(key, json::write(header), as_bytes(json::write(payload)));
}

}  // namespace cloister::crypto::jose
