#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cloister/merkle/export.hpp"

/// A log that is known whole, with a key that nobody else has: what is accepted under it must be a part of it.
namespace cloister::merkle::known {

inline constexpr std::uint64_t kSize = 11;
inline constexpr std::array<std::uint64_t, 5> kHeads = {1, 2, 5, 8, 11};

struct Log {
  crypto::Ed25519Key key = crypto::Ed25519Key::from_seed(crypto::Secret<32>{ByteArray<32>{42}});
  std::string id = "log-known";
  std::vector<Bytes> leaves;
  std::vector<Hash> roots{empty_root()};
  MemoryNodes nodes;

  Log() {
    Frontier frontier;
    for (std::uint64_t i = 0; i < kSize; ++i) {
      const AuditLeaf leaf{from_micros(1'700'000'000'000'000), i == 0 ? "log.rollback" : "token.issued",
                           "tok-" + std::to_string(i), {{"by", std::string{"admin"}}, {"count", i}, {"key", Bytes{1, 2}}}};
      leaves.push_back(encode(leaf).value());
      nodes.add(frontier.append(leaf_hash(leaves.back())));
      roots.push_back(frontier.root());
    }
  }
  [[nodiscard]] SignedHead sign(AuditHead head) const {
    const auto signature = key.sign(encode(head));
    return {std::move(head), signature};
  }
  [[nodiscard]] SignedHead head(std::uint64_t size) const {
    return sign({id, size, roots[static_cast<std::size_t>(size)], from_micros(1'700'000'100'000'000)});
  }
  /// The lines of the entries [from, to): the header, and every head of `kHeads` where it stands.
  [[nodiscard]] std::vector<std::string> lines(std::uint64_t from = 0, std::uint64_t to = kSize) const {
    const auto peaks = Frontier::load(nodes, from).value().peaks();
    std::vector<std::string> out{codec::json::write(to_json(ExportHeader{id, key.public_key(), from, peaks}))};
    const auto add_head = [&](std::uint64_t size) { out.push_back(codec::json::write(to_json(ExportEntry{head(size)}))); };
    if (from == to) add_head(from);
    for (auto index = from; index < to; ++index) {
      out.push_back(codec::json::write(to_json(ExportEntry{ExportedLeaf{index, leaves[static_cast<std::size_t>(index)]}})));
      for (const auto size : kHeads) {
        if (size == index + 1) add_head(size);
      }
    }
    return out;
  }
};

inline std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& line : lines) out += line + '\n';
  return out;
}

}  // namespace cloister::merkle::known
