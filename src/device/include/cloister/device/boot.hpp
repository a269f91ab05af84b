#pragma once

#include <map>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/process/descriptor.hpp"

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
  Bytes configuration;            // encoded as protocol::Configuration
  std::map<Digest32, int> blobs;  // SHA-256 to descriptor: from kFirstBlobDescriptor on, each once
  friend bool operator==(const Boot&, const Boot&) = default;
};

[[nodiscard]] Bytes encode(const Boot& boot);
/// Refuses descriptors that are no blob's, repeated ones, blobs out of order or repeated, and more than `kMaxBootBlobs`.
[[nodiscard]] Result<Boot> decode_boot(ByteView bytes);
/// Reads and decodes what the platform left at a descriptor (`kBootDescriptor`); accepts a sealed memfd alone.
[[nodiscard]] Result<Boot> read_boot(process::UniqueFd memfd);

}  // namespace cloister::device
