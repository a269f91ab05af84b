#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/provider/lab_host_wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (const auto request = provider::decode_host_request(bytes)) {
    CLOISTER_ASSERT(same_bytes(provider::encode(*request), bytes));
  }
  if (const auto started = provider::decode_start_answer(bytes)) {
    CLOISTER_ASSERT(same_bytes(provider::encode_start_answer(*started), bytes));
  }
  if (const auto ids = provider::decode_list_answer(bytes)) {
    CLOISTER_ASSERT(same_bytes(provider::encode_list_answer(*ids), bytes));
  }
  if (provider::decode_stop_answer(bytes)) CLOISTER_ASSERT(same_bytes(provider::encode_stop_answer(), bytes));
  if (const auto collateral = provider::decode_collateral_answer(bytes)) {
    CLOISTER_ASSERT(same_bytes(provider::encode_collateral_answer(*collateral), bytes));
  }
  if (const auto exit = provider::decode_exit(bytes)) {
    CLOISTER_ASSERT(same_bytes(provider::encode_exit(*exit), bytes));
  }
  return 0;
}
