#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <variant>

#include "cloister/channel/channel.hpp"
#include "cloister/http/server.hpp"
#include "cloister/links/td_link.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/runtime/io_context.hpp"
#include "cloister/runtime/task_group.hpp"
#include "world.hpp"

namespace cloister::test {

/// Wall time as a world has it; waiting is real.
class RealWaits final : public Clock {
 public:
  explicit RealWaits(const Clock& wall) : wall_{wall} {}
  [[nodiscard]] UnixTime now() const override { return wall_.now(); }
  [[nodiscard]] SteadyTime steady() const override { return machine_.steady(); }

 private:
  const Clock& wall_;
  SystemClock machine_;
};

/// One instance's channel over a real connection: the server's end is given to `serve`, the TD's is driven by hand.
class InstanceLink {
 public:
  using Serve = std::function<runtime::Task<Error>(std::shared_ptr<links::TdLink>)>;
  /// `serve` runs on `strand`. The references outlive this.
  InstanceLink(World& world, runtime::IoContext& io, runtime::Executor strand, Serve serve);
  ~InstanceLink();
  InstanceLink(const InstanceLink&) = delete;
  InstanceLink& operator=(const InstanceLink&) = delete;

  void send(protocol::ToServer message);
  /// The next message to the TD.
  [[nodiscard]] Result<protocol::ToTd> receive();
  /// The same, which must be of that kind.
  template <class Message>
  [[nodiscard]] Message expect() {
    auto message = receive();
    if (!message) fail(message.error().text());
    auto* wanted = message ? std::get_if<Message>(&*message) : nullptr;
    if (message && wanted == nullptr) fail("a message of another kind: " + std::to_string(message->index()));
    return wanted == nullptr ? Message{} : std::move(*wanted);
  }
  /// Ends the TD's stream.
  void hang_up();
  /// Cancels the serving, and waits for its end.
  void cancel();
  /// Why the serving ended, once it has.
  [[nodiscard]] std::optional<Error> ended();

 private:
  template <class T>
  T run(runtime::Task<T> task) {
    auto there = runtime::run_on(strand_, std::move(task));
    return runtime::block_on(io_, std::move(there));
  }
  static void fail(const std::string& what);
  runtime::Task<void> server_end(std::shared_ptr<http::WebSocket> socket);
  runtime::Task<void> serve(std::shared_ptr<relay::Stream> stream);
  runtime::Task<Result<void>> connect();
  runtime::Task<Result<void>> write(protocol::ToServer message);
  runtime::Task<Result<protocol::ToTd>> read();
  runtime::Task<bool> close();
  runtime::Task<bool> stop();
  runtime::Task<bool> disconnect();
  runtime::Task<std::optional<Error>> wait_for_end();

  World& world_;
  runtime::IoContext& io_;
  runtime::Executor strand_;
  Serve serve_;
  SystemClock clock_;
  SystemRandom random_;
  log::NullLogger logger_;
  runtime::TaskGroup pumps_;
  runtime::TaskGroup serving_;
  std::optional<Error> why_;
  runtime::AsyncEvent ended_;
  std::unique_ptr<http::Server> server_;
  std::shared_ptr<relay::Mux> server_mux_;
  std::shared_ptr<relay::Mux> td_mux_;
  std::shared_ptr<relay::Stream> stream_;  // of the TD
  std::optional<channel::Transport> transport_;
  std::deque<Bytes> received_;
};

}  // namespace cloister::test
