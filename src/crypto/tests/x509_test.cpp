#include "cloister/crypto/x509.hpp"

#include <gtest/gtest.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/rsa_pss.hpp"
#include "openssl.hpp"
#include "support/support.hpp"

namespace cloister::crypto::x509 {
namespace {

/// What it says, but for the last bit.
template <class Signed>
SignedBytes with_a_changed_bit(const Signed& one) {
  auto bytes = one.tbs.bytes();
  bytes.back() ^= 1;
  return SignedBytes{bytes, one.algorithm};
}

namespace der = codec::der;
namespace tag = codec::der::tag;

const auto kFrom = from_civil(2025, 1, 1, 0, 0, 0).value();
const auto kTo = from_civil(2051, 2, 3, 4, 5, 6).value();  // beyond UTCTime

Bytes joined(const std::vector<Bytes>& parts) {
  Bytes out;
  for (const auto& part : parts) append(out, part);
  return out;
}

Bytes extension(std::string_view oid, bool critical, const Bytes& value) {
  if (!critical) return der::sequence({der::object_id(oid), der::octet_string(value)});
  return der::sequence({der::object_id(oid), der::boolean(true), der::octet_string(value)});
}

Bytes attribute(std::string_view oid, const Bytes& value) {
  return der::sequence({der::object_id(oid), value});
}

Bytes name_of(const Bytes& relative) { return der::sequence({relative}); }

const EcPrivateKey& test_key() {
  static const auto key = EcPrivateKey::derive(Curve::p256, as_bytes("x509"), as_bytes("test"));
  return key;
}

Bytes encode_key(const EcPublicKey& key) {
  Bytes point{0x04};
  append(point, key.xy());
  const auto* curve = key.curve() == Curve::p256 ? "1.2.840.10045.3.1.7" : "1.3.132.0.34";
  return der::sequence(
      {der::sequence({der::object_id("1.2.840.10045.2.1"), der::object_id(curve)}), der::bit_string(point)});
}

/// Every part of a certificate as one encoded element, so that a test can break one of them.
struct Draft {
  Bytes version = der::explicit_tag(0, der::integer(2));
  Bytes serial = der::integer(7);
  Bytes inner_algorithm = der::sequence({der::object_id("1.2.840.10045.4.3.2")});
  Bytes outer_algorithm = inner_algorithm;
  Bytes issuer = encode_name({"Issuer", "", "", "", ""});
  Bytes validity = der::sequence({der::time(kFrom), der::time(kTo)});
  Bytes subject = encode_name({"Subject", "", "", "", ""});
  Bytes key = encode_key(test_key().public_key());
  Bytes unique_ids;
  std::vector<Bytes> extensions{extension("2.5.29.19", true, der::sequence(std::vector<Bytes>{}))};
  Bytes wrapped_extensions;  // in place of `extensions`, when not empty
  Bytes after;               // behind the signature

