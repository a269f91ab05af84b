#include "leaves.hpp"

#include "cloister/codec/jcs.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::kbs {
namespace {

constexpr std::size_t kMaxSubject = 256;

}  // namespace

merkle::AuditLeaf leaf_of(std::string_view kind, std::string_view subject, UnixTime now) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kind;
  leaf.subject = subject;
  return leaf;
}

std::string subject_of(std::string text) {
  return text.size() <= kMaxSubject ? text : "sha256:" + codec::to_hex(crypto::sha256(as_bytes(text)));
}

Digest32 key_digest(const crypto::jose::EncryptionKey& key) {
  const auto text = codec::json::canonical(key.to_json());
  CLOISTER_ASSERT(text.ok());  // texts of base64url
  return crypto::sha256(as_bytes(*text));
}

}  // namespace cloister::kbs
