#pragma once

#include <deque>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/crypto/cleansed.hpp"
#include "cloister/process/descriptor.hpp"
#include "cloister/protocol/challenge.hpp"

namespace cloister::guest {

/// The guest's end of the socket to its challenge (docs/protocol/challenge.md), which never waits. Overwrites what it
/// has sent and given. Not thread-safe.
class ChallengeSocket {
 public:
  /// Takes over one end of a stream socket, and makes it non-blocking.
  [[nodiscard]] static Result<ChallengeSocket> make(process::UniqueFd socket);

  /// To poll for POLLIN, and for POLLOUT while `wants_write`.
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] bool wants_write() const noexcept { return !outgoing_.empty(); }

  void send(const protocol::challenge::ToChallenge& message) { outgoing_.push_back(protocol::challenge::frame(message)); }
  /// Writes what can be written without waiting.
  [[nodiscard]] Result<void> flush();
  /// Reads what is there without waiting, and gives the whole messages. `peer_closed` when the challenge has ended,
  /// other errors when it broke a rule; either ends it.
  [[nodiscard]] Result<std::vector<protocol::challenge::ToGuest>> receive();

 private:
  explicit ChallengeSocket(process::UniqueFd socket) : socket_{std::move(socket)} {}
  process::UniqueFd socket_;
  std::deque<crypto::CleansedBytes> outgoing_;
  std::size_t sent_ = 0;  // of the first of them
  protocol::challenge::Deframer deframer_;
};

}  // namespace cloister::guest
