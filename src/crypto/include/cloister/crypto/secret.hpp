#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"

namespace cloister::crypto {

/// Overwrites memory in a way that the compiler keeps.
void cleanse(std::span<std::uint8_t> memory) noexcept;
/// Constant-time equality; false at once for different lengths.
[[nodiscard]] bool equal(ByteView a, ByteView b) noexcept;

/// N secret bytes: zeroed at the end and on move, not copyable, not printable, not comparable (`equal` is).
/// Not thread-safe to move; safe to read from several threads.
template <std::size_t N>
class Secret {
 public:
  explicit Secret(ByteArray<N> bytes) noexcept : bytes_{bytes} { cleanse(bytes); }
  [[nodiscard]] static Secret random(Random& source) {
    Secret out;
    source.fill(out.bytes_);
    return out;
  }
  /// A copy of secret bytes held elsewhere; `view.size()` must be N (asserted).
  [[nodiscard]] static Secret copy_of(ByteView view) {
    CLOISTER_ASSERT(view.size() == N);
    Secret out;
    for (std::size_t i = 0; i < N; ++i) out.bytes_[i] = view[i];
    return out;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept : bytes_{other.bytes_} { cleanse(other.bytes_); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      cleanse(other.bytes_);
    }
    return *this;
  }
  ~Secret() { cleanse(bytes_); }

  /// The bytes themselves. Each call is a disclosure and is reviewed as one.
  [[nodiscard]] std::span<const std::uint8_t, N> reveal() const noexcept { return bytes_; }
  [[nodiscard]] Secret clone() const { return copy_of(bytes_); }
  /// To be filled in place by a key derivation.
  [[nodiscard]] static Secret from(auto&& fill) {
    Secret out;
    fill(std::span<std::uint8_t, N>{out.bytes_});
    return out;
  }

 private:
  Secret() noexcept = default;
  ByteArray<N> bytes_{};
};

/// Secret bytes of a length known when made; same rules as `Secret`.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : bytes_(size, 0) {}
  [[nodiscard]] static SecretBytes copy_of(ByteView view);
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  SecretBytes(SecretBytes&& other) noexcept : bytes_{std::move(other.bytes_)} { other.bytes_.clear(); }
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  ~SecretBytes() { cleanse(bytes_); }

  [[nodiscard]] ByteView reveal() const noexcept { return bytes_; }
  [[nodiscard]] std::span<std::uint8_t> writable() noexcept { return bytes_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] SecretBytes clone() const { return copy_of(bytes_); }

 private:
  Bytes bytes_;  // never grows, so no copy is left behind
};

}  // namespace cloister::crypto
