#include "cloister/core/bytes.hpp"

#include <algorithm>

namespace cloister {

bool same_bytes(ByteView a, ByteView b) noexcept { return std::ranges::equal(a, b); }

bool all_zero(ByteView bytes) noexcept {
  // The first is, and each is as the one before it: a comparison of memory, which is quicker than a look at each byte.
  return bytes.empty() || (bytes.front() == 0 && std::equal(bytes.begin() + 1, bytes.end(), bytes.begin()));
}

}  // namespace cloister
