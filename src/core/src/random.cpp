#include "cloister/core/random.hpp"

#include <sys/random.h>

#include <cerrno>

#include "cloister/core/assert.hpp"

namespace cloister {

void SystemRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const auto got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    CLOISTER_ASSERT(got > 0);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace cloister
