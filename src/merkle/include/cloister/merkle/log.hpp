#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/merkle/tree.hpp"

/// What the audit log's leaves and heads say, and how they are signed. Whoever checks a log or a receipt offline needs
/// nothing else.
namespace cloister::merkle {

using DetailValue = std::variant<std::uint64_t, std::string, Bytes>;

/// One act. Encoded as ["cloister/audit/1", time, kind, subject, {name: value…}] in deterministic CBOR; values are
/// unsigned integers, texts or byte strings. Never holds a secret: leaves are public to whoever gets a receipt.
struct AuditLeaf {
  UnixTime time{};
  std::string kind;     // what happened: 1 to 64 characters of [a-z0-9-_.], e.g. "result.accepted"
  std::string subject;  // to what: an id, a path, a code; at most 256 bytes
  std::vector<std::pair<std::string, DetailValue>> details;  // at most 32, unique names of at most 64 bytes; any order

  /// The detail of that name and type, or nothing.
  template <class T>
  [[nodiscard]] const T* detail(std::string_view name) const noexcept {
    for (const auto& [key, value] : details) {
      if (key == name) return std::get_if<T>(&value);
    }
    return nullptr;
  }
  friend bool operator==(const AuditLeaf&, const AuditLeaf&) = default;
};
inline constexpr std::size_t kMaxLeafSize = 16 * 1024;

/// `invalid_argument` for what the limits above do not allow.
[[nodiscard]] Result<Bytes> encode(const AuditLeaf& leaf);
/// Details come out in deterministic order.
[[nodiscard]] Result<AuditLeaf> decode_audit_leaf(ByteView bytes);

/// A state of a log. Signed as ["cloister/audit-head/1", log_id, tree_size, root, time].
struct AuditHead {
  std::string log_id;  // an id (core/ids.hpp)
  std::uint64_t tree_size = 0;
  Hash root{};
  UnixTime time{};
  friend bool operator==(const AuditHead&, const AuditHead&) = default;
};
[[nodiscard]] Bytes encode(const AuditHead& head);
[[nodiscard]] Result<AuditHead> decode_audit_head(ByteView bytes);

struct SignedHead {
  AuditHead head;
  crypto::Ed25519Signature signature{};  // over encode(head)
  friend bool operator==(const SignedHead&, const SignedHead&) = default;
};
/// ["cloister/signed-audit-head/1", head bytes, signature]: how a head is kept in a file.
[[nodiscard]] Bytes encode(const SignedHead& head);
[[nodiscard]] Result<SignedHead> decode_signed_head(ByteView bytes);
/// `signature_invalid` unless `key` signed the head.
[[nodiscard]] Result<void> verify(const SignedHead& head, const crypto::Ed25519Public& key);

}  // namespace cloister::merkle
