#include "cloister/crypto/jwk.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "jws.hpp"
#include "x509_oids.hpp"

namespace cloister::crypto::jose {
namespace {

namespace json = codec::json;

constexpr json::Limits kLimits{.bytes = kMaxJwksSize, .depth = 8, .values = 4096};
constexpr std::size_t kMinModulus = 256;   // bytes
constexpr std::size_t kMaxModulus = 1024;
constexpr std::size_t kMaxExponent = 8;
constexpr std::array kPrivateMembers = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

Error unsupported(std::string detail) { return Error{Errc::unsupported, "JWK: " + std::move(detail)}; }
Error invalid(std::string detail) { return Error{Errc::key_invalid, "JWK: " + std::move(detail)}; }

Result<PublicKey> ec_key(json::Fields& fields) {
  const auto curve_name = fields.string("crv");
  auto x = base64url(fields, "x");
  const auto y = base64url(fields, "y");
  CLOISTER_CHECK(fields.finish_lenient());
  if (curve_name != "P-256" && curve_name != "P-384") return unsupported("crv " + curve_name);
  const auto curve = curve_name == "P-256" ? Curve::p256 : Curve::p384;
  // Each coordinate has the full width of the field (RFC 7518 section 6.2.1.2).
  if (x.size() != field_size(curve) || y.size() != field_size(curve)) {
    return invalid("x and y: " + std::to_string(field_size(curve)) + " bytes each expected");
  }
  append(x, y);
  CLOISTER_TRY(key, EcPublicKey::from_xy(curve, x));
  return PublicKey{std::move(key)};
}

/// Keys of a chip's library whose primes are of the form k*M + 65537^a mod M, M the product of the first primes: such a
/// modulus is a power of 65537 modulo each of them, and can be factored (Nemec et al., "The Return of Coppersmith's
/// Attack", CCS 2017, section 2.3; CVE-2017-15361).
bool can_be_factored(ByteView modulus) {
  constexpr std::array<unsigned, 38> kPrimes = {3,  5,  7,  11, 13, 17, 19, 23,  29,  31,  37,  41,  43,  47,  53,  59,  61,  67,  71,
                                                73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167};
  return std::ranges::all_of(kPrimes, [&](unsigned prime) {
    unsigned rest = 0;
    for (const auto byte : modulus) rest = (rest * 256 + byte) % prime;
    unsigned power = 1;
    for (unsigned i = 0; i < prime && power != rest; ++i) power = power * (65537 % prime) % prime;
    return power == rest;
  });
}

Result<PublicKey> rsa_key(json::Fields& fields) {
  x509::RsaPublicKey key{base64url(fields, "n"), base64url(fields, "e")};
  CLOISTER_CHECK(fields.finish_lenient());
  if (key.modulus.empty() || key.modulus.front() == 0 || key.exponent.empty() || key.exponent.front() == 0) {
    return invalid("n and e without leading zeros expected (RFC 7518 section 6.3.1)");
  }
  if (key.modulus.size() < kMinModulus || key.modulus.size() > kMaxModulus) return invalid("n: 2048 to 8192 bits expected");
  if ((key.modulus.back() & 1U) == 0) return invalid("n: an odd number expected");
  const bool odd = (key.exponent.back() & 1U) != 0;
  const bool one = key.exponent.size() == 1 && key.exponent.front() == 1;
  if (!odd || one || key.exponent.size() > kMaxExponent) return invalid("e: an odd number from 3 on expected");
  if (can_be_factored(key.modulus)) return invalid("n: a key that can be factored (CVE-2017-15361)");
  return PublicKey{std::move(key)};
}

/// Signing is what the key is for, as far as it says.
Result<void> check_use(json::Fields& fields) {
  if (const auto use = fields.optional_string("use"); use && *use != "sig") return unsupported("use " + *use);
  const auto& operations = fields.optional_array("key_ops");
  if (operations.empty()) return {};
  const auto verifies = [](const json::Value& one) { return one.as_string() != nullptr && *one.as_string() == "verify"; };
  if (std::ranges::none_of(operations, verifies)) return unsupported("key_ops without verify");
  return {};
}

/// RFC 7517 section 4.7: the first certificate's key is this one.
Result<std::vector<std::string>> read_certificates(json::Fields& fields, const PublicKey& key) {
  std::vector<std::string> out;
  for (const auto& one : fields.optional_array("x5c")) {
    const auto* text = one.as_string();
    if (text == nullptr) return Error{Errc::malformed, "JWK x5c: base64 expected"};
    out.push_back(*text);
  }
  if (out.empty()) return out;
  CLOISTER_TRY(der, codec::from_base64(out.front()));
  CLOISTER_TRY(certificate, x509::parse_certificate(der));
  const auto* ec = std::get_if<EcPublicKey>(&certificate->key);
  const auto* rsa = std::get_if<x509::RsaPublicKey>(&certificate->key);
  const bool same = (ec != nullptr && same_key(PublicKey{*ec}, key)) || (rsa != nullptr && same_key(PublicKey{*rsa}, key));
  if (!same) return invalid("x5c: its first certificate has another key");
  return out;
}

Algorithm algorithm_of(Curve curve) { return curve == Curve::p256 ? Algorithm::es256 : Algorithm::es384; }

/// The one algorithm of this key.
Result<Algorithm> bind_algorithm(const PublicKey& key, const std::optional<std::string>& name) {
  const auto named = name ? algorithm_from_string(*name) : std::nullopt;
  if (name && !named) return unsupported("alg " + *name);
  const auto* ec = std::get_if<EcPublicKey>(&key);
  if (ec != nullptr) {
    const auto own = algorithm_of(ec->curve());
    if (named && *named != own) return invalid("alg " + *name + " is not that of the curve");
    return own;
  }
  if (!named) return unsupported("an RSA key that does not say its alg");
  if (*named != Algorithm::rs256 && *named != Algorithm::ps384) return invalid("alg " + *name + " is not for RSA keys");
  return *named;
}

/// An EC key's SubjectPublicKeyInfo (RFC 5480 section 2).
Result<Jwk> from_public_key_info(ByteView der) {
  namespace der_tag = codec::der::tag;
  codec::der::Reader top{der};
  auto info = top.enter(der_tag::kSequence);
  auto algorithm = info.enter(der_tag::kSequence);
  const auto type = algorithm.oid();
  const auto parameters = algorithm.at_end() ? codec::der::Element{} : algorithm.any();
  info.absorb(algorithm);
  const auto point = info.bit_string();
  top.absorb(info);
  if (auto done = top.finish(); !done) return done.error().in("public key");
  const bool p256 = same_bytes(parameters.contents, x509::oids::kP256);
  if (!same_bytes(type, x509::oids::kEcKey) || (!p256 && !same_bytes(parameters.contents, x509::oids::kP384))) {
    return Error{Errc::unsupported, "public key: P-256 or P-384 expected; give an RSA key as a JWK, which says its alg"};
  }
  if (point.empty() || point.front() != 0x04) return Error{Errc::key_invalid, "public key: an uncompressed point expected"};
  const auto curve = p256 ? Curve::p256 : Curve::p384;
  CLOISTER_TRY(key, EcPublicKey::from_xy(curve, point.subspan(1)));
  return Jwk{PublicKey{std::move(key)}, algorithm_of(curve), {}};
}

std::string encoded(ByteView bytes) { return codec::to_base64url(bytes); }

/// The members that make the key, in the order of RFC 7638 section 3.2.
json::Object required_members(const PublicKey& key) {
  if (const auto* ec = std::get_if<EcPublicKey>(&key)) {
    const ByteView xy = ec->xy();
    return json::Object{{"crv", ec->curve() == Curve::p256 ? "P-256" : "P-384"},
                        {"kty", "EC"},
                        {"x", encoded(xy.first(xy.size() / 2))},
                        {"y", encoded(xy.last(xy.size() / 2))}};
  }
  const auto& rsa = std::get<x509::RsaPublicKey>(key);
  return json::Object{{"e", encoded(rsa.exponent)}, {"kty", "RSA"}, {"n", encoded(rsa.modulus)}};
}

}  // namespace

Bytes base64url(json::Fields& fields, std::string_view name) {
  const auto text = fields.string(name);
  if (fields.failed()) return {};
  auto bytes = codec::from_base64url(text);
  if (bytes) return std::move(bytes).value();
  fields.fail(bytes.error().code(), name, bytes.error().detail());
  return {};
}

std::string_view to_string(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::es256: return "ES256";
    case Algorithm::es384: return "ES384";
    case Algorithm::rs256: return "RS256";
    case Algorithm::ps384: return "PS384";
  }
  return "";
}