  [[nodiscard]] Bytes tbs() const {
    const auto list = wrapped_extensions.empty() ? der::explicit_tag(3, der::sequence(extensions)) : wrapped_extensions;
    return der::element(tag::kSequence, joined({version, serial, inner_algorithm, issuer, validity, subject, key,
                                                unique_ids, list}));
  }
  [[nodiscard]] Bytes build() const {
    return der::element(tag::kSequence, joined({tbs(), outer_algorithm, der::bit_string(test_key().sign_der(tbs())),
                                                after}));
  }
};

class CertificateRefusal : public testing::Test {
 protected:
  /// Expects that the draft is refused with this in the detail.
  void refuses(std::string_view part) const {
    const auto parsed = parse_certificate(draft.build());
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().code(), Errc::certificate_malformed);
    EXPECT_NE(parsed.error().detail().find(part), std::string::npos) << parsed.error().text();
  }
  void add(std::string_view oid, const Bytes& value) { draft.extensions.push_back(extension(oid, false, value)); }
  Draft draft;
};

TEST_F(CertificateRefusal, DoesNotMeetTheDraftItself) { EXPECT_TRUE(parse_certificate(draft.build()).ok()); }

TEST_F(CertificateRefusal, OfTrailingBytes) {
  auto bytes = draft.build();
  bytes.push_back(0);
  EXPECT_EQ(parse_certificate(bytes).error().code(), Errc::certificate_malformed);
}
TEST_F(CertificateRefusal, OfAFourthMember) {
  draft.after = der::null();
  refuses("");
}
TEST_F(CertificateRefusal, OfTruncationAnywhere) {
  const auto bytes = draft.build();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(parse_certificate(ByteView{bytes}.first(size)).ok()) << size;
  }
}
TEST_F(CertificateRefusal, OfMoreBytesThanTheLimit) {
  EXPECT_NE(parse_certificate(Bytes(kMaxCertificateSize + 1)).error().detail().find("at most"), std::string::npos);
}
TEST_F(CertificateRefusal, OfVersion1) {
  draft.version = {};
  refuses("tag");
}
TEST_F(CertificateRefusal, OfVersion2) {
  draft.version = der::explicit_tag(0, der::integer(1));
  refuses("version 2 (v3) expected");
}
TEST_F(CertificateRefusal, OfALongSerialNumber) {
  draft.serial = der::element(tag::kInteger, Bytes(22, 0x11));
  refuses("serialNumber");
}
TEST_F(CertificateRefusal, OfAPaddedSerialNumber) {
  draft.serial = der::element(tag::kInteger, Bytes{0, 7});
  refuses("");
}
TEST_F(CertificateRefusal, OfAlgorithmsThatDiffer) {
  draft.outer_algorithm = der::sequence({der::object_id("1.2.840.10045.4.3.3")});
  refuses("differs from signatureAlgorithm");
}
TEST_F(CertificateRefusal, OfEcdsaWithParameters) {
  draft.inner_algorithm = der::sequence({der::object_id("1.2.840.10045.4.3.2"), der::null()});
  draft.outer_algorithm = draft.inner_algorithm;
  refuses("parameters that do not belong to it");
}
TEST_F(CertificateRefusal, OfRsaWithoutNull) {
  draft.inner_algorithm = der::sequence({der::object_id("1.2.840.113549.1.1.11")});
  draft.outer_algorithm = draft.inner_algorithm;
  refuses("parameters that do not belong to it");
}
TEST_F(CertificateRefusal, OfAnEmptyIssuer) {
  draft.issuer = der::sequence(std::vector<Bytes>{});
  refuses("issuer");
}
TEST_F(CertificateRefusal, OfAnEmptySetInAName) {
  draft.subject = name_of(der::set_of({}));
  refuses("subject");
}
TEST_F(CertificateRefusal, OfASecondCommonName) {
  const auto one = der::set_of({attribute("2.5.4.3", der::utf8_string("a"))});
  draft.subject = der::sequence({one, one});
  refuses("one commonName expected");
}
TEST_F(CertificateRefusal, OfASetOutOfOrder) {
  const auto a = attribute("2.5.4.3", der::utf8_string("a"));
  const auto b = attribute("2.5.4.10", der::utf8_string("b"));
  EXPECT_LT(a, b);
  draft.subject = name_of(der::element(tag::kSet, joined({b, a})));
  refuses("DER order");
}
TEST_F(CertificateRefusal, OfANulInAName) {
  draft.subject = name_of(der::set_of({attribute("2.5.4.3", der::utf8_string(std::string_view{"a\0b", 3}))}));
  refuses("UTF8String, PrintableString or IA5String");
}
TEST_F(CertificateRefusal, OfAnotherStringType) {
  draft.subject = name_of(der::set_of({attribute("2.5.4.3", der::element(0x14, as_bytes("T61")))}));
  refuses("UTF8String, PrintableString or IA5String");
}
TEST_F(CertificateRefusal, OfForeignCharacters) {
  draft.subject = name_of(der::set_of({attribute("2.5.4.3", der::element(tag::kPrintableString, as_bytes("a@b")))}));
  refuses("PrintableString");
  draft.subject = name_of(der::set_of({attribute("2.5.4.3", der::element(tag::kIa5String, as_bytes("\xC3\xA4")))}));
  refuses("IA5String");
  draft.subject = name_of(der::set_of({attribute("2.5.4.3", der::element(tag::kUtf8String, as_bytes("\xC3")))}));
  refuses("UTF8String");
}
TEST_F(CertificateRefusal, OfADateThatIsNone) {
  draft.validity =
      der::sequence({der::element(tag::kUtcTime, as_bytes("250229000000Z")), der::time(kTo)});
  refuses("");
}
TEST_F(CertificateRefusal, OfADateWithoutSeconds) {
  draft.validity = der::sequence({der::element(tag::kUtcTime, as_bytes("2502280000Z")), der::time(kTo)});
  refuses("");
}
TEST_F(CertificateRefusal, OfAPointOffItsCurve) {
  draft.key.back() ^= 1;
  refuses("not on the curve");
}
TEST_F(CertificateRefusal, OfACompressedPoint) {
  Bytes point{0x02};
  append(point, ByteView{test_key().public_key().xy()}.first(32));
  draft.key = der::sequence({der::sequence({der::object_id("1.2.840.10045.2.1"), der::object_id("1.2.840.10045.3.1.7")}),
                             der::bit_string(point)});
  refuses("uncompressed");
}
TEST_F(CertificateRefusal, OfExplicitCurveParameters) {
  draft.key = der::sequence({der::sequence({der::object_id("1.2.840.10045.2.1"), der::sequence({der::integer(1)})}),
                             der::bit_string(Bytes{4})});
  refuses("a named curve expected");
}
TEST_F(CertificateRefusal, OfARsaKeyThatIsNotPositive) {
  const auto rsa = der::sequence({der::object_id("1.2.840.113549.1.1.1"), der::null()});
  draft.key = der::sequence({rsa, der::bit_string(der::sequence({der::element(2, Bytes{0x80}), der::integer(3)}))});
  refuses("a positive INTEGER expected");
  draft.key = der::sequence({rsa, der::bit_string(der::sequence({der::integer(15), der::integer(0)}))});
  refuses("a positive INTEGER expected");
}
TEST_F(CertificateRefusal, OfUniqueIdentifiers) {
  draft.unique_ids = der::element(tag::context(1, false), Bytes{0, 1});
  refuses("");
}
TEST_F(CertificateRefusal, OfAnEmptyListOfExtensions) {
  draft.wrapped_extensions = der::explicit_tag(3, der::sequence(std::vector<Bytes>{}));
  refuses("extensions");
}
TEST_F(CertificateRefusal, OfAnExtensionThatComesTwice) {
  add("1.2.3", der::null());
  add("1.2.3", der::null());
  refuses("1.2.3 comes twice");
}
TEST_F(CertificateRefusal, OfCriticalFalseWritten) {
  draft.extensions.push_back(
      der::sequence({der::object_id("1.2.3"), der::boolean(false), der::octet_string(der::null())}));
  refuses("critical FALSE");
}
TEST_F(CertificateRefusal, OfAPathLengthWithoutCa) {
  draft.extensions = {extension("2.5.29.19", true, der::sequence({der::integer(0)}))};
  refuses("pathLenConstraint without cA");
}
TEST_F(CertificateRefusal, OfCaFalseWritten) {
  draft.extensions = {extension("2.5.29.19", true, der::sequence({der::boolean(false)}))};
  refuses("cA FALSE");
}
TEST_F(CertificateRefusal, OfAKeyUsageWithoutABit) {
  add("2.5.29.15", der::bit_string(Bytes{0}));
  refuses("keyUsage");
}
TEST_F(CertificateRefusal, OfAKeyUsageWithUnusedBitsSet) {
  add("2.5.29.15", der::element(tag::kBitString, Bytes{7, 0x81}));
  refuses("keyUsage");
}
TEST_F(CertificateRefusal, OfAKeyUsageThatIsTooLong) {
  add("2.5.29.15", der::bit_string(Bytes{0x80, 0, 1}));
  refuses("keyUsage");
}
TEST_F(CertificateRefusal, OfASubjectKeyIdThatIsNoOctetString) {
  add("2.5.29.14", der::null());
  refuses("subjectKeyIdentifier");
}
TEST_F(CertificateRefusal, OfHalfAnAuthorityReference) {
  add("2.5.29.35", der::sequence({der::element(tag::context(2, false), Bytes{1})}));
  refuses("come together");
}
TEST_F(CertificateRefusal, OfAnAuthorityNameThatIsNone) {
  add("2.5.29.35", der::sequence({der::element(tag::context(1, true), der::null()),
                                  der::element(tag::context(2, false), Bytes{1})}));
  refuses("a GeneralName expected");
}
TEST_F(CertificateRefusal, OfAlternativeNamesThatAreNone) {
  for (const auto& value : {der::sequence(std::vector<Bytes>{}), der::null(), der::sequence({der::null()}),
                            der::sequence({der::element(tag::context(2, false), Bytes{0xFF})})}) {
    draft = {};
    add("2.5.29.17", value);
    refuses("subjectAltName");
  }
}
TEST_F(CertificateRefusal, OfAnExtendedKeyUsageWithoutAPurpose) {
  add("2.5.29.37", der::sequence(std::vector<Bytes>{}));
  refuses("extKeyUsage");
}
TEST_F(CertificateRefusal, OfNameConstraintsWithoutASubtree) {
  add("2.5.29.30", der::sequence(std::vector<Bytes>{}));
  refuses("nameConstraints");
}
TEST_F(CertificateRefusal, OfADistributionPointWithoutAPoint) {
  add("2.5.29.31", der::sequence({der::sequence(std::vector<Bytes>{})}));
  refuses("cRLDistributionPoints");
}

