#pragma once

#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// What a simulated TD inherits (docs/protocol/tee-socket.md).
namespace cloister::device {

inline constexpr int kTeeDescriptor = 3;
inline constexpr int kStreamDescriptor = 4;
inline constexpr int kBootDescriptor = 5;
inline constexpr int kFirstBlobDescriptor = 6;
inline constexpr std::size_t kMaxBootBlobs = 128;
inline constexpr std::size_t kMaxBootSize = 80U << 10;  // bytes of the encoded boot information

/// The boot information. From the host: nothing of it is true before the guest has checked it.
struct Boot {
  struct Blob {
    Digest32 sha256{};
    int descriptor = 0;  // from kFirstBlobDescriptor on, each once
    friend bool operator==(const Blob&, const Blob&) = default;
  };
  Bytes configuration;
  std::vector<Blob> blobs;
  friend bool operator==(const Boot&, const Boot&) = default;
};

[[nodiscard]] Bytes encode(const Boot& boot);
/// Refuses descriptors that are no blob's, repeated ones, and more blobs than `kMaxBootBlobs`.
[[nodiscard]] Result<Boot> decode_boot(ByteView bytes);
/// Reads and decodes what the platform left at a descriptor; sealed memfds alone are accepted.
[[nodiscard]] Result<Boot> read_boot(int descriptor = kBootDescriptor);

}  // namespace cloister::device
