#include "cloister/crypto/rsa.hpp"

#include <gtest/gtest.h>

namespace cloister::crypto {
namespace {

TEST(RsaPrivateKey, OfOneSeedIsOneKeyAndSigns) {
  const ByteArray<32> seed{1, 2, 3};
  const auto key = RsaPrivateKey::derive_3072_e3(seed, as_bytes("a"));
  EXPECT_EQ(key.public_key().modulus.size(), 384U);
  EXPECT_GE(key.public_key().modulus.front(), 0x80);
  EXPECT_EQ(key.public_key().exponent, Bytes{3});
  EXPECT_EQ(RsaPrivateKey::derive_3072_e3(seed, as_bytes("a")).public_key().modulus, key.public_key().modulus);
  EXPECT_NE(RsaPrivateKey::derive_3072_e3(seed, as_bytes("b")).public_key().modulus, key.public_key().modulus);
  auto signature = key.sign_pkcs1_sha256(as_bytes("message"));
  EXPECT_EQ(signature, key.sign_pkcs1_sha256(as_bytes("message")));
  EXPECT_TRUE(verify_rsa_pkcs1_sha256(key.public_key(), as_bytes("message"), signature).ok());
  EXPECT_FALSE(verify_rsa_pkcs1_sha256(key.public_key(), as_bytes("massage"), signature).ok());
  signature[200] ^= 1;
  EXPECT_EQ(verify_rsa_pkcs1_sha256(key.public_key(), as_bytes("message"), signature).error().code(), Errc::signature_invalid);
}

TEST(MultiplyAndDivide, GivesQuotientAndRemainder) {
  // 200 * 250 = 50000 = 195 * 256 + 80
  const auto done = multiply_and_divide(Bytes{200}, Bytes{250}, Bytes{1, 0}).value();
  EXPECT_EQ(done.quotient, (Bytes{0, 195}));
  EXPECT_EQ(done.remainder, (Bytes{0, 80}));
  EXPECT_EQ(multiply_and_divide(Bytes{1, 0}, Bytes{1}, Bytes{1, 0}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(multiply_and_divide(Bytes{1}, Bytes{1, 0}, Bytes{1, 0}).error().code(), Errc::invalid_argument);
  EXPECT_FALSE(multiply_and_divide(Bytes{0}, Bytes{0}, Bytes{0}).ok());
}

}  // namespace
}  // namespace cloister::crypto