std::optional<Algorithm> algorithm_from_string(std::string_view name) noexcept {
  for (const auto one : {Algorithm::es256, Algorithm::es384, Algorithm::rs256, Algorithm::ps384}) {
    if (to_string(one) == name) return one;
  }
  return std::nullopt;
}

bool same_key(const PublicKey& a, const PublicKey& b) { return thumbprint(a) == thumbprint(b); }

Result<PublicKey> read_public_key(const json::Value& value) {
  json::Fields fields{value, "JWK"};
  const auto kind = fields.string("kty");
  if (fields.failed()) return fields.finish_lenient().error();
  if (kind == "EC") return ec_key(fields);
  if (kind == "RSA") return rsa_key(fields);
  return unsupported("kty " + kind);
}

Result<Jwk> read_jwk(const json::Value& value) {
  if (value.as_object() == nullptr) return Error{Errc::malformed, "JWK: an object expected"};
  json::Fields fields{value, "JWK"};
  const auto kind = fields.string("kty");
  const auto key_id = fields.optional_string("kid").value_or("");
  const auto name = fields.optional_string("alg");
  if (fields.failed()) return fields.finish_lenient().error();
  if (kind != "EC" && kind != "RSA") return unsupported("kty " + kind);
  CLOISTER_CHECK(check_use(fields));
  for (const auto* member : kPrivateMembers) {
    if (value.find(member) != nullptr) return invalid(std::string{"a public key expected, and it has "} + member);
  }
  CLOISTER_TRY(key, read_public_key(value));
  CLOISTER_TRY(algorithm, bind_algorithm(key, name));
  CLOISTER_TRY(certificates, read_certificates(fields, key));
  CLOISTER_CHECK(fields.finish_lenient());
  return Jwk{std::move(key), algorithm, key_id, std::move(certificates)};
}

