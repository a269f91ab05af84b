#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/measure/sgx.hpp"

/// What is accepted consists of whole pages inside the enclave with chunks inside them, and can be measured.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView stream{data, size};
  std::uint64_t enclave = 0;
  std::uint64_t page = 0;
  const auto check = [&](const measure::SgxsRecord& next) -> Result<void> {
    if (const auto* create = std::get_if<measure::SgxsCreate>(&next)) enclave = create->size;
    if (const auto* add = std::get_if<measure::SgxsAdd>(&next)) {
      page = add->offset;
      CLOISTER_ASSERT(page % measure::kSgxPageSize == 0 && page < enclave);
    }
    if (const auto* chunk = std::get_if<measure::SgxsChunk>(&next)) {
      CLOISTER_ASSERT(chunk->offset >= page && chunk->offset - page <= measure::kSgxPageSize - measure::kSgxChunkSize);
    }
    return {};
  };
  const bool accepted = measure::for_each_sgxs_record(stream, check).ok();
  CLOISTER_ASSERT(measure::mrenclave_of_sgxs(stream).ok() == accepted);
  return 0;
}
