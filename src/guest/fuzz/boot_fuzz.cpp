#include <cstdlib>

#include "cloister/guest/boot.hpp"

/// Boot information that decodes names descriptors of blobs only.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (auto boot = cloister::guest::decode_boot({data, size})) {
    for (const auto& [digest, descriptor] : boot->blobs) {
      if (descriptor < cloister::guest::kFirstBlobDescriptor) std::abort();
    }
  }
  return 0;
}
