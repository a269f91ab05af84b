#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/evidence/td_report.hpp"
#include "cloister/lab/tdx_status.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/measure/td_image.hpp"
#include "cloister/measure/tdx.hpp"

/// LAB ONLY - NOT HARDWARE. The TDX module as a small state machine: how a TD is built, measured, run, reported on and
/// taken down (Intel TDX Module Base Architecture Specification 348549, ABI Reference 348551). Memory encryption and
/// physical pages are not modelled; what reaches a measurement or a report is.
namespace cloister::lab::tdx {

/// What the TD keeps from TD_PARAMS and its measurements report (ABI Reference, TD_PARAMS and TDINFO_STRUCT).
struct TdParams {
  static constexpr std::uint64_t kDebug = 1;
  static constexpr std::uint64_t kSeptVeDisable = std::uint64_t{1} << 28;
  static constexpr std::uint64_t kMigratable = std::uint64_t{1} << 29;

  std::uint64_t attributes = kSeptVeDisable;
  std::uint64_t xfam = 0xE7;  // x87, SSE, AVX, AVX-512
  std::uint16_t max_vcpus = 1;
  Digest48 mrconfigid{};
  Digest48 mrowner{};
  Digest48 mrownerconfig{};
};

enum class LifeCycle { hkid_assigned, keys_configured, blocked, teardown };
enum class OpState { uninitialized = 0, initialized = 1, runnable = 2 };

/// Who inside the guest asks. Firmware and kernel may extend every register; programs get RTMR2 and RTMR3 alone.
enum class GuestLevel { boot, user };

using TdReportBytes = ByteArray<evidence::kTdReportSize>;

/// What the module knows of the machine that it runs on, and every TDREPORT says (TEE_TCB_INFO).
struct ModuleInfo {
  ByteArray<16> cpu_svn{};
  ByteArray<16> tee_tcb_svn{};
  Digest48 mr_seam{};         // measurement of the module
  Digest48 mr_signer_seam{};  // zero: signed by the platform's maker
  ByteArray<8> seam_attributes{};
};

/// The CPU's key for the MACs of TDREPORTs of this machine (SEAMREPORT): it never leaves the machine.
/// MAC = HMAC-SHA-256 over the first 224 bytes of REPORTMACSTRUCT.
class ReportKey {
 public:
  explicit ReportKey(crypto::Secret<32> key) : key_{std::move(key)} {}
  /// Writes the MAC of the report's first 224 bytes to bytes 224 to 255.
  void seal(std::span<std::uint8_t, evidence::kTdReportSize> report) const;
  /// What EVERIFYREPORT2 and TDG.MR.VERIFYREPORT check: type, MAC, and the two hashes that tie TEE_TCB_INFO and
  /// TDINFO to it. `invalid_reportmacstruct` otherwise, also for another length.
  [[nodiscard]] Status verify(ByteView report) const;

 private:
  crypto::Secret<32> key_;
};

/// One TD, from TDH.MNG.CREATE to its end. Each method is the leaf function of its name; in the wrong state it returns
/// the architectural status and changes nothing. Host side: `mng_*`, `vp_*`, `mem_*`, `mr_extend`, `mr_finalize`.
/// Guest side: `tdg_*`. One thread at a time; movable.
class Td {
 public:
  static constexpr unsigned kTdcsPages = 6;   // control pages that the TD needs before MNG.INIT
  static constexpr unsigned kTdvpsPages = 6;  // and each virtual CPU before VP.INIT, the one of VP.CREATE included

  /// TDH.MNG.CREATE: a TD with a private key id, without keys. `module` and `key` are the machine's and outlive it.
  Td(const ModuleInfo& module, const ReportKey& key) : module_{&module}, key_{&key} {}

  [[nodiscard]] LifeCycle life_cycle() const noexcept { return life_cycle_; }
  [[nodiscard]] OpState op_state() const noexcept { return op_state_; }

