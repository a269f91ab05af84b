#include <cstddef>
#include <cstdint>

#include "../src/hex_text.hpp"

/// What is accepted is, written and read again, the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  constexpr std::size_t kMax = 4096;
  const auto bytes = exercise::parse_hex_text(as_text({data, size}), kMax);
  if (!bytes) return 0;
  CLOISTER_ASSERT(bytes->size() <= kMax && bytes->size() * 2 <= size);
  exercise::HexText text;
  CLOISTER_ASSERT(*exercise::parse_hex_text(text.field("again", *bytes).text(), kMax) == *bytes);
  return 0;
}
