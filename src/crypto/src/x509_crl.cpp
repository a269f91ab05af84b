#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/crypto/x509.hpp"
#include "x509_extensions.hpp"
#include "x509_oids.hpp"
#include "x509_parts.hpp"

namespace cloister::crypto::x509 {
namespace {

namespace der = codec::der;
namespace tag = codec::der::tag;
using parts::at;

bool before(ByteView a, ByteView b) noexcept { return std::ranges::lexicographical_compare(a, b); }

Error unknown_critical(const Extension& extension) {
  return Error{Errc::unsupported, der::oid_text(extension.oid) + " is critical and not known here"};
}

/// Nearly every entry's: one extension, not critical. What is not exactly that is left to the whole check.
bool is_one_plain_extension(ByteView contents) {
  der::Reader in{contents};
  auto one = in.enter(tag::kSequence);
  static_cast<void>(one.oid());
  static_cast<void>(one.octet_string());
  return one.finish().ok() && in.finish().ok();
}

/// Entry extensions only say why and since when; one that is critical (certificateIssuer of an indirect CRL, say)
/// changes what the entry means.
Result<void> check_entry_extensions(ByteView contents) {
  if (is_one_plain_extension(contents)) return {};
  CLOISTER_TRY(extensions, parts::read_extensions(contents));
  for (const auto& extension : extensions) {
    if (extension.critical) return unknown_critical(extension);
  }
  return {};
}

Result<std::vector<RevokedEntry>> read_entries(ByteView contents) {
  std::vector<RevokedEntry> out;
  der::Reader in{contents};
  do {
    auto entry = in.enter(tag::kSequence);
    const auto serial = entry.integer();
    const auto time = entry.time();
    const auto extensions = entry.optional(tag::kSequence);
    in.absorb(entry);
    if (in.failed()) break;
    CLOISTER_CHECK(parts::check_serial(serial));
    if (extensions) CLOISTER_CHECK(check_entry_extensions(extensions->contents));
    out.push_back({to_bytes(serial), time});
  } while (!in.at_end());
  CLOISTER_CHECK(in.finish());
  std::ranges::stable_sort(out, before, &RevokedEntry::serial);
  return out;
}

Result<void> read_number(ByteView value, Crl& out) {
  der::Reader in{value};
  const auto digits = in.integer();
  CLOISTER_CHECK(in.finish());
  if (digits.front() >= 0x80 || digits.size() > 21) {
    return Error{Errc::malformed, "a non-negative INTEGER of at most 20 octets expected (RFC 5280 section 5.2.3)"};
  }
  der::Reader again{value};
  const auto number = again.uint();
  if (again.finish().ok()) out.number = number;
  return {};
}

Result<void> read_crl_extension(const Extension& extension, Crl& out) {
  if (same_bytes(extension.oid, oids::kDeltaCrl)) return Error{Errc::unsupported, "a delta CRL"};
  if (same_bytes(extension.oid, oids::kIssuingPoint)) {
    return Error{Errc::unsupported, "issuingDistributionPoint: a CRL of a part, or an indirect one"};
  }
  if (same_bytes(extension.oid, oids::kCrlNumber)) return at("cRLNumber", read_number(extension.value, out));
  if (same_bytes(extension.oid, oids::kAuthorityKeyId)) {
    auto id = parts::read_authority_key_id(extension.value);
    if (!id) return id.error().in("authorityKeyIdentifier");
    out.authority_key_id = std::move(id).value();
    return {};
  }
  if (extension.critical) return unknown_critical(extension);
  return {};
}

/// TBSCertList (RFC 5280 section 5.1).
Result<void> read_tbs(ByteView contents, ByteView outer_algorithm, Crl& out) {
  der::Reader in{contents};
  if (const auto version = in.uint(); !in.failed() && version != 1) {
    in.fail(Errc::unsupported, "version 1 (v2) expected, got " + std::to_string(version));
  }
  const auto algorithm = in.expect(tag::kSequence);
  const auto issuer = in.expect(tag::kSequence);
  out.this_update = in.time();
  const auto next = [&]() -> std::optional<UnixTime> {
    auto element = in.optional(tag::kUtcTime);
    if (!element) element = in.optional(tag::kGeneralizedTime);
    if (!element) return std::nullopt;
    der::Reader field{element->whole};
    const auto time = field.time();
    in.absorb(field);
    return time;
  }();
  out.next_update = next;
  const auto entries = in.optional(tag::kSequence);
  const auto extensions = in.optional(tag::context(0, true));
  CLOISTER_CHECK(in.finish());

  if (!same_bytes(algorithm.whole, outer_algorithm)) {
    return Error{Errc::malformed, "signature: differs from signatureAlgorithm (RFC 5280 section 5.1.1.2)"};
  }
  if (issuer.contents.empty()) return Error{Errc::malformed, "issuer: a name that is not empty expected"};
  auto name = parts::read_name(issuer.contents);
  if (!name) return name.error().in("issuer");
  out.issuer = to_bytes(issuer.whole);
  out.issuer_common_name = std::move(name).value();
  if (entries) {
    auto read = read_entries(entries->contents);
    if (!read) return read.error().in("revokedCertificates");
    out.revoked = std::move(read).value();
  }
  if (!extensions) return {};

  der::Reader wrapper{extensions->contents};
  const auto list = wrapper.expect(tag::kSequence).contents;
  CLOISTER_CHECK(at("crlExtensions", wrapper.finish()));
  auto read = parts::read_extensions(list);
  if (!read) return read.error().in("crlExtensions");
  for (const auto& extension : *read) CLOISTER_CHECK(at("crlExtensions", read_crl_extension(extension, out)));
  return {};
}

Result<void> read_crl(ByteView bytes, Crl& out) {
  if (bytes.size() > kMaxCrlSize) {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(kMaxCrlSize) + " bytes expected, got " +
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
  return at("tbsCertList", read_tbs(tbs.contents, algorithm.whole, out));
}

}  // namespace

bool Crl::revokes(ByteView serial) const noexcept {
  const auto found = std::ranges::lower_bound(revoked, serial, before, &RevokedEntry::serial);
  return found != revoked.end() && same_bytes(found->serial, serial);
}

Result<Crl> parse_crl(ByteView der) {
  Crl out;
  if (const auto read = read_crl(der, out); !read) {
    return Error{Errc::collateral_malformed, "CRL: " + read.error().detail()};
  }
  return out;
}

}  // namespace cloister::crypto::x509
