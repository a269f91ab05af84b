#pragma once

#include <cstdint>
#include <string_view>

namespace cloister::lab::tdx {

/// Completion status of a SEAMCALL or TDCALL leaf, as RAX carries it (Intel TDX Module ABI Reference 348551, "Function
/// Completion Status Codes"): the upper half is the class and name, the lower half details. Where the architecture
/// puts an operand's number into the lower half, so does the lab (`detail`).
enum class Code : std::uint64_t {
  success = 0,
  /// No completion status: the guest's call ended in a TD exit, and this is the exit reason that VP.ENTER gives to the
  /// host (Intel SDM vol. 3, appendix C: EPT violation).
  ept_violation = 48,
  gpa_range_already_blocked = 0x00000B0700000000,
  key_configured = 0x0000081500000000,
  no_hkid_ready_to_wbcache = 0x0000082100000000,
  page_already_accepted = 0x00000B0A00000000,
  operand_busy = 0x8000020000000000,
  sys_busy = 0x8000020200000000,
  previous_tlb_epoch_busy = 0x8000020100000000,
  vcpu_not_associated = 0x8000070200000000,
  td_keys_not_configured = 0x8000081000000000,
  wbcache_not_complete = 0x8000081700000000,
  flushvp_not_done = 0x8000082400000000,
  operand_invalid = 0xC000010000000000,
  operand_addr_range_error = 0xC000010100000000,
  page_metadata_incorrect = 0xC000030000000000,
  sys_invalid_handoff = 0xC000050900000000,
  td_associated_pages_exist = 0xC000040000000000,
  tdcs_not_allocated = 0xC000060600000000,
  lifecycle_state_incorrect = 0xC000060700000000,
  op_state_incorrect = 0xC000060800000000,
  no_vcpus = 0xC000060900000000,
  tdcx_num_incorrect = 0xC000061000000000,
  vcpu_state_incorrect = 0xC000070000000000,
  max_vcpus_exceeded = 0xC000070500000000,
  hkid_not_free = 0xC000082000000000,
  ept_walk_failed = 0xC0000B0000000000,
  ept_entry_not_present = 0xC0000B0300000000,
  gpa_range_not_blocked = 0xC0000B0600000000,
  tlb_tracking_not_done = 0xC0000B0800000000,
  ept_invalid_promote_conditions = 0xC0000B0900000000,
  page_size_mismatch = 0xC0000B0B00000000,
  ept_entry_state_incorrect = 0xC0000B0D00000000,
  ept_page_not_free = 0xC0000B0E00000000,
  servtd_type_mismatch = 0xC0000D0100000000,
  servtd_attr_mismatch = 0xC0000D0200000000,
  servtd_info_hash_mismatch = 0xC0000D0300000000,
  servtd_uuid_mismatch = 0xC0000D0400000000,
  servtd_bound = 0xC0000D0600000000,
  invalid_reportmacstruct = 0xC000100100000000,
};

/// Numbers of operands in the lower half of a status (same reference, "Operand IDs").
enum class Operand : std::uint32_t {
  none = 0,
  rcx = 1,
  rdx = 2,
  r8 = 8,
  r9 = 9,
  r10 = 10,
  attributes = 64,
  xfam = 65,
  max_vcpus = 68,
  sept_tree = 146,
};

/// What a leaf function returned.
class [[nodiscard]] Status {
 public:
  constexpr Status() = default;
  constexpr Status(Code code, Operand operand = Operand::none) : code_{code}, operand_{operand} {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] constexpr bool ok() const noexcept { return code_ == Code::success; }
  [[nodiscard]] constexpr Code code() const noexcept { return code_; }
  /// RAX: the code with the operand's number in its lower half.
  [[nodiscard]] constexpr std::uint64_t raw() const noexcept {
    return static_cast<std::uint64_t>(code_) | static_cast<std::uint64_t>(operand_);
  }
  friend constexpr bool operator==(const Status&, const Status&) = default;

 private:
  Code code_ = Code::success;
  Operand operand_ = Operand::none;
};

/// The name that the reference uses, e.g. "TDX_OP_STATE_INCORRECT".
[[nodiscard]] std::string_view to_string(Code code) noexcept;

}  // namespace cloister::lab::tdx
