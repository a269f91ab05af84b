#include <cstddef>
#include <cstdint>

#include "cloister/lab_sgx/sealing.hpp"

/// What is accepted encodes back to its bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cloister::ByteView bytes{data, size};
  const auto blob = cloister::lab_sgx::parse_sealed(bytes);
  if (blob) CLOISTER_ASSERT(cloister::same_bytes(cloister::lab_sgx::encode_sealed(*blob), bytes));
  return 0;
}
