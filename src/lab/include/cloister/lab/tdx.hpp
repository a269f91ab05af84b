#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/lab/tdx_module.hpp"
#include "cloister/measure/td_image.hpp"

/// LAB ONLY - NOT HARDWARE. What a host does with the module, and what its guest sees.
namespace cloister::lab::tdx {

/// A machine that has started: the module, and the memory and key ids that its host has not given away.
/// One thread at a time.
class Machine {
 public:
  Machine(const ModuleInfo& info, const ReportKey& key, Module::Options options = {})
      : module{info, key, options}, next_hkid_{options.first_hkid} {}
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Another module under the TDs that run: they leave it, and go on in the new one. As `Module::tdh_sys_update`.
  Status update_module(const ModuleInfo& info);
  /// A page of 4 KiB that nobody has; nothing when the memory is used up.
  [[nodiscard]] std::optional<Hpa> take_page();
  void give_back(Hpa page) { free_pages_.push_back(page); }
  /// A key id that is free; nothing when all are in use.
  [[nodiscard]] std::optional<std::uint16_t> free_hkid();

  Module module;

 private:
  std::uint64_t next_page_ = 0;
  std::vector<Hpa> free_pages_;
  std::uint16_t next_hkid_;
};

/// Who inside the guest asks. Firmware and kernel may extend every register; programs get RTMR2 and RTMR3 alone.
enum class GuestLevel { boot, user };

/// A TD that runs, as its guest sees it, on one virtual CPU. Its end takes it down: every page and its key id are free
/// again. It shares the machine, which lives as long as one of its TDs. One thread at a time with all of the machine's.
class Td {
 public:
  /// Of a TD that was entered on this virtual CPU.
  Td(std::shared_ptr<Machine> machine, Hpa tdr, Hpa tdvpr);
  Td(Td&&) noexcept = default;
  Td& operator=(Td&& other) noexcept;
  ~Td();

  /// TDG.MR.RTMR.EXTEND. `index` 0 to 3, from user level 2 and 3 (the device files of Linux give no others).
  Status tdg_mr_rtmr_extend(GuestLevel level, unsigned index, const Digest48& digest);
  /// TDG.MR.REPORT: TDREPORT_STRUCT of this TD over 64 bytes of the caller's; nothing unless the TD runs.
  [[nodiscard]] std::optional<TdReportBytes> tdg_mr_report(const Digest64& report_data) const;
  /// TDG.MR.VERIFYREPORT: whether a report was made on this machine.
  [[nodiscard]] Status tdg_mr_verifyreport(ByteView report) const;

  [[nodiscard]] Hpa tdr() const noexcept { return tdr_; }
  [[nodiscard]] Hpa tdvpr() const noexcept { return tdvpr_; }
  [[nodiscard]] Machine& machine() const noexcept { return *machine_; }
  [[nodiscard]] const Digest48& mrtd() const noexcept { return control_->mrtd; }
  [[nodiscard]] const measure::Rtmrs& rtmrs() const noexcept { return control_->rtmrs; }
  [[nodiscard]] const TdParams& params() const noexcept { return control_->params; }
  [[nodiscard]] LifeCycle life_cycle() const noexcept { return control_->life_cycle; }
  [[nodiscard]] OpState op_state() const noexcept { return control_->op_state; }

 private:
  std::shared_ptr<Machine> machine_;  // null: moved from
  Hpa tdr_;
  Hpa tdvpr_;
  const TdControl* control_;
};

/// All of the host's part for a `process` TD: create, keys, control pages, one virtual CPU, the pages of the image added
/// and measured in order, finalised, entered. `invalid_argument` or `limit_exceeded` for an image that has no layout,
/// `invalid_argument` for parameters that the module refuses (the text has the leaf and the status), `overloaded` when
/// the machine has no page or no key id left. A TD that was not finished is taken down.
[[nodiscard]] Result<Td> launch(const std::shared_ptr<Machine>& machine, const TdParams& params,
                                std::span<const measure::TdFile> files);
/// The same of a TD that boots virtual firmware, in the order of the profile: its MRTD is `measure::mrtd_of_tdvf`'s.
/// Sections that are added at run time (PAGE.AUG) stay pending. Also `malformed` as `measure::tdvf_sections`, and
/// `limit_exceeded` for sections of more than 256 MiB in all.
[[nodiscard]] Result<Td> launch_firmware(const std::shared_ptr<Machine>& machine, const TdParams& params,
                                         ByteView firmware, measure::TdvfProfile profile);

/// All of the host's part in the end of a TD, whatever state it is in: virtual CPUs flushed, caches written back, the key
/// id freed, every page reclaimed and given back.
void tear_down(Machine& machine, Hpa tdr);

}  // namespace cloister::lab::tdx
