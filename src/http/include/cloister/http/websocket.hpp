#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::http {

/// WebSocket (RFC 6455) limits of one connection.
struct WebSocketLimits {
  std::size_t max_message = 1U << 20;        // bytes of one incoming message; a longer one closes with 1009
  std::size_t max_queued_messages = 64;      // outgoing, waiting to be written
  std::size_t max_queued_bytes = 8U << 20;   // of those
  std::size_t max_unread_messages = 16;      // incoming, not yet received; then reading pauses
  /// A peer that sent nothing for this long, not even the answer to a ping (sent at half of it), is dropped.
  std::chrono::milliseconds idle_timeout{60'000};
};

/// RFC 6455 section 7.4.1, those that programs send.
enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  policy_violation = 1008,
  too_big = 1009,
  internal_error = 1011,
  try_again_later = 1013,
};

/// One connection, on either side. It ends when `close` is called, the peer closes, the idle timeout passes, or the
/// last reference to it goes. Thread-safe; every call continues on the caller's executor.
class WebSocket {
 public:
  struct Message {
    enum class Kind { text, binary };
    Kind kind = Kind::binary;
    Bytes data;  // text is UTF-8
  };

  virtual ~WebSocket() = default;
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  /// The next message. `peer_closed` when the connection ended (detail: code and reason), `limit_exceeded` when the
  /// peer's message was too long, `deadline_exceeded` after the idle timeout, `cancelled` when the task is cancelled,
  /// which loses no message. Messages go to one receiver each; have one.
  [[nodiscard]] virtual runtime::Task<Result<Message>> receive() = 0;

  /// Queues a message and returns once it is written to the connection, so that waiting is back-pressure. Any number
  /// of senders; messages of concurrent senders are whole and in the order of the calls. `overloaded` at once when the
  /// queue is full. A sender that is cancelled may or may not have sent.
  [[nodiscard]] virtual runtime::Task<Result<void>> send_text(std::string text) = 0;
  [[nodiscard]] virtual runtime::Task<Result<void>> send_binary(Bytes data) = 0;

  /// Sends what is queued and the close frame (reason: at most 123 bytes, cut there), and returns when the connection
  /// has ended. Idempotent.
  [[nodiscard]] virtual runtime::Task<void> close(CloseCode code, std::string reason) = 0;

  /// Of the peer, without port.
  [[nodiscard]] virtual std::string remote_address() const = 0;

 protected:
  WebSocket() = default;
};

}  // namespace cloister::http
