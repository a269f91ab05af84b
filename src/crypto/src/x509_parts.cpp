#include "x509_parts.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "public_digest.hpp"
#include "x509_oids.hpp"

namespace cloister::crypto::x509 {
namespace {

MessageDigest digest_of(SignatureAlgorithm algorithm, ByteView bytes) {
  switch (algorithm) {
    case SignatureAlgorithm::ecdsa_sha256:
    case SignatureAlgorithm::rsa_pkcs1_sha256: return public_sha256({bytes});
    case SignatureAlgorithm::ecdsa_sha384:
    case SignatureAlgorithm::rsa_pss_sha384:
    case SignatureAlgorithm::rsa_pkcs1_sha384: return public_sha384({bytes});
    case SignatureAlgorithm::other: return {};
  }
  return {};
}

}  // namespace

SignedBytes::SignedBytes(ByteView bytes, SignatureAlgorithm algorithm)
    : bytes_{to_bytes(bytes)}, digest_{digest_of(algorithm, bytes)} {}

}  // namespace cloister::crypto::x509

namespace cloister::crypto::x509::parts {
namespace {

namespace der = codec::der;
namespace tag = codec::der::tag;

bool is_printable(ByteView text) {
  static constexpr std::string_view kMarks = " '()+,-./:=?";
  return std::ranges::all_of(text, [](std::uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

/// AlgorithmIdentifier of SHA-384; its NULL may be absent (RFC 4055 section 2.1).
bool read_sha384(der::Reader& in) {
  auto algorithm = in.enter(tag::kSequence);
  const bool known = same_bytes(algorithm.oid(), oids::kSha384);
  if (const auto null = algorithm.optional(tag::kNull); null && !null->contents.empty()) return false;
  in.absorb(algorithm);
  return known;
}

/// RSASSA-PSS-params that are exactly SHA-384, MGF1 with SHA-384, 48 bytes of salt, trailer 1.
bool is_pss_sha384(ByteView contents) {
  der::Reader in{contents};
  auto hash = in.enter(tag::context(0, true));
  bool known = read_sha384(hash);
  in.absorb(hash);
  auto mask = in.enter(tag::context(1, true));
  auto generator = mask.enter(tag::kSequence);
  known = same_bytes(generator.oid(), oids::kMgf1) && read_sha384(generator) && known;
  mask.absorb(generator);
  in.absorb(mask);
  auto salt = in.enter(tag::context(2, true));
  known = salt.uint() == 48 && known;
  in.absorb(salt);
  if (const auto trailer = in.optional(tag::context(3, true))) {
    der::Reader field{trailer->contents};
    known = field.uint() == 1 && known;
    in.absorb(field);
  }
  return in.finish().ok() && known;
}

}  // namespace

bool is_ascii(ByteView text) {
  return std::ranges::all_of(text, [](std::uint8_t c) { return c < 0x80; });
}

bool valid_string(const der::Element& value) {
  if (std::ranges::find(value.contents, 0) != value.contents.end()) return false;
  switch (value.tag) {
    case tag::kUtf8String: return codec::is_utf8(value.contents);
    case tag::kPrintableString: return is_printable(value.contents);
    case tag::kIa5String: return is_ascii(value.contents);
    default: return false;
  }
}

Result<std::string> read_name(ByteView contents) {
  std::string common_name;
  bool named = false;
  der::Reader in{contents};
  while (!in.failed() && !in.at_end()) {
    auto relative = in.enter(tag::kSet);
    ByteView previous;
    do {
      const auto attribute = relative.expect(tag::kSequence);
      der::Reader pair{attribute.contents};
      const auto type = pair.oid();
      const auto value = pair.any();
      relative.absorb(pair);
      if (!relative.failed() && !valid_string(value)) {
        relative.fail(Errc::malformed, der::oid_text(type) + ": a UTF8String, PrintableString or IA5String expected");
      }
      if (std::ranges::lexicographical_compare(attribute.whole, previous)) {
        relative.fail(Errc::not_canonical, "a set in DER order expected");
      }
      previous = attribute.whole;
      if (relative.failed() || !same_bytes(type, oids::kCommonName)) continue;
      if (named) relative.fail(Errc::malformed, "one commonName expected, got a second");
      common_name = std::string{as_text(value.contents)};
      named = true;
    } while (!relative.failed() && !relative.at_end());
    in.absorb(relative);
  }
  CLOISTER_CHECK(in.finish());
  return common_name;
}

Result<SignatureAlgorithm> read_signature_algorithm(ByteView contents) {
  der::Reader in{contents};
  const auto type = in.oid();
  const auto parameters = in.at_end() ? der::Element{} : in.any();
  CLOISTER_CHECK(in.finish());
  const bool absent = parameters.whole.empty();
  const bool null = parameters.tag == tag::kNull && parameters.contents.empty();
  const auto plain = [&](SignatureAlgorithm algorithm, bool fits) -> Result<SignatureAlgorithm> {
    if (!fits) return Error{Errc::malformed, der::oid_text(type) + ": parameters that do not belong to it"};
    return algorithm;
  };
  // RFC 5758 section 3.2: no parameters; RFC 4055 section 5: NULL.
  if (same_bytes(type, oids::kEcdsaSha256)) return plain(SignatureAlgorithm::ecdsa_sha256, absent);
  if (same_bytes(type, oids::kEcdsaSha384)) return plain(SignatureAlgorithm::ecdsa_sha384, absent);
  if (same_bytes(type, oids::kRsaSha256)) return plain(SignatureAlgorithm::rsa_pkcs1_sha256, null);
  if (same_bytes(type, oids::kRsaSha384)) return plain(SignatureAlgorithm::rsa_pkcs1_sha384, null);
  if (same_bytes(type, oids::kRsaPss) && parameters.tag == tag::kSequence && is_pss_sha384(parameters.contents)) {
    return SignatureAlgorithm::rsa_pss_sha384;
  }
  return SignatureAlgorithm::other;
}

Result<std::vector<Extension>> read_extensions(ByteView contents) {
  std::vector<Extension> out;
  der::Reader in{contents};
  do {
    auto one = in.enter(tag::kSequence);
    const auto type = one.oid();
    bool critical = false;
    if (const auto flag = one.optional(tag::kBoolean)) {
      der::Reader value{flag->whole};
      critical = value.boolean();
      if (!value.failed() && !critical) value.fail(Errc::not_canonical, "critical FALSE is the default: not written");
      one.absorb(value);
    }
    const auto value = one.octet_string();
    in.absorb(one);
    if (in.failed()) break;
    if (std::ranges::any_of(out, [&](const Extension& known) { return same_bytes(known.oid, type); })) {
      in.fail(Errc::malformed, der::oid_text(type) + " comes twice");
      break;
    }
    out.push_back({to_bytes(type), critical, to_bytes(value)});
  } while (!in.at_end());
  CLOISTER_CHECK(in.finish());
  return out;
}

Result<void> check_serial(ByteView contents) {
  static constexpr std::size_t kMost = 21;  // 20 octets (RFC 5280 section 4.1.2.2) and one for the sign
  if (contents.size() <= kMost) return {};
  return Error{Errc::malformed, "serialNumber: at most 21 octets expected, got " + std::to_string(contents.size())};
}

}  // namespace cloister::crypto::x509::parts
