#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/device/tee_wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (const auto request = device::decode_tee_request(bytes)) {
    CLOISTER_ASSERT(same_bytes(device::encode(*request), bytes));
  }
  if (device::decode_extend_answer(bytes)) CLOISTER_ASSERT(same_bytes(device::encode_extend_answer(), bytes));
  if (const auto quote = device::decode_quote_answer(bytes)) {
    CLOISTER_ASSERT(same_bytes(device::encode_quote_answer(*quote), bytes));
  }
  if (const auto report = device::decode_report_answer(bytes)) {
    CLOISTER_ASSERT(same_bytes(device::encode_report_answer(*report), bytes));
  }
  return 0;
}
