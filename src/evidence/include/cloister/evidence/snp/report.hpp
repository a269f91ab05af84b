#pragma once

#include <cstdint>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/snp/product.hpp"

/// SEV-SNP attestation reports, versions 2 to 5 (AMD 56860, SEV-SNP Firmware ABI 1.55 to 1.58, Table 23): 672 bytes that
/// are signed, then the signature. Little-endian.
namespace cloister::evidence {

inline constexpr std::size_t kSnpReportSize = 1184;
inline constexpr std::size_t kSnpSignedSize = 0x2A0;
/// VMPL of a report that the host requested, and no guest.
inline constexpr std::uint32_t kSnpVmplHost = 0xFFFFFFFF;

/// Bits of the guest policy (Table 10); the ABI versions are its two lowest bytes.
namespace snp_policy {
inline constexpr std::uint64_t kSmt = std::uint64_t{1} << 16;
inline constexpr std::uint64_t kMustBeOne = std::uint64_t{1} << 17;
inline constexpr std::uint64_t kMigrateMa = std::uint64_t{1} << 18;
inline constexpr std::uint64_t kDebug = std::uint64_t{1} << 19;
inline constexpr std::uint64_t kSingleSocket = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kCxl = std::uint64_t{1} << 21;
inline constexpr std::uint64_t kMemAes256 = std::uint64_t{1} << 22;
inline constexpr std::uint64_t kRaplDisabled = std::uint64_t{1} << 23;
inline constexpr std::uint64_t kCiphertextHiding = std::uint64_t{1} << 24;
inline constexpr std::uint64_t kPageSwapDisabled = std::uint64_t{1} << 25;
inline constexpr std::uint64_t kDefined = (std::uint64_t{1} << 26) - 1;
}  // namespace snp_policy

/// Bits of PLATFORM_INFO (Table 24).
namespace snp_platform {
inline constexpr std::uint64_t kSmt = 1U << 0;
inline constexpr std::uint64_t kTsme = 1U << 1;
inline constexpr std::uint64_t kEcc = 1U << 2;
inline constexpr std::uint64_t kRaplDisabled = 1U << 3;
inline constexpr std::uint64_t kCiphertextHiding = 1U << 4;
inline constexpr std::uint64_t kAliasCheckComplete = 1U << 5;
inline constexpr std::uint64_t kTio = 1U << 7;
inline constexpr std::uint64_t kDefined = 0xBF;
}  // namespace snp_platform

/// Which key signed: the chip's own, or one that AMD gave to a cloud provider.
enum class VekKind : std::uint8_t { vcek = 0, vlek = 1 };
[[nodiscard]] std::string_view to_string(VekKind kind) noexcept;  // "vcek", "vlek"

struct SnpFirmwareVersion {
  std::uint8_t build = 0;
  std::uint8_t minor = 0;
  std::uint8_t major = 0;

  friend bool operator==(const SnpFirmwareVersion&, const SnpFirmwareVersion&) = default;
};

struct SnpCpuid {
  std::uint8_t family = 0;  // combined: base and extended
  std::uint8_t model = 0;
  std::uint8_t stepping = 0;

  friend bool operator==(const SnpCpuid&, const SnpCpuid&) = default;
};

struct SnpMitigations {
  std::uint64_t launch = 0;
  std::uint64_t current = 0;

  friend bool operator==(const SnpMitigations&, const SnpMitigations&) = default;
};

/// What is signed.
struct SnpReportBody {
  std::uint32_t version = 3;
  std::uint32_t guest_svn = 0;
  std::uint64_t policy = snp_policy::kMustBeOne;
  ByteArray<16> family_id{};
  ByteArray<16> image_id{};
  std::uint32_t vmpl = 0;  // 0 to 3, or kSnpVmplHost
  SnpTcbVersion current_tcb{};
  std::uint64_t platform_info = 0;
  bool author_key_enabled = false;
  bool chip_key_masked = false;              // MASK_CHIP_KEY: the VCEK signs nothing on this host
  std::optional<VekKind> signing_key = VekKind::vcek;  // absent: nobody signed
  Digest64 report_data{};
  Digest48 measurement{};
  Digest32 host_data{};
  Digest48 id_key_digest{};
  Digest48 author_key_digest{};
  Digest32 report_id{};
  Digest32 report_id_ma{};
  SnpTcbVersion reported_tcb{};
  std::optional<SnpCpuid> cpuid = SnpCpuid{};  // exactly from version 3 on
  Digest64 chip_id{};                          // all zero where the host masks it; Turin: 8 bytes, then zeros
  SnpTcbVersion committed_tcb{};
  SnpFirmwareVersion current_version;
  SnpFirmwareVersion committed_version;
  SnpTcbVersion launch_tcb{};
  std::optional<SnpMitigations> mitigations;   // exactly from version 5 on

  [[nodiscard]] bool chip_id_masked() const noexcept { return all_zero(chip_id); }
  friend bool operator==(const SnpReportBody&, const SnpReportBody&) = default;
};

/// A report, parsed; owns its bytes. Immutable, thread-safe.
class SnpReport {
 public:
  [[nodiscard]] const SnpReportBody& body() const noexcept { return body_; }
  /// r || s, big-endian, as module `crypto` takes it.
  [[nodiscard]] const ByteArray<96>& signature() const noexcept { return signature_; }
  [[nodiscard]] ByteView signed_bytes() const noexcept { return ByteView{bytes_}.first(kSnpSignedSize); }
  [[nodiscard]] const ByteArray<kSnpReportSize>& bytes() const noexcept { return bytes_; }
  /// What the CPUID fields say; nothing before version 3 and for a processor that is not known.
  [[nodiscard]] std::optional<SnpProduct> product() const noexcept;

 private:
  friend Result<SnpReport> parse_snp_report(ByteView bytes);
  SnpReport(const ByteArray<kSnpReportSize>& bytes, SnpReportBody body, const ByteArray<96>& signature)
      : bytes_{bytes}, body_{std::move(body)}, signature_{signature} {}
  ByteArray<kSnpReportSize> bytes_;
  SnpReportBody body_;
  ByteArray<96> signature_;
};

/// `evidence_malformed` unless there are exactly 1184 bytes, the bytes that the version reserves are zero (also those
/// behind r, s and the signature, which nothing signs), policy bit 17 is one and the VMPL exists.
/// `evidence_unsupported` for other versions, signature algorithms but ECDSA P-384 with SHA-384, and unknown signing
/// keys. Bits of policy and platform info that are not defined are kept: they are findings.
[[nodiscard]] Result<SnpReport> parse_snp_report(ByteView bytes);

/// The signed part. `invalid_argument` when cpuid or mitigations do not go with the version.
[[nodiscard]] Result<ByteArray<kSnpSignedSize>> encode_snp_body(const SnpReportBody& body);
/// Signed part and signature (r || s, big-endian).
[[nodiscard]] ByteArray<kSnpReportSize> encode_snp_report(const ByteArray<kSnpSignedSize>& body,
                                                          const ByteArray<96>& signature);

}  // namespace cloister::evidence
