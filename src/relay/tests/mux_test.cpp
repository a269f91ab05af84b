#include "cloister/relay/mux.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "cloister/http/client.hpp"
#include "cloister/http/server.hpp"
#include "cloister/protocol/host.hpp"
#include "cloister/runtime/task_group.hpp"

namespace cloister::relay {
namespace {

namespace host = protocol::host;
using runtime::Task;

constexpr std::chrono::seconds kPatience{20};

/// A server whose one WebSocket route has `serve` at its end, and connections to it.
class Pair {
 public:
  explicit Pair(std::function<Task<void>(std::shared_ptr<http::WebSocket>)> serve) {
    io_.start();
    http::Router router;
    router.add_websocket("/", http::kPublic, {}, [serve](http::Request, std::shared_ptr<http::WebSocket> socket) {
      return serve(std::move(socket));
    });
    http::ServerOptions options;
    options.handlers = io_.strand();
    auto server = http::Server::listen(io_, std::move(options), std::move(router), logger_);
    EXPECT_TRUE(server);
    server_ = *std::move(server);
  }
  ~Pair() { runtime::block_on(io_, server_->stop(std::chrono::milliseconds{100})); }

  Task<Result<std::shared_ptr<http::WebSocket>>> connect() {
    http::ClientOptions options;
    options.base_url = server_->base_url();
    const http::Headers headers;
    const http::WebSocketLimits limits;
    co_return co_await http::WebSocketClient::connect(io_, std::move(options), "/", headers, limits,
                                                      Deadline::after(clock_, kPatience));
  }
  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(io_, std::move(task));
  }
  log::Logger& logger() { return logger_; }

