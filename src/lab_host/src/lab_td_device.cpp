#include "lab_td_device.hpp"

namespace cloister::lab_host {

Result<Bytes> LabTdDevice::report(const Digest64& report_data) {
  const auto report = td_.tdg_mr_report(report_data);
  if (!report) return Error{Errc::unavailable, "the TD does not run"};
  return to_bytes(*report);
}

Result<void> LabTdDevice::extend_rtmr(unsigned index, const Digest48& digest) {
  if (index > 3) return Error{Errc::invalid_argument, "RTMR: 0 to 3 expected"};
  const auto status = td_.tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, index, digest);
  if (!status.ok()) return Error{Errc::permission_denied, std::string{lab::tdx::to_string(status.code())}};
  return {};
}

Result<device::Quote> LabTdDevice::quote(const Digest64& report_data) {
  CLOISTER_TRY(made, report(report_data));
  CLOISTER_TRY(evidence, platform_->quote(made));
  return device::Quote{.evidence = std::move(evidence), .collateral = {}};
}

}  // namespace cloister::lab_host
