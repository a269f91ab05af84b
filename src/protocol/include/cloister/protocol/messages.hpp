#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/protocol/server_proof.hpp"

/// What server and TD say inside their channel (docs/protocol/jobs.md): deterministic CBOR arrays
/// ["cloister/msg/1", kind, …].
namespace cloister::protocol {

// --- server to TD ---

/// First message: prove yourself against this nonce. Names what the TD must bind beside its keys.
struct Challenge {
  ByteArray<32> nonce{};
  std::optional<InstanceId> instance;
  std::optional<ByteArray<32>> hotkey;
};
struct Accepted {
  SessionId session;
  UnixTime expires{};
};
struct Refused {
  std::string code;
  std::string detail;
};
/// One secret, HPKE-sealed to the payload key in the evidence; opened with `release_info`.
struct SealedSecret {
  std::string name;
  std::string path;
  std::uint64_t version = 0;
  ByteArray<32> enc{};
  Bytes ciphertext;
};
/// One version of a derived key, HPKE-sealed to the payload key in the evidence; opened with `key_release_info`.
struct SealedKey {
  std::string purpose;
  std::uint64_t version = 0;
  ByteArray<32> enc{};
  Bytes ciphertext;
};
/// All secrets that the version asks for (none: an empty list), and of the derived keys that it asks for the versions that
/// the instance may have. The instance starts its challenge now. The list of keys is written only where it is not empty.
struct Release {
  std::vector<SealedSecret> secrets;
  std::vector<SealedKey> keys;
};
/// Execute this. The recipient entry is the one for this instance.
struct AssignJob {
  JobId job;
  AttemptId attempt;
  std::uint64_t fence = 0;
  VersionId version;
  Digest32 input_commitment{};
  ByteArray<32> enc{};
  Bytes sealed_key;
  Bytes ciphertext;
  std::uint32_t timeout_ms = 0;
};
struct CancelJob {
  AttemptId attempt;
};
/// The result is stored: the instance may forget it.
struct ResultAccepted {
  AttemptId attempt;
};
/// The result was refused for good (a stale fence, say): the instance forgets it.
struct ResultRefused {
  AttemptId attempt;
  std::string code;
};
/// What the server runs in, over the nonce of a demand and the handshake hash of this channel; `refused` where it runs in
/// no TEE. The challenge before it still waits for its answer.
struct ShownServer {
  ServerProof proof;
};
using ToTd = std::variant<Challenge, Accepted, Refused, Release, AssignJob, CancelJob, ResultAccepted, ResultRefused, ShownServer>;

// --- TD to server ---

struct Attest {
  Bytes evidence;
  Bytes event_log;
  Bytes configuration;
  Bytes preimage;
};
/// Secrets opened, image verified, challenge started: jobs may come.
struct Ready {
  std::uint32_t slots = 1;  // jobs at the same time, 1 to 64
};
/// The instance cannot serve, or the server's evidence is not what it demands, and it will end.
struct Failed {
  std::string code;
  std::string detail;
};
struct Heartbeat {
  AttemptId attempt;
  std::uint64_t fence = 0;
  std::uint8_t percent = 0;
};
/// The job was not executed: its payload did not open, or not match its commitment, or the challenge broke.
struct AttemptFailed {
  AttemptId attempt;
  std::uint64_t fence = 0;
  std::string code;
};
struct SubmitResult {
  AttemptId attempt;
  Bytes envelope;
  ByteArray<64> signature{};
  ByteArray<32> enc{};
  Bytes sealed_output;
};
/// In the place of `Attest`, once, on the first challenge of a channel: prove yourself first (docs/protocol/server.md).
struct Demand {
  ByteArray<32> nonce{};
};
using ToServer = std::variant<Attest, Ready, Failed, Heartbeat, AttemptFailed, SubmitResult, Demand>;

[[nodiscard]] Bytes encode(const ToTd& message);
[[nodiscard]] Bytes encode(const ToServer& message);
/// Limits: what channel messages may be in size, texts to 512 bytes, lists to 64 entries, of derived keys to 128, each part of a
/// server's evidence to `kMaxServerProof`.
[[nodiscard]] Result<ToTd> decode_to_td(ByteView bytes);
[[nodiscard]] Result<ToServer> decode_to_server(ByteView bytes);

/// HPKE info of a released secret: ["cloister/release/1", session, path, version].
[[nodiscard]] Bytes release_info(const SessionId& session, std::string_view path, std::uint64_t version);
/// HPKE info of a released derived key: ["cloister/release-key/1", session, purpose, version].
[[nodiscard]] Bytes key_release_info(const SessionId& session, std::string_view purpose, std::uint64_t version);

}  // namespace cloister::protocol
