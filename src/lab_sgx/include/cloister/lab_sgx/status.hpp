#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "cloister/core/assert.hpp"

namespace cloister::lab_sgx {

/// What an ENCLS or ENCLU leaf leaves in RAX (Intel SDM vol. 3D, "Error Codes"), and beside them the exceptions, as
/// vector numbers from 0x10000.
enum class Code : std::uint32_t {
  success = 0,
  invalid_sig_struct = 1,
  invalid_attribute = 2,
  blkstate = 3,
  invalid_measurement = 4,
  not_blockable = 5,
  page_invalid = 6,
  invalid_signature = 8,
  mac_compare_fail = 9,
  page_not_blocked = 10,
  not_tracked = 11,
  va_slot_occupied = 12,
  child_present = 13,
  enclave_act = 14,
  invalid_einittoken = 16,
  prev_trk_incmpl = 17,
  page_is_secs = 18,
  page_attributes_mismatch = 19,
  page_not_modifiable = 20,
  page_not_debuggable = 21,
  invalid_cpusvn = 32,
  invalid_isvsvn = 64,
  invalid_keyname = 256,
  general_protection = 0x1000D,  // #GP(0)
  page_fault = 0x1000E,          // #PF
};
/// The manual's name, e.g. "SGX_MAC_COMPARE_FAIL" or "#GP".
[[nodiscard]] std::string_view to_string(Code code) noexcept;

/// What a leaf gave, or why not.
template <class T>
class [[nodiscard]] Answer {
 public:
  Answer(T value) : value_{std::move(value)} {}   // NOLINT(google-explicit-constructor)
  Answer(Code code) : code_{code} { CLOISTER_ASSERT(code != Code::success); }  // NOLINT(google-explicit-constructor)
  [[nodiscard]] bool ok() const noexcept { return value_.has_value(); }
  [[nodiscard]] Code code() const noexcept { return code_; }
  [[nodiscard]] const T& value() const& { CLOISTER_ASSERT(ok()); return *value_; }
  [[nodiscard]] T&& value() && { CLOISTER_ASSERT(ok()); return std::move(*value_); }

 private:
  std::optional<T> value_;
  Code code_ = Code::success;
};

}  // namespace cloister::lab_sgx