TEST(Certificate, SerialNumberMayBeZeroOrNegative) {
  Draft draft;
  draft.serial = der::integer(0);
  EXPECT_EQ(parse_certificate(draft.build()).value()->serial, Bytes{0});
  draft.serial = der::element(tag::kInteger, Bytes{0x80});
  EXPECT_EQ(parse_certificate(draft.build()).value()->serial, Bytes{0x80});
}

TEST(Certificate, UnknownCriticalExtensionIsRecorded) {
  Draft draft;
  draft.extensions.push_back(extension("1.2.3", true, der::null()));
  const auto parsed = parse_certificate(draft.build()).value();
  const auto* found = parsed->find(der::oid("1.2.3"));
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(found->critical);
  EXPECT_EQ(found->value, der::null());
  EXPECT_EQ(parsed->find(der::oid("1.2.4")), nullptr);
}

TEST(Certificate, KeyOfAnotherKindIsReadAsNone) {
  Draft draft;
  draft.key = der::sequence({der::sequence({der::object_id("1.3.101.112")}), der::bit_string(Bytes(32))});
  const auto parsed = parse_certificate(draft.build()).value();
  EXPECT_TRUE(std::holds_alternative<std::monostate>(parsed->key));
  EXPECT_EQ(verify_signature(*parsed, *parsed).error().code(), Errc::unsupported);
}

