#include "cloister/core/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace cloister::detail {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, expression);
  std::abort();
}

void bug(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: unexpected: not %s\n", file, line, expression);
#ifndef NDEBUG
  std::abort();
#endif
}

}  // namespace cloister::detail
