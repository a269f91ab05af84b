#pragma once

#include "cloister/crypto/secret.hpp"
#include "cloister/lab_snp/request.hpp"

namespace cloister::lab_snp {

/// What a derived key may depend on. Zero what was not asked for, but for what every key depends on.
struct KeyMix {
  RootKey root = RootKey::vek;
  std::uint32_t id_key = 0;  // whose digest follows: 0 nobody's, 1 the ID key's, 2 the author key's
  std::uint64_t fields = 0;
  std::uint32_t vmpl = 0;
  std::uint32_t guest_svn = 0;
  evidence::SnpTcbVersion tcb{};
  std::uint64_t policy = 0;
  ByteArray<16> image_id{};
  ByteArray<16> family_id{};
  Digest48 measurement{};
  Digest32 host_data{};
  Digest48 id_key_digest{};
  std::uint64_t mitigations = 0;
};
/// NIST SP 800-108, counter mode, HMAC-SHA-256, one block: [1] || label || 0 || mix || [256], numbers of 32 bits, little-endian.
/// Firmware's own derivation has this shape; label, order and root secrets are the lab's.
[[nodiscard]] crypto::Secret<32> derive_guest_key(const crypto::Secret<32>& root, const KeyMix& mix);

}  // namespace cloister::lab_snp
