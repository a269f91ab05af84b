#pragma once

#include <map>
#include <set>
#include <vector>

#include "cloister/lab_snp/firmware.hpp"
#include "cloister/lab_snp/guest.hpp"
#include "cloister/measure/snp_launch.hpp"

/// LAB ONLY - NOT HARDWARE. The host's part of a launch: what a VMM does with firmware's commands.
namespace cloister::lab_snp {

/// The smallest firmware that can be launched and ask: one page, whose metadata (OVMF's form) want a page of zeros,
/// secrets, CPUID and the hashes of a kernel, below `more` pages that say what they are.
[[nodiscard]] Bytes small_firmware(std::size_t more = 0);

/// A guest to be launched.
struct GuestSetup {
  measure::SnpLaunch launch;  // its firmware, kernel and virtual CPUs
  std::uint32_t asid = 1;
  std::uint64_t policy = evidence::snp_policy::kMustBeOne | evidence::snp_policy::kSmt;
  LaunchFinish finish{};
};

/// A guest of a host's, from its context on.
struct HostedGuest {
  std::uint64_t context = 0;                     // SPA
  std::uint32_t asid = 0;                        // 0: not activated
  std::uint64_t request = 0;                     // SPA of a page that it shares, for messages
  std::uint64_t response = 0;                    // SPA of firmware's
  std::map<std::uint64_t, std::uint64_t> pages;  // SPA by GPA; of its virtual CPUs none
  std::vector<std::uint64_t> vcpus;              // SPAs of their states
  std::optional<std::uint64_t> secrets_gpa;
};

/// A VMM, whose guests are launched command by command, or whole. The lowest page of memory that nobody has is the
/// next. Errors: `limit_exceeded` when the machine has no memory left; a command's refusal as `measurement_mismatch`
/// (BAD_MEASUREMENT), `signature_invalid` (BAD_SIGNATURE), else `invalid_argument`, with command and status. What fails
/// changes nothing. One thread at a time; firmware and memory outlive it, and nobody else assigns pages of this memory.
class Host {
 public:
  Host(Memory& memory, Firmware& firmware) : memory_{memory}, firmware_{firmware} {}

  /// SNP_GCTX_CREATE and SNP_LAUNCH_START.
  [[nodiscard]] Result<HostedGuest> create(const LaunchStart& start);
  /// SNP_ACTIVATE.
  [[nodiscard]] Result<void> activate(HostedGuest& guest, std::uint32_t asid);
  /// RMPUPDATE and SNP_LAUNCH_UPDATE of one page, and its SPA; a CPUID page says what the chip is. INVALID_PAGE_STATE
  /// where the guest has a page at this address.
  [[nodiscard]] Result<std::uint64_t> add_page(HostedGuest& guest, const measure::SnpLaunchPage& page);
  /// SNP_LAUNCH_FINISH.
  [[nodiscard]] Result<void> finish(const HostedGuest& guest, const LaunchFinish& finish);
  /// All of it, page by page in the VMM's order. Also errors of `measure::for_each_snp_page`.
  [[nodiscard]] Result<HostedGuest> start(const GuestSetup& setup);

  /// A page more for a guest that runs, and its SPA: RMPUPDATE by the host, PVALIDATE by the guest. The guest has none
  /// at this address, a multiple of 4096 (asserted).
  [[nodiscard]] Result<std::uint64_t> give_page(HostedGuest& guest, std::uint64_t gpa);
  /// Back to the host: RMPUPDATE. The guest has it (asserted).
  void take_page(HostedGuest& guest, std::uint64_t gpa);
  /// SNP_DECOMMISSION, DF_FLUSH, and every page back to the host, however far the guest came.
  void end(const HostedGuest& guest);

  /// As a guest reaches its private memory at this address.
  [[nodiscard]] static GuestView view(const HostedGuest& guest, std::uint64_t gpa, unsigned vmpl = 0);
  /// The guest's driver, with the key of this VMPL out of its secrets page.
  [[nodiscard]] std::optional<GuestDriver> driver(const HostedGuest& guest, unsigned vmpl = 0) const;
  /// Brings the guest's messages to firmware, faithfully.
  [[nodiscard]] GuestDriver::Carrier carrier(const HostedGuest& guest);

 private:
  [[nodiscard]] Result<std::uint64_t> next_page();
  [[nodiscard]] Result<std::uint64_t> firmware_page();
  [[nodiscard]] Result<HostedGuest> begin(std::uint64_t context, const LaunchStart& start);
  void free_page(std::uint64_t spa);
  Memory& memory_;
  Firmware& firmware_;
  std::uint64_t next_ = 0;        // pages from here on were never used
  std::set<std::uint64_t> free_;  // pages below that are the host's again
};

}  // namespace cloister::lab_snp
