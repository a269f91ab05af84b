#include "cloister/merkle/log.hpp"

#include <algorithm>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"

namespace cloister::merkle {
namespace {

using codec::cbor::Reader;
using codec::cbor::Writer;

constexpr std::string_view kLeafDomain = "cloister/audit/1";
constexpr std::string_view kHeadDomain = "cloister/audit-head/1";
constexpr std::string_view kSignedHeadDomain = "cloister/signed-audit-head/1";
constexpr std::size_t kMaxSubject = 256;
constexpr std::size_t kMaxDetails = 32;
constexpr std::size_t kMaxDetailName = 64;

using Detail = std::pair<std::string, DetailValue>;

/// RFC 8949 section 4.2.1, for text keys: shorter ones first.
bool before(const Detail& a, const Detail& b) noexcept {
  return a.first.size() != b.first.size() ? a.first.size() < b.first.size() : a.first < b.first;
}

bool valid_text(std::string_view text, std::size_t max) { return text.size() <= max && codec::is_utf8(as_bytes(text)); }

Result<void> check(const AuditLeaf& leaf, std::span<const Detail> sorted) {
  const auto refuse = [](std::string what) { return Error{Errc::invalid_argument, "audit leaf: " + std::move(what)}; };
  if (!valid_id(leaf.kind)) return refuse("kind of 1 to 64 characters of [a-z0-9-_.] expected");
  if (!valid_text(leaf.subject, kMaxSubject)) return refuse("subject of at most 256 bytes of UTF-8 expected");
  if (sorted.size() > kMaxDetails) return refuse("at most 32 details expected, got " + std::to_string(sorted.size()));
  for (const auto& [name, value] : sorted) {
    if (name.empty() || !valid_text(name, kMaxDetailName)) {
      return refuse("detail name of 1 to 64 bytes of UTF-8 expected");
    }
    const auto* text = std::get_if<std::string>(&value);
    if (text != nullptr && !valid_text(*text, kMaxLeafSize)) return refuse("detail '" + name + "': UTF-8 expected");
  }
  const auto same = [](const Detail& a, const Detail& b) { return a.first == b.first; };
  if (std::ranges::adjacent_find(sorted, same) != sorted.end()) return refuse("a detail stands twice");
  return {};
}

struct WriteValue {
  Writer& out;
  void operator()(std::uint64_t value) const { out.uint(value); }
  void operator()(const std::string& value) const { out.text(value); }
  void operator()(const Bytes& value) const { out.bytes(value); }
};

DetailValue read_value(Reader& in) {
  const auto item = in.item();
  if (in.failed()) return {};
  Reader value{item};
  // The major type: the high three bits of the item's first byte (RFC 8949 section 3).
  switch (item.front() >> 5U) {
    case 0:
      return value.uint();
    case 2:
      return to_bytes(value.bytes());
    case 3:
      return std::string{value.text()};
    default:
      in.fail(Errc::malformed, "a detail that is an unsigned integer, a byte string or a text expected");
      return {};
  }
}

}  // namespace

Result<Bytes> encode(const AuditLeaf& leaf) {
  auto details = leaf.details;
  std::ranges::sort(details, before);
  CLOISTER_CHECK(check(leaf, details));
  Writer out;
  out.array(5).text(kLeafDomain).integer(to_micros(leaf.time)).text(leaf.kind).text(leaf.subject).map(details.size());
  for (const auto& [name, value] : details) {
    out.text(name);
    std::visit(WriteValue{out}, value);
  }
  auto bytes = out.take();
  if (bytes.size() > kMaxLeafSize) return Error{Errc::invalid_argument, "audit leaf: at most 16 KiB expected"};
  return bytes;
}

Result<AuditLeaf> decode_audit_leaf(ByteView bytes) {
  if (bytes.size() > kMaxLeafSize) return Error{Errc::limit_exceeded, "audit leaf: at most 16 KiB expected"};
  AuditLeaf leaf;
  Reader in{bytes, 2};
  in.array(5);
  in.domain(kLeafDomain);
  leaf.time = from_micros(in.integer());
  leaf.kind = in.text();
  leaf.subject = in.text();
  const auto count = in.map_up_to(kMaxDetails);
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    std::string name{in.text()};
    leaf.details.emplace_back(std::move(name), read_value(in));
  }
  CLOISTER_CHECK(in.finish());
  if (auto checked = check(leaf, leaf.details); !checked) return Error{Errc::malformed, checked.error().detail()};
  return leaf;
}

Bytes encode(const AuditHead& head) {
  return Writer{}
      .array(5)
      .text(kHeadDomain)
      .text(head.log_id)
      .uint(head.tree_size)
      .bytes(head.root)
      .integer(to_micros(head.time))
      .take();
}

Result<AuditHead> decode_audit_head(ByteView bytes) {
  AuditHead head;
  Reader in{bytes};
  in.array(5);
  in.domain(kHeadDomain);
  head.log_id = in.text();
  head.tree_size = in.uint();
  head.root = in.bytes<32>();
  head.time = from_micros(in.integer());
  CLOISTER_CHECK(in.finish());
  if (!valid_id(head.log_id)) return Error{Errc::malformed, "audit head: the log's name is no id"};
  return head;
}

Bytes encode(const SignedHead& head) {
  return Writer{}.array(3).text(kSignedHeadDomain).bytes(encode(head.head)).bytes(head.signature).take();
}

Result<SignedHead> decode_signed_head(ByteView bytes) {
  Reader in{bytes};
  in.array(3);
  in.domain(kSignedHeadDomain);
  const auto encoded = in.bytes();
  const auto signature = in.bytes<64>();
  CLOISTER_CHECK(in.finish());
  CLOISTER_TRY(head, decode_audit_head(encoded));
  return SignedHead{std::move(head), signature};
}

Result<void> verify(const SignedHead& head, const crypto::Ed25519Public& key) {
  return crypto::ed25519_verify(key, encode(head.head), head.signature);
}

}  // namespace cloister::merkle
