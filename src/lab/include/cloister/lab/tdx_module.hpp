#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/evidence/td_report.hpp"
#include "cloister/lab/secure_ept.hpp"
#include "cloister/lab/tdx_memory.hpp"
#include "cloister/lab/tdx_status.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/measure/tdx.hpp"

/// LAB ONLY - NOT HARDWARE. The TDX module: how TDs are built, measured, run, reported on and taken down (Intel TDX Module
/// Base Architecture Specification 348549, ABI Reference 348551). docs/lab-tdx.md says what is not modelled.
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
/// Of a private key id (Base Architecture Specification, "Key Ownership Table").
enum class HkidState { free, assigned, flushed };

using TdReportBytes = ByteArray<evidence::kTdReportSize>;

/// What the module knows of the machine that it runs on, and every TDREPORT says (TEE_TCB_INFO).
struct ModuleInfo {
  ByteArray<16> cpu_svn{};
  ByteArray<16> tee_tcb_svn{};
  Digest48 mr_seam{};         // measurement of the module
  Digest48 mr_signer_seam{};  // zero: signed by the platform's maker
  ByteArray<8> seam_attributes{};

  friend bool operator==(const ModuleInfo&, const ModuleInfo&) = default;
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

/// How a service TD is bound (ABI Reference, SERVTD_ATTR): bit 0 binds the instance and not only what was measured, bits
/// 32 to 42 leave fields of the service TD's TDINFO out of the hash that it is known by.
struct ServtdAttributes {
  static constexpr std::uint64_t kInstanceBinding = 1;
  static constexpr std::uint64_t kAllowed = 0x000007FF00000001;
  std::uint64_t bits = 0;
  friend bool operator==(const ServtdAttributes&, const ServtdAttributes&) = default;
};
enum class ServtdState { not_bound, pre_bound, bound };
/// A TD has one slot, and one type of service TD exists: migration TDs.
inline constexpr std::uint16_t kServtdMigration = 0;
struct ServtdBinding {
  ServtdState state = ServtdState::not_bound;
  std::uint16_t type = kServtdMigration;
  ServtdAttributes attributes;
  Digest48 info_hash{};
  Digest32 uuid{};  // of the TD that is bound
};

struct Vcpu {
  std::vector<Hpa> pages;  // the root page first
  bool initialized = false;
  bool associated = false;  // its state is in a CPU: must be flushed before the keys are freed
  bool running = false;     // between VP.ENTER and the TD exit
  std::uint64_t epoch = 0;  // of the TD when it was entered
};

/// What the module keeps of a TD (TDR and TDCS), for who shows or checks it.
struct TdControl {
  Digest32 uuid{};
  ModuleInfo launched_by;  // the module that created it, which its reports name
  std::uint16_t hkid = 0;
  LifeCycle life_cycle = LifeCycle::hkid_assigned;
  OpState op_state = OpState::uninitialized;
  std::set<unsigned> configured_packages;
  unsigned control_pages = 0;
  TdParams params;
  std::map<Hpa, Vcpu> vcpus;  // by root page (TDVPR)
  SecureEpt sept;
  std::uint64_t epoch = 1;  // TLB tracking: MEM.TRACK counts
  measure::TdMeasurement measurement;
  Digest48 mrtd{};  // zero until MR.FINALIZE
  measure::Rtmrs rtmrs{};
  ServtdBinding servtd;
  Digest48 servtd_hash{};
};

/// The module with the memory and the key ids of one machine, and all of its TDs. Each method is the leaf function of its
/// name, with its operands; refused, it returns the architectural status and changes nothing. A TD is named by its root
/// page (TDR), a virtual CPU by its own (TDVPR). `key` is the machine's and outlives it.
/// One thread at a time.
class Module {
 public:
  static constexpr unsigned kTdcsPages = 6;   // control pages that a TD needs before MNG.INIT
  static constexpr unsigned kTdvpsPages = 6;  // and each virtual CPU before VP.INIT, its root page included

  struct Options {
    std::uint64_t memory = std::uint64_t{1} << 40;  // bytes
    std::uint16_t first_hkid = 32;                  // lower ids are not for TDs
    std::uint16_t hkids = 1024;
    unsigned packages = 1;
  };
  Module(const ModuleInfo& info, const ReportKey& key, Options options);

  /// Another module takes over (TDH.SYS.SHUTDOWN, the loader, TDH.SYS.UPDATE): TDs go on, and their reports name the module
  /// that launched them and the SVN of the one that runs. `sys_busy` while a virtual CPU runs, `sys_invalid_handoff` for a
  /// module with a lower SVN.
  Status tdh_sys_update(const ModuleInfo& info);

  // --- the host's calls: life of a TD ---

  /// Also `hkid_not_free`. The TD's UUID, random in hardware, counts here.
  Status tdh_mng_create(Hpa tdr, std::uint16_t hkid);
  /// On every package before anything else; `key_configured` where it was done.
  Status tdh_mng_key_config(Hpa tdr, unsigned package);
  Status tdh_mng_addcx(Hpa page, Hpa tdr);
  Status tdh_mng_init(Hpa tdr, const TdParams& params);
  /// Every virtual CPU flushed: the keys may no longer be used, and the key id waits for the caches.
  Status tdh_mng_vpflushdone(Hpa tdr);
  /// Of all key ids that wait, on one package. `no_hkid_ready_to_wbcache`: nothing did.
  Status tdh_phymem_cache_wb(unsigned package);
  Status tdh_mng_key_freeid(Hpa tdr);
  /// A page of a TD in teardown becomes free, its root page last.
  Status tdh_phymem_page_reclaim(Hpa page);

