#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::process {

/// What one side takes in one frame.
struct FrameLimits {
  std::size_t bytes = 1U << 20;
  std::size_t descriptors = 0;  // at most 253, the kernel's own limit (SCM_MAX_FD)
};

struct Frame {
  Bytes payload;
  std::vector<UniqueFd> descriptors;  // close-on-exec
};

/// Frames over a connected UNIX stream socket: length (u32, big-endian), payload, and descriptors that travel with the
/// frame (SCM_RIGHTS; they are sent with the length, and belong to the frame within whose bytes they arrive).
/// Blocking calls with deadlines for clients, and `try_receive`/`queue`/`flush` for loops around poll(2).
/// After any error but `deadline_exceeded` the connection is of no use. Not thread-safe.
class FrameSocket {
 public:
  FrameSocket(UniqueFd socket, FrameLimits limits);

  /// Sends whole or fails; `peer_closed`, `deadline_exceeded` (the frame is then cut: close), `io_error`.
  [[nodiscard]] Result<void> send(ByteView payload, std::span<const int> descriptors, Deadline deadline);
  /// The next frame. `peer_closed` between frames, `truncated` inside one, `limit_exceeded` for too much of anything.
  [[nodiscard]] Result<Frame> receive(Deadline deadline);

  /// The next frame when it is here already, without waiting.
  [[nodiscard]] Result<std::optional<Frame>> try_receive();
  /// Puts a frame behind what `flush` still has to send.
  void queue(Bytes payload, std::vector<UniqueFd> descriptors = {});
  /// Sends what can be sent without waiting.
  [[nodiscard]] Result<void> flush();
  /// True while `flush` has something left.
  [[nodiscard]] bool wants_write() const noexcept { return !outgoing_.empty(); }

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] bool open() const noexcept { return socket_.valid(); }
  void close() noexcept { socket_.reset(); }

 private:
  struct Outgoing {
    Bytes bytes;  // length and payload
    std::size_t sent = 0;
    std::vector<UniqueFd> descriptors;
  };
  [[nodiscard]] Result<std::size_t> receive_some(std::span<std::uint8_t> into);
  [[nodiscard]] Result<std::size_t> send_some(ByteView bytes, std::span<const int> descriptors);

  UniqueFd socket_;
  FrameLimits limits_;
  ByteArray<4> length_{};
  std::size_t have_ = 0;  // bytes of length and payload that arrived
  Frame incoming_;
  std::deque<Outgoing> outgoing_;
};

}  // namespace cloister::process