Result<Jwk> parse_jwk(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("JWK");
  return read_jwk(*value);
}

Result<std::vector<Jwk>> parse_jwks(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("JWK set");
  json::Fields fields{*value, "JWK set"};
  const auto& members = fields.array("keys");
  CLOISTER_CHECK(fields.finish_lenient());
  if (members.size() > kMaxJwks) return Error{Errc::limit_exceeded, "JWK set: at most 64 keys expected"};
  std::vector<Jwk> out;
  for (const auto& member : members) {
    auto key = read_jwk(member);
    if (!key && key.error().code() == Errc::unsupported) continue;
    if (!key) return key.error().in("JWK set");
    const auto same_id = [&](const Jwk& other) { return !key->key_id.empty() && other.key_id == key->key_id; };
    if (std::ranges::any_of(out, same_id)) {
      return Error{Errc::duplicate_member, "JWK set: the key id \"" + key->key_id + "\" comes twice"};
    }
    out.push_back(*std::move(key));
  }
  if (out.empty()) return Error{Errc::key_invalid, "JWK set: no key that verifies ES256, ES384, RS256 or PS384"};
  return out;
}

Result<std::vector<Jwk>> parse_keys(std::string_view text) {
  if (text.find("-----BEGIN ") != std::string_view::npos) {
    CLOISTER_TRY(blocks, codec::parse_pem(text, 1));
    if (blocks.front().label != "PUBLIC KEY") return Error{Errc::unsupported, "PEM: a PUBLIC KEY block expected"};
    CLOISTER_TRY(key, from_public_key_info(blocks.front().der));
    return std::vector{std::move(key)};
  }
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("keys");
  if (value->find("keys") != nullptr) return parse_jwks(text);
  CLOISTER_TRY(key, read_jwk(*value));
  return std::vector{std::move(key)};
}

json::Value to_json(const Jwk& key) {
  json::Value out{required_members(key.key)};
  out.set("alg", to_string(key.algorithm)).set("use", "sig");
  if (!key.key_id.empty()) out.set("kid", key.key_id);
  return out;
}

json::Value to_json(const std::vector<Jwk>& keys) {
  json::Array out;
  for (const auto& key : keys) out.push_back(to_json(key));
  return json::Object{{"keys", std::move(out)}};
}

std::string thumbprint(const PublicKey& key) {
  return encoded(sha256(as_bytes(json::write(json::Value{required_members(key)}))));
}

}  // namespace cloister::crypto::jose
