#pragma once

#include <cstdint>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/crypto/aead.hpp"

/// The byte stream below: u16 big-endian length, then one Noise message.
namespace cloister::channel {

inline constexpr std::size_t kLengthSize = 2;
inline constexpr std::size_t kMaxNoiseMessage = 65535;
/// Plaintext of one frame: a kind, then what the kind has.
inline constexpr std::size_t kMaxPlaintext = kMaxNoiseMessage - crypto::kTagSize;
inline constexpr std::size_t kMaxFragment = kMaxPlaintext - 1;

/// First byte of a frame's plaintext.
enum class FrameKind : std::uint8_t {
  more = 0,   // a fragment of `kMaxFragment` bytes; the message goes on
  last = 1,   // the end of a message, or a whole one
  rekey = 2,  // the sender's next frame has a new key
  close = 3,  // the sender's last frame
};

/// Appends the frame of one Noise message.
void append_frame(Bytes& out, ByteView message);

/// Takes whole frames out of a byte stream.
class FrameBuffer {
 public:
  void feed(ByteView bytes);
  /// The next Noise message, nothing when more bytes are needed. A view that lives until the next `feed`.
  [[nodiscard]] std::optional<ByteView> next();
  /// What was fed and not taken.
  [[nodiscard]] ByteView rest() const noexcept { return ByteView{buffer_}.subspan(taken_); }

 private:
  Bytes buffer_;
  std::size_t taken_ = 0;
};

}  // namespace cloister::channel