 private:
  SystemClock clock_;
  log::NullLogger logger_;
  runtime::IoContext io_{1};
  std::unique_ptr<http::Server> server_;
};

Task<void> echo_stream(std::shared_ptr<Stream> stream) {
  for (;;) {
    auto bytes = co_await stream->read();
    if (!bytes) co_return;
    Bytes copy = *std::move(bytes);
    auto written = co_await stream->write(std::move(copy));
    if (!written) co_return;
  }
}

/// Opens a stream for every number that arrives as a control message, and sends back what comes on it.
Task<void> echo_server(std::shared_ptr<http::WebSocket> socket, log::Logger* logger) {
  Mux mux{socket};
  auto executor = co_await runtime::this_executor();
  runtime::TaskGroup tasks{executor, *logger, "echo"};
  for (;;) {
    auto text = co_await mux.receive_control();
    if (!text) break;
    auto stream = mux.open(static_cast<std::uint32_t>(std::stoul(*text)));
    if (!stream) break;
    tasks.spawn("echo", echo_stream(*stream));
  }
  co_await mux.close(http::CloseCode::normal, "bye");
  co_await tasks.cancel_and_wait();
}

Task<void> pump(Mux* mux) {
  for (;;) {
    auto text = co_await mux->receive_control();
    if (!text) co_return;
  }
}

Task<void> write_all(std::shared_ptr<Stream> stream, Bytes bytes) {
  static_cast<void>(co_await stream->write(std::move(bytes)));
}

/// Sends `size` bytes over one stream and counts what comes back, as long as it is the same.
Task<std::size_t> round_trip(Pair* pair, std::size_t size) {
  auto socket = co_await pair->connect();
  if (!socket) co_return 0;
  Mux mux{*socket};
  auto executor = co_await runtime::this_executor();
  runtime::TaskGroup tasks{executor, pair->logger(), "client"};
  auto stream = mux.open(3);
  auto told = co_await mux.send_control("3");
  if (!stream || !told) co_return 0;
  tasks.spawn("pump", pump(&mux));
  Bytes data(size);
  for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  tasks.spawn("write", write_all(*stream, data));
  std::size_t same = 0;
  while (same < size) {
    auto bytes = co_await (*stream)->read();
    if (!bytes || !same_bytes(*bytes, ByteView{data}.subspan(same, bytes->size()))) break;
    same += bytes->size();
  }
  co_await mux.close(http::CloseCode::normal, "bye");
  co_await tasks.cancel_and_wait();
  co_return same;
}

TEST(Mux, CarriesMoreThanItsWindowBothWays) {
  log::NullLogger logger;
  Pair pair{[&logger](std::shared_ptr<http::WebSocket> socket) { return echo_server(std::move(socket), &logger); }};
  constexpr std::size_t kSize = 5 * host::kInitialCredit + 123;
  EXPECT_EQ(pair.run(round_trip(&pair, kSize)), kSize);
  EXPECT_EQ(pair.run(round_trip(&pair, 1)), 1U);
}

/// A server's mux with stream 1 open, and what it says when it refuses.
struct Judge {
  std::optional<Error> seen;
  runtime::AsyncEvent done;
  Task<void> serve(std::shared_ptr<http::WebSocket> socket) {
    Mux mux{socket};
    const auto stream = mux.open(1);
    auto text = co_await mux.receive_control();
    if (!text) seen = text.error();
    done.notify_all();
  }
};

/// Sends raw messages until the judge has spoken.
Task<bool> send_all(Pair* pair, std::vector<Bytes> messages, Judge* judge) {
  const SystemClock clock;
  const auto before = judge->done.version();
  auto socket = co_await pair->connect();
  if (!socket) co_return false;
  for (auto& message : messages) {
    auto sent = co_await (*socket)->send_binary(std::move(message));
    if (!sent) break;
  }
  auto waited = co_await judge->done.wait(before, Deadline::after(clock, kPatience));
  co_return waited.ok();
}

Errc judged(std::vector<Bytes> messages) {
  Judge judge;
  Pair pair{[&judge](std::shared_ptr<http::WebSocket> socket) { return judge.serve(std::move(socket)); }};
  EXPECT_TRUE(pair.run(send_all(&pair, std::move(messages), &judge)));
  return judge.seen ? judge.seen->code() : Errc::internal;
}

TEST(Mux, EndsTheConnectionOfAPeerThatBreaksARule) {
  EXPECT_EQ(judged({host::encode_data(2, to_bytes("x"))}), Errc::channel_message_invalid);  // never announced
  EXPECT_EQ(judged({Bytes{9, 0, 0, 0, 1}}), Errc::channel_message_invalid);                 // no such frame
  EXPECT_EQ(judged({Bytes{0}}), Errc::channel_message_invalid);                             // cut
}

TEST(Mux, EndsTheConnectionOfAPeerThatSendsMoreThanGranted) {
  const auto part = host::encode_data(1, Bytes(host::kMaxData, 7));
  EXPECT_EQ(judged(std::vector<Bytes>(host::kInitialCredit / host::kMaxData + 1, part)), Errc::channel_message_invalid);
}

Task<void> drop(std::shared_ptr<http::WebSocket> socket) {
  static_cast<void>(co_await socket->receive());
}

Task<std::vector<bool>> open_numbers(Pair* pair, std::vector<std::uint32_t> numbers) {
  std::vector<bool> out;
  auto socket = co_await pair->connect();
  if (!socket) co_return out;
  Mux mux{*socket};
  for (const auto number : numbers) out.push_back(mux.open(number).ok());
  co_return out;
}

TEST(Mux, RefusesNumbersThatDoNotGrow) {
  Pair pair{drop};
  EXPECT_EQ(pair.run(open_numbers(&pair, {5, 5, 4, 6})), (std::vector<bool>{true, false, false, true}));
}

Task<std::vector<Errc>> open_without_end(Pair* pair) {
  std::vector<Errc> out;
  auto socket = co_await pair->connect();
  if (!socket) co_return out;
  Mux mux{*socket};
  const auto open = [&](std::uint32_t number) {
    auto stream = mux.open(number);
    out.push_back(stream ? Errc::internal : stream.error().code());
    return stream ? *stream : nullptr;
  };
  std::uint32_t next = 0;
  std::vector<std::shared_ptr<Stream>> held;
  while (held.size() < Mux::kMaxStreams) {
    auto stream = mux.open(next++);
    if (!stream) co_return out;
    held.push_back(*std::move(stream));
  }
  open(next);
  co_await held.back()->close();
  open(next);  // one that has ended counts until nobody has it
  held.pop_back();
  open(next);
  co_return out;
}

TEST(Mux, HasRoomForSoManyStreamsThatSomebodyHas) {
  Pair pair{drop};
  const std::vector<Errc> expected{Errc::limit_exceeded, Errc::limit_exceeded, Errc::internal};
  EXPECT_EQ(pair.run(open_without_end(&pair)), expected);
}

Task<Errc> read_after_end(Pair* pair) {
  auto socket = co_await pair->connect();
  if (!socket) co_return Errc::internal;
  std::shared_ptr<Stream> stream;
  {
    Mux mux{*socket};
    auto opened = mux.open(1);
    if (!opened) co_return Errc::internal;
    stream = *opened;
  }
  auto read = co_await stream->read();
  co_return read ? Errc::internal : read.error().code();
}

TEST(Stream, EndsWithItsMux) {
  Pair pair{drop};
  EXPECT_EQ(pair.run(read_after_end(&pair)), Errc::peer_closed);
}

}  // namespace
}  // namespace cloister::relay
