#include "cloister/core/bytes.hpp"

#include <algorithm>

namespace cloister {

bool same_bytes(ByteView a, ByteView b) noexcept { return std::ranges::equal(a, b); }

bool all_zero(ByteView bytes) noexcept {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace cloister