TEST(Certificate, UnknownAlgorithmVerifiesNothing) {
  Draft draft;
  draft.inner_algorithm = der::sequence({der::object_id("1.2.840.10045.4.3.1")});  // SHA-224
  draft.outer_algorithm = draft.inner_algorithm;
  const auto parsed = parse_certificate(draft.build()).value();
  EXPECT_EQ(parsed->algorithm, SignatureAlgorithm::other);
  EXPECT_EQ(verify_signature(*parsed, *parsed).error().code(), Errc::unsupported);
}

TEST(Certificate, PssWithOtherParametersIsAnotherAlgorithm) {
  const auto sha384 = der::sequence({der::object_id("2.16.840.1.101.3.4.2.2"), der::null()});
  const auto sha256 = der::sequence({der::object_id("2.16.840.1.101.3.4.2.1"), der::null()});
  const auto read = [](const Bytes& hash, const Bytes& mask_hash, std::uint64_t salt, std::uint64_t trailer) {
    const auto mask = der::sequence({der::object_id("1.2.840.113549.1.1.8"), mask_hash});
    Draft draft;
    draft.inner_algorithm = der::sequence(
        {der::object_id("1.2.840.113549.1.1.10"),
         der::sequence({der::explicit_tag(0, hash), der::explicit_tag(1, mask),
                        der::explicit_tag(2, der::integer(salt)), der::explicit_tag(3, der::integer(trailer))})});
    draft.outer_algorithm = draft.inner_algorithm;
    return parse_certificate(draft.build()).value()->algorithm;
  };
  EXPECT_EQ(read(sha384, sha384, 48, 1), SignatureAlgorithm::rsa_pss_sha384);
  EXPECT_EQ(read(sha256, sha384, 48, 1), SignatureAlgorithm::other);
  EXPECT_EQ(read(sha384, sha256, 48, 1), SignatureAlgorithm::other);
  EXPECT_EQ(read(sha384, sha384, 32, 1), SignatureAlgorithm::other);
  EXPECT_EQ(read(sha384, sha384, 48, 2), SignatureAlgorithm::other);
}

TEST(Chain, ReadsCertificatesInOrderUpToALimit) {
  Draft first;
  Draft second;
  second.serial = der::integer(8);
  const auto pem = codec::to_pem("CERTIFICATE", first.build()) + codec::to_pem("CERTIFICATE", second.build());
  const auto chain = parse_chain(pem).value();
  ASSERT_EQ(chain.size(), 2U);
  EXPECT_EQ(chain[0]->serial, Bytes{7});
  EXPECT_EQ(chain[1]->serial, Bytes{8});
  EXPECT_EQ(parse_chain(pem, 1).error().code(), Errc::certificate_malformed);
}

TEST(Chain, RefusesOtherBlocksAndNone) {
  EXPECT_EQ(parse_chain("").error().code(), Errc::certificate_malformed);
  EXPECT_EQ(parse_chain(codec::to_pem("X509 CRL", Draft{}.build())).error().code(), Errc::certificate_malformed);
  EXPECT_EQ(parse_chain(codec::to_pem("CERTIFICATE", der::null())).error().code(), Errc::certificate_malformed);
}

