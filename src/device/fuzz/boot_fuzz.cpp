#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/device/boot.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (const auto boot = device::decode_boot(bytes)) CLOISTER_ASSERT(same_bytes(device::encode(*boot), bytes));
  return 0;
}
