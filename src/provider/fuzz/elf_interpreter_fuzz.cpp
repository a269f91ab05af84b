#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/provider/td_image.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  const auto loader = provider::elf_interpreter(bytes);
  if (loader && *loader) {
    CLOISTER_ASSERT((*loader)->is_absolute());
    CLOISTER_ASSERT(as_text(bytes).find((*loader)->native()) != std::string_view::npos);
  }
  return 0;
}
