// SGX report bodies from outside: what parses encodes to the same bytes.
#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/evidence/sgx_report.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (const auto report = evidence::parse_sgx_report(bytes)) {
    CLOISTER_ASSERT(same_bytes(evidence::encode_sgx_report(*report), bytes));
  }
  return 0;
}
