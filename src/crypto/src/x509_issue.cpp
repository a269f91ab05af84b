#include <openssl/sha.h>

#include <algorithm>

#include "cloister/codec/der.hpp"
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

Bytes encode_key(const EcPublicKey& key) {
  const auto curve = key.curve() == Curve::p256 ? oid_element(oids::kP256) : oid_element(oids::kP384);
  return der::sequence({der::sequence({oid_element(oids::kEcKey), curve}), der::bit_string(uncompressed(key))});
}

Bytes encode_algorithm(Curve curve) {
  return der::sequence({curve == Curve::p256 ? oid_element(oids::kEcdsaSha256) : oid_element(oids::kEcdsaSha384)});
}

Bytes encode_extension(const Extension& extension) {
  if (!extension.critical) return der::sequence({oid_element(extension.oid), der::octet_string(extension.value)});
  return der::sequence({oid_element(extension.oid), der::boolean(true), der::octet_string(extension.value)});
}

Extension authority_key_id(ByteView id) {
  return {to_bytes(oids::kAuthorityKeyId), false, der::sequence({der::element(tag::context(0, false), id)})};
}

/// Named bits without their trailing zeros (X.690 section 11.2.2).
Bytes encode_key_usage(std::uint16_t bits) {
  CLOISTER_ASSERT(bits != 0);
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
  if (!spec.authority_key_id.empty()) out.push_back(encode_extension(authority_key_id(spec.authority_key_id)));
  out.push_back(
      encode_extension({to_bytes(oids::kSubjectKeyId), false, der::octet_string(key_id(spec.key))}));
  out.push_back(encode_extension({to_bytes(oids::kKeyUsage), true, encode_key_usage(spec.key_usage)}));
  out.push_back(encode_extension({to_bytes(oids::kBasicConstraints), true, encode_basic_constraints(spec)}));
  for (const auto& extension : spec.extensions) out.push_back(encode_extension(extension));
  return out;
}

Bytes signed_by(const EcPrivateKey& issuer, const Bytes& tbs) {
  return der::sequence({tbs, encode_algorithm(issuer.public_key().curve()), der::bit_string(issuer.sign_der(tbs))});
}

Bytes encode_entries(const std::vector<RevokedEntry>& revoked) {
  std::vector<Bytes> entries;
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
  if (!name.locality.empty()) append_attribute(out, "2.5.4.7", der::utf8_string(name.locality));
  if (!name.state.empty()) append_attribute(out, "2.5.4.8", der::utf8_string(name.state));
  if (!name.country.empty()) append_attribute(out, "2.5.4.6", der::printable_string(name.country));
  return der::sequence(out);
}

Bytes key_id(const EcPublicKey& key) {
  const auto point = uncompressed(key);
  Bytes out(SHA_DIGEST_LENGTH);
  std::size_t size = 0;
  ossl::must(EVP_Q_digest(nullptr, "SHA1", nullptr, point.data(), point.size(), out.data(), &size));
  CLOISTER_ASSERT(size == out.size());
  return out;
}

Bytes issue_certificate(const CertificateSpec& spec, const EcPrivateKey& issuer_key) {
  const auto tbs = der::sequence({der::explicit_tag(0, der::integer(2)), der::unsigned_integer(spec.serial),
                                  encode_algorithm(issuer_key.public_key().curve()), spec.issuer,
                                  der::sequence({der::time(spec.not_before), der::time(spec.not_after)}), spec.subject,
                                  encode_key(spec.key),
                                  der::explicit_tag(3, der::sequence(encode_extensions(spec)))});
  return signed_by(issuer_key, tbs);
}

Bytes issue_crl(const CrlSpec& spec, const EcPrivateKey& issuer_key) {
  std::vector<Bytes> extensions;
  if (!spec.authority_key_id.empty()) extensions.push_back(encode_extension(authority_key_id(spec.authority_key_id)));
  extensions.push_back(encode_extension({to_bytes(oids::kCrlNumber), false, der::integer(spec.number)}));
  std::vector<Bytes> members{der::integer(1), encode_algorithm(issuer_key.public_key().curve()), spec.issuer,
                             der::time(spec.this_update), der::time(spec.next_update)};
  if (!spec.revoked.empty()) members.push_back(encode_entries(spec.revoked));
  members.push_back(der::explicit_tag(0, der::sequence(extensions)));
  return signed_by(issuer_key, der::sequence(members));
}

}  // namespace cloister::crypto::x509
