#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "cloister/channel/channel.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/protocol/messages.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::links {

/// The server's end of one TD's channel. Not thread-safe: the executor of its stream. One receiver; any number of
/// senders, whose messages arrive in the order of the calls.
class TdLink {
 public:
  /// The handshake with a TD of that role. `keys` are the server's static keys, current and next; they, `random` and
  /// `clock` outlive the link.
  [[nodiscard]] static runtime::Task<Result<std::shared_ptr<TdLink>>> accept(
      std::shared_ptr<relay::Stream> stream, std::vector<const crypto::X25519Key*> keys, protocol::Role role,
      Random* random, const Clock* clock);

  [[nodiscard]] const Digest32& handshake_hash() const noexcept { return transport_.handshake_hash(); }
  [[nodiscard]] const ByteArray<32>& server_key() const noexcept { return transport_.server_key(); }

  /// Returns once the message is written. Renews the sending key first where it has served for
  /// `channel::kRekeyInterval`. A TD that takes nothing for a minute fails the link, as does a sender that is cancelled
  /// in the middle; a failure is final, and ends the stream.
  [[nodiscard]] runtime::Task<Result<void>> send(protocol::ToTd message);
  /// Tells the TD why its channel ends, as far as it listens, and gives the error back.
  [[nodiscard]] runtime::Task<Error> refuse(Error why);
  /// The next message; any error is final. `peer_closed` when the TD closed the channel, `channel_truncated` when its
  /// stream just ended.
  [[nodiscard]] runtime::Task<Result<protocol::ToServer>> receive();
  /// Takes messages up to the protocol's own limit from now on: the peer has proved what it is.
  void trust_peer() { transport_.allow(channel::kMaxMessage); }
  [[nodiscard]] runtime::Task<void> close();

 private:
  TdLink(std::shared_ptr<relay::Stream> stream, channel::Transport transport, const Clock& clock)
      : stream_{std::move(stream)}, transport_{std::move(transport)}, clock_{clock}, rekeyed_{clock.steady()} {}
  class Writing;
  [[nodiscard]] runtime::Task<Result<void>> write(Bytes wire);
  [[nodiscard]] runtime::Task<Result<void>> write_all();
  void fail(Error why);
  std::shared_ptr<relay::Stream> stream_;  // shared with the fleet, which may end it
  channel::Transport transport_;
  const Clock& clock_;
  SteadyTime rekeyed_;
  std::deque<Bytes> received_;
  Bytes outgoing_;                // sealed, and not being written yet
  std::uint64_t sealed_ = 0;      // bytes that were put into `outgoing_` so far
  std::uint64_t written_ = 0;     // of those
  bool writing_ = false;          // some sender writes for all
  std::optional<Error> failed_;   // of a write
  runtime::AsyncEvent progress_;
  bool peer_closed_ = false;
};

}  // namespace cloister::links