/// An authority and what it issues.
class Issued : public testing::TestWithParam<Curve> {
 protected:
  [[nodiscard]] CertificateSpec root_spec() const {
    return {.serial = Bytes{1},
            .issuer = name_,
            .subject = name_,
            .not_before = kFrom,
            .not_after = kTo,
            .key = root_key_.public_key(),
            .is_ca = true,
            .path_length = 1,
            .key_usage = 0x0600};
  }
  [[nodiscard]] CertificateSpec leaf_spec() const {
    return {.serial = Bytes{0x80, 0x01},
            .issuer = name_,
            .subject = encode_name({"Leaf \xC3\xA4", "Org", "City", "State", "DE"}),
            .not_before = kFrom,
            .not_after = kTo,
            .key = leaf_key_.public_key(),
            .extensions = {{der::oid("1.2.3"), true, der::null()}},
            .authority_key_id = key_id(root_key_.public_key())};
  }
  EcPrivateKey root_key_ = EcPrivateKey::derive(GetParam(), as_bytes("root"), as_bytes("test"));
  EcPrivateKey leaf_key_ = EcPrivateKey::derive(Curve::p256, as_bytes("leaf"), as_bytes("test"));
  Bytes name_ = encode_name({"Root", "Org", "", "", ""});
  CertificatePtr root_ = parse_certificate(issue_certificate(root_spec(), root_key_)).value();
};
INSTANTIATE_TEST_SUITE_P(Curves, Issued, testing::Values(Curve::p256, Curve::p384),
                         [](const auto& curve) { return curve.param == Curve::p256 ? "P256" : "P384"; });

TEST_P(Issued, CertificateReadsBackAsItsSpecification) {
  const auto spec = leaf_spec();
  const auto leaf = parse_certificate(issue_certificate(spec, root_key_)).value();
  EXPECT_EQ(leaf->serial, (Bytes{0x00, 0x80, 0x01}));
  EXPECT_EQ(leaf->issuer, spec.issuer);
  EXPECT_EQ(leaf->subject, spec.subject);
  EXPECT_EQ(leaf->subject_common_name, "Leaf \xC3\xA4");
  EXPECT_EQ(leaf->issuer_common_name, "Root");
  EXPECT_EQ(leaf->not_before, kFrom);
  EXPECT_EQ(leaf->not_after, kTo);
  EXPECT_EQ(std::get<EcPublicKey>(leaf->key).xy(), std::get<EcPublicKey>(spec.key).xy());
  EXPECT_EQ(leaf->is_ca, false);
  EXPECT_EQ(leaf->path_length, std::nullopt);
  EXPECT_EQ(leaf->key_usage, 0x8000);
  EXPECT_EQ(leaf->subject_key_id, key_id(spec.key));
  EXPECT_EQ(leaf->authority_key_id, root_->subject_key_id);
  EXPECT_NE(leaf->find(der::oid("1.2.3")), nullptr);
  EXPECT_EQ(root_->is_ca, true);
  EXPECT_EQ(root_->path_length, 1U);
  EXPECT_EQ(root_->key_usage, 0x0600);
}

TEST_P(Issued, EndEntityWithoutKeyUsageHasItsOwnExtensionsAlone) {
  auto spec = leaf_spec();
  spec.key_usage = 0;
  const auto leaf = parse_certificate(issue_certificate(spec, root_key_)).value();
  ASSERT_EQ(leaf->extensions.size(), spec.extensions.size());
  EXPECT_NE(leaf->find(der::oid("1.2.3")), nullptr);
  EXPECT_EQ(leaf->key_usage, std::nullopt);
  EXPECT_TRUE(leaf->subject_key_id.empty());
  EXPECT_TRUE(leaf->authority_key_id.empty());
  EXPECT_TRUE(verify_signature(*leaf, *root_).ok());
}

TEST_P(Issued, CertificateVerifiesUnderItsIssuerAlone) {
  const auto leaf = parse_certificate(issue_certificate(leaf_spec(), root_key_)).value();
  EXPECT_TRUE(verify_signature(*root_, *root_).ok());
  EXPECT_TRUE(verify_signature(*leaf, *root_).ok());
  auto other = root_spec();
  const auto other_key = EcPrivateKey::generate(GetParam());
  other.key = other_key.public_key();
  const auto other_root = parse_certificate(issue_certificate(other, other_key)).value();
  EXPECT_EQ(verify_signature(*leaf, *other_root).error().code(), Errc::signature_invalid);
}

