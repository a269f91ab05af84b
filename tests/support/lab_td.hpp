#pragma once

#include <memory>
#include <utility>

#include "cloister/device/tee_device.hpp"
#include "cloister/lab/platform.hpp"

namespace cloister::test {

/// A TD of the lab's, as a program inside it sees it. The machine outlives this.
class LabTd final : public device::TeeDevice {
 public:
  LabTd(const lab::Platform& platform, std::shared_ptr<lab::tdx::Td> td) : platform_{platform}, td_{std::move(td)} {}
  Result<Bytes> report(const Digest64& report_data) override { return to_bytes(*td_->tdg_mr_report(report_data)); }
  Result<void> extend_rtmr(unsigned index, const Digest48& digest) override {
    const auto status = td_->tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, index, digest);
    return status.ok() ? Result<void>{} : Error{Errc::permission_denied, "extend"};
  }
  Result<device::Quote> quote(const Digest64& report_data) override {
    CLOISTER_TRY(made, report(report_data));
    CLOISTER_TRY(evidence, platform_.quote(made));
    return device::Quote{.evidence = std::move(evidence), .collateral = {}};
  }

 private:
  const lab::Platform& platform_;
  std::shared_ptr<lab::tdx::Td> td_;
};

}  // namespace cloister::test
