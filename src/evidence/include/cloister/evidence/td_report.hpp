#pragma once

#include <cstdint>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// TDREPORT_STRUCT, 1024 bytes (Intel TDX Module 1.5 ABI, "TDREPORT_STRUCT"): REPORTMACSTRUCT (256),
/// TEE_TCB_INFO (239) and 17 reserved bytes, TDINFO_STRUCT (512). Little-endian. Only the CPU that made one can check it.
namespace cloister::evidence {

inline constexpr std::size_t kTdReportSize = 1024;
inline constexpr std::size_t kReportMacSize = 256;
/// How much of REPORTMACSTRUCT its MAC covers.
inline constexpr std::size_t kReportMacCovered = 224;
inline constexpr std::size_t kTeeTcbInfoSize = 239;
inline constexpr std::size_t kTdInfoSize = 512;
inline constexpr std::uint8_t kReportTypeTdx = 0x81;

struct ReportMac {
  std::uint8_t type = kReportTypeTdx;
  std::uint8_t subtype = 0;
  std::uint8_t version = 0;  // 1 where a service TD is bound
  std::uint8_t reserved_type = 0;
  ByteArray<12> reserved1{};
  ByteArray<16> cpu_svn{};
  Digest48 tee_tcb_info_hash{};  // SHA-384 of the 239 bytes
  Digest48 tee_info_hash{};      // SHA-384 of TDINFO_STRUCT
  Digest64 report_data{};
  ByteArray<32> reserved2{};
  ByteArray<32> mac{};

  friend bool operator==(const ReportMac&, const ReportMac&) = default;
};

struct TeeTcbInfo {
  ByteArray<8> valid{};
  ByteArray<16> tee_tcb_svn{};
  Digest48 mr_seam{};
  Digest48 mr_signer_seam{};
  ByteArray<8> attributes{};
  ByteArray<16> tee_tcb_svn2{};
  ByteArray<95> reserved{};

  friend bool operator==(const TeeTcbInfo&, const TeeTcbInfo&) = default;
};

struct TdInfo {
  std::uint64_t attributes = 0;
  std::uint64_t xfam = 0;
  Digest48 mr_td{};
  Digest48 mr_config_id{};
  Digest48 mr_owner{};
  Digest48 mr_owner_config{};
  std::array<Digest48, 4> rtmr{};
  Digest48 servtd_hash{};
  ByteArray<64> reserved{};

  friend bool operator==(const TdInfo&, const TdInfo&) = default;
};

struct TdReport {
  ReportMac mac;
  TeeTcbInfo tcb;
  ByteArray<17> reserved{};
  TdInfo info;

  friend bool operator==(const TdReport&, const TdReport&) = default;
};

/// `evidence_malformed` unless there are exactly 1024 bytes; `evidence_unsupported` for a type other than TDX, a
/// subtype other than 0 or a version above 1.
[[nodiscard]] Result<TdReport> parse_td_report(ByteView bytes);
[[nodiscard]] Bytes encode_td_report(const TdReport& report);
/// The parts alone: what is hashed and what is MACed.
[[nodiscard]] ByteArray<kReportMacSize> encode_report_mac(const ReportMac& mac);
[[nodiscard]] ByteArray<kTeeTcbInfoSize> encode_tee_tcb_info(const TeeTcbInfo& tcb);
[[nodiscard]] ByteArray<kTdInfoSize> encode_td_info(const TdInfo& info);

}  // namespace cloister::evidence
