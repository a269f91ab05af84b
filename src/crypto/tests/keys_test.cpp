#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/rsa_pss.hpp"
#include "support/support.hpp"

namespace cloister::crypto {
namespace {

const auto kMessage = as_bytes("message");

TEST(Aead, RefusesWhatIsShorterThanATag) {
  const ByteArray<32> key{};
  EXPECT_EQ(chacha20poly1305_open(key, Nonce{}, {}, Bytes(15)).error().code(), Errc::decryption_failed);
}

TEST(Aead, RefusesEveryChangedInput) {
  ByteArray<32> key{1};
  const Nonce nonce{2};
  const auto sealed = chacha20poly1305_seal(key, nonce, as_bytes("ad"), kMessage);
  EXPECT_TRUE(chacha20poly1305_open(key, nonce, as_bytes("ad"), sealed).ok());
  EXPECT_FALSE(chacha20poly1305_open(key, Nonce{3}, as_bytes("ad"), sealed).ok());
  EXPECT_FALSE(chacha20poly1305_open(key, nonce, as_bytes("AD"), sealed).ok());
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] ^= 1;
    EXPECT_FALSE(chacha20poly1305_open(key, nonce, as_bytes("ad"), changed).ok()) << i;
  }
  key[0] ^= 1;
  EXPECT_FALSE(chacha20poly1305_open(key, nonce, as_bytes("ad"), sealed).ok());
}

// GCM, revised specification (McGrew and Viega), test cases 4 and 16.
TEST(AesGcm, KnownAnswers) {
  const auto hex = [](std::string_view text) { return codec::from_hex(text).value(); };
  const auto nonce = codec::array_from_hex<12>("cafebabefacedbaddecaf888").value();
  const auto associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const auto plaintext = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
                             "b16aedf5aa0de657ba637b39");
  const auto key = hex("feffe9928665731c6d6a8f9467308308");
  auto key32 = key;
  append(key32, key);
  EXPECT_EQ(codec::to_hex(aes_gcm_seal(key, nonce, associated, plaintext)),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
            "5bc94fbc3221a5db94fae95ae7121a47");
  EXPECT_EQ(codec::to_hex(aes_gcm_seal(key32, nonce, associated, plaintext)),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            "76fc6ece0f4e1768cddf8853bb2d551b");
}

TEST(AesGcm, RefusesEveryChangedInput) {
  ByteArray<32> key{1};
  const Nonce nonce{2};
  const auto sealed = aes_gcm_seal(key, nonce, as_bytes("ad"), kMessage);
  const auto opened = aes_gcm_open(key, nonce, as_bytes("ad"), sealed);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(same_bytes(opened->reveal(), kMessage));
  EXPECT_FALSE(aes_gcm_open(key, Nonce{3}, as_bytes("ad"), sealed).ok());
  EXPECT_FALSE(aes_gcm_open(key, nonce, as_bytes("AD"), sealed).ok());
  EXPECT_EQ(aes_gcm_open(key, nonce, as_bytes("ad"), Bytes(15)).error().code(), Errc::decryption_failed);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] ^= 1;
    EXPECT_EQ(aes_gcm_open(key, nonce, as_bytes("ad"), changed).error().code(), Errc::decryption_failed) << i;
  }
  key[0] ^= 1;
  EXPECT_FALSE(aes_gcm_open(key, nonce, as_bytes("ad"), sealed).ok());
}

TEST(RsaPss, KeyComesBackFromPkcs8) {
  const auto key = RsaPssKey::generate(2048);
  const auto der = key.to_pkcs8();
  const auto again = RsaPssKey::from_pkcs8(der.reveal());
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_EQ(again->public_key().modulus, key.public_key().modulus);
  EXPECT_EQ(again->public_key().exponent, (Bytes{1, 0, 1}));
  EXPECT_EQ(key.public_key().modulus.size(), 256U);
}

TEST(RsaPss, RefusesWhatIsNoKey) {
  auto der = to_bytes(RsaPssKey::generate(2048).to_pkcs8().reveal());
  EXPECT_EQ(RsaPssKey::from_pkcs8({}).error().code(), Errc::key_invalid);
  EXPECT_EQ(RsaPssKey::from_pkcs8(ByteView{der}.first(der.size() - 1)).error().code(), Errc::key_invalid);
  auto trailing = der;
  trailing.push_back(0);
  EXPECT_EQ(RsaPssKey::from_pkcs8(trailing).error().code(), Errc::key_invalid);
  der[60] ^= 1;  // in the modulus
  EXPECT_EQ(RsaPssKey::from_pkcs8(der).error().code(), Errc::key_invalid);
}

