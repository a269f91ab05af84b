#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/http/websocket.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/runtime/task.hpp"

/// Byte streams over one WebSocket (docs/protocol/host.md, "Streams"). Everything of one mux runs on one executor.
namespace cloister::relay {

class Mux;

/// One byte stream. Ends when either side closes it or the connection ends. Not thread-safe: the mux's executor only.
class Stream {
 public:
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() = default;

  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  /// The next bytes, at least one; `peer_closed` when there will be no more. Grants the peer new credit as it reads.
  [[nodiscard]] runtime::Task<Result<Bytes>> read();
  /// Sends all of it, waiting for credit; `peer_closed` when the stream has ended. One writer at a time.
  [[nodiscard]] runtime::Task<Result<void>> write(Bytes data);
  /// Tells the peer, and ends reads and writes here. Idempotent.
  [[nodiscard]] runtime::Task<void> close();
  [[nodiscard]] bool closed() const noexcept { return closed_; }

 private:
  friend class Mux;
  Stream(std::shared_ptr<http::WebSocket> socket, std::uint32_t number);
  void end();

  std::shared_ptr<http::WebSocket> socket_;  // shared: a stream may outlive its mux for a moment
  std::uint32_t number_;
  Bytes incoming_;
  std::uint32_t granted_;        // what the peer may still send
  std::uint32_t consumed_ = 0;   // read since credit was last granted
  std::uint64_t credit_;         // what we may still send
  bool closed_ = false;
  runtime::AsyncEvent changed_;
};

/// The streams and control messages of one WebSocket. Not thread-safe: one executor, one receiver.
class Mux {
 public:
  explicit Mux(std::shared_ptr<http::WebSocket> socket);
  /// Ends every stream.
  ~Mux();
  Mux(const Mux&) = delete;
  Mux& operator=(const Mux&) = delete;

  /// A stream that one side announces by a control message. Numbers grow on one connection: `conflict` for one that is
  /// not larger than all before; `limit_exceeded` while somebody has `kMaxStreams`, of which those that have ended
  /// count until nobody has them: so a peer that announces streams without end makes no more work than that.
  [[nodiscard]] Result<std::shared_ptr<Stream>> open(std::uint32_t number);
  static constexpr std::size_t kMaxStreams = 2048;
  /// The next control message; serves the streams while it waits, so somebody must always be in here.
  /// `channel_message_invalid` when the peer broke a rule, else what the WebSocket says.
  [[nodiscard]] runtime::Task<Result<std::string>> receive_control();
  [[nodiscard]] runtime::Task<Result<void>> send_control(std::string text);
  /// Ends every stream and closes the connection.
  [[nodiscard]] runtime::Task<void> close(http::CloseCode code, std::string reason);

 private:
  [[nodiscard]] Result<void> accept(ByteView message);
  std::shared_ptr<http::WebSocket> socket_;
  std::map<std::uint32_t, std::weak_ptr<Stream>> streams_;  // some of them gone, until the next is opened
  std::uint64_t next_ = 0;  // the smallest number that may be opened
};

}  // namespace cloister::relay
