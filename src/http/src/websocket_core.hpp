#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cloister/http/websocket.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::http {

/// Queues and life of one WebSocket connection, over primitive operations that a derived class starts. At most one
/// read, one write and one close are under way, each keeping this object alive. Operations are started and completed
/// on `executor`; everything public is thread-safe.
class WebSocketCore : public std::enable_shared_from_this<WebSocketCore> {
 public:
  using Message = WebSocket::Message;

  WebSocketCore(runtime::Executor executor, WebSocketLimits limits, std::string remote_address);
  virtual ~WebSocketCore() = default;
  WebSocketCore(const WebSocketCore&) = delete;
  WebSocketCore& operator=(const WebSocketCore&) = delete;

  /// Begins to read; once.
  void start();
  [[nodiscard]] static runtime::Task<Result<Message>> receive(std::shared_ptr<WebSocketCore> self);
  [[nodiscard]] static runtime::Task<Result<void>> send(std::shared_ptr<WebSocketCore> self, Message message);
  [[nodiscard]] static runtime::Task<void> ended(std::shared_ptr<WebSocketCore> self);
  /// Closes once what is queued is written.
  void begin_close(CloseCode code, std::string reason);
  /// Drops the connection.
  void kill();
  [[nodiscard]] const std::string& remote_address() const noexcept { return remote_address_; }

 protected:
  // What derived classes do, on the executor, and report with the on_… calls.
  virtual void start_read() = 0;
  virtual void start_write(const Message& message) = 0;  // `message` lives until on_written
  virtual void start_close(CloseCode code, const std::string& reason) = 0;
  /// Ends every operation under way; more than once.
  virtual void abort() noexcept = 0;

  void on_read(Result<Message> message);
  void on_written(Result<void> outcome);
  void on_closed();

  [[nodiscard]] const WebSocketLimits& limits() const noexcept { return limits_; }

 private:
  struct Outgoing;
  struct Closing {
    CloseCode code;
    std::string reason;
  };

  [[nodiscard]] Result<std::shared_ptr<Outgoing>> enqueue(Message message);
  void write_next();
  void end(const Error& why);

  runtime::Executor executor_;
  WebSocketLimits limits_;
  std::string remote_address_;
  runtime::AsyncEvent incoming_;  // a message, or the end
  runtime::AsyncEvent ending_;

  std::mutex mutex_;  // for all below
  std::deque<Message> inbox_;
  bool reading_ = false;
  std::deque<std::shared_ptr<Outgoing>> outbox_;  // the first one is being written while writing_
  std::size_t outbox_bytes_ = 0;
  bool writing_ = false;
  std::optional<Closing> closing_;
  std::optional<Error> ended_;
};

/// The public face of a core; the connection closes with it.
[[nodiscard]] std::shared_ptr<WebSocket> make_websocket(std::shared_ptr<WebSocketCore> core);

}  // namespace cloister::http
