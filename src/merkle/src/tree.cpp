#include "cloister/merkle/tree.hpp"

#include <bit>
#include <string>

#include "cloister/crypto/hash.hpp"

namespace cloister::merkle {
namespace {

constexpr std::uint64_t kMaxSize = 1ULL << 62;
constexpr ByteArray<1> kLeafPrefix{0x00};
constexpr ByteArray<1> kNodePrefix{0x01};

/// The largest power of two below `size` (2 or more): where RFC 9162 splits a tree.
std::uint64_t split_of(std::uint64_t size) noexcept { return std::bit_floor(size - 1); }

/// A run of leaves that is a subtree of every tree which holds it.
struct Range {
  std::uint64_t begin;
  std::uint64_t end;
  [[nodiscard]] std::uint64_t size() const noexcept { return end - begin; }
  [[nodiscard]] Range left() const noexcept { return {begin, begin + split_of(size())}; }
  [[nodiscard]] Range right() const noexcept { return {begin + split_of(size()), end}; }
};

/// MTH(D[range]) of RFC 9162 section 2.1.1.
Result<Hash> hash_of(const Nodes& nodes, const Range& range) {
  if (std::has_single_bit(range.size())) {
    const auto level = static_cast<std::uint8_t>(std::countr_zero(range.size()));
    return nodes.at(level, range.begin >> level);
  }
  CLOISTER_TRY(left, hash_of(nodes, range.left()));
  CLOISTER_TRY(right, hash_of(nodes, range.right()));
  return node_hash(left, right);
}

Error invalid(std::string why) { return Error{Errc::proof_invalid, std::move(why)}; }

/// The position in a tree that a verifier walks up: `first` is the node's index, `last` that of the level's last node.
struct Climb {
  std::uint64_t first;
  std::uint64_t last;
  /// The next hash of the path stands to the left.
  [[nodiscard]] bool from_left() const noexcept { return (first & 1U) != 0 || first == last; }
  void up() noexcept {
    first >>= 1U;
    last >>= 1U;
  }
  /// Past the levels at which a last node without a sibling is the same on the level above.
  void skip_lone() noexcept {
    while ((first & 1U) == 0 && first != 0) up();
  }
};

}  // namespace

Hash leaf_hash(ByteView leaf) { return crypto::sha256({ByteView{kLeafPrefix}, leaf}); }

Hash node_hash(const Hash& left, const Hash& right) {
  return crypto::sha256({ByteView{kNodePrefix}, ByteView{left}, ByteView{right}});
}

Hash empty_root() { return crypto::sha256(ByteView{}); }

void MemoryNodes::add(std::span<const Node> nodes) {
  for (const auto& node : nodes) {
    if (levels_.size() <= node.level) levels_.resize(std::size_t{node.level} + 1);
    CLOISTER_ASSERT(levels_[node.level].size() == node.index);
    levels_[node.level].push_back(node.hash);
  }
}

Result<Hash> MemoryNodes::at(std::uint8_t level, std::uint64_t index) const {
  if (level < levels_.size() && index < levels_[level].size()) return levels_[level][static_cast<std::size_t>(index)];
  return Error{Errc::not_found, "node " + std::to_string(level) + "/" + std::to_string(index) + " of the tree"};
}

Result<Frontier> Frontier::load(const Nodes& nodes, std::uint64_t size) {
  if (size > kMaxSize) return Error{Errc::invalid_argument, "a tree of at most 2^62 leaves expected"};
  Frontier out;
  out.size_ = size;
  std::uint64_t begin = 0;
  while (begin < size) {
    const auto covered = std::bit_floor(size - begin);
    CLOISTER_TRY(peak, hash_of(nodes, Range{begin, begin + covered}));
    out.peaks_.push_back(peak);
    begin += covered;
  }
  return out;
}

Result<Frontier> Frontier::from_peaks(std::uint64_t size, std::vector<Hash> peaks) {
  if (size > kMaxSize) return Error{Errc::malformed, "a tree of at most 2^62 leaves expected"};
  const auto wanted = static_cast<std::size_t>(std::popcount(size));
  if (peaks.size() != wanted) {
    return Error{Errc::malformed, "a tree of " + std::to_string(size) + " leaves has " + std::to_string(wanted) +
                                      " peaks, got " + std::to_string(peaks.size())};
  }
  Frontier out;
  out.size_ = size;
  out.peaks_ = std::move(peaks);
  return out;
}

Hash Frontier::root() const {
  if (peaks_.empty()) return empty_root();
  auto root = peaks_.back();
  for (auto peak = peaks_.rbegin() + 1; peak != peaks_.rend(); ++peak) root = node_hash(*peak, root);
  return root;
}

std::vector<Node> Frontier::append(const Hash& leaf) {
  CLOISTER_ASSERT(size_ < kMaxSize);
  std::vector<Node> completed{{0, size_, leaf}};
  // A leaf at an odd index completes the subtree above it, and so on upwards.
  while ((completed.back().index & 1U) != 0) {
    const auto below = completed.back();
    const auto left = peaks_.back();
    peaks_.pop_back();
    completed.push_back({static_cast<std::uint8_t>(below.level + 1), below.index >> 1U, node_hash(left, below.hash)});
  }
  peaks_.push_back(completed.back().hash);
  ++size_;
  return completed;
}

Hash root_of(std::span<const Hash> leaves) {
  Frontier frontier;
  for (const auto& leaf : leaves) (void)frontier.append(leaf);
  return frontier.root();
}

Result<InclusionProof> prove_inclusion(const Nodes& nodes, std::uint64_t leaf_index, std::uint64_t tree_size) {
  if (leaf_index >= tree_size || tree_size > kMaxSize) {
    return Error{Errc::invalid_argument, "leaf " + std::to_string(leaf_index) + " is not in a tree of " +
                                             std::to_string(tree_size) + " leaves"};
  }
  InclusionProof proof{leaf_index, tree_size, {}};
  // From the root down (section 2.1.3.1), so the siblings come last first.
  for (Range range{0, tree_size}; range.size() > 1;) {
    const auto in_left = leaf_index < range.left().end;
    CLOISTER_TRY(sibling, hash_of(nodes, in_left ? range.right() : range.left()));
    proof.path.insert(proof.path.begin(), sibling);
    range = in_left ? range.left() : range.right();
  }
  return proof;
}

Result<ConsistencyProof> prove_consistency(const Nodes& nodes, std::uint64_t first_size, std::uint64_t second_size) {
  if (first_size == 0 || first_size > second_size || second_size > kMaxSize) {
    return Error{Errc::invalid_argument, "no consistency of " + std::to_string(first_size) + " with " +
                                             std::to_string(second_size) + " leaves can be shown"};
  }
  ConsistencyProof proof{first_size, second_size, {}};
  // SUBPROOF of section 2.1.4.1, from the root down.
  Range range{0, second_size};
  while (range.end != first_size) {
    const auto in_left = first_size <= range.left().end;
    CLOISTER_TRY(sibling, hash_of(nodes, in_left ? range.right() : range.left()));
    proof.path.insert(proof.path.begin(), sibling);
    range = in_left ? range.left() : range.right();
  }
  // The verifier knows the first tree's root itself: only a part of it must be told.
  if (range.begin == 0) return proof;
  CLOISTER_TRY(part, hash_of(nodes, range));
  proof.path.insert(proof.path.begin(), part);
  return proof;
}

Result<void> verify_inclusion(const InclusionProof& proof, const Hash& leaf, const Hash& root) {
  if (proof.leaf_index >= proof.tree_size || proof.tree_size > kMaxSize) return invalid("the leaf is not in the tree");
  // Section 2.1.3.2.
  Climb climb{proof.leaf_index, proof.tree_size - 1};
  auto computed = leaf;
  for (const auto& sibling : proof.path) {
    if (climb.last == 0) return invalid("the inclusion path is too long");
    if (climb.from_left()) {
      computed = node_hash(sibling, computed);
      climb.skip_lone();
    } else {
      computed = node_hash(computed, sibling);
    }
    climb.up();
  }
  if (climb.last != 0) return invalid("the inclusion path is too short");
  if (computed != root) return invalid("the inclusion path leads to another root");
  return {};
}

Result<void> verify_consistency(const ConsistencyProof& proof, const Hash& first_root, const Hash& second_root) {
  if (proof.first_size == 0 || proof.first_size > proof.second_size || proof.second_size > kMaxSize) {
    return invalid("the sizes are not those of a tree and an earlier one");
  }
  if (proof.first_size == proof.second_size) {
    if (!proof.path.empty()) return invalid("trees of one size need no path");
    return first_root == second_root ? Result<void>{} : invalid("trees of one size have different roots");
  }
  // Section 2.1.4.2. A first tree that is complete is a node of the second, and begins the path.
  Climb climb{proof.first_size - 1, proof.second_size - 1};
  while ((climb.first & 1U) != 0) climb.up();
  const auto known = std::has_single_bit(proof.first_size);
  if (!known && proof.path.empty()) return invalid("the consistency path is too short");
  auto first = known ? first_root : proof.path.front();
  auto second = first;
  for (std::size_t i = known ? 0 : 1; i < proof.path.size(); ++i) {
    const auto& sibling = proof.path[i];
    if (climb.last == 0) return invalid("the consistency path is too long");
    if (climb.from_left()) {
      first = node_hash(sibling, first);
      second = node_hash(sibling, second);
      climb.skip_lone();
    } else {
      second = node_hash(second, sibling);
    }
    climb.up();
  }
  if (climb.last != 0) return invalid("the consistency path is too short");
  if (first != first_root) return invalid("the consistency path leads to another first root");
  if (second != second_root) return invalid("the consistency path leads to another second root");
  return {};
}

}  // namespace cloister::merkle
