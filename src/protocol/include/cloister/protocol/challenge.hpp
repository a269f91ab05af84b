#pragma once

#include <cstdint>
#include <string>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/cleansed.hpp"

/// What guest and challenge say over their socketpair (docs/protocol/challenge.md): u32 big-endian length, then a
/// deterministic CBOR array ["cloister/challenge/1", kind, …]. What carries plaintext overwrites it when it goes.
namespace cloister::protocol::challenge {

inline constexpr std::size_t kMaxFrame = 80U << 20;
inline constexpr std::size_t kMaxOutput = 64U << 20;  // what any version may allow; the rest of the way has room for it

// --- guest to challenge ---
/// First message: the secrets and derived keys that the version names, released and opened; at most 192.
struct Start {
  std::vector<std::pair<std::string, crypto::CleansedBytes>> secrets;  // name and value; of keys "purpose/version"
};
struct Job {
  std::string job;
  crypto::CleansedBytes payload;
};
struct Stop {};
using ToChallenge = std::variant<Start, Job, Stop>;

// --- challenge to guest ---
struct Ready {
  std::uint32_t slots = 1;
};
struct Progress {
  std::string job;
  std::uint8_t percent = 0;
};
struct Log {
  std::string level;  // debug, info, warn, error
  std::string text;   // at most 4 KiB
};
struct Result {
  std::string job;
  std::string status;  // "ok" or "error"
  crypto::CleansedBytes output;
};
/// The challenge cannot serve (a secret that is missing, say); the text never holds a secret.
struct Failed {
  std::string detail;
};
using ToGuest = std::variant<Ready, Progress, Log, Result, Failed>;

/// Whole frames, length prefix included.
[[nodiscard]] crypto::CleansedBytes frame(const ToChallenge& message);
[[nodiscard]] crypto::CleansedBytes frame(const ToGuest& message);
/// One frame's CBOR, without the prefix.
[[nodiscard]] cloister::Result<ToChallenge> decode_to_challenge(ByteView bytes);
[[nodiscard]] cloister::Result<ToGuest> decode_to_guest(ByteView bytes);

/// Takes whole frames out of a byte stream.
class Deframer {
 public:
  /// Adds what was read.
  void feed(ByteView bytes) { buffer_.insert(buffer_.end(), bytes.begin(), bytes.end()); }
  /// The next whole frame's CBOR (a copy), nothing when more bytes are needed, `limit_exceeded` for a longer frame.
  [[nodiscard]] cloister::Result<std::optional<crypto::CleansedBytes>> next();

 private:
  crypto::CleansedBytes buffer_;
};

}  // namespace cloister::protocol::challenge
