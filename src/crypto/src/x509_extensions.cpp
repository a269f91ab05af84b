#include "x509_extensions.hpp"

#include "x509_oids.hpp"
#include "x509_parts.hpp"

namespace cloister::crypto::x509::parts {
namespace {

namespace der = codec::der;
namespace tag = codec::der::tag;

/// OtherName: a type and one string, octet string or structure.
Result<void> check_other_name(ByteView contents) {
  der::Reader in{contents};
  static_cast<void>(in.oid());
  auto wrapper = in.enter(tag::context(0, true));
  const auto value = wrapper.any();
  if (!wrapper.failed() && value.tag != tag::kOctetString && value.tag != tag::kSequence && !valid_string(value)) {
    wrapper.fail(Errc::malformed, "otherName: a string, an OCTET STRING or a SEQUENCE expected");
  }
  in.absorb(wrapper);
  return in.finish();
}

Result<void> check_directory_name(ByteView contents) {
  der::Reader in{contents};
  const auto name = in.expect(tag::kSequence).contents;
  CLOISTER_CHECK(in.finish());
  if (const auto read = read_name(name); !read) return read.error();
  return {};
}

/// GeneralName (section 4.2.1.6) without x400Address and ediPartyName.
Result<void> check_general_name(const der::Element& name) {
  switch (name.tag) {
    case tag::context(0, true): return check_other_name(name.contents);
    case tag::context(1, false):  // rfc822Name
    case tag::context(2, false):  // dNSName
    case tag::context(6, false):  // uniformResourceIdentifier
      if (!is_ascii(name.contents)) return Error{Errc::malformed, "an IA5String of ASCII expected"};
      return {};
    case tag::context(4, true): return check_directory_name(name.contents);
    case tag::context(7, false): return {};  // iPAddress
    case tag::context(8, false): {           // registeredID
      const auto oid = der::element(tag::kOid, name.contents);
      der::Reader in{oid};
      static_cast<void>(in.oid());
      return in.finish();
    }
    default: return Error{Errc::malformed, "a GeneralName expected"};
  }
}

/// Contents of GeneralNames: at least one.
Result<void> check_general_names(ByteView contents) {
  der::Reader in{contents};
  do {
    const auto name = in.any();
    if (in.failed()) break;
    CLOISTER_CHECK(check_general_name(name));
  } while (!in.at_end());
  return in.finish();
}

Result<void> check_alternative_name(ByteView value) {
  der::Reader in{value};
  const auto names = in.expect(tag::kSequence).contents;
  CLOISTER_CHECK(in.finish());
  return check_general_names(names);
}

Result<void> check_extended_key_usage(ByteView value) {
  der::Reader in{value};
  auto purposes = in.enter(tag::kSequence);
  do {
    static_cast<void>(purposes.oid());
  } while (!purposes.failed() && !purposes.at_end());
  in.absorb(purposes);
  return in.finish();
}

/// DistributionPoint (section 4.2.1.13): a full name; reasons and a name relative to the issuer are not supported.
Result<void> check_distribution_point(ByteView contents) {
  der::Reader in{contents};
  const auto point = in.optional(tag::context(0, true));
  const auto issuer = in.optional(tag::context(2, true));
  CLOISTER_CHECK(in.finish());
  if (!point && !issuer) return Error{Errc::malformed, "a distributionPoint or a cRLIssuer expected"};
  if (issuer) CLOISTER_CHECK(check_general_names(issuer->contents));
  if (!point) return {};
  der::Reader choice{point->contents};
  const auto names = choice.expect(tag::context(0, true)).contents;
  CLOISTER_CHECK(choice.finish());
  return check_general_names(names);
}

Result<void> check_distribution_points(ByteView value) {
  der::Reader in{value};
  auto points = in.enter(tag::kSequence);
  do {
    const auto point = points.expect(tag::kSequence).contents;
    if (points.failed()) break;
    CLOISTER_CHECK(check_distribution_point(point));
  } while (!points.at_end());
  in.absorb(points);
  return in.finish();
}

/// GeneralSubtrees (section 4.2.1.10): bases alone, as the profile demands.
Result<void> check_subtrees(ByteView contents) {
  der::Reader in{contents};
  do {
    auto subtree = in.enter(tag::kSequence);
    const auto base = subtree.any();
    in.absorb(subtree);
    if (in.failed()) break;
    CLOISTER_CHECK(check_general_name(base));
  } while (!in.at_end());
  return in.finish();
}

Result<void> check_name_constraints(ByteView value) {
  der::Reader top{value};
  auto in = top.enter(tag::kSequence);
  const auto permitted = in.optional(tag::context(0, true));
  const auto excluded = in.optional(tag::context(1, true));
  if (!permitted && !excluded) in.fail(Errc::malformed, "permittedSubtrees or excludedSubtrees expected");
  top.absorb(in);
  CLOISTER_CHECK(top.finish());
  if (permitted) CLOISTER_CHECK(check_subtrees(permitted->contents));
  if (excluded) CLOISTER_CHECK(check_subtrees(excluded->contents));
  return {};
}

}  // namespace

Result<Bytes> read_authority_key_id(ByteView value) {
  der::Reader top{value};
  auto in = top.enter(tag::kSequence);
  const auto identifier = in.optional(tag::context(0, false));
  const auto issuer = in.optional(tag::context(1, true));
  const auto serial = in.optional(tag::context(2, false));
  if (issuer.has_value() != serial.has_value()) {
    in.fail(Errc::malformed, "authorityCertIssuer and authorityCertSerialNumber come together");
  }
  top.absorb(in);
  CLOISTER_CHECK(top.finish());
  if (issuer) {
    CLOISTER_CHECK(check_general_names(issuer->contents));
    const auto integer = der::element(tag::kInteger, serial->contents);
    der::Reader number{integer};
    CLOISTER_CHECK(check_serial(number.integer()));
    CLOISTER_CHECK(number.finish());
  }
  return identifier ? to_bytes(identifier->contents) : Bytes{};
}

Result<void> check_shape(const Extension& extension) {
  if (same_bytes(extension.oid, oids::kSubjectAltName)) {
    return at("subjectAltName", check_alternative_name(extension.value));
  }
  if (same_bytes(extension.oid, oids::kExtendedKeyUsage)) {
    return at("extKeyUsage", check_extended_key_usage(extension.value));
  }
  if (same_bytes(extension.oid, oids::kNameConstraints)) {
    return at("nameConstraints", check_name_constraints(extension.value));
  }
  if (same_bytes(extension.oid, oids::kDistributionPoints)) {
    return at("cRLDistributionPoints", check_distribution_points(extension.value));
  }
  return {};
}

}  // namespace cloister::crypto::x509::parts
