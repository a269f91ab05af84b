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

}  // namespace
}  // namespace cloister::crypto
