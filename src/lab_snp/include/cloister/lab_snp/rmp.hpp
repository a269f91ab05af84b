#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

/// LAB ONLY - NOT HARDWARE. The Reverse Map Table as a state machine: who owns each page of a machine's memory (AMD64
/// Architecture Programmer's Manual, volume 2, section 15.36; the instructions in volume 3; AMD 56860, SEV-SNP Firmware ABI,
/// section 5.3 for the states). Addresses are bytes; SPA is the machine's, GPA a guest's own.
namespace cloister::lab_snp {

inline constexpr std::uint64_t kSmallPage = 4096;
inline constexpr std::uint64_t kLargePage = std::uint64_t{2} << 20;
inline constexpr unsigned kVmpls = 4;

enum class PageSize { small, large };
[[nodiscard]] constexpr std::uint64_t bytes_of(PageSize size) noexcept { return size == PageSize::small ? kSmallPage : kLargePage; }

/// What a VMPL may do with a page.
namespace vmpl_permission {
inline constexpr std::uint8_t kRead = 1;
inline constexpr std::uint8_t kWrite = 2;
inline constexpr std::uint8_t kExecuteUser = 4;
inline constexpr std::uint8_t kExecuteSupervisor = 8;
inline constexpr std::uint8_t kAll = 15;
}  // namespace vmpl_permission

struct RmpEntry {
  bool assigned = false;
  PageSize size = PageSize::small;
  bool immutable = false;  // only firmware may change the entry
  std::uint64_t gpa = 0;
  std::uint32_t asid = 0;  // of the guest; 0: firmware's
  bool vmsa = false;
  bool validated = false;
  std::array<std::uint8_t, kVmpls> permissions{};
  friend bool operator==(const RmpEntry&, const RmpEntry&) = default;
};

/// The states that firmware names (56860, Table 27): the entry's bits, read together.
enum class PageState { hypervisor, hv_fixed, reclaim, firmware, context, metadata, pre_guest, pre_swap, guest_invalid, guest_valid };
[[nodiscard]] PageState state_of(const RmpEntry& entry) noexcept;
[[nodiscard]] std::string_view to_string(PageState state) noexcept;  // "pre_guest"

/// What RMPUPDATE, PVALIDATE and RMPADJUST leave in EAX.
enum class RmpStatus { success = 0, fail_input = 1, fail_permission = 2, fail_in_use = 3, fail_overlap = 4, fail_size_mismatch = 6 };

/// How a memory access or an instruction is stopped.
enum class Fault {
  none,
  pf_rmp,     // #PF with the RMP bit, to the host
  npf_rmp,    // #NPF with the RMP bit: not this guest's page, or not at this address
  npf_size,   // #NPF, page sizes of the tables and of the RMP disagree: the host must PSMASH
  npf_vmpl,   // #NPF: the VMPL lacks the permission
  vc_not_validated,  // #VC 0x404, to the guest
  integrity,         // the lab's own: the page does not open under the guest's key (`Memory`)
};

/// Where a guest is when it acts: its ASID and VMPL, the address, and where the nested tables lead.
struct GuestView {
  std::uint32_t asid = 0;
  unsigned vmpl = 0;
  std::uint64_t gpa = 0;
  std::uint64_t spa = 0;
};

/// The outcome of a guest's instruction. `unchanged` is rFLAGS.CF of PVALIDATE: the page had that state before, which a
/// guest must take for an attack.
struct RmpResult {
  Fault fault = Fault::none;
  RmpStatus status = RmpStatus::success;
  bool unchanged = false;
  [[nodiscard]] bool ok() const noexcept { return fault == Fault::none && status == RmpStatus::success && !unchanged; }
  friend bool operator==(const RmpResult&, const RmpResult&) = default;
};

/// The table of a small machine. In the wrong state an operation returns its status and changes nothing.
/// One thread at a time; a value.
class Rmp {
 public:
  /// `pages` of 4 KiB, from SPA 0 on, all the hypervisor's.
  explicit Rmp(std::size_t pages) : entries_(pages) {}

