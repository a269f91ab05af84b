// Audit leaves from outside: what decodes encodes to the same bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/merkle/log.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cloister::ByteView input{data, size};
  const auto leaf = cloister::merkle::decode_audit_leaf(input);
  if (!leaf) return 0;
  const auto encoded = cloister::merkle::encode(*leaf);
  if (!encoded || !cloister::same_bytes(*encoded, input)) std::abort();
  return 0;
}
