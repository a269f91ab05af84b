#include "cloister/lab/tdx_status.hpp"

namespace cloister::lab::tdx {

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::success: return "TDX_SUCCESS";
    case Code::operand_invalid: return "TDX_OPERAND_INVALID";
    case Code::tdcs_not_allocated: return "TDX_TDCS_NOT_ALLOCATED";
    case Code::lifecycle_state_incorrect: return "TDX_LIFECYCLE_STATE_INCORRECT";
    case Code::op_state_incorrect: return "TDX_OP_STATE_INCORRECT";
    case Code::no_vcpus: return "TDX_NO_VCPUS";
    case Code::tdcx_num_incorrect: return "TDX_TDCX_NUM_INCORRECT";
    case Code::vcpu_state_incorrect: return "TDX_VCPU_STATE_INCORRECT";
    case Code::vcpu_not_associated: return "TDX_VCPU_NOT_ASSOCIATED";
    case Code::max_vcpus_exceeded: return "TDX_MAX_VCPUS_EXCEEDED";
    case Code::td_keys_not_configured: return "TDX_TD_KEYS_NOT_CONFIGURED";
    case Code::flushvp_not_done: return "TDX_FLUSHVP_NOT_DONE";
    case Code::ept_walk_failed: return "TDX_EPT_WALK_FAILED";
    case Code::ept_entry_not_present: return "TDX_EPT_ENTRY_NOT_PRESENT";
    case Code::ept_entry_state_incorrect: return "TDX_EPT_ENTRY_STATE_INCORRECT";
    case Code::invalid_reportmacstruct: return "TDX_INVALID_REPORTMACSTRUCT";
  }
  return "TDX_UNKNOWN";
}

}  // namespace cloister::lab::tdx
