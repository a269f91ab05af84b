#pragma once

#include <cstdint>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::evidence {

inline constexpr std::size_t kSgxReportSize = 384;

/// Flags in the first byte of ATTRIBUTES (Intel SDM vol. 3D, "ATTRIBUTES").
namespace sgx_flag {
inline constexpr std::uint64_t kInit = 0x01;
inline constexpr std::uint64_t kDebug = 0x02;
inline constexpr std::uint64_t kMode64 = 0x04;
inline constexpr std::uint64_t kProvisionKey = 0x10;
inline constexpr std::uint64_t kEinitTokenKey = 0x20;
inline constexpr std::uint64_t kCet = 0x40;
inline constexpr std::uint64_t kKss = 0x80;
inline constexpr std::uint64_t kAexNotify = 0x400;
}  // namespace sgx_flag

/// The body of an SGX REPORT, 384 bytes (Intel SDM vol. 3D, "REPORT"), which is also an SGX quote's body and the
/// QE's report. Reserved parts are kept as they stand, so that every report encodes back to its bytes.
struct SgxReport {
  ByteArray<16> cpu_svn{};
  std::uint32_t misc_select = 0;
  ByteArray<12> reserved1{};
  ByteArray<16> isv_ext_prod_id{};
  ByteArray<16> attributes{};  // flags (8 bytes), XFRM (8 bytes)
  Digest32 mr_enclave{};
  ByteArray<32> reserved2{};
  Digest32 mr_signer{};
  ByteArray<32> reserved3{};
  ByteArray<64> config_id{};
  std::uint16_t isv_prod_id = 0;
  std::uint16_t isv_svn = 0;
  std::uint16_t config_svn = 0;
  ByteArray<42> reserved4{};
  ByteArray<16> isv_family_id{};
  Digest64 report_data{};

  /// ATTRIBUTES.FLAGS and ATTRIBUTES.XFRM as numbers.
  [[nodiscard]] std::uint64_t flags() const noexcept;
  [[nodiscard]] std::uint64_t xfrm() const noexcept;
  [[nodiscard]] bool debug() const noexcept { return (flags() & sgx_flag::kDebug) != 0; }

  friend bool operator==(const SgxReport&, const SgxReport&) = default;
};

/// `evidence_malformed` unless there are exactly 384 bytes.
[[nodiscard]] Result<SgxReport> parse_sgx_report(ByteView bytes);
[[nodiscard]] ByteArray<kSgxReportSize> encode_sgx_report(const SgxReport& report);

}  // namespace cloister::evidence
