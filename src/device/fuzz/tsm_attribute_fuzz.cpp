// Attributes of configfs-tsm.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cloister/device/tsm_report.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cloister::ByteView bytes{data, size};
  (void)cloister::device::decode_tsm_provider(bytes).ok();
  const auto generation = cloister::device::decode_tsm_generation(bytes);
  if (generation && cloister::device::decode_tsm_generation(cloister::as_bytes(std::to_string(*generation))).value() != *generation) std::abort();
  return 0;
}
