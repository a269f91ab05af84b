#include "cloister/crypto/jwe.hpp"

#include <array>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/aes.hpp"
#include "jws.hpp"

namespace cloister::crypto::jose {
namespace {

namespace json = codec::json;

constexpr std::string_view kEcdh = "ECDH-ES+A256KW";
constexpr std::string_view kOaep = "RSA-OAEP-256";
constexpr std::string_view kContent = "A256GCM";
constexpr std::size_t kKeySize = 32;
constexpr std::size_t kIvSize = 12;
constexpr json::Limits kHeaderLimits{.bytes = 16U << 10, .depth = 8, .values = 256};
constexpr json::Limits kLimits{.bytes = kMaxJweSize, .depth = 4, .values = 64};
/// Of the header; each changes what the rest means (RFC 7516 section 4.1, RFC 7518 section 4.6.1).
constexpr std::array kNotSupported = {"crit", "zip", "apu", "apv"};

std::string_view curve_name(DhCurve curve) noexcept {
  switch (curve) {
    case DhCurve::p256: return "P-256";
    case DhCurve::p384: return "P-384";
    case DhCurve::p521: return "P-521";
  }
  return "";
}

std::optional<DhCurve> curve_of(std::string_view name) noexcept {
  for (const auto curve : {DhCurve::p256, DhCurve::p384, DhCurve::p521}) {
    if (curve_name(curve) == name) return curve;
  }
  return std::nullopt;
}

Error unsupported(std::string detail) { return Error{Errc::unsupported, std::move(detail)}; }

/// The members that say where the point is (RFC 7518 section 6.2.1).
Result<DhPublicKey> read_point(json::Fields& fields) {
  const auto name = fields.string("crv");
  auto x = base64url(fields, "x");
  const auto y = base64url(fields, "y");
  CLOISTER_CHECK(fields.finish());
  const auto curve = curve_of(name);
  if (!curve) return unsupported("JWK crv: P-256, P-384 or P-521 expected, got " + name);
  const auto size = coordinate_size(*curve);
  if (x.size() != size || y.size() != size) {
    return Error{Errc::key_invalid, "JWK x and y: " + std::to_string(size) + " bytes each expected"};
  }
  append(x, y);
  return DhPublicKey::from_xy(*curve, x);
}

/// What the key that wraps the content key is bound to (RFC 7518 section 4.6.2); PartyUInfo and PartyVInfo are empty.
Bytes other_info() {
  codec::Writer out;
  out.u32be(static_cast<std::uint32_t>(kEcdh.size()));
  out.raw(as_bytes(kEcdh));
  out.u32be(0);
  out.u32be(0);
  out.u32be(kKeySize * 8);
  return std::move(out).take();
}

Result<SecretBytes> wrapping_key(const DhPrivateKey& mine, const DhPublicKey& theirs) {
  CLOISTER_TRY(shared, mine.agree(theirs));
  return concat_kdf(shared, other_info(), kKeySize);
}

json::Object point_members(const DhPublicKey& key) {
  const ByteView xy = key.xy();
  return {{"crv", curve_name(key.curve())},
          {"kty", "EC"},
          {"x", codec::to_base64url(xy.first(xy.size() / 2))},
          {"y", codec::to_base64url(xy.last(xy.size() / 2))}};
}

struct WrappedKey {
  json::Object header;
  Bytes encrypted;
};

Result<WrappedKey> wrap(const DhPublicKey& key, const Secret<kKeySize>& content) {
  const auto ephemeral = DhPrivateKey::generate(key.curve());
  CLOISTER_TRY(wrapping, wrapping_key(ephemeral, key));
  return WrappedKey{{{"alg", kEcdh}, {"enc", kContent}, {"epk", point_members(ephemeral.public_key())}},
                    aes_key_wrap(wrapping.reveal(), content.reveal())};
}

Result<WrappedKey> wrap(const RsaPublicKey& key, const Secret<kKeySize>& content) {
  CLOISTER_TRY(encrypted, rsa_oaep_encrypt(key, content.reveal()));
  return WrappedKey{{{"alg", kOaep}, {"enc", kContent}}, std::move(encrypted)};
}

Result<void> check_algorithm(const json::Value& header, std::string_view expected) {
  json::Fields fields{header, "JWE header"};
  const auto algorithm = fields.string("alg");
  const auto content = fields.string("enc");
  CLOISTER_CHECK(fields.finish_lenient());
  if (algorithm != expected) return unsupported("JWE alg: " + std::string{expected} + " expected, got " + algorithm);
  if (content != kContent) return unsupported("JWE enc: " + std::string{kContent} + " expected, got " + content);
  for (const auto* member : kNotSupported) {
    if (header.find(member) != nullptr) return unsupported("JWE header: " + std::string{member} + " is not supported");
  }
  return {};
}

Result<SecretBytes> unwrap(const DhPrivateKey& key, const json::Value& header, ByteView encrypted) {
  CLOISTER_CHECK(check_algorithm(header, kEcdh));
  json::Fields fields{header, "JWE header"};
  const auto& epk = fields.object("epk");
  CLOISTER_CHECK(fields.finish_lenient());
  json::Fields members{epk, "JWE epk"};
  if (const auto kind = members.string("kty"); !members.failed() && kind != "EC") return unsupported("JWE epk: kty EC expected");
  CLOISTER_TRY(theirs, read_point(members));
  CLOISTER_TRY(wrapping, wrapping_key(key, theirs));
  return aes_key_unwrap(wrapping.reveal(), encrypted);
}

Result<SecretBytes> unwrap(const RsaOaepKey& key, const json::Value& header, ByteView encrypted) {
  CLOISTER_CHECK(check_algorithm(header, kOaep));
  return key.decrypt(encrypted);
}

}  // namespace

Result<EncryptionKey> EncryptionKey::parse(const json::Value& jwk) {
  json::Fields fields{jwk, "JWK"};
  const auto kind = fields.string("kty");
  const auto algorithm = fields.string("alg");
  if (fields.failed()) return fields.finish_lenient().error();
  if (kind == "EC") {
    if (algorithm != kEcdh) return unsupported("JWK alg: " + std::string{kEcdh} + " expected, got " + algorithm);
    CLOISTER_TRY(key, read_point(fields));
    return EncryptionKey{std::move(key)};
  }
  if (kind != "RSA") return unsupported("JWK kty: EC or RSA expected, got " + kind);
  if (algorithm != kOaep) return unsupported("JWK alg: " + std::string{kOaep} + " expected, got " + algorithm);
  static_cast<void>(fields.string("n"));
  static_cast<void>(fields.string("e"));
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(key, read_public_key(jwk));
  return EncryptionKey{std::get<RsaPublicKey>(std::move(key))};
}

std::string_view EncryptionKey::algorithm() const noexcept {
  return std::holds_alternative<DhPublicKey>(key_) ? kEcdh : kOaep;
}

json::Value EncryptionKey::to_json() const {
  if (const auto* point = std::get_if<DhPublicKey>(&key_)) {
    const ByteView xy = point->xy();
    return json::Object{{"kty", "EC"},
                        {"crv", curve_name(point->curve())},
                        {"alg", kEcdh},
                        {"x", codec::to_base64url(xy.first(xy.size() / 2))},
                        {"y", codec::to_base64url(xy.last(xy.size() / 2))}};
  }
  const auto& rsa = std::get<RsaPublicKey>(key_);
  return json::Object{
      {"kty", "RSA"}, {"alg", kOaep}, {"n", codec::to_base64url(rsa.modulus)}, {"e", codec::to_base64url(rsa.exponent)}};
}

EncryptionKey DecryptionKey::public_key() const {
  return std::visit([](const auto& key) { return EncryptionKey{key.public_key()}; }, key_);
}

Result<Jwe> encrypt(const EncryptionKey& key, ByteView plaintext, Random& random) {
  const auto content = Secret<kKeySize>::random(random);
  CLOISTER_TRY(wrapped, std::visit([&](const auto& one) { return wrap(one, content); }, key.key()));
  Jwe out;
  out.protected_header = codec::to_base64url(as_bytes(json::write(json::Value{std::move(wrapped.header)})));
  out.encrypted_key = std::move(wrapped.encrypted);
  const auto iv = random.array<kIvSize>();
  out.iv = to_bytes(ByteView{iv});
  out.ciphertext = aes_gcm_seal(content.reveal(), iv, as_bytes(out.protected_header), plaintext);
  out.tag = to_bytes(ByteView{out.ciphertext}.last(kTagSize));
  out.ciphertext.resize(out.ciphertext.size() - kTagSize);
  return out;
}

Result<SecretBytes> decrypt(const Jwe& message, const DecryptionKey& key) {
  CLOISTER_TRY(header_bytes, codec::from_base64url(message.protected_header));
  CLOISTER_TRY(header, json::parse(as_text(header_bytes), kHeaderLimits));
  CLOISTER_TRY(content, std::visit([&](const auto& one) { return unwrap(one, header, message.encrypted_key); }, key.key()));
  if (content.size() != kKeySize || message.iv.size() != kIvSize || message.tag.size() != kTagSize) {
    return Error{Errc::decryption_failed, "JWE: a content key of 32, an iv of 12 and a tag of 16 bytes expected"};
  }
  auto sealed = message.ciphertext;
  append(sealed, message.tag);
  return aes_gcm_open(content.reveal(), to_array<kIvSize>(message.iv), as_bytes(message.protected_header), sealed);
}

std::string write(const Jwe& message) {
  // Base64url has no character that JSON escapes; the header is written as it is.
  std::string out = "{\"protected\":\"";
  const std::array members{std::pair{"encrypted_key", &message.encrypted_key}, std::pair{"iv", &message.iv},
                           std::pair{"ciphertext", &message.ciphertext}, std::pair{"tag", &message.tag}};
  out += message.protected_header;
  for (const auto& [name, bytes] : members) {
    ((out += "\",\"") += name) += "\":\"";
    out += codec::to_base64url(*bytes);
  }
  return out += "\"}";
}

Result<Jwe> parse_jwe(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("JWE");
  json::Fields fields{*value, "JWE"};
  Jwe out;
  out.protected_header = fields.string("protected");
  out.encrypted_key = base64url(fields, "encrypted_key");
  out.iv = base64url(fields, "iv");
  out.ciphertext = base64url(fields, "ciphertext");
  out.tag = base64url(fields, "tag");
  const auto associated = fields.optional_string("aad");
  CLOISTER_CHECK(fields.finish());
  if (associated && !associated->empty()) return unsupported("JWE: aad is not supported");
  return out;
}

}  // namespace cloister::crypto::jose
