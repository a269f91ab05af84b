#include "cloister/crypto/signature_cache.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::crypto {
namespace {

struct Signed {
  EcPrivateKey key = EcPrivateKey::generate(Curve::p256);
  Digest32 digest = sha256(as_bytes("message"));
  Bytes signature = key.sign(as_bytes("message"));
};

class SignatureCacheTest : public testing::Test {
 protected:
  test::SeededRandom random_{1};
  SignatureCache cache_{random_};
  Signed signed_;
};

TEST_F(SignatureCacheTest, RemembersAValidSignature) {
  const auto& key = signed_.key.public_key();
  EXPECT_TRUE(verify_digest(key, signed_.digest, signed_.signature, &cache_).ok());
  EXPECT_EQ(cache_.size(), 1U);
  EXPECT_TRUE(verify_digest(key, signed_.digest, signed_.signature, &cache_).ok());
  EXPECT_EQ(cache_.size(), 1U);
  EXPECT_TRUE(cache_.holds(
      cache_.id(SignatureCache::Scheme::ecdsa_fixed, key.xy(), signed_.digest, signed_.signature)));
}

TEST_F(SignatureCacheTest, WorksWithoutACache) {
  EXPECT_TRUE(verify_digest(signed_.key.public_key(), signed_.digest, signed_.signature, nullptr).ok());
  const auto other = sha256(as_bytes("another"));
  EXPECT_FALSE(verify_digest(signed_.key.public_key(), other, signed_.signature, nullptr).ok());
}

TEST_F(SignatureCacheTest, DoesNotTakeARefusedSignature) {
  auto forged = signed_.signature;
  forged[40] ^= 1;
  for (int i = 0; i < 2; ++i) {
    const auto refused = verify_digest(signed_.key.public_key(), signed_.digest, forged, &cache_);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Errc::signature_invalid);
  }
  EXPECT_EQ(cache_.size(), 0U);
}

TEST_F(SignatureCacheTest, ServesNoOtherKeyDigestOrSignature) {
  ASSERT_TRUE(verify_digest(signed_.key.public_key(), signed_.digest, signed_.signature, &cache_).ok());
  const Signed other;
  EXPECT_FALSE(verify_digest(other.key.public_key(), signed_.digest, signed_.signature, &cache_).ok());
  EXPECT_FALSE(
      verify_digest(signed_.key.public_key(), sha256(as_bytes("another")), signed_.signature, &cache_).ok());
  EXPECT_FALSE(verify_digest(signed_.key.public_key(), signed_.digest, other.signature, &cache_).ok());
  EXPECT_EQ(cache_.size(), 1U);
}

TEST_F(SignatureCacheTest, TellsEveryPartApart) {
  using enum SignatureCache::Scheme;
  const auto ab = as_bytes("ab");
  const auto a = as_bytes("a");
  const auto b = as_bytes("b");
  const auto id = cache_.id(ecdsa_fixed, ab, a, b);
  EXPECT_EQ(id, cache_.id(ecdsa_fixed, ab, a, b));
  EXPECT_NE(id, cache_.id(ecdsa_der, ab, a, b));
  EXPECT_NE(id, cache_.id(ecdsa_fixed, a, as_bytes("ba"), b));
  EXPECT_NE(id, cache_.id(ecdsa_fixed, ab, ab, {}));
  EXPECT_NE(id, cache_.id(ecdsa_fixed, ab, b, a));
}

TEST_F(SignatureCacheTest, IsSalted) {
  test::SeededRandom other{2};
  const SignatureCache salted{other};
  EXPECT_NE(cache_.id(SignatureCache::Scheme::rsa, {}, {}, {}), salted.id(SignatureCache::Scheme::rsa, {}, {}, {}));
}

TEST_F(SignatureCacheTest, ForgetsTheOldestWhenAPlaceIsFull) {
  SignatureCache small{random_, SignatureCache::kWays};  // one place
  std::vector<SignatureCache::Id> ids;
  for (std::uint8_t i = 0; i < 9; ++i) {
    ids.push_back(small.id(SignatureCache::Scheme::rsa, ByteView{&i, 1}, {}, {}));
    small.add(ids.back());
    EXPECT_LE(small.size(), SignatureCache::kWays);
  }
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(small.holds(ids[i]), i >= 5) << i;
}

TEST_F(SignatureCacheTest, NeverHoldsWhatIsEmpty) {
  EXPECT_FALSE(cache_.holds(SignatureCache::Id{}));
}

}  // namespace
}  // namespace cloister::crypto
