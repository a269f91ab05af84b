#pragma once

#include <optional>

#include "cloister/core/random.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/device/kernel.hpp"
#include "cloister/device/tee_device.hpp"

namespace cloister::device {

inline constexpr std::string_view kSevGuest = "/dev/sev-guest";

/// What a derived key mixes in (AMD 56860, MSG_KEY_REQ, GUEST_FIELD_SELECT).
enum class SnpField : std::uint64_t { policy = 1, image_id = 2, family_id = 4, measurement = 8, guest_svn = 16, tcb = 32 };

struct SnpKeyRequest {
  bool from_vmrk = false;     // else from VCEK or VLEK
  std::uint64_t fields = 0;   // of SnpField
  std::uint32_t vmpl = 0;     // 0 to 3
  std::uint32_t guest_svn = 0;
  std::uint64_t tcb = 0;
};

/// An SEV-SNP guest under Linux: /dev/sev-guest (5.19 and later: SNP_GET_REPORT, SNP_GET_DERIVED_KEY,
/// SNP_GET_EXT_REPORT), or configfs-tsm (6.7 and later) where it was chosen. SEV-SNP has no registers that programs extend
/// and no report for this machine alone: those are `unsupported`. `tee_failure` tells the firmware's status, or that of
/// the host, `unavailable` that the host asks for patience. Kernel and random outlive it.
class SnpDevice final : public TeeDevice {
 public:
  enum class Way { sev_guest, configfs_tsm };
  SnpDevice(Kernel& kernel, Random& random, Way way, std::filesystem::path path)
      : kernel_{kernel}, random_{random}, way_{way}, path_{std::move(path)} {}

  [[nodiscard]] Result<Bytes> report(const Digest64& report_data) override;
  [[nodiscard]] Result<void> extend_rtmr(unsigned index, const Digest48& digest) override;
  /// The report (1184 bytes), and the host's certificate table if it has one.
  [[nodiscard]] Result<Quote> quote(const Digest64& report_data) override;

  /// A report of a privilege level, without certificates; /dev/sev-guest alone.
  [[nodiscard]] Result<Bytes> attestation_report(const Digest64& report_data, std::uint32_t vmpl);
  /// 32 bytes that only this chip, or this host's owner, gives a guest like this one; /dev/sev-guest alone.
  [[nodiscard]] Result<crypto::Secret<32>> derived_key(const SnpKeyRequest& request);

 private:
  Kernel& kernel_;
  Random& random_;
  Way way_;
  std::filesystem::path path_;
};

/// MSG_REPORT_RSP (AMD 56860): status, size, 24 reserved bytes, the report. Pure.
[[nodiscard]] Result<Bytes> decode_snp_report_response(ByteView bytes);
/// How many bytes of a buffer a certificate table takes, 0 for one without entries (AMD 56421, section 4.1.8.1). Pure.
[[nodiscard]] Result<std::size_t> snp_certificate_table_size(ByteView buffer);

}  // namespace cloister::device
