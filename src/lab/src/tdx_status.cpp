#include "cloister/lab/tdx_status.hpp"

namespace cloister::lab::tdx {

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::success: return "TDX_SUCCESS";
    case Code::ept_violation: return "EPT violation (TD exit)";
    case Code::gpa_range_already_blocked: return "TDX_GPA_RANGE_ALREADY_BLOCKED";
    case Code::key_configured: return "TDX_KEY_CONFIGURED";
    case Code::no_hkid_ready_to_wbcache: return "TDX_NO_HKID_READY_TO_WBCACHE";
    case Code::page_already_accepted: return "TDX_PAGE_ALREADY_ACCEPTED";
    case Code::operand_busy: return "TDX_OPERAND_BUSY";
    case Code::sys_busy: return "TDX_SYS_BUSY";
    case Code::sys_invalid_handoff: return "TDX_SYS_INVALID_HANDOFF";
    case Code::previous_tlb_epoch_busy: return "TDX_PREVIOUS_TLB_EPOCH_BUSY";
    case Code::vcpu_not_associated: return "TDX_VCPU_NOT_ASSOCIATED";
    case Code::td_keys_not_configured: return "TDX_TD_KEYS_NOT_CONFIGURED";
    case Code::wbcache_not_complete: return "TDX_WBCACHE_NOT_COMPLETE";
    case Code::flushvp_not_done: return "TDX_FLUSHVP_NOT_DONE";
    case Code::operand_invalid: return "TDX_OPERAND_INVALID";
    case Code::operand_addr_range_error: return "TDX_OPERAND_ADDR_RANGE_ERROR";
    case Code::page_metadata_incorrect: return "TDX_PAGE_METADATA_INCORRECT";
    case Code::td_associated_pages_exist: return "TDX_TD_ASSOCIATED_PAGES_EXIST";
    case Code::tdcs_not_allocated: return "TDX_TDCS_NOT_ALLOCATED";
    case Code::lifecycle_state_incorrect: return "TDX_LIFECYCLE_STATE_INCORRECT";
    case Code::op_state_incorrect: return "TDX_OP_STATE_INCORRECT";
    case Code::no_vcpus: return "TDX_NO_VCPUS";
    case Code::tdcx_num_incorrect: return "TDX_TDCX_NUM_INCORRECT";
    case Code::vcpu_state_incorrect: return "TDX_VCPU_STATE_INCORRECT";
    case Code::max_vcpus_exceeded: return "TDX_MAX_VCPUS_EXCEEDED";
    case Code::hkid_not_free: return "TDX_HKID_NOT_FREE";
    case Code::ept_walk_failed: return "TDX_EPT_WALK_FAILED";
    case Code::ept_entry_not_present: return "TDX_EPT_ENTRY_NOT_PRESENT";
    case Code::gpa_range_not_blocked: return "TDX_GPA_RANGE_NOT_BLOCKED";
    case Code::tlb_tracking_not_done: return "TDX_TLB_TRACKING_NOT_DONE";
    case Code::ept_invalid_promote_conditions: return "TDX_EPT_INVALID_PROMOTE_CONDITIONS";
    case Code::page_size_mismatch: return "TDX_PAGE_SIZE_MISMATCH";
    case Code::ept_entry_state_incorrect: return "TDX_EPT_ENTRY_STATE_INCORRECT";
    case Code::ept_page_not_free: return "TDX_EPT_PAGE_NOT_FREE";
    case Code::servtd_type_mismatch: return "TDX_SERVTD_TYPE_MISMATCH";
    case Code::servtd_attr_mismatch: return "TDX_SERVTD_ATTR_MISMATCH";
    case Code::servtd_info_hash_mismatch: return "TDX_SERVTD_INFO_HASH_MISMATCH";
    case Code::servtd_uuid_mismatch: return "TDX_SERVTD_UUID_MISMATCH";
    case Code::servtd_bound: return "TDX_SERVTD_BOUND";
    case Code::invalid_reportmacstruct: return "TDX_INVALID_REPORTMACSTRUCT";
  }
  return "TDX_UNKNOWN";
}

}  // namespace cloister::lab::tdx
