#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/time.hpp"

/// What the vendor says of a platform's trusted computing base (Intel PCS v4, TCB Info and Enclave Identity).
namespace cloister::attestation {

/// The statuses of Intel's quote verification (sgx_ql_qv_result_t), and NotSupported where no level matches.
/// From best to worst. `Revoked` and `NotSupported` are never acceptable to a policy.
enum class TcbStatus {
  up_to_date,
  sw_hardening_needed,
  configuration_needed,
  configuration_and_sw_hardening_needed,
  td_relaunch_advised,
  td_relaunch_advised_configuration_needed,
  out_of_date,
  out_of_date_configuration_needed,
  revoked,
  not_supported,
};
inline constexpr std::array kTcbStatuses = {
    TcbStatus::up_to_date,
    TcbStatus::sw_hardening_needed,
    TcbStatus::configuration_needed,
    TcbStatus::configuration_and_sw_hardening_needed,
    TcbStatus::td_relaunch_advised,
    TcbStatus::td_relaunch_advised_configuration_needed,
    TcbStatus::out_of_date,
    TcbStatus::out_of_date_configuration_needed,
    TcbStatus::revoked,
    TcbStatus::not_supported,
};

/// Intel's spelling, e.g. "UpToDate".
[[nodiscard]] std::string_view to_string(TcbStatus status) noexcept;
/// The status of that spelling, or nothing.
[[nodiscard]] std::optional<TcbStatus> tcb_status_from_string(std::string_view name) noexcept;

/// One component that is older than the next better level asks for.
struct TcbGap {
  std::string component;  // "sgxtcbcomponents[3]", "tdxtcbcomponents[2]", "pcesvn", "tdx_module.isvsvn", "qe.isvsvn"
  unsigned have = 0;
  unsigned need = 0;
};

/// The evaluated TCB. Only as trustworthy as the report that holds it is authentic.
struct Tcb {
  TcbStatus status;    // platform, module, QE and relaunch advice converged
  TcbStatus platform;  // of the launch TCB, before convergence
  std::optional<TcbStatus> module;  // TDX module; absent for SGX, and for modules without an identity (major version 0)
  TcbStatus qe;
  /// Of a relaunchable TD (quote version 5, TEE_TCB_SVN2): the status of the TCB that the host runs now.
  std::optional<TcbStatus> current;
  std::vector<std::string> advisory_ids;  // of every matched level; sorted, unique
  std::optional<UnixTime> tcb_date;       // the oldest of the matched levels; absent when none matched
  std::uint32_t tcb_info_number = 0;      // tcbEvaluationDataNumber
  std::uint32_t qe_identity_number = 0;
  std::vector<TcbGap> distance;  // to the next better level of each part; empty when there is none
};

}  // namespace cloister::attestation
