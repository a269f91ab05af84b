#include <cstddef>
#include <cstdint>

#include "cloister/lab_sgx/cpu.hpp"

/// KEYREQUEST and TARGETINFO: what is accepted encodes back to its bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  const auto request = lab_sgx::parse_key_request(bytes);
  if (request.ok()) CLOISTER_ASSERT(same_bytes(lab_sgx::encode_key_request(request.value()), bytes));
  const auto target = lab_sgx::parse_target_info(bytes);
  if (target.ok()) CLOISTER_ASSERT(same_bytes(lab_sgx::encode_target_info(target.value()), bytes));
  return 0;
}