TEST_P(Issued, ChangedCertificateDoesNotVerify) {
  auto leaf = *parse_certificate(issue_certificate(leaf_spec(), root_key_)).value();
  leaf.tbs = with_a_changed_bit(leaf);
  EXPECT_EQ(verify_signature(leaf, *root_).error().code(), Errc::signature_invalid);
}

TEST_P(Issued, AlgorithmOfAnotherCurveIsNotSupported) {
  auto leaf = *parse_certificate(issue_certificate(leaf_spec(), root_key_)).value();
  leaf.algorithm =
      GetParam() == Curve::p256 ? SignatureAlgorithm::ecdsa_sha384 : SignatureAlgorithm::ecdsa_sha256;
  EXPECT_EQ(verify_signature(leaf, *root_).error().code(), Errc::unsupported);
  leaf.algorithm = SignatureAlgorithm::rsa_pkcs1_sha256;
  EXPECT_EQ(verify_signature(leaf, *root_).error().code(), Errc::unsupported);
}

TEST_P(Issued, OpensslAcceptsThem) {
  const auto decode = [](const Bytes& bytes) {
    const auto* cursor = bytes.data();
    return std::unique_ptr<X509, ossl::Releaser<X509_free>>{
        d2i_X509(nullptr, &cursor, static_cast<long>(bytes.size()))};
  };
  const auto root = decode(root_->der);
  const auto leaf = decode(issue_certificate(leaf_spec(), root_key_));
  ASSERT_TRUE(root && leaf);
  EXPECT_EQ(X509_verify(leaf.get(), X509_get0_pubkey(root.get())), 1);
  EXPECT_EQ(X509_check_issued(root.get(), leaf.get()), X509_V_OK);
}

TEST_P(Issued, CrlReadsBackAndVerifies) {
  const CrlSpec spec{.issuer = name_,
                     .authority_key_id = root_->subject_key_id,
                     .number = 9,
                     .this_update = kFrom,
                     .next_update = kTo,
                     .revoked = {{Bytes{0x05}, kFrom}, {Bytes{0x00, 0x80}, kTo}}};
  const auto crl = parse_crl(issue_crl(spec, root_key_)).value();
  EXPECT_EQ(crl.issuer, name_);
  EXPECT_EQ(crl.issuer_common_name, "Root");
  EXPECT_EQ(crl.this_update, kFrom);
  EXPECT_EQ(crl.next_update, kTo);
  EXPECT_EQ(crl.number, 9U);
  EXPECT_EQ(crl.authority_key_id, root_->subject_key_id);
  EXPECT_TRUE(crl.revokes(Bytes{0x05}));
  EXPECT_TRUE(crl.revokes(Bytes{0x00, 0x80}));
  EXPECT_FALSE(crl.revokes(Bytes{0x80}));
  EXPECT_FALSE(crl.revokes(Bytes{}));
  EXPECT_TRUE(verify_signature(crl, *root_).ok());
  auto changed = crl;
  changed.tbs = with_a_changed_bit(changed);
  EXPECT_EQ(verify_signature(changed, *root_).error().code(), Errc::signature_invalid);
}

TEST_P(Issued, CrlMayRevokeNothing) {
  const CrlSpec spec{.issuer = name_, .this_update = kFrom, .next_update = kTo};
  const auto crl = parse_crl(issue_crl(spec, root_key_)).value();
  EXPECT_TRUE(crl.revoked.empty());
  EXPECT_FALSE(crl.revokes(Bytes{1}));
}

/// Every part of a CRL.
struct CrlDraft {
  Bytes version = der::integer(1);
  Bytes inner_algorithm = der::sequence({der::object_id("1.2.840.10045.4.3.2")});
  Bytes outer_algorithm = inner_algorithm;
  Bytes issuer = encode_name({"Issuer", "", "", "", ""});
  Bytes times = joined({der::time(kFrom), der::time(kTo)});
  Bytes entries = der::sequence({der::sequence({der::integer(5), der::time(kFrom)})});
  std::vector<Bytes> extensions{extension("2.5.29.20", false, der::integer(3))};

  [[nodiscard]] Bytes build() const {
    const auto tbs = der::element(tag::kSequence, joined({version, inner_algorithm, issuer, times, entries,
                                                          der::explicit_tag(0, der::sequence(extensions))}));
    return der::sequence({tbs, outer_algorithm, der::bit_string(test_key().sign_der(tbs))});
  }
};

