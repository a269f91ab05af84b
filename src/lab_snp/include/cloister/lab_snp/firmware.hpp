#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "cloister/core/random.hpp"
#include "cloister/lab_snp/authority.hpp"
#include "cloister/lab_snp/id_block.hpp"
#include "cloister/lab_snp/launch_page.hpp"
#include "cloister/lab_snp/memory.hpp"
#include "cloister/lab_snp/request.hpp"
#include "cloister/lab_snp/status.hpp"
#include "cloister/measure/snp.hpp"

/// LAB ONLY - NOT HARDWARE. The firmware of the security processor: the life of SNP guests (AMD 56860, SEV-SNP Firmware ABI,
/// chapter 8). Each command makes its checks in the ABI's order, and changes nothing unless it succeeds. Not modelled:
/// migration (agents, initial migration images, export, import, absorb, VMRK messages), swapping, debugging commands, ACTIVATE_EX,
/// sockets, CPUID and TSC messages.
namespace cloister::lab_snp {

/// What the lab's machines run unless somebody says otherwise.
[[nodiscard]] evidence::SnpTcb usual_tcb(evidence::SnpProduct product) noexcept;

/// What a machine is.
struct PlatformOptions {
  evidence::SnpProduct product = evidence::SnpProduct::milan;
  std::uint32_t report_version = 3;  // 2, 3 or 5
  evidence::SnpTcb current;          // of what runs
  evidence::SnpTcb committed;        // below which nothing can be loaded
  evidence::SnpTcb reported;         // what its endorsement key is of
  std::uint64_t platform_info = evidence::snp_platform::kSmt;
  bool mask_chip_id = false;         // reports do not tell the chip
  /// MASK_CHIP_KEY of SNP_CONFIG. AMD 56860 (revision 1.58) says of it in 7.3 that a report's signature is zeros, in 7.2 that a key
  /// from root 0 is INVALID_KEY, of VCEK and VLEK alike; in SNP_CONFIG, that the VCEK is not used. The lab does as 7.2 and 7.3 say.
  bool mask_chip_key = false;
  bool vlek_loaded = false;
  std::uint64_t mitigations = 1;     // the vector of report version 5
  evidence::SnpFirmwareVersion version{.build = 40, .minor = 55, .major = 1};

  /// All three TCBs the same.
  [[nodiscard]] static PlatformOptions at(evidence::SnpProduct product, const evidence::SnpTcb& tcb);

  // What becomes of the TCBs; reported <= committed <= current stays so (AMD 56860, section 3.3). A loaded key is of one reported
  // TCB: where that changes, it is gone.
  /// DOWNLOAD_FIRMWARE_EX and microcode: what runs changes. INVALID_PARAM below what is committed.
  [[nodiscard]] Status load(const evidence::SnpTcb& tcb);
  /// SNP_COMMIT: there is no way back below what runs, and that is reported.
  void commit();
  /// SNP_CONFIG: INVALID_PARAM above what is committed.
  [[nodiscard]] Status set_reported(const evidence::SnpTcb& tcb);
};

/// GSTATE: launched by SNP_LAUNCH_START, running from SNP_LAUNCH_FINISH on.
enum class GuestState { init, launch, running };

/// What firmware knows of a guest, but for its secrets.
struct GuestStatus {
  GuestState state = GuestState::init;
  std::uint32_t asid = 0;  // 0: not activated
  std::uint64_t policy = 0;
  Digest48 launch_digest{};
  bool id_block = false;
  bool author_key = false;
  std::array<std::uint64_t, kVmpcks> message_counts{};
  friend bool operator==(const GuestStatus&, const GuestStatus&) = default;
};

struct LaunchStart {
  std::uint64_t policy = evidence::snp_policy::kMustBeOne | evidence::snp_policy::kSmt;
  ByteArray<16> gosvw{};
};
struct LaunchUpdate {
  std::uint64_t page = 0;  // SPA
  PageSize size = PageSize::small;
  std::uint8_t type = 0;   // of measure::SnpPageType
  measure::SnpVmplPermissions permissions{};
};
struct LaunchFinish {
  bool id_block_enabled = false;
  bool author_key_enabled = false;  // counts with an ID block alone
  bool vcek_disabled = false;       // the guest's reports and keys are never the VCEK's
  ByteArray<kIdBlockSize> id_block{};
  ByteArray<kIdAuthSize> id_auth{};
  Digest32 host_data{};
};

/// One thread at a time. Authority, memory and random source outlive it.
class Firmware {
 public:
  static constexpr std::uint32_t kMaxAsid = 99;
  static constexpr std::uint8_t kAbiMajor = 1;
  static constexpr std::uint8_t kAbiMinor = 58;

  /// `invalid_argument` unless reported <= committed <= current in every component, and the report's version is 2, 3 or 5.
  [[nodiscard]] static Result<Firmware> start(const Authority& authority, Memory& memory, Random& random, const PlatformOptions& options);
  Firmware(Firmware&&) noexcept;
  Firmware& operator=(Firmware&&) noexcept;
  ~Firmware();

