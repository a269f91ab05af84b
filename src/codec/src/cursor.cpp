#include "cloister/codec/cursor.hpp"

namespace cloister::codec {
namespace {

template <class T>
std::optional<T> read_be(Reader& in) noexcept {
  const auto bytes = in.take(sizeof(T));
  if (!bytes) return std::nullopt;
  std::uint64_t value = 0;
  for (const auto byte : *bytes) value = value << 8U | byte;
  return static_cast<T>(value);
}

template <class T>
std::optional<T> read_le(Reader& in) noexcept {
  const auto bytes = in.take(sizeof(T));
  if (!bytes) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{(*bytes)[i]} << (8 * i);
  return static_cast<T>(value);
}

template <class T>
void write_be(Bytes& out, T value) {
  for (std::size_t i = sizeof(T); i-- > 0;) out.push_back(static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i)));
}

template <class T>
void write_le(Bytes& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i)));
}

}  // namespace

std::optional<ByteView> Reader::take(std::size_t n) noexcept {
  if (n > rest_.size()) return std::nullopt;
  const auto head = rest_.first(n);
  rest_ = rest_.subspan(n);
  return head;
}

std::optional<std::uint8_t> Reader::u8() noexcept { return read_be<std::uint8_t>(*this); }
std::optional<std::uint16_t> Reader::u16le() noexcept { return read_le<std::uint16_t>(*this); }
std::optional<std::uint32_t> Reader::u32le() noexcept { return read_le<std::uint32_t>(*this); }
std::optional<std::uint64_t> Reader::u64le() noexcept { return read_le<std::uint64_t>(*this); }
std::optional<std::uint16_t> Reader::u16be() noexcept { return read_be<std::uint16_t>(*this); }
std::optional<std::uint32_t> Reader::u32be() noexcept { return read_be<std::uint32_t>(*this); }
std::optional<std::uint64_t> Reader::u64be() noexcept { return read_be<std::uint64_t>(*this); }

void Writer::u16le(std::uint16_t value) { write_le(out_, value); }
void Writer::u32le(std::uint32_t value) { write_le(out_, value); }
void Writer::u64le(std::uint64_t value) { write_le(out_, value); }
void Writer::u16be(std::uint16_t value) { write_be(out_, value); }
void Writer::u32be(std::uint32_t value) { write_be(out_, value); }
void Writer::u64be(std::uint64_t value) { write_be(out_, value); }

}  // namespace cloister::codec