class CrlRefusal : public testing::Test {
 protected:
  void refuses(std::string_view part) const {
    const auto parsed = parse_crl(draft.build());
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().code(), Errc::collateral_malformed);
    EXPECT_NE(parsed.error().detail().find(part), std::string::npos) << parsed.error().text();
  }
  CrlDraft draft;
};

TEST_F(CrlRefusal, DoesNotMeetTheDraftItself) { EXPECT_EQ(parse_crl(draft.build()).value().number, 3U); }
TEST_F(CrlRefusal, OfTrailingBytes) {
  auto bytes = draft.build();
  bytes.push_back(0);
  EXPECT_EQ(parse_crl(bytes).error().code(), Errc::collateral_malformed);
}
TEST_F(CrlRefusal, OfMoreBytesThanTheLimit) {
  EXPECT_NE(parse_crl(Bytes(kMaxCrlSize + 1)).error().detail().find("at most"), std::string::npos);
}
TEST_F(CrlRefusal, OfVersion1) {
  draft.version = {};
  refuses("");
}
TEST_F(CrlRefusal, OfAnotherVersion) {
  draft.version = der::integer(2);
  refuses("version 1 (v2) expected");
}
TEST_F(CrlRefusal, OfAlgorithmsThatDiffer) {
  draft.outer_algorithm = der::sequence({der::object_id("1.2.840.10045.4.3.3")});
  refuses("differs from signatureAlgorithm");
}
TEST_F(CrlRefusal, OfAnEmptyIssuer) {
  draft.issuer = der::sequence(std::vector<Bytes>{});
  refuses("issuer");
}
TEST_F(CrlRefusal, OfAnEmptyListOfEntries) {
  draft.entries = der::sequence(std::vector<Bytes>{});
  refuses("revokedCertificates");
}
TEST_F(CrlRefusal, OfALongSerialNumber) {
  draft.entries =
      der::sequence({der::sequence({der::element(tag::kInteger, Bytes(22, 0x11)), der::time(kFrom)})});
  refuses("serialNumber");
}
TEST_F(CrlRefusal, OfACriticalEntryExtension) {
  draft.entries = der::sequence({der::sequence(
      {der::integer(5), der::time(kFrom), der::sequence({extension("2.5.29.29", true, der::null())})})});
  refuses("2.5.29.29 is critical");
}
TEST_F(CrlRefusal, OfADeltaCrl) {
  draft.extensions.push_back(extension("2.5.29.27", false, der::integer(1)));
  refuses("delta");
}
TEST_F(CrlRefusal, OfACrlOfAPart) {
  draft.extensions.push_back(extension("2.5.29.28", false, der::sequence(std::vector<Bytes>{})));
  refuses("issuingDistributionPoint");
}
TEST_F(CrlRefusal, OfAnUnknownCriticalExtension) {
  draft.extensions.push_back(extension("1.2.3", true, der::null()));
  refuses("1.2.3 is critical");
}
TEST_F(CrlRefusal, OfANegativeNumber) {
  draft.extensions = {extension("2.5.29.20", false, der::element(tag::kInteger, Bytes{0x80}))};
  refuses("cRLNumber");
}
TEST_F(CrlRefusal, OfAnExtensionThatComesTwice) {
  draft.extensions.push_back(draft.extensions.front());
  refuses("comes twice");
}

TEST(Crl, EntryMayHaveAReason) {
  CrlDraft draft;
  draft.entries = der::sequence(
      {der::sequence({der::integer(5), der::time(kFrom),
                      der::sequence({extension("2.5.29.21", false, der::element(tag::kEnumerated, Bytes{1}))})})});
  EXPECT_TRUE(parse_crl(draft.build()).value().revokes(Bytes{5}));
}

TEST(Crl, LongNumberIsNoNumberHere) {
  CrlDraft draft;
  draft.extensions = {extension("2.5.29.20", false, der::element(tag::kInteger, Bytes(20, 0x11)))};
  EXPECT_EQ(parse_crl(draft.build()).value().number, std::nullopt);
}

TEST(Crl, NextUpdateMayBeAbsent) {
  CrlDraft draft;
  draft.times = der::time(kFrom);
  EXPECT_EQ(parse_crl(draft.build()).value().next_update, std::nullopt);
}

