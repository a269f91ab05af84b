#include "cloister/attestation/tcb.hpp"

namespace cloister::attestation {

std::string_view to_string(TcbStatus status) noexcept {
  switch (status) {
    case TcbStatus::up_to_date: return "UpToDate";
    case TcbStatus::sw_hardening_needed: return "SWHardeningNeeded";
    case TcbStatus::configuration_needed: return "ConfigurationNeeded";
    case TcbStatus::configuration_and_sw_hardening_needed: return "ConfigurationAndSWHardeningNeeded";
    case TcbStatus::td_relaunch_advised: return "TDRelaunchAdvised";
    case TcbStatus::td_relaunch_advised_configuration_needed: return "TDRelaunchAdvisedConfigurationNeeded";
    case TcbStatus::out_of_date: return "OutOfDate";
    case TcbStatus::out_of_date_configuration_needed: return "OutOfDateConfigurationNeeded";
    case TcbStatus::revoked: return "Revoked";
    case TcbStatus::not_supported: return "NotSupported";
  }
  return "NotSupported";
}

std::optional<TcbStatus> tcb_status_from_string(std::string_view name) noexcept {
  for (const auto status : kTcbStatuses) {
    if (to_string(status) == name) return status;
  }
  return std::nullopt;
}

}  // namespace cloister::attestation
