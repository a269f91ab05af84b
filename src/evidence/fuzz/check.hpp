#pragma once

#include <cstdlib>

/// A property that a fuzz target promises; aborts so that the fuzzer keeps the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}
