#pragma once

#include <deque>

#include "cloister/channel/channel.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/process/descriptor.hpp"
#include "cloister/protocol/messages.hpp"

namespace cloister::guest {

/// The TD's end of the channel, over the byte stream that the host relays. Not thread-safe.
class ServerLink {
 public:
  /// Shakes hands with the owner of `server_key`. Takes over the stream. `clock` outlives the link.
  [[nodiscard]] static Result<ServerLink> connect(process::UniqueFd stream, const ByteArray<32>& server_key,
                                                  protocol::Role role, Random& random, const Clock& clock,
                                                  Deadline deadline);

  [[nodiscard]] const Digest32& handshake_hash() const noexcept { return transport_.handshake_hash(); }
  [[nodiscard]] const ByteArray<32>& server_key() const noexcept { return transport_.server_key(); }

  /// To poll for POLLIN, and for POLLOUT while `wants_write`.
  [[nodiscard]] int fd() const noexcept { return stream_.get(); }
  [[nodiscard]] bool wants_write() const noexcept { return sent_ < outgoing_.size(); }
  /// True while `next` has a message without reading.
  [[nodiscard]] bool has_message() const noexcept { return !received_.empty(); }

  /// Renews the sending key first where it has served for `channel::kRekeyInterval`.
  [[nodiscard]] Result<void> send(const protocol::ToServer& message);
  /// Writes what can be written without waiting.
  [[nodiscard]] Result<void> flush();
  /// Reads what is there without waiting.
  [[nodiscard]] Result<void> read();
  /// The next message that has arrived.
  [[nodiscard]] std::optional<Result<protocol::ToTd>> next();

  /// Sends everything and waits for the next message.
  [[nodiscard]] Result<protocol::ToTd> receive(Deadline deadline);

 private:
  ServerLink(process::UniqueFd stream, channel::Transport transport, const Clock& clock)
      : stream_{std::move(stream)}, transport_{std::move(transport)}, clock_{&clock}, rekeyed_{clock.steady()} {}
  process::UniqueFd stream_;
  channel::Transport transport_;
  const Clock* clock_;  // not a reference: links are moved
  SteadyTime rekeyed_;
  Bytes outgoing_;
  std::size_t sent_ = 0;
  std::deque<Bytes> received_;
};

}  // namespace cloister::guest
