#pragma once

#include "cloister/channel/channel.hpp"
#include "frames.hpp"
#include "noise.hpp"

namespace cloister::channel {

struct Transport::State {
  State(noise::Session made, const crypto::X25519Public& server, FrameBuffer waiting)
      : session{std::move(made)}, server_key{server}, wire{std::move(waiting)} {}

  /// Encrypts one frame; renews the key first when it has served its frames.
  void send(Bytes& out, FrameKind kind, ByteView contents);
  /// Encrypts a rekey frame and takes the new key.
  void send_rekey(Bytes& out);
  /// Takes one Noise message; what it completes goes to `out`.
  [[nodiscard]] Result<void> receive(ByteView message, Received& out);
  [[nodiscard]] Result<void> take(FrameKind kind, ByteView contents, Received& out);
  [[nodiscard]] Result<void> take_fragment(FrameKind kind, ByteView contents, Received& out);
  /// Why a Noise message does not open.
  [[nodiscard]] Error diagnose(ByteView message) const;
  /// The refusal that ended this channel, or that of sending after `close`.
  [[nodiscard]] std::optional<Error> cannot_send() const;

  noise::Session session;
  crypto::X25519Public server_key;
  FrameBuffer wire;
  std::size_t limit = kInitialLimit;
  Bytes partial;  // fragments of a message that goes on
  std::uint64_t rekey_frames = kRekeyFrames;  // less in tests alone
  std::uint64_t sent = 0;                     // frames under the present key
  std::uint64_t received = 0;
  bool sent_close = false;
  bool got_close = false;
  std::optional<Error> failure;
};

/// What tests need to play a peer that breaks the rules.
struct TransportAccess {
  [[nodiscard]] static Transport::State& state(Transport& transport) { return *transport.state_; }
};

}  // namespace cloister::channel
