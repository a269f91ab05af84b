#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/lab_snp/id_block.hpp"
#include "cloister/lab_snp/launch_page.hpp"
#include "cloister/lab_snp/request.hpp"

/// Requests say every bit of their bytes; pages mean the same when they are written again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (const auto report = lab_snp::parse_report_request(bytes)) CLOISTER_ASSERT(same_bytes(lab_snp::encode_report_request(*report), bytes));
  for (std::uint8_t version = 0; version < 4; ++version) {
    const auto key = lab_snp::parse_key_request(version, bytes);
    if (key) CLOISTER_ASSERT(same_bytes(lab_snp::encode_key_request(*key), bytes));
  }
  if (size != lab_snp::kSmallPage) return 0;
  const auto page = to_array<lab_snp::kSmallPage>(bytes);
  (void)lab_snp::parse_secrets_page(page);
  (void)lab_snp::parse_id_auth(page);
  if (auto functions = lab_snp::parse_cpuid_page(page)) {
    CLOISTER_ASSERT(lab_snp::parse_cpuid_page(lab_snp::encode_cpuid_page(*functions)) == *functions);
    const auto chip = lab_snp::cpuid_of(evidence::SnpProduct::milan);
    (void)lab_snp::sanitize_cpuid(*functions, chip);
    CLOISTER_ASSERT(lab_snp::sanitize_cpuid(*functions, chip));
  }
  return 0;
}
