#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cloister/crypto/secret.hpp"

namespace cloister::crypto {

/// Overwrites what it frees.
template <class T>
class CleansingAllocator {
 public:
  using value_type = T;
  CleansingAllocator() noexcept = default;
  template <class U>
  CleansingAllocator(const CleansingAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] T* allocate(std::size_t n) { return std::allocator<T>{}.allocate(n); }
  void deallocate(T* memory, std::size_t n) noexcept {
    cleanse({static_cast<std::uint8_t*>(static_cast<void*>(memory)), n * sizeof(T)});
    std::allocator<T>{}.deallocate(memory, n);
  }
  friend bool operator==(const CleansingAllocator&, const CleansingAllocator&) noexcept { return true; }
};

/// Plaintext on its way: a buffer that may grow, or a member of a message. Every place that it leaves is overwritten.
/// Unlike `SecretBytes` it can be copied: it is for what is no key.
using CleansedBytes = std::vector<std::uint8_t, CleansingAllocator<std::uint8_t>>;
[[nodiscard]] inline CleansedBytes cleansed_copy(ByteView view) { return {view.begin(), view.end()}; }
inline void append(CleansedBytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace cloister::crypto
