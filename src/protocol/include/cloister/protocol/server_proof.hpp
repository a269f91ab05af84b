#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// A server's own evidence (docs/protocol/server.md): what it binds, what of it is measured, and how it is shown.
namespace cloister::protocol {

inline constexpr std::size_t kMinServerNonce = 16;  // bytes of whoever asks
inline constexpr std::size_t kMaxServerNonce = 64;
inline constexpr std::size_t kMaxChannelKeys = 4;

/// By what a server is known, whoever asks.
struct ServerIdentity {
  std::string server_id;                    // an id (core/ids.hpp)
  std::vector<ByteArray<32>> channel_keys;  // static X25519 keys, the current one first; 1 to 4, each once
  ByteArray<32> audit_key{};                // Ed25519, of its audit log
  std::optional<Digest32> tls_key;          // SHA-256 of the SubjectPublicKeyInfo that it serves TLS with; none: no TLS
  Digest32 configuration_digest{};          // of `encode_server_configuration`
  friend bool operator==(const ServerIdentity&, const ServerIdentity&) = default;
};

/// Everything that a server binds in its evidence; report data is SHA-512 of the encoding (`report_data`). Its domain is
/// its own, so that no evidence of a TD is a server's, nor the other way round.
struct ServerPreimage {
  Bytes nonce;                             // of whoever asks
  std::optional<Digest32> handshake_hash;  // inside a channel, of that channel; over HTTP there is none
  ServerIdentity identity;
  friend bool operator==(const ServerPreimage&, const ServerPreimage&) = default;
};
[[nodiscard]] Bytes encode(const ServerPreimage& preimage);
[[nodiscard]] Result<ServerPreimage> decode_server_preimage(ByteView bytes);

/// The event that a server extends RTMR3 with, once in the life of its TD; the payload is the configuration's digest.
inline constexpr std::string_view kServerConfigurationEvent = "server-configuration";

/// What decides how a server behaves, by name: digests of its files. The encoding sorts them by name (asserted: each once).
using ServerConfiguration = std::vector<std::pair<std::string, Bytes>>;
[[nodiscard]] Bytes encode_server_configuration(ServerConfiguration parts);

inline constexpr std::size_t kMaxServerProof = 1U << 20;  // bytes of its JSON text

/// What a server shows.
struct ServerProof {
  Bytes evidence;   // as its TEE gives it
  Bytes event_log;  // evidence/event_log.hpp
  Bytes preimage;
  std::string collateral;  // JSON text of what verifies the evidence (QuoteCollateralV3); empty: the server has none
  friend bool operator==(const ServerProof&, const ServerProof&) = default;
};
/// {"evidence","event_log","preimage": base64, "collateral": object or null}.
[[nodiscard]] codec::json::Value to_json(const ServerProof& proof);
/// Strict: unknown members are refused.
[[nodiscard]] Result<ServerProof> parse_server_proof(std::string_view json);

}  // namespace cloister::protocol