  /// What the host asks of RMPUPDATE.
  struct Update {
    bool assigned = false;
    PageSize size = PageSize::small;
    bool immutable = false;
    std::uint64_t gpa = 0;
    std::uint32_t asid = 0;
  };
  /// RMPUPDATE. `fail_input`: an address outside of the machine or unaligned, or a state that only firmware makes (assigned
  /// to nobody without immutable, immutable without assigned). `fail_permission`: the entry is immutable. `fail_overlap`: a
  /// page of the other size is in the way. Success always clears Validated, and leaves all permissions to VMPL0 alone.
  [[nodiscard]] RmpStatus rmpupdate(std::uint64_t spa, const Update& update);
  /// PSMASH: 512 small pages in place of a large one, with the same owner and state. `fail_input` where there is no large
  /// page, `fail_permission` for an immutable one.
  [[nodiscard]] RmpStatus psmash(std::uint64_t spa);

  /// PVALIDATE by the guest: `validate` or rescind. `fail_permission` from another VMPL than 0, `fail_input` for an address
  /// that is not aligned to `size`, `fail_size_mismatch` for a large page where the RMP has small ones.
  [[nodiscard]] RmpResult pvalidate(const GuestView& guest, PageSize size, bool validate);
  struct Adjust {
    unsigned target = 1;             // VMPL, numerically above the caller's
    std::uint8_t permissions = 0;    // none that the caller lacks
    bool vmsa = false;               // changed by VMPL0 alone
    PageSize size = PageSize::small;
  };
  /// RMPADJUST by the guest, on a page that it validated.
  [[nodiscard]] RmpResult rmpadjust(const GuestView& guest, const Adjust& adjust);

  /// Whether the host may write. Reading is never stopped: it sees ciphertext.
  [[nodiscard]] Fault host_write(std::uint64_t spa) const;
  /// Whether the guest may reach its private memory (C bit set) with all of `permissions`, through tables of `size`.
  [[nodiscard]] Fault guest_access(const GuestView& guest, std::uint8_t permissions, PageSize size = PageSize::small) const;

  /// Firmware: a page of a guest in launch becomes valid (SNP_LAUNCH_UPDATE). False unless it is Pre-Guest.
  [[nodiscard]] bool complete_launch(std::uint64_t spa, bool vmsa, const std::array<std::uint8_t, kVmpls>& permissions);
  /// Firmware: an immutable page goes back to whoever may RMPUPDATE it (SNP_PAGE_RECLAIM): a guest's as Guest-Invalid,
  /// firmware's as Reclaim. False for other pages, and for those that hold a guest's context.
  [[nodiscard]] bool reclaim(std::uint64_t spa);
  /// Firmware: a small page of its own becomes a guest's context (SNP_GCTX_CREATE), or is one no more (SNP_DECOMMISSION).
  /// False for pages in another state.
  [[nodiscard]] bool make_context(std::uint64_t spa);
  [[nodiscard]] bool end_context(std::uint64_t spa);
  /// Whether any page is assigned to the guest.
  [[nodiscard]] bool assigned_to(std::uint32_t asid) const;

  /// The entry that covers the page: its own, or that of the large page around it; nothing outside of the machine.
  [[nodiscard]] std::optional<RmpEntry> entry(std::uint64_t spa) const;
  [[nodiscard]] std::size_t pages() const noexcept { return entries_.size(); }

 private:
  [[nodiscard]] std::size_t covering(std::uint64_t spa) const;
  [[nodiscard]] bool inside(std::uint64_t spa, PageSize size) const;
  [[nodiscard]] Fault check_owner(const GuestView& guest, PageSize size) const;
  [[nodiscard]] bool overlaps(std::uint64_t spa, PageSize size) const;
  std::vector<RmpEntry> entries_;  // of small pages; a large page's is the first of its 512, the others then unassigned
};

}  // namespace cloister::lab_snp
