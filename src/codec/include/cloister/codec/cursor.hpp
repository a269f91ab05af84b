#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cloister/core/bytes.hpp"

namespace cloister::codec {

/// Reads forward over bytes of someone else; a short read yields nothing and moves nothing.
/// Holds a view: the bytes must outlive the reader and every span taken from it.
class Reader {
 public:
  explicit Reader(ByteView bytes) noexcept : rest_{bytes} {}

  [[nodiscard]] std::optional<ByteView> take(std::size_t n) noexcept;
  /// A fixed-size copy.
  template <std::size_t N>
  [[nodiscard]] std::optional<ByteArray<N>> array() noexcept {
    const auto taken = take(N);
    if (!taken) return std::nullopt;
    return to_array<N>(*taken);
  }
  [[nodiscard]] std::optional<std::uint8_t> u8() noexcept;
  [[nodiscard]] std::optional<std::uint16_t> u16le() noexcept;
  [[nodiscard]] std::optional<std::uint32_t> u32le() noexcept;
  [[nodiscard]] std::optional<std::uint64_t> u64le() noexcept;
  [[nodiscard]] std::optional<std::uint16_t> u16be() noexcept;
  [[nodiscard]] std::optional<std::uint32_t> u32be() noexcept;
  [[nodiscard]] std::optional<std::uint64_t> u64be() noexcept;

  [[nodiscard]] ByteView rest() const noexcept { return rest_; }
  [[nodiscard]] std::size_t remaining() const noexcept { return rest_.size(); }
  [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

 private:
  ByteView rest_;
};

/// Appends to a growing buffer.
class Writer {
 public:
  /// Room for `size` bytes: growth within it leaves no copy of what was written.
  void reserve(std::size_t size) { out_.reserve(size); }
  void raw(ByteView bytes) { append(out_, bytes); }
  void u8(std::uint8_t value) { out_.push_back(value); }
  void u16le(std::uint16_t value);
  void u32le(std::uint32_t value);
  void u64le(std::uint64_t value);
  void u16be(std::uint16_t value);
  void u32be(std::uint32_t value);
  void u64be(std::uint64_t value);
  void zeros(std::size_t n) { out_.insert(out_.end(), n, 0); }

  [[nodiscard]] std::size_t size() const noexcept { return out_.size(); }
  [[nodiscard]] const Bytes& bytes() const& noexcept { return out_; }
  [[nodiscard]] Bytes take() && noexcept { return std::move(out_); }

 private:
  Bytes out_;
};

}  // namespace cloister::codec
