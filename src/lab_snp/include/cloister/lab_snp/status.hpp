#pragma once

#include <cstdint>
#include <string_view>

namespace cloister::lab_snp {

/// What a command or a guest's request leaves (AMD 56860, SEV-SNP Firmware ABI, Table 5 "Status Codes"): those that are
/// modelled.
enum class Status : std::uint32_t {
  success = 0x00,
  invalid_guest_state = 0x02,
  invalid_config = 0x03,
  policy_failure = 0x07,
  inactive = 0x08,
  invalid_address = 0x09,
  bad_signature = 0x0A,
  bad_measurement = 0x0B,
  asid_owned = 0x0C,
  invalid_asid = 0x0D,
  dfflush_required = 0x0F,
  invalid_guest = 0x10,
  active = 0x12,
  invalid_param = 0x16,
  invalid_page_size = 0x19,
  invalid_page_state = 0x1A,
  invalid_page_owner = 0x1C,
  aead_oflow = 0x1D,
  invalid_key = 0x27,
};
/// The specification's name: "BAD_MEASUREMENT".
[[nodiscard]] std::string_view to_string(Status status) noexcept;

}  // namespace cloister::lab_snp
