#include "cloister/codec/cbor.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"

namespace cloister::codec::cbor {
namespace {

Bytes hex(std::string_view text) { return *from_hex(text); }

/// The code with which an item is refused, or `internal` when it is accepted.
Errc refusal(std::string_view text, std::size_t depth = 16) {
  const auto bytes = hex(text);
  Reader in{bytes, depth};
  (void)in.item();
  const auto result = in.finish();
  return result ? Errc::internal : result.error().code();
}

// RFC 8949 appendix A, without what we refuse.
TEST(CborWriter, KnownAnswers) {
  EXPECT_EQ(to_hex(Writer{}.uint(0).take()), "00");
  EXPECT_EQ(to_hex(Writer{}.uint(23).take()), "17");
  EXPECT_EQ(to_hex(Writer{}.uint(24).take()), "1818");
  EXPECT_EQ(to_hex(Writer{}.uint(255).take()), "18ff");
  EXPECT_EQ(to_hex(Writer{}.uint(256).take()), "190100");
  EXPECT_EQ(to_hex(Writer{}.uint(65535).take()), "19ffff");
  EXPECT_EQ(to_hex(Writer{}.uint(65536).take()), "1a00010000");
  EXPECT_EQ(to_hex(Writer{}.uint(1000000000000).take()), "1b000000e8d4a51000");
  EXPECT_EQ(to_hex(Writer{}.uint(UINT64_MAX).take()), "1bffffffffffffffff");
  EXPECT_EQ(to_hex(Writer{}.integer(-1).take()), "20");
  EXPECT_EQ(to_hex(Writer{}.integer(-1000).take()), "3903e7");
  EXPECT_EQ(to_hex(Writer{}.integer(INT64_MIN).take()), "3b7fffffffffffffff");
  EXPECT_EQ(to_hex(Writer{}.integer(10).take()), "0a");
  EXPECT_EQ(to_hex(Writer{}.boolean(false).take()), "f4");
  EXPECT_EQ(to_hex(Writer{}.boolean(true).take()), "f5");
  EXPECT_EQ(to_hex(Writer{}.null().take()), "f6");
  EXPECT_EQ(to_hex(Writer{}.bytes(hex("01020304")).take()), "4401020304");
  EXPECT_EQ(to_hex(Writer{}.text("IETF").take()), "6449455446");
  EXPECT_EQ(to_hex(Writer{}.text("\xC3\xBC").take()), "62c3bc");
  EXPECT_EQ(to_hex(Writer{}.array(0).take()), "80");
  EXPECT_EQ(to_hex(Writer{}.map(2).text("a").uint(1).text("b").array(2).uint(2).uint(3).take()), "a26161016162820203");
  EXPECT_EQ(to_hex(Writer{}.array(1).encoded(hex("6161")).take()), "816161");
}

TEST(CborReader, ReadsWhatWasWritten) {
  const auto bytes = Writer{}
                         .array(8)
                         .text("cloister/x/1")
                         .uint(UINT64_MAX)
                         .integer(INT64_MIN)
                         .bytes(hex("0102"))
                         .boolean(true)
                         .null()
                         .map(1)
                         .text("k")
                         .integer(-5)
                         .array(2)
                         .uint(1)
                         .uint(2)
                         .take();
  Reader in{bytes};
  in.array(8);
  in.domain("cloister/x/1");
  EXPECT_EQ(in.uint(), UINT64_MAX);
  EXPECT_EQ(in.integer(), INT64_MIN);
  EXPECT_EQ(in.bytes<2>(), (ByteArray<2>{1, 2}));
  EXPECT_TRUE(in.boolean());
  EXPECT_TRUE(in.take_null());
  EXPECT_FALSE(in.take_null());
  in.map(1);
  in.key("k");
  EXPECT_EQ(in.integer(), -5);
  EXPECT_EQ(in.array_up_to(2), 2U);
  EXPECT_EQ(in.uint(), 1U);
  EXPECT_EQ(to_hex(in.item()), "02");
  EXPECT_TRUE(in.finish());
}

TEST(CborReader, RefusesHeadsThatAreTooLong) {
  for (const auto* text :
       {"1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", "3817", "5801ff", "780161", "980100", "b8016161f6"}) {
    EXPECT_EQ(refusal(text), Errc::not_canonical) << text;
  }
}

TEST(CborReader, RefusesIndefiniteLengthsAndReservedHeads) {
  for (const auto* text : {"5f42010243030405ff", "7f6161ff", "9fff", "bfff", "ff", "1c", "1d", "1e", "3f", "fc"}) {
    EXPECT_EQ(refusal(text), Errc::not_canonical) << text;
  }
}

TEST(CborReader, RefusesTagsFloatsAndOtherSimpleValues) {
  for (const auto* text :
       {"c101", "d81801", "f90000", "fa00000000", "fb0000000000000000", "e0", "f0", "f3", "f7", "f8ff", "f814"}) {
    EXPECT_EQ(refusal(text), Errc::unsupported) << text;
  }
}

TEST(CborReader, RefusesUnsortedAndDuplicateKeys) {
  EXPECT_EQ(refusal("a2616101616202"), Errc::internal);
  EXPECT_EQ(refusal("a2616201616102"), Errc::not_canonical);
  EXPECT_EQ(refusal("a2616101616102"), Errc::not_canonical);
  EXPECT_EQ(refusal("a2626161016162f6"), Errc::not_canonical);  // the longer text first
  EXPECT_EQ(refusal("a20a01186402"), Errc::internal);
  EXPECT_EQ(refusal("a3010120026161f6"), Errc::internal);
  EXPECT_EQ(refusal("81a2616101616102"), Errc::not_canonical);
}

TEST(CborReader, RefusesTruncationAndTrailingBytes) {
  for (const auto* text : {"", "18", "19ff", "1affffff", "1bffffffffffffff", "41", "4401", "6261", "81", "820000"}) {
    const auto code = refusal(text);
    EXPECT_EQ(code, std::string_view{text} == "820000" ? Errc::internal : Errc::truncated) << text;
  }
  EXPECT_EQ(refusal("a161"), Errc::truncated);
  EXPECT_EQ(refusal("a16161"), Errc::truncated);
  EXPECT_EQ(refusal("5bffffffffffffffff"), Errc::truncated);
  EXPECT_EQ(refusal("9bffffffffffffffff"), Errc::truncated);
  EXPECT_EQ(refusal("bbffffffffffffffff"), Errc::truncated);
  EXPECT_EQ(refusal("0000"), Errc::trailing_bytes);
}

TEST(CborReader, RefusesTextThatIsNotUtf8) {
  EXPECT_EQ(refusal("61ff"), Errc::malformed);
  const auto bytes = hex("62c080");
  Reader in{bytes};
  EXPECT_EQ(in.text(), "");
  EXPECT_EQ(in.finish().error().code(), Errc::malformed);
}

TEST(CborReader, BoundsNesting) {
  EXPECT_EQ(refusal("8180", 2), Errc::internal);
  EXPECT_EQ(refusal("818180", 2), Errc::limit_exceeded);
  EXPECT_EQ(refusal("a100a10080", 2), Errc::limit_exceeded);
  EXPECT_EQ(refusal("81818181818181818181818181818181818181818181"), Errc::limit_exceeded);
}

TEST(CborReader, ReadsMapsOfUnknownKeys) {
  const auto bytes = Writer{}.map(2).text("a").uint(1).text("bb").uint(2).take();
  Reader in{bytes};
  ASSERT_EQ(in.map_up_to(2), 2U);
  EXPECT_EQ(in.text(), "a");
  EXPECT_EQ(in.uint(), 1U);
  EXPECT_EQ(in.text(), "bb");
  EXPECT_EQ(in.uint(), 2U);
  EXPECT_TRUE(in.finish());

  Reader narrow{bytes};
  EXPECT_EQ(narrow.map_up_to(1), 0U);
  EXPECT_EQ(narrow.finish().error().code(), Errc::limit_exceeded);

  const auto twice = hex("a2616101616102");
  Reader unsorted{twice};
  EXPECT_EQ(unsorted.map_up_to(2), 0U);
  EXPECT_EQ(unsorted.finish().error().code(), Errc::not_canonical);
}

/// Each read meets an item of another kind, count or size, and refuses it.
TEST(CborReader, RefusesWhatWasNotExpected) {
  const auto code = [](std::string_view text, auto read) {
    const auto bytes = hex(text);
    Reader in{bytes};
    read(in);
    const auto result = in.finish();
    return result ? Errc::internal : result.error().code();
  };
  EXPECT_EQ(code("20", [](Reader& in) { (void)in.uint(); }), Errc::malformed);
  EXPECT_EQ(code("40", [](Reader& in) { (void)in.integer(); }), Errc::malformed);
  EXPECT_EQ(code("1b8000000000000000", [](Reader& in) { (void)in.integer(); }), Errc::malformed);
  EXPECT_EQ(code("3b8000000000000000", [](Reader& in) { (void)in.integer(); }), Errc::malformed);
  EXPECT_EQ(code("6161", [](Reader& in) { (void)in.bytes(); }), Errc::malformed);
  EXPECT_EQ(code("4161", [](Reader& in) { (void)in.text(); }), Errc::malformed);
  EXPECT_EQ(code("4161", [](Reader& in) { (void)in.bytes<2>(); }), Errc::malformed);
  EXPECT_EQ(code("f6", [](Reader& in) { (void)in.boolean(); }), Errc::malformed);
  EXPECT_EQ(code("8100", [](Reader& in) { in.array(2); }), Errc::malformed);
  EXPECT_EQ(code("820000", [](Reader& in) { (void)in.array_up_to(1); }), Errc::limit_exceeded);
  EXPECT_EQ(code("a0", [](Reader& in) { in.map(1); }), Errc::malformed);
  EXPECT_EQ(code("6161", [](Reader& in) { in.key("b"); }), Errc::malformed);
  EXPECT_EQ(code("6161", [](Reader& in) { in.domain("b"); }), Errc::malformed);
}

TEST(CborReader, KeepsTheFirstRefusal) {
  const auto bytes = hex("00");
  Reader in{bytes};
  EXPECT_EQ(in.text(), "");
  EXPECT_EQ(in.uint(), 0U);
  EXPECT_TRUE(in.bytes().empty());
  EXPECT_TRUE(in.item().empty());
  in.fail(Errc::conflict, "later");
  EXPECT_EQ(in.finish().error().text(), "malformed: CBOR: text string expected, got unsigned integer");
}

}  // namespace
}  // namespace cloister::codec::cbor
