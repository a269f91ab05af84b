#pragma once

#include <algorithm>

#include "cloister/core/random.hpp"

namespace cloister::channel {

/// The same key for every run, so that a corpus can hold whole handshakes.
class FuzzRandom final : public Random {
 public:
  explicit FuzzRandom(std::uint8_t byte) : byte_{byte} {}
  void fill(std::span<std::uint8_t> out) override { std::ranges::fill(out, byte_); }

 private:
  std::uint8_t byte_;
};

}  // namespace cloister::channel
