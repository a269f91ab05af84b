// Proofs from outside, against a tree that is known whole: what verifies is exactly what is true, with the one path
// that shows it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "cloister/codec/cursor.hpp"
#include "cloister/merkle/tree.hpp"

namespace {

using namespace cloister::merkle;

constexpr std::uint64_t kSize = 11;

struct Known {
  MemoryNodes nodes;
  std::vector<Hash> leaves;
  std::vector<Hash> roots{empty_root()};
  Known() {
    Frontier frontier;
    for (std::uint8_t i = 0; i < kSize; ++i) {
      leaves.push_back(leaf_hash(cloister::ByteArray<1>{i}));
      nodes.add(frontier.append(leaves.back()));
      roots.push_back(frontier.root());
    }
  }
};

/// A hash of the tree by a byte, so that the fuzzer finds true paths, or 32 bytes of the input.
bool take_hash(cloister::codec::Reader& in, const Known& known, std::vector<Hash>& out) {
  const auto choice = in.u8();
  if (!choice) return false;
  const auto level = static_cast<std::uint8_t>(*choice >> 4U);
  if (const auto node = known.nodes.at(level, *choice & 0x0FU)) {
    out.push_back(*node);
    return true;
  }
  const auto raw = in.array<32>();
  if (raw) out.push_back(*raw);
  return raw.has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Known known;
  cloister::codec::Reader in{{data, size}};
  const auto kind = in.u8();
  const auto first = in.u64be();
  const auto second = in.u64be();
  if (!second) return 0;
  std::vector<Hash> path;
  while (take_hash(in, known, path)) {
  }
  // Sizes that the tree never had go with no root of it: they are read, and prove nothing. (A size alone does not
  // change what verifies where the shape of the path stays the same; it is the signed head that binds size and root.)
  const bool in_tree = *second <= kSize;
  const auto root_at = [](std::uint64_t tree_size) {
    return tree_size <= kSize ? known.roots[static_cast<std::size_t>(tree_size)] : Hash{};
  };
  if ((*kind & 1U) == 0) {
    const InclusionProof proof{*first, *second, path};
    const auto leaf = *first < kSize ? known.leaves[static_cast<std::size_t>(*first)] : Hash{};
    const auto verified = verify_inclusion(proof, leaf, root_at(*second));
    if (verified && (!in_tree || proof != *prove_inclusion(known.nodes, *first, *second))) std::abort();
    return 0;
  }
  const ConsistencyProof proof{*first, *second, path};
  const auto verified = verify_consistency(proof, root_at(*first), root_at(*second));
  if (verified && in_tree && proof != *prove_consistency(known.nodes, *first, *second)) std::abort();
  return 0;
}
