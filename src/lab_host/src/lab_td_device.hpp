#pragma once

#include "cloister/device/tee_device.hpp"
#include "cloister/lab/platform.hpp"

namespace cloister::lab_host {

/// LAB ONLY - NOT HARDWARE. A simulated TD as the program inside it sees it, without a process of its own. The platform outlives it. Not thread-safe.
class LabTdDevice final : public device::TeeDevice {
 public:
  LabTdDevice(const lab::Platform& platform, lab::tdx::Td td) : platform_{&platform}, td_{std::move(td)} {}

  [[nodiscard]] const Digest48& mrtd() const noexcept { return td_.mrtd(); }
  /// `unavailable` unless the TD runs.
  [[nodiscard]] Result<Bytes> report(const Digest64& report_data) override;
  [[nodiscard]] Result<void> extend_rtmr(unsigned index, const Digest48& digest) override;
  /// A quote of version 4, which carries the certificates itself.
  [[nodiscard]] Result<device::Quote> quote(const Digest64& report_data) override;

 private:
  const lab::Platform* platform_;
  lab::tdx::Td td_;
};

}  // namespace cloister::lab_host
