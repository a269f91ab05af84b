#include <cstddef>
#include <cstdint>

#include "cloister/measure/tdx.hpp"

/// What is accepted lies inside the file and within the limits, and can be measured.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cloister::ByteView firmware{data, size};
  const auto sections = cloister::measure::tdvf_sections(firmware);
  if (!sections) return 0;
  std::uint64_t memory = 0;
  for (const auto& section : *sections) {
    CLOISTER_ASSERT(section.data_size <= section.memory_size);
    CLOISTER_ASSERT(std::uint64_t{section.data_offset} + section.data_size <= size);
    memory += section.memory_size;
  }
  if (memory > 4U << 20) return 0;  // measuring more would only be slow
  CLOISTER_ASSERT(cloister::measure::mrtd_of_tdvf(firmware, cloister::measure::TdvfProfile::two_pass).ok());
  return 0;
}
