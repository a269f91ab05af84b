#pragma once

#include <map>

#include "cloister/lab_snp/firmware.hpp"
#include "cloister/lab_snp/guest.hpp"
#include "cloister/measure/snp_launch.hpp"

/// LAB ONLY - NOT HARDWARE. The host's part of a launch: what a VMM does with firmware's commands.
namespace cloister::lab_snp {

/// The smallest firmware that can be launched and ask: one page, whose metadata (OVMF's form) want a page of zeros, secrets, CPUID
/// and the hashes of a kernel.
[[nodiscard]] Bytes small_firmware();

/// A guest to be launched.
struct GuestSetup {
  measure::SnpLaunch launch;  // its firmware, kernel and virtual CPUs
  std::uint32_t asid = 1;
  std::uint64_t policy = evidence::snp_policy::kMustBeOne | evidence::snp_policy::kSmt;
  LaunchFinish finish{};
};

/// A guest that runs.
struct RunningGuest {
  std::uint64_t context = 0;  // SPA
  std::uint32_t asid = 0;
  std::uint64_t request = 0;   // SPA of a page that it shares, for messages
  std::uint64_t response = 0;  // SPA of firmware's
  std::map<std::uint64_t, std::uint64_t> pages;  // SPA by GPA; of its virtual CPUs none
  std::optional<std::uint64_t> secrets_gpa;
};

/// Memory is taken in ascending order and not given back. One thread at a time; firmware and memory outlive it.
class Host {
 public:
  Host(Memory& memory, Firmware& firmware) : memory_{memory}, firmware_{firmware} {}

  /// Every command of a launch, page by page in the VMM's order; a CPUID page says what the chip is. `limit_exceeded` when the
  /// machine has no memory left; a command's refusal as `measurement_mismatch` (BAD_MEASUREMENT), `signature_invalid`
  /// (BAD_SIGNATURE), else `invalid_argument`, with command and status; errors of `measure::for_each_snp_page`.
  [[nodiscard]] Result<RunningGuest> start(const GuestSetup& setup);

  /// As a guest reaches its private memory at this address.
  [[nodiscard]] static GuestView view(const RunningGuest& guest, std::uint64_t gpa, unsigned vmpl = 0);
  /// The guest's driver, with the key of this VMPL out of its secrets page.
  [[nodiscard]] std::optional<GuestDriver> driver(const RunningGuest& guest, unsigned vmpl = 0) const;
  /// Brings the guest's messages to firmware, faithfully.
  [[nodiscard]] GuestDriver::Carrier carrier(const RunningGuest& guest);

 private:
  [[nodiscard]] Result<std::uint64_t> next_page();
  [[nodiscard]] Result<std::uint64_t> firmware_page();
  [[nodiscard]] Result<void> add_page(RunningGuest& guest, const measure::SnpLaunchPage& page);
  Memory& memory_;
  Firmware& firmware_;
  std::uint64_t next_ = 0;
};

}  // namespace cloister::lab_snp
