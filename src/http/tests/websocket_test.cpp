#include <future>
#include <map>
#include <set>
#include <thread>

#include "fixture.hpp"

namespace cloister::http::test {
namespace {

using Kind = WebSocket::Message::Kind;

struct HttpWebSocket : Running {
  static Task<void> echo_all(Request, std::shared_ptr<WebSocket> socket) {
    while (true) {
      auto message = co_await socket->receive();
      if (!message) co_return;
      auto sending = message->kind == Kind::text ? socket->send_text(std::string{as_text(message->data)})
                                                 : socket->send_binary(std::move(message->data));
      const auto sent = co_await std::move(sending);
      if (!sent) co_return;
    }
  }

  [[nodiscard]] Result<std::shared_ptr<WebSocket>> connect(std::string target = "/ws", Headers headers = {},
                                                           WebSocketLimits limits = {},
                                                           std::optional<std::string> bearer = {}) {
    ClientOptions wanted;
    wanted.base_url = server->base_url();
    wanted.bearer = std::move(bearer);
    return runtime::block_on(
        io, WebSocketClient::connect(io, std::move(wanted), std::move(target), std::move(headers), limits, far()));
  }
  [[nodiscard]] Result<WebSocket::Message> receive(WebSocket& socket) {
    return runtime::block_on(io, runtime::with_deadline(far(), socket.receive()));
  }
  [[nodiscard]] std::string receive_text(WebSocket& socket) {
    const auto message = receive(socket);
    return message ? std::string{as_text(message->data)} : message.error().text();
  }
  [[nodiscard]] Result<void> send(WebSocket& socket, std::string text) {
    return runtime::block_on(io, socket.send_text(std::move(text)));
  }
};

TEST_F(HttpWebSocket, CarriesTextAndBinaryBothWays) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok()) << socket.error().text();
  ASSERT_TRUE(send(**socket, "h\xC3\xA9llo").ok());
  const auto text = receive(**socket);
  EXPECT_EQ(text->kind, Kind::text);
  EXPECT_EQ(as_text(text->data), "h\xC3\xA9llo");
  Bytes big(300000);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<std::uint8_t>(i * 7);
  ASSERT_TRUE(runtime::block_on(io, (*socket)->send_binary(big)).ok());
  const auto binary = receive(**socket);
  EXPECT_EQ(binary->kind, Kind::binary);
  EXPECT_EQ(binary->data, big);
  EXPECT_EQ((*socket)->remote_address(), "127.0.0.1");
}

TEST_F(HttpWebSocket, AsksForAuthentication) {
  router.add_websocket("/ws", require({"reader"}), {},
                       [](Request request, std::shared_ptr<WebSocket> socket) -> Task<void> {
                         (void)co_await socket->send_text(request.principal->subject);
                       });
  serve();
  EXPECT_EQ(connect().error().code(), Errc::unauthenticated);
  EXPECT_EQ(connect("/ws", {}, {}, "admin").error().code(), Errc::permission_denied);
  const auto socket = connect("/ws", {}, {}, "good");
  ASSERT_TRUE(socket.ok()) << socket.error().text();
  EXPECT_EQ(receive_text(**socket), "good");
}

TEST_F(HttpWebSocket, TakesATokenAsSubprotocol) {
  router.add_websocket("/ws", require({"reader"}), {}, echo_all);
  serve();
  RawPeer peer{server->port()};
  peer.send("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: cloister.v1, bearer.good\r\n\r\n");
  const auto response = peer.read_response();
  EXPECT_EQ(status_of(response), 101);
  EXPECT_EQ(field_of(response, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455 section 1.3
  EXPECT_EQ(field_of(response, "Sec-WebSocket-Protocol"), "cloister.v1");
}

TEST_F(HttpWebSocket, AcceptsPagesOfAllowedOrigins) {
  options.allowed_origins = {"https://pages.example"};
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  EXPECT_TRUE(connect("/ws", {{"Origin", "https://pages.example"}}).ok());
  EXPECT_EQ(connect("/ws", {{"Origin", "http://pages.example"}}).error().code(), Errc::permission_denied);
}

TEST_F(HttpWebSocket, RefusesPagesOfAnotherOrigin) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  EXPECT_EQ(connect("/ws", {{"Origin", "http://evil.example"}}).error().code(), Errc::permission_denied);
  EXPECT_EQ(connect("/ws", {{"Origin", "null"}}).error().code(), Errc::permission_denied);
  EXPECT_TRUE(connect("/ws", {{"Origin", server->base_url()}}).ok());
}

TEST_F(HttpWebSocket, RefusesPlainRequestsAndUnknownPaths) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  EXPECT_EQ(code_of(get("/ws")), "unsupported");
  EXPECT_EQ(connect("/other").error().code(), Errc::not_found);
}

