#pragma once

#include <span>

#include "cloister/core/bytes.hpp"

namespace cloister {

/// Cryptographically secure randomness (or a seeded stand-in in tests). Implementations are thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  /// Fills all of `out`; aborts the process when the system has no randomness to give.
  virtual void fill(std::span<std::uint8_t> out) = 0;

  template <std::size_t N>
  [[nodiscard]] ByteArray<N> array() {
    ByteArray<N> out;
    fill(out);
    return out;
  }
};

/// getrandom(2).
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace cloister
