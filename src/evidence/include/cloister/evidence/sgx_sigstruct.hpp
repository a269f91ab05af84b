#pragma once

#include <cstdint>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::evidence {

inline constexpr std::size_t kSigstructSize = 1808;

/// SIGSTRUCT: who vouches for an enclave, and what it must be (Intel SDM vol. 3D, "Enclave Signature Structure").
/// Numbers are little-endian, the big ones (modulus, signature, q1, q2) too: they stand here as they do in the file.
struct Sigstruct {
  std::uint32_t vendor = 0;  // 0, or 0x8086 for Intel's own
  std::uint32_t date = 0;    // yyyymmdd, a digit in each four bits; EINIT does not look at it
  std::uint32_t sw_defined = 0;
  ByteArray<384> modulus{};
  ByteArray<384> signature{};
  std::uint32_t misc_select = 0;
  std::uint32_t misc_mask = 0;
  std::uint8_t cet_attributes = 0;
  std::uint8_t cet_attributes_mask = 0;
  ByteArray<16> isv_family_id{};  // with KSS only
  ByteArray<16> attributes{};
  ByteArray<16> attributes_mask{};
  Digest32 enclave_hash{};
  ByteArray<16> isv_ext_prod_id{};  // with KSS only
  std::uint16_t isv_prod_id = 0;
  std::uint16_t isv_svn = 0;
  ByteArray<384> q1{};
  ByteArray<384> q2{};

  friend bool operator==(const Sigstruct&, const Sigstruct&) = default;
};

/// `evidence_malformed` unless there are exactly 1808 bytes with both headers, a known vendor, exponent 3, and zeros where
/// the structure is reserved: what EINIT answers with SGX_INVALID_SIG_STRUCT. Nothing is verified.
[[nodiscard]] Result<Sigstruct> parse_sigstruct(ByteView bytes);
/// encode_sigstruct(parse_sigstruct(x)) == x.
[[nodiscard]] ByteArray<kSigstructSize> encode_sigstruct(const Sigstruct& sigstruct);
/// What the signature covers: bytes 0 to 127 and 900 to 1027.
[[nodiscard]] ByteArray<256> signed_part(const Sigstruct& sigstruct);

}  // namespace cloister::evidence
