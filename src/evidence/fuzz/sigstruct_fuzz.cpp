#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/evidence/sgx_sigstruct.hpp"

/// What is accepted encodes back to its bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cloister::ByteView bytes{data, size};
  const auto parsed = cloister::evidence::parse_sigstruct(bytes);
  if (parsed) CLOISTER_ASSERT(cloister::same_bytes(cloister::evidence::encode_sigstruct(*parsed), bytes));
  return 0;
}
