#pragma once

namespace cloister::detail {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;
void bug(const char* expression, const char* file, int line) noexcept;
}  // namespace cloister::detail

/// Our own invariant; always on, aborts. Never for anything that a peer, operator or database can cause.
#define CLOISTER_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::cloister::detail::assertion_failed(#expression, __FILE__, __LINE__))

/// Surprising but survivable: counted and reported in release builds, aborts in debug builds.
#define CLOISTER_BUG(expression) \
  ((expression) ? static_cast<void>(0) : ::cloister::detail::bug(#expression, __FILE__, __LINE__))