TEST_F(HttpWebSocket, DropsAPeerWhoseMessageIsTooLong) {
  WebSocketLimits limits;
  limits.max_message = 1000;
  std::promise<Errc> seen;
  router.add_websocket("/ws", kPublic, limits, [&seen](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    const auto message = co_await socket->receive();
    seen.set_value(message ? Errc::internal : message.error().code());
  });
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  (void)send(**socket, std::string(1001, 'a'));
  EXPECT_EQ(seen.get_future().get(), Errc::limit_exceeded);
  const auto end = receive(**socket);
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.error().detail().find("1009"), std::string::npos) << end.error().text();
}

TEST_F(HttpWebSocket, ManySendersDoNotMixTheirMessages) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  WebSocketLimits limits;
  limits.max_queued_messages = 1000;
  const auto socket = connect("/ws", {}, limits);
  ASSERT_TRUE(socket.ok());
  constexpr int kSenders = 4;
  constexpr int kEach = 100;
  std::vector<std::thread> threads;
  std::atomic<int> failures = 0;
  for (int t = 0; t < kSenders; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const auto text = std::to_string(t) + ':' + std::to_string(i) + ':' + std::string(static_cast<std::size_t>(i) * 37, 'x');
        if (!send(**socket, text)) ++failures;
      }
    });
  }
  std::map<int, int> next;
  for (int n = 0; n < kSenders * kEach; ++n) {
    const auto text = receive_text(**socket);
    const auto colon = text.find(':');
    ASSERT_NE(colon, std::string::npos) << text;
    const int sender = std::stoi(text);
    const int number = std::stoi(text.substr(colon + 1));
    EXPECT_EQ(number, next[sender]++);
    EXPECT_EQ(text.size() - text.rfind(':') - 1, static_cast<std::size_t>(number) * 37);
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(HttpWebSocket, RefusesToQueueWithoutEnd) {
  WebSocketLimits limits;
  limits.max_queued_messages = 4;
  limits.max_unread_messages = 1;
  Counter served;
  runtime::AsyncEvent release;
  router.add_websocket("/ws", kPublic, limits, [&](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    served.add();
    (void)co_await release.wait(0, far());  // holds the socket, receives nothing
    (void)socket;
  });
  serve();
  const auto socket = connect("/ws", {}, limits);
  ASSERT_TRUE(socket.ok());
  ASSERT_TRUE(served.wait_for(1));
  runtime::TaskGroup senders{io.strand(), logger, "senders"};
  std::atomic<int> refused = 0;
  auto one = [&]() -> Task<void> {
    const auto sent = co_await (*socket)->send_binary(Bytes(1U << 20));
    if (!sent && sent.error().code() == Errc::overloaded) ++refused;
  };
  for (int i = 0; i < 32; ++i) senders.spawn("send", one());
  while (refused == 0) std::this_thread::yield();
  release.notify_all();
  runtime::block_on(io, senders.cancel_and_wait());
  EXPECT_GT(refused, 0);
}

TEST_F(HttpWebSocket, RefusesAMessageThatAloneOverfillsTheQueue) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  WebSocketLimits limits;
  limits.max_queued_bytes = 100;
  const auto socket = connect("/ws", {}, limits);
  ASSERT_TRUE(socket.ok());
  EXPECT_EQ(send(**socket, std::string(101, 'a')).error().code(), Errc::overloaded);
  EXPECT_TRUE(send(**socket, std::string(100, 'a')).ok());
}

TEST_F(HttpWebSocket, CloseSendsWhatIsQueuedAndItsReason) {
  router.add_websocket("/ws", kPublic, {}, [](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    (void)co_await socket->send_text("last words");
    co_await socket->close(CloseCode::try_again_later, "busy");
  });
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  EXPECT_EQ(receive_text(**socket), "last words");
  const auto end = receive(**socket);
  EXPECT_EQ(end.error().code(), Errc::peer_closed);
  EXPECT_EQ(end.error().detail(), "closed with 1013 busy");
  EXPECT_EQ(send(**socket, "x").error().code(), Errc::peer_closed);
}