/// AMD's keys: RSA-4096, RSASSA-PSS with SHA-384.
TEST(RsaSignature, OfAmdVerifiesUnderItsIssuerAlone) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto chain = parse_chain(test::read_text(folder / "attestation/snp/roots/milan_ask_ark_asvk.pem")).value();
  const auto other = parse_chain(test::read_text(folder / "attestation/snp/roots/genoa_ask_ark_asvk.pem")).value();
  ASSERT_GE(chain.size(), 2U);
  const auto& ask = *chain[0];
  const auto& ark = *chain[1];
  EXPECT_EQ(ask.algorithm, SignatureAlgorithm::rsa_pss_sha384);
  EXPECT_TRUE(verify_signature(ark, ark).ok());
  EXPECT_TRUE(verify_signature(ask, ark).ok());
  EXPECT_EQ(verify_signature(ask, *other[1]).error().code(), Errc::signature_invalid);
  auto changed = ask;
  changed.signature.back() ^= 1;
  EXPECT_EQ(verify_signature(changed, ark).error().code(), Errc::signature_invalid);
  changed = ask;
  changed.algorithm = SignatureAlgorithm::rsa_pkcs1_sha384;
  EXPECT_EQ(verify_signature(changed, ark).error().code(), Errc::signature_invalid);
}

TEST(RsaSignature, Pkcs1VerifiesUnderItsIssuer) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto root = parse_chain(test::read_text(folder / "attestation/tpm/dstack/gcp-root-ca.pem")).value();
  EXPECT_EQ(root[0]->algorithm, SignatureAlgorithm::rsa_pkcs1_sha256);
  EXPECT_TRUE(verify_signature(*root[0], *root[0]).ok());
  auto changed = *root[0];
  changed.tbs = with_a_changed_bit(changed);
  EXPECT_EQ(verify_signature(changed, *root[0]).error().code(), Errc::signature_invalid);
}

TEST(RsaSignature, KeyOfAnotherSizeIsNotSupported) {
  Draft draft;
  Bytes modulus(128, 0xFF);
  draft.key = der::sequence({der::sequence({der::object_id("1.2.840.113549.1.1.1"), der::null()}),
                             der::bit_string(der::sequence({der::unsigned_integer(modulus), der::integer(65537)}))});
  draft.inner_algorithm = der::sequence({der::object_id("1.2.840.113549.1.1.11"), der::null()});
  draft.outer_algorithm = draft.inner_algorithm;
  const auto parsed = parse_certificate(draft.build()).value();
  EXPECT_EQ(verify_signature(*parsed, *parsed).error().code(), Errc::unsupported);
}

TEST(IssuedByRsaPss, CertificateAndCrlHoldUnderTheirIssuerAlone) {
  const auto root_key = RsaPssKey::generate(2048);
  const auto name = encode_name({.common_name = "Root", .organization = "O", .locality = "L", .state = "S", .country = "US",
                                 .organizational_unit = "Engineering"});
  const CertificateSpec root_spec{.serial = {1}, .issuer = name, .subject = name, .not_before = kFrom, .not_after = kTo,
                                  .key = root_key.public_key(), .is_ca = true, .key_usage = 0x0600};
  const auto root = parse_certificate(issue_certificate(root_spec, root_key)).value();
  EXPECT_EQ(root->algorithm, SignatureAlgorithm::rsa_pss_sha384);
  EXPECT_EQ(std::get<RsaPublicKey>(root->key).modulus, root_key.public_key().modulus);
  EXPECT_EQ(root->subject_key_id, key_id(root_key.public_key()));
  EXPECT_TRUE(verify_signature(*root, *root).ok());

  const CertificateSpec leaf_spec{.serial = {2}, .issuer = name, .subject = encode_name({.common_name = "Leaf", .organization = {},
                                  .locality = {}, .state = {}, .country = {}}), .not_before = kFrom, .not_after = kTo,
                                  .key = test_key().public_key(), .authority_key_id = root->subject_key_id};
  const auto leaf = parse_certificate(issue_certificate(leaf_spec, root_key)).value();
  EXPECT_TRUE(verify_signature(*leaf, *root).ok());
  auto other_spec = root_spec;
  const auto other_key = RsaPssKey::generate(2048);
  other_spec.key = other_key.public_key();
  const auto other = parse_certificate(issue_certificate(other_spec, other_key)).value();
  EXPECT_EQ(verify_signature(*leaf, *other).error().code(), Errc::signature_invalid);

  const CrlSpec crl_spec{.issuer = name, .authority_key_id = root->subject_key_id, .number = 1, .this_update = kFrom,
                         .next_update = kTo, .revoked = {{{2}, kFrom}}};
  const auto crl = parse_crl(issue_crl(crl_spec, root_key)).value();
  EXPECT_TRUE(verify_signature(crl, *root).ok());
  EXPECT_FALSE(verify_signature(crl, *other).ok());
  EXPECT_TRUE(crl.revokes(leaf->serial));
}

}  // namespace
}  // namespace cloister::crypto::x509
