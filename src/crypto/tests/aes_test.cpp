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

// The GCM specification (McGrew and Viega), test case 4.
TEST(Aes128Gcm, GivesTestCase4) {
  const auto k = key("feffe9928665731c6d6a8f9467308308");
  const auto iv = to_array<12>(hex("cafebabefacedbaddecaf888"));
  const auto plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
                         "b16aedf5aa0de657ba637b39");
  const auto associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const auto sealed = aes128_gcm_seal(k, iv, associated, plain);
  EXPECT_EQ(codec::to_hex(sealed),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05"
            "1ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47");
  EXPECT_EQ(to_bytes(aes128_gcm_open(k, iv, associated, sealed).value().reveal()), plain);
}

TEST(Aes128Gcm, RefusesWhatWasChanged) {
  const ByteArray<16> k{1};
  const ByteArray<12> iv{2};
  const auto sealed = aes128_gcm_seal(k, iv, as_bytes("a"), as_bytes("plain"));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] ^= 1;
    EXPECT_EQ(aes128_gcm_open(k, iv, as_bytes("a"), changed).error().code(), Errc::decryption_failed);
  }
  EXPECT_FALSE(aes128_gcm_open(k, iv, as_bytes("b"), sealed).ok());
  EXPECT_FALSE(aes128_gcm_open(ByteArray<16>{2}, iv, as_bytes("a"), sealed).ok());
  EXPECT_FALSE(aes128_gcm_open(k, ByteArray<12>{3}, as_bytes("a"), sealed).ok());
  EXPECT_FALSE(aes128_gcm_open(k, iv, as_bytes("a"), ByteView{sealed}.first(15)).ok());
}

}  // namespace
}  // namespace cloister::crypto
