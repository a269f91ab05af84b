#pragma once

#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/rcar/resource.hpp"

/// What the audit leaves of this module have in common.
namespace cloister::kbs {

[[nodiscard]] merkle::AuditLeaf leaf_of(std::string_view kind, std::string_view subject, UnixTime now);
/// What is longer than a leaf's subject may be stands there by its digest.
[[nodiscard]] std::string subject_of(std::string text);
[[nodiscard]] inline std::string subject_of(const rcar::ResourcePath& path) { return subject_of(path.str()); }
[[nodiscard]] inline Bytes digest_bytes(const Digest32& digest) { return to_bytes(ByteView{digest}); }
/// Of the guest's key, by which releases to one guest are found again.
[[nodiscard]] Digest32 key_digest(const crypto::jose::EncryptionKey& key);

}  // namespace cloister::kbs
