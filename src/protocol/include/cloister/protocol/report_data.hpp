#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/protocol/launch.hpp"

namespace cloister::protocol {

/// A key bound in evidence.
struct BoundKey {
  std::string use;        // "payload", "result"
  std::string algorithm;  // "x25519", "ed25519"
  Bytes public_key;
  friend bool operator==(const BoundKey&, const BoundKey&) = default;
};
inline constexpr std::string_view kPayloadUse = "payload";
inline constexpr std::string_view kResultUse = "result";

/// Everything that a TD binds in its evidence; `report_data` is SHA-512 of the encoding.
struct Preimage {
  Role role = Role::instance;
  Digest32 server_key_id{};  // SHA-256 of the server's static key
  ByteArray<32> nonce{};
  Digest32 handshake_hash{};
  std::optional<InstanceId> instance;       // instance only
  std::optional<ByteArray<32>> hotkey;      // validator only
  std::optional<Digest32> init_data_digest;
  std::vector<BoundKey> keys;               // sorted by use, unique; instance: payload and result
  friend bool operator==(const Preimage&, const Preimage&) = default;

  /// The key of that use and algorithm, 32 bytes; nothing when it is not there.
  [[nodiscard]] std::optional<ByteArray<32>> key(std::string_view use, std::string_view algorithm) const;
};
/// Keys must be sorted by use (asserted).
[[nodiscard]] Bytes encode(const Preimage& preimage);
[[nodiscard]] Result<Preimage> decode_preimage(ByteView bytes);
[[nodiscard]] Digest64 report_data(ByteView encoded_preimage);
[[nodiscard]] Digest32 server_key_id(const ByteArray<32>& static_key);

/// Prologue of the Noise handshake of a TD in that role.
[[nodiscard]] Bytes channel_prologue(Role role);

}  // namespace cloister::protocol
