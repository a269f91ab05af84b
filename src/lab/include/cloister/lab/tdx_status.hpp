#pragma once

#include <cstdint>
#include <string_view>

namespace cloister::lab::tdx {

/// Completion status of a SEAMCALL or TDCALL leaf, as RAX carries it (Intel TDX Module ABI Reference 348551, "Function
/// Completion Status Codes"): the upper half is the class and name, the lower half details. Where the architecture
/// puts an operand's number into the lower half, so does the lab (`detail`).
enum class Code : std::uint64_t {
  success = 0,
  operand_invalid = 0xC000010000000000,
  tdcs_not_allocated = 0xC000060600000000,
  lifecycle_state_incorrect = 0xC000060700000000,
  op_state_incorrect = 0xC000060800000000,
  no_vcpus = 0xC000060900000000,
  tdcx_num_incorrect = 0xC000061000000000,
  vcpu_state_incorrect = 0xC000070000000000,
  vcpu_not_associated = 0x8000070200000000,
  max_vcpus_exceeded = 0xC000070500000000,
  td_keys_not_configured = 0x8000081000000000,
  flushvp_not_done = 0x8000082400000000,
  ept_walk_failed = 0xC0000B0000000000,
  ept_entry_not_present = 0xC0000B0300000000,
  ept_entry_state_incorrect = 0xC0000B0D00000000,
  invalid_reportmacstruct = 0xC000100100000000,
};

/// Numbers of operands in the lower half of a status (same reference, "Operand IDs").
enum class Operand : std::uint32_t {
  none = 0,
  rcx = 1,
  rdx = 2,
  r8 = 8,
  attributes = 64,
  xfam = 65,
  max_vcpus = 68,
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
