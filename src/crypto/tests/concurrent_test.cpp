#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::crypto {
namespace {

/// Runs `use` on four threads at once; true when every call was.
template <class Use>
bool everywhere(Use use) {
  std::atomic<int> good{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 25; ++round) good += use() ? 1 : 0;
    });
  }
  threads.clear();
  return good == 100;
}

TEST(Concurrent, OneKeySignsAndVerifies) {
  const auto key = EcPrivateKey::generate(Curve::p256);
  const auto message = as_bytes("message");
  EXPECT_TRUE(everywhere([&] {
    const auto copy = key.public_key();
    return copy.verify(message, key.sign(message)).ok() && !copy.verify(as_bytes("other"), key.sign(message)).ok();
  }));
}

TEST(Concurrent, SharedAlgorithmsServeEverybody) {
  const auto expected = hmac_sha256(as_bytes("key"), as_bytes("data"));
  EXPECT_TRUE(everywhere([&] {
    const auto sealed = chacha20poly1305_seal(sha256(as_bytes("key")), Nonce{}, {}, as_bytes("text"));
    return hmac_sha256(as_bytes("key"), as_bytes("data")) == expected &&
           chacha20poly1305_open(sha256(as_bytes("key")), Nonce{}, {}, sealed).ok();
  }));
}

}  // namespace
}  // namespace cloister::crypto