TEST_F(HttpWebSocket, CutsALongReasonBetweenCharacters) {
  router.add_websocket("/ws", kPublic, {}, [](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    std::string reason(122, 'a');
    reason += "\xC3\xA9";
    co_await socket->close(CloseCode::normal, std::move(reason));
  });
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  EXPECT_EQ(receive(**socket).error().detail(), "closed with 1000 " + std::string(122, 'a'));
}

TEST_F(HttpWebSocket, EndsWithItsLastReference) {
  std::promise<Errc> seen;
  router.add_websocket("/ws", kPublic, {}, [&seen](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    const auto message = co_await socket->receive();
    seen.set_value(message ? Errc::internal : message.error().code());
  });
  serve();
  {
    const auto socket = connect();
    ASSERT_TRUE(socket.ok());
  }
  EXPECT_EQ(seen.get_future().get(), Errc::peer_closed);
}

TEST_F(HttpWebSocket, LivesOnWhenTheHandlerHandsItOver) {
  std::promise<std::shared_ptr<WebSocket>> handed;
  router.add_websocket("/ws", kPublic, {}, [&handed](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    handed.set_value(std::move(socket));
    co_return;
  });
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  auto theirs = handed.get_future().get();
  ASSERT_TRUE(send(*theirs, "still here").ok());
  EXPECT_EQ(receive_text(**socket), "still here");
  EXPECT_EQ(server->connections(), 1U);
  theirs.reset();
  EXPECT_EQ(receive(**socket).error().code(), Errc::peer_closed);
}

TEST_F(HttpWebSocket, CancelledReceiveLosesNothing) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  const auto nothing = runtime::block_on(io, runtime::with_deadline(soon(), (*socket)->receive()));
  EXPECT_EQ(nothing.error().code(), Errc::deadline_exceeded);
  ASSERT_TRUE(send(**socket, "after").ok());
  EXPECT_EQ(receive_text(**socket), "after");
}

TEST_F(HttpWebSocket, DeliversWhatCameBeforeTheEnd) {
  router.add_websocket("/ws", kPublic, {}, [](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    for (int i = 0; i < 40; ++i) (void)co_await socket->send_text(std::to_string(i));
    co_await socket->close(CloseCode::normal, "");
  });
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  for (int i = 0; i < 40; ++i) ASSERT_EQ(receive_text(**socket), std::to_string(i));
  EXPECT_FALSE(receive(**socket).ok());
}

TEST_F(HttpWebSocket, DropsASilentPeerButNotOneThatAnswersPings) {
  WebSocketLimits limits;
  limits.idle_timeout = milliseconds{200};
  Counter served;
  std::promise<Errc> seen;
  router.add_websocket("/silent", kPublic, limits, [&](Request, std::shared_ptr<WebSocket> socket) -> Task<void> {
    const auto message = co_await socket->receive();
    seen.set_value(message ? Errc::internal : message.error().code());
  });
  router.add_websocket("/ws", kPublic, limits, echo_all);
  serve();
  const auto alive = connect();
  ASSERT_TRUE(alive.ok());
  RawPeer silent{server->port()};
  silent.send("GET /silent HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  EXPECT_EQ(status_of(silent.read_response()), 101);
  // Some idle times of the other one pass meanwhile.
  EXPECT_EQ(seen.get_future().get(), Errc::deadline_exceeded);
  ASSERT_TRUE(send(**alive, "here").ok());
  EXPECT_EQ(receive_text(**alive), "here");
}

TEST_F(HttpWebSocket, ServerStopClosesWithGoingAway) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  const auto socket = connect();
  ASSERT_TRUE(socket.ok());
  auto stopped = std::async(std::launch::async, [&] { runtime::block_on(io, server->stop(kLong)); });
  const auto end = receive(**socket);
  EXPECT_EQ(end.error().detail(), "closed with 1001 the server stops");
  stopped.get();
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(HttpWebSocket, ServerStopDropsAPeerThatDoesNotAnswer) {
  router.add_websocket("/ws", kPublic, {}, echo_all);
  serve();
  RawPeer peer{server->port()};
  peer.send("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  EXPECT_EQ(status_of(peer.read_response()), 101);
  runtime::block_on(io, server->stop(milliseconds{20}));
  EXPECT_EQ(server->connections(), 0U);
}

}  // namespace
}  // namespace cloister::http::test
