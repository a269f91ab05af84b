#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/x509.hpp"
#include "x509_extensions.hpp"
#include "x509_oids.hpp"
#include "x509_parts.hpp"

namespace cloister::crypto::x509 {
namespace {

namespace der = codec::der;
namespace tag = codec::der::tag;
using parts::at;

Result<EcPublicKey> read_ec_key(ByteView curve_oid, ByteView point) {
  const auto curve = same_bytes(curve_oid, oids::kP256) ? Curve::p256 : Curve::p384;
  if (point.empty() || point.front() != 0x04) {
    return Error{Errc::key_invalid, "an uncompressed point expected (SEC 1 section 2.3.3)"};
  }
  return EcPublicKey::from_xy(curve, point.subspan(1));
}

/// A positive INTEGER without its sign octet.
ByteView positive(der::Reader& in) {
  auto digits = in.integer();
  if (in.failed()) return {};
  if (digits.front() >= 0x80 || all_zero(digits)) in.fail(Errc::malformed, "a positive INTEGER expected");
  return digits.front() == 0 ? digits.subspan(1) : digits;
}

Result<RsaPublicKey> read_rsa_key(ByteView bits) {
  der::Reader top{bits};
  auto in = top.enter(tag::kSequence);
  const auto modulus = positive(in);
  const auto exponent = positive(in);
  top.absorb(in);
  CLOISTER_CHECK(top.finish());
  return RsaPublicKey{to_bytes(modulus), to_bytes(exponent)};
}

using PublicKey = decltype(Certificate::key);

Result<PublicKey> read_public_key(ByteView contents) {
  der::Reader in{contents};
  auto algorithm = in.enter(tag::kSequence);
  const auto type = algorithm.oid();
  const auto parameters = algorithm.at_end() ? der::Element{} : algorithm.any();
  in.absorb(algorithm);
  const auto bits = in.bit_string();
  CLOISTER_CHECK(in.finish());
  if (same_bytes(type, oids::kRsaKey)) {
    if (parameters.tag != tag::kNull || !parameters.contents.empty()) {
      return Error{Errc::malformed, "rsaEncryption: NULL parameters expected (RFC 3279 section 2.3.1)"};
    }
    CLOISTER_TRY(key, read_rsa_key(bits));
    return PublicKey{std::move(key)};
  }
  if (!same_bytes(type, oids::kEcKey)) return PublicKey{};
  if (parameters.tag != tag::kOid) {
    return Error{Errc::malformed, "id-ecPublicKey: a named curve expected (RFC 5480 section 2.1.1)"};
  }
  if (!same_bytes(parameters.contents, oids::kP256) && !same_bytes(parameters.contents, oids::kP384)) {
    return PublicKey{};
  }
  CLOISTER_TRY(key, read_ec_key(parameters.contents, bits));
  return PublicKey{std::move(key)};
}

Result<void> read_basic_constraints(ByteView value, Certificate& out) {
  der::Reader top{value};
  auto in = top.enter(tag::kSequence);
  out.is_ca = false;
  if (const auto flag = in.optional(tag::kBoolean)) {
    der::Reader field{flag->whole};
    out.is_ca = field.boolean();
    if (!field.failed() && !*out.is_ca) field.fail(Errc::not_canonical, "cA FALSE is the default: not written");
    in.absorb(field);
  }
  if (!in.failed() && !in.at_end()) {
    out.path_length = in.uint();
    if (!*out.is_ca) in.fail(Errc::malformed, "pathLenConstraint without cA (RFC 5280 section 4.2.1.9)");
  }
  top.absorb(in);
  return top.finish();
}

/// The named bits of KeyUsage as a big-endian word (RFC 5280 section 4.2.1.3: nine of them, at least one set).
Result<void> read_key_usage(ByteView value, Certificate& out) {
  der::Reader top{value};
  const auto contents = top.expect(tag::kBitString).contents;
  CLOISTER_CHECK(top.finish());
  const auto malformed = Error{Errc::malformed, "a BIT STRING of one to nine named bits expected"};
  if (contents.size() < 2 || contents.size() > 3 || contents.front() > 7) return malformed;
  const auto unused = static_cast<std::uint8_t>((1U << contents.front()) - 1U);
  if ((contents.back() & unused) != 0) return malformed;
  const unsigned second = contents.size() == 3 ? contents[2] : 0;
  out.key_usage = static_cast<std::uint16_t>(unsigned{contents[1]} << 8U | second);
  if (*out.key_usage == 0) return malformed;
  return {};
}

Result<void> read_subject_key_id(ByteView value, Certificate& out) {
  der::Reader top{value};
  out.subject_key_id = to_bytes(top.octet_string());
  return top.finish();
}

Result<void> read_known(const Extension& extension, Certificate& out) {
  if (same_bytes(extension.oid, oids::kBasicConstraints)) {
    return at("basicConstraints", read_basic_constraints(extension.value, out));
  }
  if (same_bytes(extension.oid, oids::kKeyUsage)) return at("keyUsage", read_key_usage(extension.value, out));
  if (same_bytes(extension.oid, oids::kSubjectKeyId)) {
    return at("subjectKeyIdentifier", read_subject_key_id(extension.value, out));
  }
  if (same_bytes(extension.oid, oids::kAuthorityKeyId)) {
    auto id = parts::read_authority_key_id(extension.value);
    if (!id) return id.error().in("authorityKeyIdentifier");
    out.authority_key_id = std::move(id).value();
    return {};
  }
  return parts::check_shape(extension);
}

/// TBSCertificate (RFC 5280 section 4.1).
Result<void> read_tbs(ByteView contents, ByteView outer_algorithm, Certificate& out) {
  der::Reader in{contents};
  auto version = in.enter(tag::context(0, true));
  if (const auto number = version.uint(); !version.failed() && number != 2) {
    version.fail(Errc::unsupported, "version 2 (v3) expected, got " + std::to_string(number));
  }
  in.absorb(version);
  const auto serial = in.integer();
  const auto algorithm = in.expect(tag::kSequence);
  const auto issuer = in.expect(tag::kSequence);
  auto validity = in.enter(tag::kSequence);
  out.not_before = validity.time();
  out.not_after = validity.time();
  in.absorb(validity);
  const auto subject = in.expect(tag::kSequence);
  const auto key = in.expect(tag::kSequence);
  const auto extensions = in.optional(tag::context(3, true));
  CLOISTER_CHECK(in.finish());

  CLOISTER_CHECK(parts::check_serial(serial));
  if (!same_bytes(algorithm.whole, outer_algorithm)) {
    return Error{Errc::malformed, "signature: differs from signatureAlgorithm (RFC 5280 section 4.1.1.2)"};
  }
  if (issuer.contents.empty()) return Error{Errc::malformed, "issuer: a name that is not empty expected"};
  auto issuer_name = parts::read_name(issuer.contents);
  if (!issuer_name) return issuer_name.error().in("issuer");
  auto subject_name = parts::read_name(subject.contents);
  if (!subject_name) return subject_name.error().in("subject");
  auto public_key = read_public_key(key.contents);
  if (!public_key) return public_key.error().in("subjectPublicKeyInfo");

  out.serial = to_bytes(serial);
  out.issuer = to_bytes(issuer.whole);
  out.subject = to_bytes(subject.whole);
  out.issuer_common_name = std::move(issuer_name).value();
  out.subject_common_name = std::move(subject_name).value();
  out.public_key_info = to_bytes(key.whole);
  out.key = std::move(public_key).value();
  if (!extensions) return {};

  der::Reader wrapper{extensions->contents};
  const auto list = wrapper.expect(tag::kSequence).contents;
  CLOISTER_CHECK(at("extensions", wrapper.finish()));
  auto read = parts::read_extensions(list);
  if (!read) return read.error().in("extensions");
  out.extensions = std::move(read).value();
  for (const auto& extension : out.extensions) CLOISTER_CHECK(read_known(extension, out));
  return {};
}

Result<void> read_certificate(ByteView bytes, Certificate& out) {
  if (bytes.size() > kMaxCertificateSize) {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(kMaxCertificateSize) + " bytes expected, got " +
                                           std::to_string(bytes.size())};
  }
  der::Reader top{bytes};
  auto in = top.enter(tag::kSequence);
  const auto tbs = in.expect(tag::kSequence);
  const auto algorithm = in.expect(tag::kSequence);
  const auto signature = in.bit_string();
  top.absorb(in);
  CLOISTER_CHECK(top.finish());
  CLOISTER_TRY(known, parts::read_signature_algorithm(algorithm.contents));
  out.der = to_bytes(bytes);
  out.tbs = SignedBytes{tbs.whole, known};
  out.algorithm = known;
  out.signature = to_bytes(signature);
  return at("tbsCertificate", read_tbs(tbs.contents, algorithm.whole, out));
}

}  // namespace

