#include "cloister/crypto/aes.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"

namespace cloister::crypto {
namespace {

Bytes hex(std::string_view text) { return codec::from_hex(text).value(); }

ByteArray<16> key(std::string_view text) { return to_array<16>(hex(text)); }

// RFC 4493 section 4, examples 1 to 3.
TEST(Aes128Cmac, GivesTheMacsOfRfc4493) {
  const auto k = key("2b7e151628aed2a6abf7158809cf4f3c");
  const auto mac = [&](std::string_view message) { return codec::to_hex(aes128_cmac(k, hex(message)).reveal()); };
  EXPECT_EQ(mac(""), "bb1d6929e95937287fa37d129b756746");
  EXPECT_EQ(mac("6bc1bee22e409f96e93d7e117393172a"), "070a16b46b4d4144f79bdd9dd04a287c");
  EXPECT_EQ(mac("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411"),
            "dfa66747de9ae63030ca32611497c827");
}

// RFC 3394 sections 4.1 to 4.6.
TEST(AesKeyWrap, GivesWhatRfc3394Gives) {
  constexpr std::string_view kKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
  constexpr std::string_view kData = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";
  struct Case {
    std::size_t key;
    std::size_t data;
    std::string_view wrapped;
  };
  for (const auto& [key_size, data_size, wrapped] : {
           Case{16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"},
           Case{24, 16, "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"},
           Case{32, 16, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"},
           Case{24, 24, "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2"},
           Case{32, 24, "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1"},
           Case{32, 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"},
       }) {
    const auto wrapping = hex(kKey.substr(0, 2 * key_size));
    const auto data = hex(kData.substr(0, 2 * data_size));
    EXPECT_EQ(codec::to_hex(aes_key_wrap(wrapping, data)), wrapped);
    EXPECT_TRUE(same_bytes(aes_key_unwrap(wrapping, hex(wrapped))->reveal(), data));
  }
}

TEST(AesKeyWrap, OpensNothingThatIsNotAsItWas) {
  const Bytes wrapping(32, 1);
  const auto wrapped = aes_key_wrap(wrapping, Bytes(32, 2));
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    auto changed = wrapped;
    changed[i] ^= 1;
    EXPECT_EQ(aes_key_unwrap(wrapping, changed).error().code(), Errc::decryption_failed) << i;
  }
  EXPECT_EQ(aes_key_unwrap(Bytes(32, 3), wrapped).error().code(), Errc::decryption_failed);
  for (std::size_t size : {0U, 8U, 16U, 39U, 48U, 5000U}) {
    EXPECT_EQ(aes_key_unwrap(wrapping, Bytes(size, 0)).error().code(), Errc::decryption_failed) << size;
  }
}

}  // namespace
}  // namespace cloister::crypto
