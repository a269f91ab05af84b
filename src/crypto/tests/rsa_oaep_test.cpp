#include "cloister/crypto/rsa_oaep.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/rsa_pss.hpp"

namespace cloister::crypto {
namespace {

TEST(RsaOaep, OpensWhatWasSealedToIt) {
  const auto key = RsaOaepKey::generate();
  const auto one = rsa_oaep_encrypt(key.public_key(), as_bytes("content key")).value();
  EXPECT_EQ(one.size(), 256U);
  EXPECT_NE(one, rsa_oaep_encrypt(key.public_key(), as_bytes("content key")).value());
  EXPECT_EQ(as_text(key.decrypt(one)->reveal()), "content key");
  EXPECT_EQ(key.decrypt(rsa_oaep_encrypt(key.public_key(), {}).value())->size(), 0U);

  auto changed = one;
  changed[100] ^= 1;
  EXPECT_EQ(key.decrypt(changed).error().code(), Errc::decryption_failed);
  EXPECT_EQ(key.decrypt(ByteView{one}.first(255)).error().code(), Errc::decryption_failed);
  EXPECT_EQ(RsaOaepKey::generate().decrypt(one).error().code(), Errc::decryption_failed);
}

TEST(RsaOaep, RefusesWhatDoesNotFit) {
  const auto key = RsaOaepKey::generate();
  EXPECT_TRUE(rsa_oaep_encrypt(key.public_key(), Bytes(190, 1)).ok());
  EXPECT_EQ(rsa_oaep_encrypt(key.public_key(), Bytes(191, 1)).error().code(), Errc::limit_exceeded);
  auto small = key.public_key();
  small.modulus.resize(255);
  EXPECT_EQ(rsa_oaep_encrypt(small, {}).error().code(), Errc::key_invalid);
  EXPECT_EQ(RsaOaepKey::from_pkcs8({}).error().code(), Errc::key_invalid);
  EXPECT_EQ(RsaOaepKey::from_pkcs8(as_bytes("no key")).error().code(), Errc::key_invalid);
}

TEST(RsaOaep, ReadsPrivateKeysWhosePartsFitEachOther) {
  const auto pss = RsaPssKey::generate(2048);
  const auto der = pss.to_pkcs8();
  const auto key = RsaOaepKey::from_pkcs8(der.reveal());
  ASSERT_TRUE(key) << key.error().text();
  EXPECT_EQ(key->public_key().modulus, pss.public_key().modulus);

  auto changed = to_bytes(der.reveal());
  changed[400] ^= 1;  // of the private exponent
  EXPECT_EQ(RsaOaepKey::from_pkcs8(changed).error().code(), Errc::key_invalid);
  auto longer = to_bytes(der.reveal());
  longer.push_back(0);
  EXPECT_EQ(RsaOaepKey::from_pkcs8(longer).error().code(), Errc::key_invalid);
}

}  // namespace
}  // namespace cloister::crypto
