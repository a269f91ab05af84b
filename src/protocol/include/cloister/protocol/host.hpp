#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"

/// What server and host agent say over their WebSocket: control messages as JSON texts, relayed streams as binary
/// messages (docs/protocol/host.md).
namespace cloister::protocol::host {

// --- server to host ---
struct Hello {
  std::string server_id;
  ByteArray<32> nonce{};
};
struct Welcome {
  ValidatorId validator;
  std::string token;  // for `GET /api/v1/blobs/…`, as a bearer token, until another one comes
};
/// Start a TD for this instance. The blobs are fetched over `GET /api/v1/blobs/{sha256}`.
struct Start {
  InstanceId instance;
  Bytes configuration;
  std::vector<Digest32> blobs;
  std::uint32_t memory_mib = 0;
};
struct Stop {
  InstanceId instance;
};
/// Start this host's own TD, which shows what the host's TEE is and binds the hotkey.
struct StartValidatorTd {
  Bytes configuration;
};
/// An instance on this host began or ended an attempt: for the host's log alone.
struct Attempt {
  InstanceId instance;
  JobId job;
  AttemptId attempt;
  bool leased = false;  // else it ended
};
/// Takes the place of the token before, which ends soon.
struct Token {
  std::string token;
};
struct RefusedLogin {
  std::string code;
  std::string detail;
};
using ToHost = std::variant<Hello, Welcome, Start, Stop, StartValidatorTd, Token, Attempt, RefusedLogin>;

// --- host to server ---
struct Login {
  ByteArray<32> hotkey{};
  ByteArray<64> signature{};
  std::uint32_t capacity = 0;       // instances that this host can run at the same time
  std::vector<InstanceId> running;  // those whose TDs it runs, at most 1024
};
/// The TD runs, and has a new byte stream, which is relayed under this number (unique while the connection lasts).
struct Started {
  InstanceId instance;
  std::uint32_t stream = 0;
};
struct StartedValidatorTd {
  std::uint32_t stream = 0;
};
struct StartFailed {
  InstanceId instance;  // empty: the validator's own TD
  std::string code;
  std::string detail;
};
struct Exited {
  InstanceId instance;  // empty: the validator's own TD
  std::int32_t status = 0;
};
using ToServer = std::variant<Login, Started, StartedValidatorTd, StartFailed, Exited>;

[[nodiscard]] std::string encode(const ToHost& message);
[[nodiscard]] std::string encode(const ToServer& message);
[[nodiscard]] Result<ToHost> decode_to_host(std::string_view text);
[[nodiscard]] Result<ToServer> decode_to_server(std::string_view text);

/// What a hotkey signs to log in: ["cloister/hotkey/1", server_id, nonce].
[[nodiscard]] Bytes login_message(std::string_view server_id, const ByteArray<32>& nonce);

/// A binary message: u8 kind, u32 stream (big-endian), then the payload.
enum class FrameKind : std::uint8_t {
  data = 0,    // payload: bytes of the stream, at most kMaxData
  close = 1,   // no payload: this side sends no more and reads no more
  credit = 2,  // payload: u32 big-endian, bytes that the sender of the frame is ready to take beyond those granted
};
struct Frame {
  FrameKind kind = FrameKind::data;
  std::uint32_t stream = 0;
  ByteView payload;  // into the message
  /// The granted bytes of a credit frame.
  [[nodiscard]] std::uint32_t credit() const noexcept;
};
inline constexpr std::size_t kMaxData = 64 * 1024;
/// What each side may send on a new stream before any credit arrives.
inline constexpr std::uint32_t kInitialCredit = 1U << 20;

[[nodiscard]] Bytes encode_data(std::uint32_t stream, ByteView data);
[[nodiscard]] Bytes encode_close(std::uint32_t stream);
[[nodiscard]] Bytes encode_credit(std::uint32_t stream, std::uint32_t bytes);
[[nodiscard]] Result<Frame> decode_frame(ByteView message);

}  // namespace cloister::protocol::host
