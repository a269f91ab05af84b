// What the firmware (first byte even) or the host (odd) answers a guest: a report message, a certificate table.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/device/snp_device.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const cloister::ByteView rest{data + 1, size - 1};
  if ((data[0] & 1U) == 0) {
    const auto report = cloister::device::decode_snp_report_response(rest);
    if (report && (report->size() != 1184 || !cloister::same_bytes(*report, rest.subspan(32, 1184)))) std::abort();
    return 0;
  }
  const auto taken = cloister::device::snp_certificate_table_size(rest);
  if (!taken) return 0;
  if (*taken > rest.size()) std::abort();
  // The table alone is the same table.
  if (*taken > 0 && cloister::device::snp_certificate_table_size(rest.first(*taken)).value() != *taken) std::abort();
  return 0;
}
