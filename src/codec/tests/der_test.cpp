#include "cloister/codec/der.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"

namespace cloister::codec::der {
namespace {

Bytes hex(std::string_view text) { return *from_hex(text); }

/// The code with which `read` refuses these bytes, or `internal` when it accepts them.
template <class Read>
Errc refusal(std::string_view text, Read read) {
  const auto bytes = hex(text);
  Reader in{bytes};
  read(in);
  const auto result = in.finish();
  return result ? Errc::internal : result.error().code();
}

const auto kAny = [](Reader& in) { (void)in.any(); };

TEST(DerReader, ReadsNestedElements) {
  const auto whole = hex("300c0201050402010230030101ff");
  Reader outer{whole};
  auto inner = outer.enter(tag::kSequence);
  EXPECT_EQ(inner.uint(), 5U);
  EXPECT_EQ(to_hex(inner.octet_string()), "0102");
  EXPECT_FALSE(inner.optional(tag::kNull));
  auto deepest = inner.enter(tag::kSequence);
  EXPECT_TRUE(deepest.boolean());
  EXPECT_TRUE(deepest.at_end());
  inner.absorb(deepest);
  outer.absorb(inner);
  EXPECT_TRUE(outer.finish());
}

TEST(DerReader, ElementKeepsAllOfItsBytes) {
  const auto bytes = hex("0401ab0500");
  Reader in{bytes};
  const auto element = in.any();
  EXPECT_EQ(element.tag, tag::kOctetString);
  EXPECT_EQ(to_hex(element.contents), "ab");
  EXPECT_EQ(to_hex(element.whole), "0401ab");
  EXPECT_TRUE(in.optional(tag::kNull));
  EXPECT_TRUE(in.finish());
}

TEST(DerReader, RefusesLengthsThatAreNotMinimal) {
  EXPECT_EQ(refusal("0480", kAny), Errc::not_canonical);                              // indefinite
  EXPECT_EQ(refusal("048101ab", kAny), Errc::not_canonical);                          // long form of a short length
  EXPECT_EQ(refusal("04820080" + std::string(256, '0'), kAny), Errc::not_canonical);  // leading zero
  EXPECT_EQ(refusal("048180" + std::string(256, '0'), kAny), Errc::internal);
  EXPECT_EQ(refusal("0485000000000100", kAny), Errc::limit_exceeded);
  EXPECT_EQ(refusal("04ff", kAny), Errc::limit_exceeded);
}

TEST(DerReader, RefusesTruncationAndTrailingBytes) {
  for (const auto* text : {"", "04", "0401", "048180", "0482ff", "0484ffffffff"})
    EXPECT_EQ(refusal(text, kAny), Errc::truncated) << text;
  EXPECT_EQ(refusal("050000", kAny), Errc::trailing_bytes);
}

TEST(DerReader, RefusesIdentifiersThatAreNotDer) {
  for (const auto* text : {"0000", "1f8100", "9f2000", "bf2000", "2400", "2300", "1000", "1100", "3300", "3700"}) {
    EXPECT_EQ(refusal(text, kAny), Errc::malformed) << text;
  }
  for (const auto* text : {"3000", "3100", "8000", "a000", "5f00", "4100"}) {
    EXPECT_EQ(refusal(text, kAny), std::string_view{text} == "5f00" ? Errc::malformed : Errc::internal) << text;
  }
}

TEST(DerReader, RefusesAnotherTag) {
  EXPECT_EQ(refusal("0500", [](Reader& in) { (void)in.expect(tag::kInteger); }), Errc::malformed);
  EXPECT_EQ(refusal("3100", [](Reader& in) { (void)in.enter(tag::kSequence); }), Errc::malformed);
}

TEST(DerReader, BooleanIsZeroOrAllOnes) {
  const auto boolean = [](Reader& in) { (void)in.boolean(); };
  EXPECT_EQ(refusal("010100", boolean), Errc::internal);
  EXPECT_EQ(refusal("0101ff", boolean), Errc::internal);
  for (const auto* text : {"010101", "0100", "0102ffff"}) EXPECT_EQ(refusal(text, boolean), Errc::malformed) << text;
}

TEST(DerReader, IntegersAreMinimal) {
  const auto integer = [](Reader& in) { (void)in.integer(); };
  for (const auto* text : {"020100", "02017f", "02020080", "0201ff", "0202ff7f"})
    EXPECT_EQ(refusal(text, integer), Errc::internal) << text;
  for (const auto* text : {"0200", "0202007f", "0202ff80", "0203000001"})
    EXPECT_EQ(refusal(text, integer), Errc::not_canonical) << text;
}

TEST(DerReader, UnsignedIntegersFit64Bits) {
  const auto value = [](std::string_view text) {
    const auto bytes = hex(text);
    Reader in{bytes};
    return in.uint();
  };
  EXPECT_EQ(value("020100"), 0U);
  EXPECT_EQ(value("02020080"), 128U);
  EXPECT_EQ(value("020900ffffffffffffffff"), UINT64_MAX);
  const auto uint = [](Reader& in) { (void)in.uint(); };
  EXPECT_EQ(refusal("0201ff", uint), Errc::malformed);
  EXPECT_EQ(refusal("0209010000000000000000", uint), Errc::limit_exceeded);
}

TEST(DerReader, BitStringsOfWholeBytes) {
  const auto bits = [](Reader& in) { (void)in.bit_string(); };
  EXPECT_EQ(refusal("030200ab", bits), Errc::internal);
  EXPECT_EQ(refusal("030100", bits), Errc::internal);
  EXPECT_EQ(refusal("0300", bits), Errc::malformed);
  EXPECT_EQ(refusal("030201aa", bits), Errc::malformed);
}

TEST(DerReader, ObjectIdentifiersAreMinimal) {
  const auto oid_of = [](Reader& in) { (void)in.oid(); };
  EXPECT_EQ(refusal("06022a86", oid_of), Errc::malformed);      // the last group is cut
  EXPECT_EQ(refusal("06042a800101", oid_of), Errc::malformed);  // a leading zero group
  EXPECT_EQ(refusal("0600", oid_of), Errc::malformed);
  EXPECT_EQ(refusal("06042a808001", oid_of), Errc::malformed);
  EXPECT_EQ(refusal("06042a810001", oid_of), Errc::internal);
}

TEST(DerReader, ReadsTimes) {
  const auto value = [](std::uint8_t tag, std::string_view text) {
    const auto bytes = element(tag, as_bytes(text));
    Reader in{bytes};
    const auto at = in.time();
    const auto result = in.finish();
    return result ? to_rfc3339(at) : result.error().text();
  };
  EXPECT_EQ(value(tag::kUtcTime, "180521104510Z"), "2018-05-21T10:45:10Z");
  EXPECT_EQ(value(tag::kUtcTime, "491231235959Z"), "2049-12-31T23:59:59Z");
  EXPECT_EQ(value(tag::kUtcTime, "500101000000Z"), "1950-01-01T00:00:00Z");
  EXPECT_EQ(value(tag::kGeneralizedTime, "99991231235959Z"), "9999-12-31T23:59:59Z");
  EXPECT_EQ(value(tag::kGeneralizedTime, "20180521104510Z"), "2018-05-21T10:45:10Z");
}

TEST(DerReader, RefusesOtherTimes) {
  const std::pair<std::uint8_t, std::string_view> refused[] = {{tag::kUtcTime, "1805211045Z"},
                                                               {tag::kUtcTime, "180521104510"},
                                                               {tag::kUtcTime, "180521104510+0000"},
                                                               {tag::kUtcTime, "20180521104510Z"},
                                                               {tag::kUtcTime, "181321104510Z"},
                                                               {tag::kUtcTime, "180230104510Z"},
                                                               {tag::kUtcTime, "180521244510Z"},
                                                               {tag::kUtcTime, "18052110451:Z"},
                                                               {tag::kUtcTime, "180521104560Z"},
                                                               {tag::kGeneralizedTime, "180521104510Z"},
                                                               {tag::kGeneralizedTime, "20180521104510.5Z"},
                                                               {tag::kGeneralizedTime, "20180521104510"},
                                                               {tag::kGeneralizedTime, "20180521104510z"},
                                                               {tag::kGeneralizedTime, "00000101000000Z"},
                                                               {tag::kPrintableString, "180521104510Z"}};
  for (const auto& [tag, text] : refused) {
    const auto bytes = element(tag, as_bytes(text));
    Reader in{bytes};
    (void)in.time();
    EXPECT_FALSE(in.finish()) << text;
  }
}

TEST(DerReader, InnerReaderInheritsTheRefusal) {
  const auto bytes = hex("0500");
  Reader outer{bytes};
  auto inner = outer.enter(tag::kSequence);
  EXPECT_EQ(inner.finish().error().code(), Errc::malformed);
}

TEST(DerReader, AbsorbsTrailingBytesOfTheInnerReader) {
  const auto bytes = hex("30020500");
  Reader outer{bytes};
  auto inner = outer.enter(tag::kSequence);
  outer.absorb(inner);
  EXPECT_EQ(outer.finish().error().code(), Errc::trailing_bytes);
}

TEST(DerOid, BothWays) {
  const std::pair<const char*, const char*> known[] = {
      {"1.2.840.113741.1.13.1", "2a864886f84d010d01"},
      {"1.2.840.10045.4.3.2", "2a8648ce3d040302"},
      {"2.5.29.15", "551d0f"},
      {"0.0", "00"},
      {"2.999", "8837"},
      {"1.3.6.1.4.1.18446744073709551615", "2b0601040181ffffffffffffffff7f"}};
  for (const auto& [dotted, encoded] : known) {
    EXPECT_EQ(to_hex(oid(dotted)), encoded);
    EXPECT_EQ(oid_text(hex(encoded)), dotted);
  }
  EXPECT_EQ(oid_text(hex("6983ffffffffffffffffff7f")), "(an OID with an arc of more than 64 bits)");
}

TEST(DerWriter, KnownAnswers) {
  EXPECT_EQ(to_hex(integer(0)), "020100");
  EXPECT_EQ(to_hex(integer(127)), "02017f");
  EXPECT_EQ(to_hex(integer(128)), "02020080");
  EXPECT_EQ(to_hex(integer(UINT64_MAX)), "020900ffffffffffffffff");
  EXPECT_EQ(to_hex(unsigned_integer(hex("000080"))), "02020080");
  EXPECT_EQ(to_hex(unsigned_integer({})), "020100");
  EXPECT_EQ(to_hex(boolean(true)), "0101ff");
  EXPECT_EQ(to_hex(null()), "0500");
  EXPECT_EQ(to_hex(object_id("2.5.29.15")), "0603551d0f");
  EXPECT_EQ(to_hex(bit_string(hex("a8"), 3)), "030203a8");
  EXPECT_EQ(to_hex(bit_string(hex("af"), 3)), "030203a8");
  EXPECT_EQ(to_hex(bit_string({})), "030100");
  EXPECT_EQ(to_hex(utf8_string("a")), "0c0161");
  EXPECT_EQ(to_hex(printable_string("a")), "130161");
  EXPECT_EQ(to_hex(sequence({integer(1), null()})), "30050201010500");
  EXPECT_EQ(to_hex(set_of({integer(2), integer(1)})), "3106020101020102");
  EXPECT_EQ(to_hex(explicit_tag(3, null())), "a3020500");
  EXPECT_EQ(to_hex(element(tag::kOctetString, Bytes(128, 0))).substr(0, 6), "048180");
  EXPECT_EQ(to_hex(element(tag::kOctetString, Bytes(256, 0))).substr(0, 8), "04820100");
}

TEST(DerWriter, TimesChangeTheirFormIn2050) {
  EXPECT_EQ(time(*parse_rfc3339("2049-12-31T23:59:59Z")), element(tag::kUtcTime, as_bytes("491231235959Z")));
  EXPECT_EQ(time(*parse_rfc3339("2050-01-01T00:00:00Z")), element(tag::kGeneralizedTime, as_bytes("20500101000000Z")));
  EXPECT_EQ(time(*parse_rfc3339("2026-03-17T22:34:05.9Z")), element(tag::kUtcTime, as_bytes("260317223405Z")));
  EXPECT_EQ(time(*from_civil(1949, 12, 31, 0, 0, 0)), element(tag::kGeneralizedTime, as_bytes("19491231000000Z")));
}

}  // namespace
}  // namespace cloister::codec::der
