#pragma once

#include <mutex>

#include "cloister/core/random.hpp"
#include "cloister/crypto/secret.hpp"

namespace cloister::lab_service {

/// The same bytes for the same seed, call by call: HKDF-SHA-256 of the seed and a count. What is made of them is as
/// secret as the seed, and comes again at the next start. Thread-safe.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(crypto::Secret<32> seed) : seed_{std::move(seed)} {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::mutex mutex_;
  crypto::Secret<32> seed_;
  std::uint64_t blocks_ = 0;  // given so far
};

}  // namespace cloister::lab_service
