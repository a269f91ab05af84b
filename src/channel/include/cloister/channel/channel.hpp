#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/protocol/launch.hpp"

/// The attested channel (docs/protocol/channel.md), both ends, without I/O: bytes in, bytes and messages out.
/// Noise_NK_25519_ChaChaPoly_SHA256 (revision 34): a TD is the initiator and knows the server's static key from its
/// measured configuration. The channel proves the server to the TD; what proves the TD is evidence over its
/// handshake hash, sent inside.
///
///   Initiator td{server_key, Role::instance, random};         Responder server{keys, Role::instance, random};
///   write(td.start());                                        auto got = server.feed(read());
///   auto open = td.feed(read());   // until it yields         write(got->reply); transport = move(got->transport)
///   transport.seal(message) -> write; transport.feed(read()) -> messages; transport.end_of_stream() at the end
///
/// Every refusal is final: the object answers each later call with the same error. One thread at a time.
namespace cloister::channel {

/// Longest message that `Transport` takes at first, in bytes: until a peer has proved what it is.
inline constexpr std::size_t kInitialLimit = 1U << 20;
/// Longest message at all.
inline constexpr std::size_t kMaxMessage = 80U << 20;
/// A sender renews its key after this many frames at the latest, which `seal` does by itself,
inline constexpr std::uint64_t kRekeyFrames = std::uint64_t{1} << 32;
/// and after this time at the latest, which is the owner's to do with `rekey`.
inline constexpr std::chrono::hours kRekeyInterval{1};

/// The prologue that both ends mix into their handshake: ["cloister/channel/1", role].
[[nodiscard]] Bytes prologue(protocol::Role role);

/// What arrived.
struct Received {
  std::vector<Bytes> messages;  // in the order in which they were sent
  bool closed = false;          // the peer sends no more; nothing may follow
};

/// One end of an established channel.
class Transport {
 public:
  Transport(Transport&&) noexcept;
  Transport& operator=(Transport&&) noexcept;
  ~Transport();

  /// The hash of the handshake's transcript: the same on both ends, and on no other channel.
  [[nodiscard]] const Digest32& handshake_hash() const noexcept;
  /// The server's static key that this channel was made with.
  [[nodiscard]] const crypto::X25519Public& server_key() const noexcept;

  /// The frames of one message, to be written in order. `limit_exceeded` for a message above `kMaxMessage` (nothing
  /// is sent then); `channel_closed` after `close`.
  [[nodiscard]] Result<Bytes> seal(ByteView message);
  /// The frame that renews the sending key.
  [[nodiscard]] Result<Bytes> rekey();
  /// The frame that says that no more will be sent. Nothing can be sealed afterwards.
  [[nodiscard]] Result<Bytes> close();

  /// Takes bytes of the stream, cut anywhere, and gives the messages that they complete. After a handshake call it
  /// once with nothing: what arrived behind the handshake is waiting. Refusals: `channel_reflected` (a frame of our
  /// own), `channel_replayed` (one that was here before), `channel_reordered` (one whose turn has not come),
  /// `decryption_failed` (changed or foreign), `channel_message_invalid` (a frame or fragment against the rules),
  /// `limit_exceeded` (a message above the limit), `channel_closed` (anything after the peer's close). The first three
  /// are told apart within the last or next 32 frames under the present key.
  [[nodiscard]] Result<Received> feed(ByteView wire);
  /// To be called when the byte stream ended: `channel_truncated` unless the peer closed the channel before.
  [[nodiscard]] Result<void> end_of_stream();

  /// Sets the longest message to be received, at most `kMaxMessage` (asserted).
  void allow(std::size_t max_message);

 private:
  friend class Initiator;
  friend class Responder;
  friend struct TransportAccess;
  struct State;
  explicit Transport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The TD's end, until the handshake is done.
class Initiator {
 public:
  /// `server_key` is one of those in the measured configuration. `random` gives the ephemeral key and is not kept.
  Initiator(const crypto::X25519Public& server_key, protocol::Role role, Random& random);
  Initiator(Initiator&&) noexcept;
  Initiator& operator=(Initiator&&) noexcept;
  ~Initiator();

  /// The first frame; `key_invalid` when the server's key is of low order.
  [[nodiscard]] Result<Bytes> start();
  /// Takes bytes of the stream; the transport, once the server's answer is whole. `handshake_failed` when it is not an
  /// answer of the owner of the server's key to this handshake.
  [[nodiscard]] Result<std::optional<Transport>> feed(ByteView wire);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The server's end, until the handshake is done.
class Responder {
 public:
  /// `keys` are the server's static keys (current and next, at least one), each of which the TD may know. They and
  /// `random` must outlive this.
  Responder(std::span<const crypto::X25519Key* const> keys, protocol::Role role, Random& random);
  Responder(Responder&&) noexcept;
  Responder& operator=(Responder&&) noexcept;
  ~Responder();

  struct Accepted {
    Bytes reply;  // to be written before anything that the transport seals
    Transport transport;
  };
  /// Takes bytes of the stream; the reply and the transport, once the TD's first message is whole. `handshake_failed`
  /// when it was made for another key or role, or changed.
  [[nodiscard]] Result<std::optional<Accepted>> feed(ByteView wire);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cloister::channel
