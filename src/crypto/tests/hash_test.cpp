#include "cloister/crypto/hash.hpp"

#include <gtest/gtest.h>

#include <array>

#include "cloister/codec/text.hpp"

namespace cloister::crypto {
namespace {

// FIPS 180-4 examples, "abc".
constexpr auto kAbc256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr auto kAbc384 =
    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
constexpr auto kAbc512 =
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
    "2a9ac94fa54ca49f";

TEST(Hash, KnownAnswers) {
  EXPECT_EQ(codec::to_hex(sha256(as_bytes("abc"))), kAbc256);
  EXPECT_EQ(codec::to_hex(sha384(as_bytes("abc"))), kAbc384);
  EXPECT_EQ(codec::to_hex(sha512(as_bytes("abc"))), kAbc512);
  EXPECT_EQ(codec::to_hex(sha256(ByteView{})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Hash, PartsHashAsTheirConcatenation) {
  EXPECT_EQ(codec::to_hex(sha256({as_bytes("a"), ByteView{}, as_bytes("bc")})), kAbc256);
  EXPECT_EQ(codec::to_hex(sha384({as_bytes("ab"), as_bytes("c")})), kAbc384);
  EXPECT_EQ(hmac_sha256(as_bytes("k"), as_bytes("abc")), hmac_sha256(as_bytes("k"), {as_bytes("a"), as_bytes("bc")}));
}

TEST(Hasher, UpdatesHashAsTheirConcatenation) {
  Sha256 small;
  small.update(as_bytes("a"));
  small.update({});
  auto moved = std::move(small);
  moved.update(as_bytes("bc"));
  EXPECT_EQ(codec::to_hex(moved.finish()), kAbc256);
  Sha384 large;
  large.update(as_bytes("abc"));
  EXPECT_EQ(codec::to_hex(large.finish()), kAbc384);
}

TEST(HasherDeathTest, MayNotBeUsedAfterItsEnd) {
  Sha256 hash;
  static_cast<void>(hash.finish());
  EXPECT_DEATH(hash.update(as_bytes("x")), "state_");
}

TEST(Hkdf, ExtractThenExpandIsHkdf) {
  const auto key = hkdf_extract(as_bytes("salt"), as_bytes("input"));
  const auto expanded = hkdf_expand(key.reveal(), as_bytes("info"), 32);
  EXPECT_TRUE(equal(expanded.reveal(), hkdf(as_bytes("salt"), as_bytes("input"), as_bytes("info"), 32).reveal()));
  EXPECT_TRUE(equal(expanded.reveal(), hkdf32(as_bytes("salt"), as_bytes("input"), as_bytes("info")).reveal()));
}

// RFC 5869 appendix A.1 to A.3.
TEST(Hkdf, GivesTheKeysOfRfc5869) {
  const auto range = [](int first, int count) {
    Bytes out;
    for (int i = 0; i < count; ++i) out.push_back(static_cast<std::uint8_t>(first + i));
    return out;
  };
  struct Case {
    Bytes input;
    Bytes salt;
    Bytes info;
    std::string_view key;
    std::string_view output;
  };
  const std::array cases{
      Case{Bytes(22, 0x0b), range(0, 13), range(0xf0, 10), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
           "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
      Case{range(0, 80), range(0x60, 80), range(0xb0, 80), "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
           "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9"
           "aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
      Case{Bytes(22, 0x0b), {}, {}, "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
           "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"}};
  for (const auto& one : cases) {
    EXPECT_EQ(codec::to_hex(hkdf_extract(one.salt, one.input).reveal()), one.key);
    EXPECT_EQ(codec::to_hex(hkdf(one.salt, one.input, one.info, one.output.size() / 2).reveal()), one.output);
  }
}

TEST(HkdfDeathTest, LengthHasALimit) {
  EXPECT_EQ(hkdf({}, {}, {}, 255 * 32).size(), 255U * 32U);
  EXPECT_DEATH(static_cast<void>(hkdf({}, {}, {}, 255 * 32 + 1)), "length");
}

}  // namespace
}  // namespace cloister::crypto
