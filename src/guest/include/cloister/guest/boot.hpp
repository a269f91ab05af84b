#pragma once

#include <map>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::guest {

/// What a TD finds when it starts (docs/protocol/launch.md, "Boot"): descriptors of fixed numbers, and which blob is
/// behind which. Nothing of it is trusted before it was verified and measured.
struct Boot {
  Bytes configuration;            // measured by the guest, encoded as protocol::Configuration
  std::map<Digest32, int> blobs;  // digest to descriptor
};

inline constexpr int kTeeDescriptor = 3;
inline constexpr int kStreamDescriptor = 4;
inline constexpr int kBootDescriptor = 5;
inline constexpr int kFirstBlobDescriptor = 6;

/// CBOR ["cloister/boot/1", configuration, [[sha256, descriptor]…]].
[[nodiscard]] Result<Boot> decode_boot(ByteView bytes);

}  // namespace cloister::guest
