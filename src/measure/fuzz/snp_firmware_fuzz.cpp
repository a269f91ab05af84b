#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/measure/snp_launch.hpp"

/// What is accepted lies below 4 GiB in whole pages, and can be launched and measured.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView firmware{data, size};
  const auto parsed = measure::parse_snp_firmware(firmware);
  if (!parsed) return 0;
  std::uint64_t memory = 0;
  for (const auto& section : parsed->sections) {
    CLOISTER_ASSERT(section.gpa % measure::kSnpPageSize == 0 && section.size % measure::kSnpPageSize == 0);
    CLOISTER_ASSERT(std::uint64_t{section.gpa} + section.size <= std::uint64_t{1} << 32);
    memory += section.size;
  }
  if (memory > 4U << 20) return 0;  // measuring more would only be slow
  const measure::SnpLaunch launch{.firmware = firmware, .kernel = {}};
  CLOISTER_ASSERT(measure::snp_launch_digest_after({}, launch).ok());
  CLOISTER_ASSERT(measure::snp_launch_digest(launch).ok() == (size % measure::kSnpPageSize == 0));
  return 0;
}
