#include "cloister/codec/text.hpp"

#include <gtest/gtest.h>

namespace cloister::codec {
namespace {

TEST(Hex, RoundTripsAndTakesEitherCase) {
  EXPECT_EQ(to_hex(Bytes{0x00, 0xAB, 0xFF}), "00abff");
  EXPECT_EQ(*from_hex("00ABff"), (Bytes{0x00, 0xAB, 0xFF}));
  EXPECT_TRUE(from_hex("")->empty());
  EXPECT_EQ(*array_from_hex<2>("0a0B"), (ByteArray<2>{0x0A, 0x0B}));
}

TEST(Hex, RefusesOddLengthForeignCharactersAndWrongSize) {
  for (const auto* text : {"0", "abc", "0g", "g0", "0x00", " 00", "00 "}) EXPECT_FALSE(from_hex(text)) << text;
  EXPECT_EQ(array_from_hex<2>("0a").error().code(), Errc::malformed);
}

// RFC 4648 section 10.
TEST(Base64, KnownAnswers) {
  const std::pair<const char*, const char*> known[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : known) {
    EXPECT_EQ(to_base64(as_bytes(plain)), encoded);
    EXPECT_EQ(*from_base64(encoded), to_bytes(std::string_view{plain}));
  }
}

TEST(Base64, UrlAlphabetHasNoPadding) {
  const Bytes bytes{0xFB, 0xFF, 0xFE, 0xFF};
  EXPECT_EQ(to_base64url(bytes), "-__-_w");
  EXPECT_EQ(*from_base64url("-__-_w"), bytes);
  EXPECT_EQ(to_base64(bytes), "+//+/w==");
  EXPECT_FALSE(from_base64url("+//+/w"));
  EXPECT_FALSE(from_base64url("-__-_w=="));
}

TEST(Base64, RefusesWrongPadding) {
  for (const auto* text : {"Zg", "Zg=", "Zg===", "Zm8", "Zm8==", "Zm9v=", "=", "====", "Z===", "Zg==Zg=="}) {
    EXPECT_FALSE(from_base64(text)) << text;
  }
}

TEST(Base64, RefusesBitsThatNobodyReads) {
  EXPECT_EQ(from_base64("Zh==").error().code(), Errc::not_canonical);
  EXPECT_EQ(from_base64("Zm9=").error().code(), Errc::not_canonical);
  EXPECT_EQ(from_base64url("Zh").error().code(), Errc::not_canonical);
}

TEST(Base64, OnlyLinesSkipWhiteSpace) {
  EXPECT_EQ(*from_base64_lines("Zm9v\r\n YmFy\tZg=\n=\n"), to_bytes(std::string_view{"foobarf"}));
  EXPECT_FALSE(from_base64("Zm9v\nYmFy"));
  EXPECT_FALSE(from_base64("Zm9v\n"));
  EXPECT_FALSE(from_base64_lines("Zm9v-YmFy"));
}

TEST(Utf8, AcceptsWellFormed) {
  for (const auto* text : {"", "plain", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "gr\xC3\xBC\xC3\x9F"}) {
    EXPECT_TRUE(is_utf8(as_bytes(text))) << to_hex(as_bytes(text));
  }
}

TEST(Utf8, RefusesOverlongSurrogatesAndTruncation) {
  for (const auto* text :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82", "\xE2\x82\x41",
        "\xF0\x8F\xBF\xBF", "\xF0\x90\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xC3"}) {
    EXPECT_FALSE(is_utf8(as_bytes(text))) << to_hex(as_bytes(text));
  }
}

TEST(Pem, RoundTripsSeveralBlocks) {
  const Bytes first(100, 0x5A);
  const Bytes second{1, 2, 3};
  const auto text = "a comment\n" + to_pem("CERTIFICATE", first) + "between\r\n" + to_pem("X509 CRL", second) + '\0';
  const auto blocks = parse_pem(text);
  ASSERT_TRUE(blocks) << blocks.error().text();
  ASSERT_EQ(blocks->size(), 2U);
  EXPECT_EQ((*blocks)[0].label, "CERTIFICATE");
  EXPECT_EQ((*blocks)[0].der, first);
  EXPECT_EQ((*blocks)[1].label, "X509 CRL");
  EXPECT_EQ((*blocks)[1].der, second);
}

TEST(Pem, WritesLinesOf64Columns) {
  const auto text = to_pem("X", Bytes(49, 0));
  EXPECT_EQ(text, "-----BEGIN X-----\n" + std::string(64, 'A') + "\nAA==\n-----END X-----\n");
}

TEST(Pem, RefusesBrokenBlocks) {
  for (const auto* text :
       {"", "no block", "-----BEGIN X-----\nAAAA\n", "-----BEGIN X-----\nAAAA\n-----END Y-----\n",
        "-----BEGIN -----\nAAAA\n-----END -----\n", "-----BEGIN X\nAAAA\n-----END X-----\n",
        "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END X-----\n",
        "-----BEGIN X-----\nAAA\n-----END X-----\n", "-----BEGIN X-----\n-----BEGIN X-----\nAAAA\n-----END X-----\n",
        " -----BEGIN X-----\nAAAA\n-----END X-----\n"}) {
    EXPECT_FALSE(parse_pem(text)) << text;
  }
}

TEST(Pem, CountsBlocks) {
  const auto two = to_pem("X", Bytes{1}) + to_pem("X", Bytes{2});
  EXPECT_TRUE(parse_pem(two, 2));
  EXPECT_EQ(parse_pem(two, 1).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::codec
