// Times from outside: what is read is written as text that reads as the same time.
#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/time.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  if (const auto time = parse_rfc3339(as_text(ByteView{data, size}))) {
    const auto again = parse_rfc3339(to_rfc3339(*time));
    CLOISTER_ASSERT(again.ok() && *again == *time);
  }
  return 0;
}
