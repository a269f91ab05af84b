#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// The Merkle tree of certificate transparency (RFC 6962 section 2.1, RFC 9162 section 2.1) with SHA-256.
namespace cloister::merkle {

using Hash = Digest32;

/// SHA-256(0x00 || leaf).
[[nodiscard]] Hash leaf_hash(ByteView leaf);
/// SHA-256(0x01 || left || right).
[[nodiscard]] Hash node_hash(const Hash& left, const Hash& right);
/// The head of the tree without leaves: SHA-256 of nothing.
[[nodiscard]] Hash empty_root();

/// The root of a complete subtree: it covers the leaves [index << level, (index + 1) << level). Level 0: leaf hashes.
struct Node {
  std::uint8_t level = 0;
  std::uint64_t index = 0;
  Hash hash{};
  friend bool operator==(const Node&, const Node&) = default;
};

/// Where the complete subtrees of a tree are kept.
class Nodes {
 public:
  virtual ~Nodes() = default;
  /// The root of a complete subtree; `not_found` when the tree has not grown that far.
  [[nodiscard]] virtual Result<Hash> at(std::uint8_t level, std::uint64_t index) const = 0;
};

/// A tree that is kept in memory.
class MemoryNodes final : public Nodes {
 public:
  void add(std::span<const Node> nodes);
  [[nodiscard]] Result<Hash> at(std::uint8_t level, std::uint64_t index) const override;

 private:
  std::vector<std::vector<Hash>> levels_;
};

/// What of a tree is needed to append to it: the roots of its maximal complete subtrees, largest first.
class Frontier {
 public:
  /// The tree without leaves.
  Frontier() = default;
  /// The frontier of the first `size` leaves.
  [[nodiscard]] static Result<Frontier> load(const Nodes& nodes, std::uint64_t size);
  /// The frontier of `size` leaves with these `peaks`, as somebody says: `malformed` unless it is as many as there must
  /// be. Only a signed head, of this tree or of one that continues it, shows that they are true.
  [[nodiscard]] static Result<Frontier> from_peaks(std::uint64_t size, std::vector<Hash> peaks);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] const std::vector<Hash>& peaks() const noexcept { return peaks_; }
  [[nodiscard]] Hash root() const;
  /// Appends a leaf; returns the subtrees that it completes, itself (level 0) first: what `Nodes` must keep.
  [[nodiscard]] std::vector<Node> append(const Hash& leaf);

 private:
  std::uint64_t size_ = 0;
  std::vector<Hash> peaks_;
};

/// The head of a tree of these leaf hashes.
[[nodiscard]] Hash root_of(std::span<const Hash> leaves);

/// That a leaf stands in a tree (RFC 9162 section 2.1.3).
struct InclusionProof {
  std::uint64_t leaf_index = 0;
  std::uint64_t tree_size = 0;
  std::vector<Hash> path;  // from the leaf's sibling upwards; at most 63
  friend bool operator==(const InclusionProof&, const InclusionProof&) = default;
};
/// That a tree continues an earlier one (RFC 9162 section 2.1.4). Empty where both have one size.
struct ConsistencyProof {
  std::uint64_t first_size = 0;
  std::uint64_t second_size = 0;
  std::vector<Hash> path;  // at most 64
  friend bool operator==(const ConsistencyProof&, const ConsistencyProof&) = default;
};

/// `invalid_argument` unless leaf_index < tree_size; tree_size at most 2^62.
[[nodiscard]] Result<InclusionProof> prove_inclusion(const Nodes& nodes, std::uint64_t leaf_index,
                                                     std::uint64_t tree_size);
/// `invalid_argument` unless 0 < first_size <= second_size <= 2^62.
[[nodiscard]] Result<ConsistencyProof> prove_consistency(const Nodes& nodes, std::uint64_t first_size,
                                                         std::uint64_t second_size);

/// Sizes and roots belong together only because a signed head says so: both must come from one.
/// `proof_invalid` unless the proof shows that `leaf` (a leaf hash) stands at its index under `root`.
[[nodiscard]] Result<void> verify_inclusion(const InclusionProof& proof, const Hash& leaf, const Hash& root);
/// `proof_invalid` unless the proof shows that the tree of `second_root` begins with the tree of `first_root`.
/// A first size of zero is refused: everything continues the empty tree, so there is nothing to prove.
[[nodiscard]] Result<void> verify_consistency(const ConsistencyProof& proof, const Hash& first_root,
                                              const Hash& second_root);

}  // namespace cloister::merkle
