// Signed heads from outside: what decodes encodes to the same bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/merkle/log.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cloister::ByteView input{data, size};
  const auto head = cloister::merkle::decode_signed_head(input);
  if (head && !cloister::same_bytes(cloister::merkle::encode(*head), input)) std::abort();
  return 0;
}
