#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cloister {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
template <std::size_t N>
using ByteArray = std::array<std::uint8_t, N>;
using Digest32 = ByteArray<32>;
using Digest48 = ByteArray<48>;
using Digest64 = ByteArray<64>;

/// The characters of `text` as bytes; a view into `text`.
[[nodiscard]] inline ByteView as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};  // char to unsigned char: allowed aliasing
}

/// The bytes as characters; a view into `bytes`.
[[nodiscard]] inline std::string_view as_text(ByteView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[nodiscard]] inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }
[[nodiscard]] inline Bytes to_bytes(std::string_view text) { return to_bytes(as_bytes(text)); }

/// Appends `tail` to `out`.
inline void append(Bytes& out, ByteView tail) { out.insert(out.end(), tail.begin(), tail.end()); }

/// Equality of public data; not constant-time (`crypto::equal` is).
[[nodiscard]] bool same_bytes(ByteView a, ByteView b) noexcept;

/// True when every byte is zero (also when there is none); not constant-time.
[[nodiscard]] bool all_zero(ByteView bytes) noexcept;

/// A copy of exactly N bytes. `view.size()` must be N (asserted).
template <std::size_t N>
[[nodiscard]] ByteArray<N> to_array(ByteView view);

}  // namespace cloister

#include "cloister/core/assert.hpp"

namespace cloister {
template <std::size_t N>
ByteArray<N> to_array(ByteView view) {
  CLOISTER_ASSERT(view.size() == N);
  ByteArray<N> out;
  for (std::size_t i = 0; i < N; ++i) out[i] = view[i];
  return out;
}
}  // namespace cloister