TEST(X25519Key, BothSidesAgree) {
  test::SeededRandom random{1};
  const auto a = X25519Key::generate(random);
  const auto b = X25519Key::generate(random);
  EXPECT_TRUE(equal(a.agree(b.public_key()).value().reveal(), b.agree(a.public_key()).value().reveal()));
}

TEST(Ed25519Key, KnownAnswer) {  // RFC 8032 section 7.1, test 2
  const auto seed = codec::array_from_hex<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const auto key = Ed25519Key::from_seed(Secret<32>{seed.value()});
  EXPECT_EQ(codec::to_hex(key.public_key()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(codec::to_hex(key.sign(ByteArray<1>{0x72})),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(Ed25519Key, SignatureHoldsForItsMessageAndKeyAlone) {
  test::SeededRandom random{2};
  const auto key = Ed25519Key::generate(random);
  const auto signature = key.sign(kMessage);
  EXPECT_TRUE(ed25519_verify(key.public_key(), kMessage, signature).ok());
  EXPECT_EQ(ed25519_verify(key.public_key(), as_bytes("other"), signature).error().code(), Errc::signature_invalid);
  EXPECT_FALSE(ed25519_verify(Ed25519Key::generate(random).public_key(), kMessage, signature).ok());
  EXPECT_FALSE(ed25519_verify(key.public_key(), kMessage, ByteView{signature}.first(63)).ok());
}

/// With R the key itself and S zero, RFC 8032's equation holds for about every eighth message, or for all.
TEST(Ed25519Key, OfSmallOrderIsRefused) {
  constexpr std::string_view kPoints[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
  for (const auto point : kPoints) {
    auto key = codec::array_from_hex<32>(point).value();
    for (const unsigned sign : {0x00U, 0x80U}) {
      key[31] = static_cast<std::uint8_t>(key[31] | sign);
      EXPECT_EQ(check_ed25519_key(key).error().code(), Errc::key_invalid) << point;
      Ed25519Signature forged{};
      std::ranges::copy(key, forged.begin());
      for (int i = 0; i < 32; ++i) {
        EXPECT_EQ(ed25519_verify(key, as_bytes(std::to_string(i)), forged).error().code(), Errc::signature_invalid) << point;
      }
    }
  }
  test::SeededRandom random{3};
  EXPECT_TRUE(check_ed25519_key(Ed25519Key::generate(random).public_key()).ok());
}

class Ecdsa : public testing::TestWithParam<Curve> {};
INSTANTIATE_TEST_SUITE_P(Curves, Ecdsa, testing::Values(Curve::p256, Curve::p384),
                         [](const auto& curve) { return curve.param == Curve::p256 ? "P256" : "P384"; });

TEST_P(Ecdsa, SignatureHoldsForItsMessageAndKeyAlone) {
  const auto key = EcPrivateKey::generate(GetParam());
  const auto fixed = key.sign(kMessage);
  const auto der = key.sign_der(kMessage);
  EXPECT_EQ(fixed.size(), 2 * field_size(GetParam()));
  EXPECT_TRUE(key.public_key().verify(kMessage, fixed).ok());
  EXPECT_TRUE(key.public_key().verify_der(kMessage, der).ok());
  EXPECT_EQ(key.public_key().verify(as_bytes("other"), fixed).error().code(), Errc::signature_invalid);
  EXPECT_FALSE(EcPrivateKey::generate(GetParam()).public_key().verify(kMessage, fixed).ok());
}

TEST_P(Ecdsa, SignatureOfAnotherLengthIsRefused) {
  const auto key = EcPrivateKey::generate(GetParam());
  auto signature = key.sign(kMessage);
  EXPECT_FALSE(key.public_key().verify(kMessage, ByteView{signature}.first(signature.size() - 1)).ok());
  signature.push_back(0);
  EXPECT_FALSE(key.public_key().verify(kMessage, signature).ok());
  EXPECT_FALSE(key.public_key().verify_der(kMessage, {}).ok());
}

/// SEC 2 version 2, sections 2.4.2 and 2.5.1.
Bytes order_of(Curve curve) {
  return codec::from_hex(curve == Curve::p256
                             ? "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
                             : "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
                               "581a0db248b0a77aecec196accc52973")
      .value();
}

/// a - b of big-endian numbers of one size, a > b.
Bytes difference(ByteView a, ByteView b) {
  Bytes out(a.size());
  int borrow = 0;
  for (std::size_t i = a.size(); i-- > 0;) {
    const int digit = a[i] - b[i] - borrow;
    borrow = digit < 0 ? 1 : 0;
    out[i] = static_cast<std::uint8_t>(digit + 256 * borrow);
  }
  return out;
}

Bytes joined(ByteView r, ByteView s) {
  auto out = to_bytes(r);
  append(out, s);
  return out;
}

TEST_P(Ecdsa, NumbersOfASignatureAreBetweenZeroAndTheOrder) {
  const auto size = field_size(GetParam());
  const auto key = EcPrivateKey::generate(GetParam());
  const auto signature = key.sign(kMessage);
  const auto r = ByteView{signature}.first(size);
  const auto s = ByteView{signature}.last(size);
  const auto order = order_of(GetParam());
  // (r, -s) is as good as (r, s) (SEC 1 section 4.1.4): nobody has to choose the lower one.
  EXPECT_TRUE(key.public_key().verify(kMessage, joined(r, difference(order, s))).ok());
  const Bytes zero(size);
  const Bytes largest(size, 0xFF);
  for (const auto* number : {&zero, &order, &largest}) {
    EXPECT_EQ(key.public_key().verify(kMessage, joined(*number, s)).error().code(), Errc::signature_invalid);
    EXPECT_EQ(key.public_key().verify(kMessage, joined(r, *number)).error().code(), Errc::signature_invalid);
    EXPECT_EQ(key.public_key().verify(kMessage, joined(*number, *number)).error().code(), Errc::signature_invalid);
  }
}

TEST_P(Ecdsa, DerIsStrict) {
  const auto key = EcPrivateKey::generate(GetParam());
  const auto good = key.sign_der(kMessage);
  const auto refused = [&](const Bytes& der) {
    const auto verified = key.public_key().verify_der(kMessage, der);
    return !verified && verified.error().code() == Errc::signature_invalid;
  };
  ASSERT_FALSE(refused(good));

  auto trailing = good;
  trailing.push_back(0);
  EXPECT_TRUE(refused(trailing));
  auto inside = trailing;
  ++inside[1];
  EXPECT_TRUE(refused(inside)) << "a byte after the two numbers";
  auto long_length = good;
  long_length.insert(long_length.begin() + 1, 0x81);
  EXPECT_TRUE(refused(long_length)) << "a length in two bytes that fits one";
  auto indefinite = trailing;
  indefinite.push_back(0);
  indefinite[1] = 0x80;
  EXPECT_TRUE(refused(indefinite));
  auto padded = good;
  padded.insert(padded.begin() + 4, 0);
  ++padded[1];
  ++padded[3];
  EXPECT_TRUE(refused(padded)) << "a zero that the number does not need";
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_TRUE(refused(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i)))) << i;
    for (const unsigned flip : {0x01U, 0x80U, 0xFFU}) {
      auto changed = good;
      changed[i] = static_cast<std::uint8_t>(changed[i] ^ flip);
      EXPECT_TRUE(refused(changed)) << "byte " << i << " ^ " << flip;
    }
  }
}

TEST_P(Ecdsa, SameSeedAndInfoGiveTheSameKey) {
  const auto key = EcPrivateKey::derive(GetParam(), as_bytes("seed"), as_bytes("info"));
  const auto same = EcPrivateKey::derive(GetParam(), as_bytes("seed"), as_bytes("info"));
  EXPECT_EQ(key.public_key().xy(), same.public_key().xy());
  EXPECT_NE(key.public_key().xy(), EcPrivateKey::derive(GetParam(), as_bytes("seed"), as_bytes("x")).public_key().xy());
  EXPECT_NE(key.public_key().xy(), EcPrivateKey::derive(GetParam(), as_bytes("x"), as_bytes("info")).public_key().xy());
  EXPECT_TRUE(same.public_key().verify(kMessage, key.sign(kMessage)).ok());
}

TEST_P(Ecdsa, PublicKeyMustBeAPointOfItsCurve) {
  const auto key = EcPrivateKey::generate(GetParam());
  auto xy = key.public_key().xy();
  EXPECT_TRUE(EcPublicKey::from_xy(GetParam(), xy).ok());
  EXPECT_EQ(EcPublicKey::from_xy(GetParam(), ByteView{xy}.subspan(1)).error().code(), Errc::key_invalid);
  xy.back() ^= 1;
  EXPECT_EQ(EcPublicKey::from_xy(GetParam(), xy).error().code(), Errc::key_invalid);
  EXPECT_FALSE(EcPublicKey::from_xy(GetParam(), Bytes(xy.size(), 0)).ok());
  EXPECT_FALSE(EcPublicKey::from_xy(GetParam(), Bytes(xy.size(), 0xFF)).ok());
}

}  // namespace
}  // namespace cloister::crypto