  [[nodiscard]] const PlatformOptions& platform() const noexcept { return options_; }
  /// As of `PlatformOptions`.
  [[nodiscard]] Status load(const evidence::SnpTcb& tcb) { return options_.load(tcb); }
  void commit() { options_.commit(); }
  [[nodiscard]] Status set_reported(const evidence::SnpTcb& tcb) { return options_.set_reported(tcb); }
  /// SNP_VLEK_LOAD, of the provider's key for the TCB that is reported.
  void load_vlek() noexcept { options_.vlek_loaded = true; }

  /// Contexts are named by the address of their page.
  /// SNP_GCTX_CREATE: a Firmware page becomes a Context page. INVALID_PARAM (no page's
  /// address), INVALID_ADDRESS (none of the machine's), INVALID_PAGE_STATE, INVALID_PAGE_SIZE.
  [[nodiscard]] Status gctx_create(std::uint64_t context);
  /// SNP_LAUNCH_START. INVALID_GUEST, INVALID_GUEST_STATE, POLICY_FAILURE: bit 17 is zero, a bit that is not defined, an ABI
  /// newer than this, or SMT where the policy allows none.
  [[nodiscard]] Status launch_start(std::uint64_t context, const LaunchStart& start);
  /// SNP_ACTIVATE. INVALID_GUEST, INVALID_GUEST_STATE, INVALID_CONFIG (pages have this ASID already), INVALID_ASID, ASID_OWNED,
  /// ACTIVE, DFFLUSH_REQUIRED (its last guest is gone, and what caches keep of it is not).
  [[nodiscard]] Status activate(std::uint64_t context, std::uint32_t asid);
  /// SNP_LAUNCH_UPDATE: the page is measured, encrypted, and becomes Guest-Valid. The GPA is the RMP's. INVALID_GUEST,
  /// INVALID_ADDRESS, INVALID_PAGE_STATE (not Pre-Guest), INVALID_PAGE_SIZE, INVALID_PARAM (unknown type), INVALID_GUEST_STATE,
  /// INACTIVE, INVALID_PAGE_OWNER. A CPUID page that lies is corrected in place, and INVALID_PARAM.
  [[nodiscard]] Status launch_update(std::uint64_t context, const LaunchUpdate& update);
  /// SNP_LAUNCH_FINISH: the digest is final, the guest may run and ask. INVALID_GUEST, INVALID_GUEST_STATE, INACTIVE; of an ID
  /// block BAD_MEASUREMENT, POLICY_FAILURE, INVALID_PARAM (algorithms; the lab: also another version than 1), BAD_SIGNATURE (also of a
  /// key that is no point on its curve).
  [[nodiscard]] Status launch_finish(std::uint64_t context, const LaunchFinish& finish);
  /// SNP_GUEST_REQUEST: the message at `request` is answered into the Firmware page `response`. INVALID_GUEST, INVALID_ADDRESS,
  /// INVALID_PAGE_STATE, INVALID_PAGE_SIZE, INVALID_GUEST_STATE, INVALID_PARAM (header, type or version), BAD_MEASUREMENT (it does not
  /// open), AEAD_OFLOW (not the next number, or no more numbers). What the guest may not ask is answered: the status is in
  /// its message.
  [[nodiscard]] Status guest_request(std::uint64_t context, std::uint64_t request, std::uint64_t response);
  /// SNP_DECOMMISSION: keys are gone, the page is Firmware's. INVALID_GUEST.
  [[nodiscard]] Status decommission(std::uint64_t context);
  /// SNP_DF_FLUSH: ASIDs of guests that are gone can be used again.
  void df_flush();
  /// SNP_PAGE_RECLAIM. INVALID_ADDRESS, INVALID_PAGE_STATE: not Firmware, Metadata, Pre-Guest or Pre-Swap.
  [[nodiscard]] Status page_reclaim(std::uint64_t page);

  /// SNP_GUEST_STATUS; nothing where there is no context.
  [[nodiscard]] std::optional<GuestStatus> guest_status(std::uint64_t context) const;

 private:
  struct Context;
  Firmware(const Authority& authority, Memory& memory, Random& random, const PlatformOptions& options);
  [[nodiscard]] Context* find(std::uint64_t context);
  [[nodiscard]] bool asid_owned(std::uint32_t asid) const;
  [[nodiscard]] Status update_page(Context& guest, const LaunchUpdate& update, const RmpEntry& entry);
  [[nodiscard]] Status check_id_block(Context& guest, const LaunchFinish& finish) const;
  [[nodiscard]] crypto::SecretBytes report(const Context& guest, const Message& request) const;
  [[nodiscard]] crypto::SecretBytes derived_key(const Context& guest, const Message& request) const;

  const Authority* authority_;
  Memory* memory_;
  Random* random_;
  PlatformOptions options_;
  std::map<std::uint64_t, std::unique_ptr<Context>> contexts_;
  std::map<std::uint32_t, bool> dirty_asids_;
};

}  // namespace cloister::lab_snp
