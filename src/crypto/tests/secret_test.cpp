#include "cloister/crypto/secret.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "support/support.hpp"

namespace cloister::crypto {
namespace {

static_assert(!std::is_copy_constructible_v<Secret<32>> && !std::is_copy_assignable_v<Secret<32>>);
static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);

TEST(Secret, MoveLeavesZeros) {
  auto from = Secret<4>::copy_of(ByteArray<4>{1, 2, 3, 4});
  const auto to = std::move(from);
  EXPECT_TRUE(all_zero(from.reveal()));  // NOLINT(bugprone-use-after-move): what is left behind is the point
  EXPECT_TRUE(same_bytes(to.reveal(), ByteArray<4>{1, 2, 3, 4}));
}

TEST(Secret, MoveAssignmentReplacesAndLeavesZeros) {
  auto from = Secret<2>::copy_of(ByteArray<2>{1, 2});
  auto to = Secret<2>::copy_of(ByteArray<2>{3, 4});
  to = std::move(from);
  EXPECT_TRUE(all_zero(from.reveal()));  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(same_bytes(to.reveal(), ByteArray<2>{1, 2}));
}

TEST(Secret, DestructorLeavesZeros) {
  alignas(Secret<8>) std::array<std::uint8_t, sizeof(Secret<8>)> storage{};
  test::SeededRandom random{1};
  auto* secret = new (storage.data()) Secret<8>{Secret<8>::random(random)};
  EXPECT_FALSE(all_zero(secret->reveal()));
  secret->~Secret<8>();
  EXPECT_TRUE(all_zero(storage));
}

TEST(Secret, RandomDrawsFromTheGivenSource) {
  test::SeededRandom first{7};
  test::SeededRandom second{7};
  EXPECT_TRUE(equal(Secret<32>::random(first).reveal(), Secret<32>::random(second).reveal()));
}

TEST(SecretBytes, MoveLeavesNothing) {
  auto from = SecretBytes::copy_of(as_bytes("secret"));
  auto to = std::move(from);
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(as_text(to.reveal()), "secret");
  SecretBytes other{3};
  other = std::move(to);
  EXPECT_TRUE(to.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(as_text(other.clone().reveal()), "secret");
}

TEST(Equal, ComparesContentsAndLength) {
  EXPECT_TRUE(equal({}, {}));
  EXPECT_TRUE(equal(as_bytes("ab"), as_bytes("ab")));
  EXPECT_FALSE(equal(as_bytes("ab"), as_bytes("ac")));
  EXPECT_FALSE(equal(as_bytes("ab"), as_bytes("a")));
}

}  // namespace
}  // namespace cloister::crypto
