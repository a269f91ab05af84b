#include "frames.hpp"

#include "cloister/core/assert.hpp"

namespace cloister::channel {

void append_frame(Bytes& out, ByteView message) {
  CLOISTER_ASSERT(message.size() <= kMaxNoiseMessage);
  out.push_back(static_cast<std::uint8_t>(message.size() >> 8));
  out.push_back(static_cast<std::uint8_t>(message.size()));
  append(out, message);
}

void FrameBuffer::feed(ByteView bytes) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(taken_));
  taken_ = 0;
  append(buffer_, bytes);
}

std::optional<ByteView> FrameBuffer::next() {
  const auto available = rest();
  if (available.size() < kLengthSize) return std::nullopt;
  const auto size = static_cast<std::size_t>(available[0]) << 8 | available[1];
  if (available.size() - kLengthSize < size) return std::nullopt;
  taken_ += kLengthSize + size;
  return available.subspan(kLengthSize, size);
}

}  // namespace cloister::channel