const Extension* Certificate::find(ByteView oid) const noexcept {
  const auto found = std::ranges::find_if(extensions, [&](const Extension& one) { return same_bytes(one.oid, oid); });
  return found == extensions.end() ? nullptr : &*found;
}

Result<CertificatePtr> parse_certificate(ByteView der) {
  auto out = std::make_shared<Certificate>();
  if (const auto read = read_certificate(der, *out); !read) {
    return Error{Errc::certificate_malformed, "certificate: " + read.error().detail()};
  }
  return CertificatePtr{std::move(out)};
}

Result<std::vector<CertificatePtr>> parse_chain(std::string_view pem, std::size_t max) {
  return parse_chain(pem, {}, max);
}

Result<std::vector<CertificatePtr>> parse_chain(std::string_view pem, std::span<const CertificatePtr> known,
                                                std::size_t max) {
  auto blocks = codec::parse_pem(pem, max);
  if (!blocks) return Error{Errc::certificate_malformed, blocks.error().detail()};
  if (blocks->empty()) return Error{Errc::certificate_malformed, "PEM: one certificate at least expected, got none"};
  std::vector<CertificatePtr> out;
  out.reserve(blocks->size());
  for (const auto& block : *blocks) {
    if (block.label != "CERTIFICATE") {
      return Error{Errc::certificate_malformed, "PEM: CERTIFICATE expected, got " + block.label};
    }
    const auto same = std::ranges::find_if(known, [&](const auto& one) { return same_bytes(one->der, block.der); });
    if (same != known.end()) {
      out.push_back(*same);
      continue;
    }
    CLOISTER_TRY(certificate, parse_certificate(block.der));
    out.push_back(std::move(certificate));
  }
  return out;
}

std::vector<CertificatePtr> leaf_first(std::vector<CertificatePtr> given) {
  const auto is_root = [](const Certificate& certificate) { return certificate.issuer == certificate.subject; };
  const auto issued_one = [&](const CertificatePtr& issuer) {
    return std::ranges::any_of(given, [&](const auto& one) { return one->issuer == issuer->subject && !is_root(*one); });
  };
  std::vector<CertificatePtr> ordered;
  std::ranges::copy_if(given, std::back_inserter(ordered), [&](const auto& one) { return !issued_one(one); });
  if (ordered.size() != 1) return given;
  while (ordered.size() < given.size()) {
    if (is_root(*ordered.back())) return given;
    const auto issuer = std::ranges::find(given, ordered.back()->issuer, [](const auto& one) -> const Bytes& { return one->subject; });
    if (issuer == given.end()) return given;
    ordered.push_back(*issuer);
  }
  return ordered;
}

}  // namespace cloister::crypto::x509
