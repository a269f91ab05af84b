#include "cloister/crypto/jose.hpp"

#include "cloister/codec/text.hpp"
#include "jws.hpp"

namespace cloister::crypto::jose {
namespace {

namespace json = codec::json;

constexpr json::Limits kLimits{.bytes = kMaxTokenSize, .depth = 16, .values = 1024};

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

}  // namespace

Result<Jws> parse_jws(std::string_view token) {
  if (token.size() > kMaxTokenSize) {
    return Error{Errc::limit_exceeded, "token: at most " + std::to_string(kMaxTokenSize) + " bytes expected, got " +
                                           std::to_string(token.size())};
  }
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  if (first == std::string_view::npos || first == last || token.find('.', first + 1) != last) {
    return Error{Errc::malformed, "token: three parts with two dots between them expected"};
  }
  CLOISTER_TRY(header_bytes, decode(token.substr(0, first), "header"));
  CLOISTER_TRY(header, parse_header(header_bytes));
  CLOISTER_TRY(payload, decode(token.substr(first + 1, last - first - 1), "payload"));
  CLOISTER_TRY(signature, decode(token.substr(last + 1), "signature"));
  return Jws{std::move(header), token.substr(0, last), std::move(payload), std::move(signature)};
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

}  // namespace cloister::crypto::jose
