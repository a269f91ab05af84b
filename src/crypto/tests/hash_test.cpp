#include "cloister/crypto/hash.hpp"

#include <gtest/gtest.h>

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

TEST(HkdfDeathTest, LengthHasALimit) {
  EXPECT_EQ(hkdf({}, {}, {}, 255 * 32).size(), 255U * 32U);
  EXPECT_DEATH(static_cast<void>(hkdf({}, {}, {}, 255 * 32 + 1)), "length");
}

}  // namespace
}  // namespace cloister::crypto
