#include "cloister/merkle/tree.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <span>
#include <string>
#include <vector>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::merkle {
namespace {

Hash hash(std::string_view hex) { return *codec::array_from_hex<32>(hex); }

/// The leaves that implementations of certificate transparency test with, and the roots of their first 0 to 8.
constexpr std::array kLeaves{
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
constexpr std::array kRoots{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

struct Tree {
  std::vector<Hash> leaves;
  MemoryNodes nodes;
  Frontier frontier;
  void append(const Hash& leaf) {
    leaves.push_back(leaf);
    nodes.add(frontier.append(leaf));
  }
};

Tree known_tree() {
  Tree tree;
  for (const auto* leaf : kLeaves) tree.append(leaf_hash(*codec::from_hex(leaf)));
  return tree;
}

Tree random_tree(std::uint64_t size) {
  test::SeededRandom random{size};
  Tree tree;
  for (std::uint64_t i = 0; i < size; ++i) tree.append(random.array<32>());
  return tree;
}

// The definitions of RFC 9162 section 2.1, word by word: what the implementation is compared with.
Hash naive_root(std::span<const Hash> leaves) {
  if (leaves.empty()) return crypto::sha256(ByteView{});
  if (leaves.size() == 1) return leaves[0];
  const auto k = std::bit_floor(leaves.size() - 1);
  return node_hash(naive_root(leaves.first(k)), naive_root(leaves.subspan(k)));
}

std::vector<Hash> naive_path(std::size_t m, std::span<const Hash> leaves) {
  if (leaves.size() == 1) return {};
  const auto k = std::bit_floor(leaves.size() - 1);
  auto path = m < k ? naive_path(m, leaves.first(k)) : naive_path(m - k, leaves.subspan(k));
  path.push_back(naive_root(m < k ? leaves.subspan(k) : leaves.first(k)));
  return path;
}

std::vector<Hash> naive_subproof(std::size_t m, std::span<const Hash> leaves, bool known) {
  if (m == leaves.size()) return known ? std::vector<Hash>{} : std::vector{naive_root(leaves)};
  const auto k = std::bit_floor(leaves.size() - 1);
  auto path = m <= k ? naive_subproof(m, leaves.first(k), known) : naive_subproof(m - k, leaves.subspan(k), false);
  path.push_back(naive_root(m <= k ? leaves.subspan(k) : leaves.first(k)));
  return path;
}

TEST(MerkleTree, HasTheKnownRoots) {
  Tree tree;
  for (std::size_t size = 0; size <= kLeaves.size(); ++size) {
    EXPECT_EQ(tree.frontier.root(), hash(kRoots[size])) << size;
    EXPECT_EQ(root_of(tree.leaves), hash(kRoots[size])) << size;
    if (size < kLeaves.size()) tree.append(leaf_hash(*codec::from_hex(kLeaves[size])));
  }
  EXPECT_EQ(empty_root(), hash(kRoots[0]));
}

TEST(MerkleTree, HasTheKnownInclusionProofs) {
  const auto tree = known_tree();
  const auto expect = [&](std::uint64_t index, std::uint64_t size, const std::vector<Hash>& path) {
    EXPECT_EQ(prove_inclusion(tree.nodes, index, size)->path, path) << index << " in " << size;
  };
  expect(0, 1, {});
  expect(0, 8,
         {hash("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
          hash("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
          hash("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4")});
  expect(5, 8,
         {hash("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
          hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
          hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7")});
  expect(2, 3, {hash("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125")});
}

TEST(MerkleTree, HasTheKnownConsistencyProofs) {
  const auto tree = known_tree();
  const auto expect = [&](std::uint64_t first, std::uint64_t second, const std::vector<Hash>& path) {
    EXPECT_EQ(prove_consistency(tree.nodes, first, second)->path, path) << first << " to " << second;
  };
  expect(1, 1, {});
  expect(1, 8,
         {hash("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
          hash("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
          hash("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4")});
  expect(6, 8,
         {hash("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
          hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
          hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7")});
  expect(2, 5,
         {hash("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
          hash("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b")});
}

constexpr std::uint64_t kSize = 67;

TEST(MerkleTree, AgreesWithTheDefinitionsForEverySmallTree) {
  const auto tree = random_tree(kSize);
  const std::span<const Hash> leaves{tree.leaves};
  std::vector<Hash> roots;
  for (std::uint64_t size = 0; size <= kSize; ++size) roots.push_back(naive_root(leaves.first(size)));
  for (std::uint64_t size = 1; size <= kSize; ++size) {
    ASSERT_EQ(Frontier::load(tree.nodes, size)->root(), roots[size]) << size;
    for (std::uint64_t index = 0; index < size; ++index) {
      const auto proof = *prove_inclusion(tree.nodes, index, size);
      ASSERT_EQ(proof.path, naive_path(index, leaves.first(size))) << index << " in " << size;
      ASSERT_TRUE(verify_inclusion(proof, leaves[index], roots[size])) << index << " in " << size;
    }
    for (std::uint64_t first = 1; first <= size; ++first) {
      const auto proof = *prove_consistency(tree.nodes, first, size);
      ASSERT_EQ(proof.path, naive_subproof(first, leaves.first(size), true)) << first << " to " << size;
      ASSERT_TRUE(verify_consistency(proof, roots[first], roots[size])) << first << " to " << size;
    }
  }
}

TEST(MerkleTree, LoadedFrontierGoesOnAsIfItHadNeverStopped) {
  const auto whole = random_tree(kSize);
  for (std::uint64_t stop = 0; stop < kSize; ++stop) {
    auto frontier = *Frontier::load(whole.nodes, stop);
    for (auto i = stop; i < kSize; ++i) (void)frontier.append(whole.leaves[i]);
    EXPECT_EQ(frontier.root(), whole.frontier.root()) << stop;
  }
}

TEST(MerkleTree, LoadRefusesATreeThatIsNotThere) {
  const auto tree = random_tree(5);
  EXPECT_EQ(Frontier::load(tree.nodes, 6).error().code(), Errc::not_found);
  EXPECT_EQ(Frontier::load(tree.nodes, UINT64_MAX).error().code(), Errc::invalid_argument);
}

TEST(MerkleTree, RefusesToProveTheImpossible) {
  const auto tree = random_tree(5);
  EXPECT_EQ(prove_inclusion(tree.nodes, 5, 5).error().code(), Errc::invalid_argument);
  EXPECT_EQ(prove_inclusion(tree.nodes, 0, 0).error().code(), Errc::invalid_argument);
  EXPECT_EQ(prove_inclusion(tree.nodes, 0, UINT64_MAX).error().code(), Errc::invalid_argument);
  EXPECT_EQ(prove_inclusion(tree.nodes, 0, 6).error().code(), Errc::not_found);
  EXPECT_EQ(prove_consistency(tree.nodes, 0, 5).error().code(), Errc::invalid_argument);
  EXPECT_EQ(prove_consistency(tree.nodes, 5, 4).error().code(), Errc::invalid_argument);
  EXPECT_EQ(prove_consistency(tree.nodes, 5, 6).error().code(), Errc::not_found);
}

TEST(InclusionProof, IsRefusedWithAnyPartChanged) {
  const auto tree = random_tree(13);
  for (std::uint64_t index = 0; index < 13; ++index) {
    const auto good = *prove_inclusion(tree.nodes, index, 13);
    const auto root = tree.frontier.root();
    const auto leaf = tree.leaves[index];
    const auto refused = [&](const InclusionProof& proof, const Hash& l, const Hash& r) {
      const auto verified = verify_inclusion(proof, l, r);
      return !verified && verified.error().code() == Errc::proof_invalid;
    };
    ASSERT_TRUE(verify_inclusion(good, leaf, root));
    for (std::size_t i = 0; i < good.path.size(); ++i) {
      auto changed = good;
      changed.path[i][31] ^= 1;
      EXPECT_TRUE(refused(changed, leaf, root)) << index << " path " << i;
    }
    auto other_leaf = leaf;
    other_leaf[0] ^= 1;
    EXPECT_TRUE(refused(good, other_leaf, root));
    auto other_root = root;
    other_root[0] ^= 1;
    EXPECT_TRUE(refused(good, leaf, other_root));
    auto moved = good;
    moved.leaf_index = (index + 1) % 13;
    EXPECT_TRUE(refused(moved, leaf, root)) << index;
    auto longer = good;
    longer.path.push_back(root);
    EXPECT_TRUE(refused(longer, leaf, root));
    auto shorter = good;
    shorter.path.pop_back();
    EXPECT_TRUE(refused(shorter, leaf, root));
    auto outside = good;
    outside.leaf_index = 13;
    EXPECT_TRUE(refused(outside, leaf, root));
    auto huge = good;
    huge.tree_size = UINT64_MAX;
    EXPECT_TRUE(refused(huge, leaf, root));
  }
}

TEST(InclusionProof, OfTheOnlyLeafIsEmpty) {
  const auto leaf = leaf_hash(as_bytes("only"));
  EXPECT_TRUE(verify_inclusion({0, 1, {}}, leaf, leaf));
  EXPECT_FALSE(verify_inclusion({0, 1, {leaf}}, leaf, leaf));
  EXPECT_FALSE(verify_inclusion({0, 0, {}}, leaf, leaf));
}

TEST(ConsistencyProof, IsRefusedWithAnyPartChanged) {
  const auto tree = random_tree(13);
  for (std::uint64_t first = 1; first < 13; ++first) {
    const auto good = *prove_consistency(tree.nodes, first, 13);
    const auto first_root = Frontier::load(tree.nodes, first)->root();
    const auto root = tree.frontier.root();
    const auto refused = [&](const ConsistencyProof& proof, const Hash& a, const Hash& b) {
      const auto verified = verify_consistency(proof, a, b);
      return !verified && verified.error().code() == Errc::proof_invalid;
    };
    ASSERT_TRUE(verify_consistency(good, first_root, root));
    for (std::size_t i = 0; i < good.path.size(); ++i) {
      auto changed = good;
      changed.path[i][0] ^= 0x80;
      EXPECT_TRUE(refused(changed, first_root, root)) << first << " path " << i;
    }
    auto other = first_root;
    other[5] ^= 1;
    EXPECT_TRUE(refused(good, other, root)) << first;
    other = root;
    other[5] ^= 1;
    EXPECT_TRUE(refused(good, first_root, other)) << first;
    auto longer = good;
    longer.path.push_back(root);
    EXPECT_TRUE(refused(longer, first_root, root)) << first;
    auto shorter = good;
    shorter.path.pop_back();
    EXPECT_TRUE(refused(shorter, first_root, root)) << first;
    auto backwards = good;
    std::swap(backwards.first_size, backwards.second_size);
    EXPECT_TRUE(refused(backwards, first_root, root)) << first;
  }
}

TEST(ConsistencyProof, OfEqualSizesIsEmptyAndOfNothingRefused) {
  const auto root = leaf_hash(as_bytes("x"));
  const auto other = leaf_hash(as_bytes("y"));
  EXPECT_TRUE(verify_consistency({3, 3, {}}, root, root));
  EXPECT_FALSE(verify_consistency({3, 3, {}}, root, other));
  EXPECT_FALSE(verify_consistency({3, 3, {root}}, root, root));
  EXPECT_FALSE(verify_consistency({0, 3, {}}, empty_root(), root));
  EXPECT_FALSE(verify_consistency({3, 4, {}}, root, root)) << "a path is needed";
  EXPECT_FALSE(verify_consistency({4, 8, {}}, root, root)) << "a path is needed";
}

TEST(MerkleTree, KeepsLeavesAndNodesApart) {
  const auto a = leaf_hash(as_bytes("a"));
  const auto b = leaf_hash(as_bytes("b"));
  Bytes both;
  append(both, a);
  append(both, b);
  EXPECT_NE(leaf_hash(both), node_hash(a, b));
}

}  // namespace
}  // namespace cloister::merkle