  Status mng_key_config();
  Status mng_addcx();
  Status mng_init(const TdParams& params);
  /// A virtual CPU, numbered from 0 in the order of creation.
  Status vp_create();
  Status vp_addcx(std::size_t vcpu);
  Status vp_init(std::size_t vcpu);
  /// A table of the secure EPT: `level` 1 maps 2 MiB, 2 maps 1 GiB, 3 maps 512 GiB; `gpa` is aligned to that size, and
  /// the table above it exists (above level 3 stands the root).
  Status mem_sept_add(std::uint64_t gpa, unsigned level);
  /// `gpa`: a multiple of 4096 that a level 1 table maps and that has no page yet. Measures the address alone.
  Status mem_page_add(std::uint64_t gpa, measure::TdPage page);
  /// `gpa`: a multiple of 256 within a page that was added. Measures the 256 bytes that the TD's page holds there.
  Status mr_extend(std::uint64_t gpa);
  /// Ends the build. The lab then forgets the pages' contents: its guest is a process of its own, which runs the files.
  Status mr_finalize();
  /// Succeeds while the TD may run.
  Status vp_enter(std::size_t vcpu);
  Status vp_flush(std::size_t vcpu);
  Status mng_vpflushdone();
  Status mng_key_freeid();

  /// TDG.MR.RTMR.EXTEND. `index` 0 to 3, from user level 2 and 3 (the device files of Linux give no others).
  Status tdg_mr_rtmr_extend(GuestLevel level, unsigned index, const Digest48& digest);
  /// TDG.MR.REPORT: TDREPORT_STRUCT of this TD over 64 bytes of the caller's; nothing unless the TD runs.
  [[nodiscard]] std::optional<TdReportBytes> tdg_mr_report(const Digest64& report_data) const;
  /// TDG.MR.VERIFYREPORT: whether a report was made on this machine.
  [[nodiscard]] Status tdg_mr_verifyreport(ByteView report) const;

  /// Zero until MR.FINALIZE.
  [[nodiscard]] const Digest48& mrtd() const noexcept { return mrtd_; }
  [[nodiscard]] const measure::Rtmrs& rtmrs() const noexcept { return rtmrs_; }
  [[nodiscard]] const TdParams& params() const noexcept { return params_; }

 private:
  struct Vcpu {
    unsigned pages = 1;  // VP.CREATE gives the first
    bool initialized = false;
    bool associated = false;  // its state is in a CPU: must be flushed before the keys are freed
  };
  /// What every leaf checks first: keys, control pages, then the operation state.
  [[nodiscard]] Status in_state(OpState required) const;
  [[nodiscard]] bool mapped(std::uint64_t gpa, unsigned level) const;

  const ModuleInfo* module_;
  const ReportKey* key_;
  LifeCycle life_cycle_ = LifeCycle::hkid_assigned;
  OpState op_state_ = OpState::uninitialized;
  unsigned control_pages_ = 0;
  TdParams params_;
  std::vector<Vcpu> vcpus_;
  std::set<std::pair<unsigned, std::uint64_t>> tables_;               // secure EPT: level and first address
  std::map<std::uint64_t, std::unique_ptr<ByteArray<measure::kTdPageSize>>> pages_;
  measure::TdMeasurement measurement_;
  Digest48 mrtd_{};
  measure::Rtmrs rtmrs_{};
};

/// All of the host's part for a `process` TD: create, keys, control pages, one virtual CPU, the pages of the image
/// added and measured in order, finalised: a TD that may run. `invalid_argument` or `limit_exceeded` for an image that
/// has no layout, `invalid_argument` for parameters that the module refuses (the text has the leaf and the status).
[[nodiscard]] Result<Td> launch(const ModuleInfo& module, const ReportKey& key, const TdParams& params,
                                std::span<const measure::TdFile> files);

}  // namespace cloister::lab::tdx
