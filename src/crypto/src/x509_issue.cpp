#include <openssl/sha.h>

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/crypto/rsa_pss.hpp"
#include "cloister/crypto/x509.hpp"
#include "openssl.hpp"
#include "x509_oids.hpp"

namespace cloister::crypto::x509 {
namespace {

namespace der = codec::der;
namespace tag = codec::der::tag;

Bytes oid_element(ByteView contents) { return der::element(tag::kOid, contents); }

void append_attribute(std::vector<Bytes>& out, std::string_view type, Bytes value) {
  out.push_back(der::set_of({der::sequence({der::object_id(type), std::move(value)})}));
}

Bytes uncompressed(const EcPublicKey& key) {
  Bytes point{0x04};
  append(point, key.xy());
  return point;
}

/// What the BIT STRING of a SubjectPublicKeyInfo holds: a point, or RSAPublicKey (RFC 8017, A.1.1).
Bytes key_contents(const SubjectKey& key) {
  if (const auto* point = std::get_if<EcPublicKey>(&key)) return uncompressed(*point);
  const auto& rsa = std::get<RsaPublicKey>(key);
  return der::sequence({der::unsigned_integer(rsa.modulus), der::unsigned_integer(rsa.exponent)});
}

Bytes key_algorithm(const SubjectKey& key) {
  const auto* point = std::get_if<EcPublicKey>(&key);
  if (point == nullptr) return der::sequence({oid_element(oids::kRsaKey), der::null()});
  return der::sequence(
      {oid_element(oids::kEcKey), point->curve() == Curve::p256 ? oid_element(oids::kP256) : oid_element(oids::kP384)});
}

Bytes encode_key(const SubjectKey& key) { return der::sequence({key_algorithm(key), der::bit_string(key_contents(key))}); }

Bytes algorithm_of(const EcPrivateKey& issuer) {
  return der::sequence({issuer.public_key().curve() == Curve::p256 ? oid_element(oids::kEcdsaSha256)
                                                                   : oid_element(oids::kEcdsaSha384)});
}

/// RSASSA-PSS-params (RFC 4055 section 3.1): SHA-384, MGF1 of SHA-384, 48 bytes of salt.
Bytes algorithm_of(const RsaPssKey&) {
  const auto hash = der::sequence({oid_element(oids::kSha384), der::null()});
  const auto mask = der::sequence({oid_element(oids::kMgf1), hash});
  const auto parameters = der::sequence(
      {der::explicit_tag(0, hash), der::explicit_tag(1, mask), der::explicit_tag(2, der::integer(48))});
  return der::sequence({oid_element(oids::kRsaPss), parameters});
}

Bytes sign(const EcPrivateKey& issuer, ByteView tbs) { return issuer.sign_der(tbs); }
Bytes sign(const RsaPssKey& issuer, ByteView tbs) { return issuer.sign(tbs); }

Bytes encode_extension(const Extension& extension) {
  if (!extension.critical) return der::sequence({oid_element(extension.oid), der::octet_string(extension.value)});
  return der::sequence({oid_element(extension.oid), der::boolean(true), der::octet_string(extension.value)});
}

Extension authority_key_id(ByteView id) {
  return {to_bytes(oids::kAuthorityKeyId), false, der::sequence({der::element(tag::context(0, false), id)})};
}

/// Named bits without their trailing zeros (X.690 section 11.2.2).
Bytes encode_key_usage(std::uint16_t bits) {
  Bytes octets{static_cast<std::uint8_t>(bits >> 8)};
  if ((bits & 0xFFU) != 0) octets.push_back(static_cast<std::uint8_t>(bits));
  unsigned unused = 0;
  while ((octets.back() >> unused & 1U) == 0) ++unused;
  return der::bit_string(octets, unused);
}

Bytes encode_basic_constraints(const CertificateSpec& spec) {
  CLOISTER_ASSERT(spec.is_ca || !spec.path_length);
  if (!spec.is_ca) return der::sequence(std::vector<Bytes>{});
  if (!spec.path_length) return der::sequence({der::boolean(true)});
  return der::sequence({der::boolean(true), der::integer(*spec.path_length)});
}

std::vector<Bytes> encode_extensions(const CertificateSpec& spec) {
  std::vector<Bytes> out;
  if (spec.key_usage != 0) {
    if (!spec.authority_key_id.empty()) out.push_back(encode_extension(authority_key_id(spec.authority_key_id)));
    out.push_back(
        encode_extension({to_bytes(oids::kSubjectKeyId), false, der::octet_string(key_id(spec.key))}));
    out.push_back(encode_extension({to_bytes(oids::kKeyUsage), true, encode_key_usage(spec.key_usage)}));
    out.push_back(encode_extension({to_bytes(oids::kBasicConstraints), true, encode_basic_constraints(spec)}));
  }
  CLOISTER_ASSERT(spec.key_usage != 0 || !spec.is_ca);
  for (const auto& extension : spec.extensions) out.push_back(encode_extension(extension));
  return out;
}

template <class Key>
Bytes signed_by(const Key& issuer, const Bytes& tbs) {
  return der::sequence({tbs, algorithm_of(issuer), der::bit_string(sign(issuer, tbs))});
}

Bytes encode_entries(const std::vector<RevokedEntry>& revoked) {
  std::vector<Bytes> entries;
  entries.reserve(revoked.size());
  for (const auto& entry : revoked) {
    entries.push_back(der::sequence({der::element(tag::kInteger, entry.serial), der::time(entry.at)}));
  }
  return der::sequence(entries);
}

}  // namespace

Bytes encode_name(const NameSpec& name) {
  std::vector<Bytes> out;
  append_attribute(out, "2.5.4.3", der::utf8_string(name.common_name));
  if (!name.organization.empty()) append_attribute(out, "2.5.4.10", der::utf8_string(name.organization));
  if (!name.organizational_unit.empty()) append_attribute(out, "2.5.4.11", der::utf8_string(name.organizational_unit));
  if (!name.locality.empty()) append_attribute(out, "2.5.4.7", der::utf8_string(name.locality));
  if (!name.state.empty()) append_attribute(out, "2.5.4.8", der::utf8_string(name.state));
  if (!name.country.empty()) append_attribute(out, "2.5.4.6", der::printable_string(name.country));
  return der::sequence(out);
}

Bytes key_id(const SubjectKey& key) {
  const auto contents = key_contents(key);
  Bytes out(SHA_DIGEST_LENGTH);
  std::size_t size = 0;
  ossl::must(EVP_Q_digest(nullptr, "SHA1", nullptr, contents.data(), contents.size(), out.data(), &size));
  CLOISTER_ASSERT(size == out.size());
  return out;
}

namespace {

template <class Key>
Bytes certificate_by(const CertificateSpec& spec, const Key& issuer_key) {
  const auto tbs = der::sequence({der::explicit_tag(0, der::integer(2)), der::unsigned_integer(spec.serial),
                                  algorithm_of(issuer_key), spec.issuer,
                                  der::sequence({der::time(spec.not_before), der::time(spec.not_after)}), spec.subject,
                                  encode_key(spec.key),
                                  der::explicit_tag(3, der::sequence(encode_extensions(spec)))});
  return signed_by(issuer_key, tbs);
}

template <class Key>
Bytes crl_by(const CrlSpec& spec, const Key& issuer_key) {
  std::vector<Bytes> extensions;
  if (!spec.authority_key_id.empty()) extensions.push_back(encode_extension(authority_key_id(spec.authority_key_id)));
  extensions.push_back(encode_extension({to_bytes(oids::kCrlNumber), false, der::integer(spec.number)}));
  std::vector<Bytes> members{der::integer(1), algorithm_of(issuer_key), spec.issuer,
                             der::time(spec.this_update), der::time(spec.next_update)};
  if (!spec.revoked.empty()) members.push_back(encode_entries(spec.revoked));
  members.push_back(der::explicit_tag(0, der::sequence(extensions)));
  return signed_by(issuer_key, der::sequence(members));
}

}  // namespace

Bytes issue_certificate(const CertificateSpec& spec, const EcPrivateKey& issuer_key) { return certificate_by(spec, issuer_key); }
Bytes issue_certificate(const CertificateSpec& spec, const RsaPssKey& issuer_key) { return certificate_by(spec, issuer_key); }
Bytes issue_crl(const CrlSpec& spec, const EcPrivateKey& issuer_key) { return crl_by(spec, issuer_key); }
Bytes issue_crl(const CrlSpec& spec, const RsaPssKey& issuer_key) { return crl_by(spec, issuer_key); }

}  // namespace cloister::crypto::x509
