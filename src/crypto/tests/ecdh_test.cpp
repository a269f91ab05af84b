#include "cloister/crypto/ecdh.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::crypto {
namespace {

constexpr DhCurve kCurves[] = {DhCurve::p256, DhCurve::p384, DhCurve::p521};

Bytes base64url(std::string_view text) { return codec::from_base64url(text).value(); }

DhPrivateKey private_key(std::string_view d) {
  return DhPrivateKey::from_scalar(DhCurve::p256, SecretBytes::copy_of(base64url(d))).value();
}

Bytes point(std::string_view x, std::string_view y) {
  auto out = base64url(x);
  append(out, base64url(y));
  return out;
}

// RFC 7518 appendix C.
TEST(Ecdh, GivesTheKeyOfRfc7518) {
  const auto alice = private_key("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo");
  const auto bob = private_key("VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw");
  EXPECT_EQ(alice.public_key().xy(),
            point("gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"));
  EXPECT_EQ(bob.public_key().xy(),
            point("weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ", "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"));
  const auto shared = alice.agree(bob.public_key()).value();
  EXPECT_EQ(codec::to_hex(shared.reveal()), "9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4");
  EXPECT_TRUE(same_bytes(bob.agree(alice.public_key())->reveal(), shared.reveal()));

  codec::Writer info;
  for (const std::string_view part : {"A128GCM", "Alice", "Bob"}) {
    info.u32be(static_cast<std::uint32_t>(part.size()));
    info.raw(as_bytes(part));
  }
  info.u32be(128);
  EXPECT_EQ(codec::to_base64url(concat_kdf(shared, info.bytes(), 16).reveal()), "VqqN6vgjbSBcIijNcacQGg");
}

TEST(ConcatKdf, CountsItsRounds) {
  const auto shared = SecretBytes::copy_of(Bytes(32, 7));
  const auto whole = concat_kdf(shared, as_bytes("info"), 100);
  EXPECT_EQ(whole.size(), 100U);
  EXPECT_TRUE(same_bytes(concat_kdf(shared, as_bytes("info"), 32).reveal(), whole.reveal().first(32)));
  EXPECT_FALSE(same_bytes(whole.reveal().first(32), whole.reveal().subspan(32, 32)));
  EXPECT_EQ(concat_kdf(shared, as_bytes("info"), 0).size(), 0U);
}

TEST(Ecdh, AgreesOnEveryCurve) {
  for (const auto curve : kCurves) {
    const auto a = DhPrivateKey::generate(curve);
    const auto b = DhPrivateKey::generate(curve);
    const auto again = DhPublicKey::from_xy(curve, b.public_key().xy()).value();
    const auto shared = a.agree(again).value();
    EXPECT_EQ(shared.size(), coordinate_size(curve));
    EXPECT_TRUE(same_bytes(shared.reveal(), b.agree(a.public_key())->reveal()));
  }
}

TEST(Ecdh, RefusesPointsThatAreOnNoCurve) {
  for (const auto curve : kCurves) {
    const auto xy = DhPrivateKey::generate(curve).public_key().xy();
    auto off = xy;
    off.back() ^= 1;
    EXPECT_EQ(DhPublicKey::from_xy(curve, off).error().code(), Errc::key_invalid);
    EXPECT_EQ(DhPublicKey::from_xy(curve, Bytes(xy.size(), 0)).error().code(), Errc::key_invalid);
    EXPECT_EQ(DhPublicKey::from_xy(curve, Bytes(xy.size(), 0xFF)).error().code(), Errc::key_invalid);
    EXPECT_EQ(DhPublicKey::from_xy(curve, ByteView{xy}.first(xy.size() - 1)).error().code(), Errc::key_invalid);
    EXPECT_EQ(DhPublicKey::from_xy(curve, {}).error().code(), Errc::key_invalid);
  }
}

TEST(Ecdh, RefusesKeysOfAnotherCurve) {
  const auto a = DhPrivateKey::generate(DhCurve::p256);
  const auto b = DhPrivateKey::generate(DhCurve::p384);
  EXPECT_EQ(a.agree(b.public_key()).error().code(), Errc::key_invalid);
}

TEST(Ecdh, RefusesScalarsBeyondTheOrder) {
  for (const auto curve : kCurves) {
    const auto size = coordinate_size(curve);
    const auto refused = [&](Bytes scalar) {
      return DhPrivateKey::from_scalar(curve, SecretBytes::copy_of(scalar)).error().code();
    };
    EXPECT_EQ(refused(Bytes(size, 0)), Errc::key_invalid);
    EXPECT_EQ(refused(Bytes(size, 0xFF)), Errc::key_invalid);
    EXPECT_EQ(refused(Bytes(size - 1, 1)), Errc::key_invalid);
  }
}

}  // namespace
}  // namespace cloister::crypto
