#pragma once

#include "cloister/core/random.hpp"
#include "cloister/device/kernel.hpp"
#include "cloister/device/tee_device.hpp"

namespace cloister::device {

inline constexpr std::string_view kTdxGuest = "/dev/tdx_guest";
inline constexpr std::string_view kTdxMeasurements = "/sys/devices/virtual/misc/tdx_guest/measurements";

/// A TDX guest under Linux: TDREPORTs of /dev/tdx_guest (6.2 and later: TDX_CMD_GET_REPORT0), RTMRs of its measurement
/// files (6.16 and later: rtmr2:sha384), quotes of configfs-tsm (6.7 and later). What the kernel lacks is `unsupported`.
/// Kernel and random outlive it.
class TdxDevice final : public TeeDevice {
 public:
  struct Paths {
    std::filesystem::path device{kTdxGuest};
    std::filesystem::path measurements{kTdxMeasurements};
    std::filesystem::path reports{"/sys/kernel/config/tsm/report"};
  };
  TdxDevice(Kernel& kernel, Random& random) : TdxDevice{kernel, random, Paths{}} {}
  TdxDevice(Kernel& kernel, Random& random, Paths paths) : kernel_{kernel}, random_{random}, paths_{std::move(paths)} {}

  [[nodiscard]] Result<Bytes> report(const Digest64& report_data) override;
  [[nodiscard]] Result<void> extend_rtmr(unsigned index, const Digest48& digest) override;
  [[nodiscard]] Result<Quote> quote(const Digest64& report_data) override;

 private:
  Kernel& kernel_;
  Random& random_;
  Paths paths_;
};

}  // namespace cloister::device