  // --- virtual CPUs ---

  Status tdh_vp_create(Hpa tdvpr, Hpa tdr);
  Status tdh_vp_addcx(Hpa page, Hpa tdvpr);
  Status tdh_vp_init(Hpa tdvpr);
  /// The guest runs until `td_exit`.
  Status tdh_vp_enter(Hpa tdvpr);
  Status tdh_vp_flush(Hpa tdvpr);
  /// Not a leaf: what ends VP.ENTER, an interrupt or a call of the guest to its host.
  void td_exit(Hpa tdvpr);

  // --- memory and its measurement ---

  /// A table behind an entry of `level` 1 to 3 (2 MiB to 512 GiB).
  Status tdh_mem_sept_add(std::uint64_t gpa, unsigned level, Hpa tdr, Hpa page);
  /// A page of 4 KiB while the TD is built, with a copy of `source`. Measures the address alone.
  Status tdh_mem_page_add(std::uint64_t gpa, Hpa tdr, Hpa page, measure::TdPage source);
  /// 256 bytes at `gpa` of a page that was added.
  Status tdh_mr_extend(std::uint64_t gpa, Hpa tdr);
  /// Ends the build: MRTD, and SERVTD_HASH. The lab then forgets what the pages hold: its guest is a process of its own.
  Status tdh_mr_finalize(Hpa tdr);
  /// A page of `level` 0 or 1 (4 KiB, 2 MiB) that is not measured: the guest sees it once it has accepted it.
  Status tdh_mem_page_aug(std::uint64_t gpa, unsigned level, Hpa tdr, Hpa page);
  Status tdh_mem_range_block(std::uint64_t gpa, unsigned level, Hpa tdr);
  Status tdh_mem_range_unblock(std::uint64_t gpa, unsigned level, Hpa tdr);
  /// A new epoch: what was blocked before it is out of every TLB once no virtual CPU runs that was entered before it.
  Status tdh_mem_track(Hpa tdr);
  Status tdh_mem_page_remove(std::uint64_t gpa, unsigned level, Hpa tdr);
  Status tdh_mem_sept_remove(std::uint64_t gpa, unsigned level, Hpa tdr);
  /// A page of 2 MiB becomes 512 of 4 KiB behind a new table: `level` is 1. Blocked and tracked first, as to remove it.
  Status tdh_mem_page_demote(std::uint64_t gpa, unsigned level, Hpa tdr, Hpa table);
  /// The reverse; the table's page is free again.
  Status tdh_mem_page_promote(std::uint64_t gpa, unsigned level, Hpa tdr);

  // --- service TDs ---

  /// Before MR.FINALIZE: a service TD of this hash may be bound later, and the report says so.
  Status tdh_servtd_prebind(Hpa tdr, const Digest48& info_hash, unsigned slot, std::uint16_t type,
                            ServtdAttributes attributes);
  Status tdh_servtd_bind(Hpa tdr, Hpa servtd, unsigned slot, std::uint16_t type, ServtdAttributes attributes);

  // --- the guest's calls, on a virtual CPU that runs; nothing runs: `op_state_incorrect`, or nothing at all ---

  [[nodiscard]] std::optional<TdReportBytes> tdg_mr_report(Hpa tdvpr, const Digest64& report_data) const;
  Status tdg_mr_rtmr_extend(Hpa tdvpr, unsigned index, const Digest48& digest);
  [[nodiscard]] Status tdg_mr_verifyreport(Hpa tdvpr, ByteView report) const;
  /// `ept_violation` ends in a TD exit: the virtual CPU no longer runs.
  Status tdg_mem_page_accept(Hpa tdvpr, std::uint64_t gpa, unsigned level);
  /// What an access to private memory meets; an `ept_violation` is a TD exit. Nothing when no guest runs.
  std::optional<Access> touch(Hpa tdvpr, std::uint64_t gpa);

  // --- state ---

  /// Null when there is none.
  [[nodiscard]] const TdControl* td(Hpa tdr) const;
  [[nodiscard]] const std::map<Hpa, TdControl>& tds() const noexcept { return tds_; }
  [[nodiscard]] const ModuleInfo& info() const noexcept { return info_; }
  [[nodiscard]] const Pamt& pamt() const noexcept { return pamt_; }
  [[nodiscard]] const Options& options() const noexcept { return options_; }
  [[nodiscard]] HkidState hkid_state(std::uint16_t hkid) const;

 private:
  struct KeyId {
    HkidState state = HkidState::free;
    std::set<unsigned> cached;  // packages whose caches may hold lines of it
  };
  struct Guest {
    TdControl* td;
    Vcpu* vcpu;
  };
  [[nodiscard]] TdControl* find(Hpa tdr);
  [[nodiscard]] std::optional<Guest> find_vcpu(Hpa tdvpr);
  [[nodiscard]] const TdControl* running(Hpa tdvpr) const;
  [[nodiscard]] bool private_hkid(std::uint16_t hkid) const;
  /// Blocked, and no TLB can have it any more, else a status with this operand; always while the TD is built and cannot
  /// have run.
  [[nodiscard]] static Status removable(const TdControl& td, const SeptEntry& entry, Operand operand = Operand::rcx);

  ModuleInfo info_;
  const ReportKey* key_;
  Options options_;
  Pamt pamt_;
  std::map<std::uint16_t, KeyId> key_ids_;
  std::map<Hpa, TdControl> tds_;
  std::map<Hpa, std::unique_ptr<ByteArray<measure::kTdPageSize>>> contents_;  // of pages of TDs that are being built
  std::uint64_t created_ = 0;
};

}  // namespace cloister::lab::tdx
