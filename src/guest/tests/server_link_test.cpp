#include "server_link.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "support/support.hpp"

namespace cloister::guest {
namespace {

/// The server's end of a stream, driven by hand.
class Server {
 public:
  Server(process::UniqueFd socket, const crypto::X25519Key& key) : socket_{std::move(socket)}, key_{key} {}

  /// Answers one handshake; nothing when the TD's first message was for another key.
  void shake_hands() {
    const crypto::X25519Key* keys[] = {&key_};
    channel::Responder responder{keys, protocol::Role::instance, random_};
    for (;;) {
      const auto bytes = read();
      if (bytes.empty()) return;
      auto accepted = responder.feed(bytes);
      if (!accepted) return socket_.reset();
      if (!*accepted) continue;
      write((*accepted)->reply);
      transport_.emplace(std::move((*accepted)->transport));
      return;
    }
  }
  [[nodiscard]] Result<channel::Received> receive() { return transport_->feed(read()); }
  void send(const protocol::ToTd& message) { write(*transport_->seal(protocol::encode(message))); }
  void hang_up() { socket_.reset(); }
  [[nodiscard]] bool connected() const { return transport_.has_value(); }

 private:
  Bytes read() {
    Bytes buffer(64 * 1024);
    const auto n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    buffer.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return buffer;
  }
  void write(ByteView bytes) {
    EXPECT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  process::UniqueFd socket_;
  const crypto::X25519Key& key_;
  test::SeededRandom random_{2};
  std::optional<channel::Transport> transport_;
};

struct Scene {
  test::SeededRandom random{1};
  SystemClock system;
  test::FakeClock clock{*from_civil(2026, 1, 1, 0, 0, 0)};
  crypto::X25519Key key = crypto::X25519Key::generate(random);
  std::pair<process::UniqueFd, process::UniqueFd> pair = *process::stream_pair();
  Server server{std::move(pair.second), key};
  [[nodiscard]] Deadline soon() const { return Deadline::after(system, std::chrono::seconds{20}); }
  Result<ServerLink> connect(const ByteArray<32>& pinned) {
    std::thread answering{[this] { server.shake_hands(); }};
    auto link = ServerLink::connect(std::move(pair.first), pinned, protocol::Role::instance, random, clock, soon());
    answering.join();
    return link;
  }
};

TEST(ServerLink, CarriesMessagesBothWays) {
  Scene s;
  auto link = s.connect(s.key.public_key());
  ASSERT_TRUE(link) << link.error().text();
  ASSERT_TRUE(link->send(protocol::Ready{3}));
  ASSERT_TRUE(link->flush());
  auto got = s.server.receive();
  ASSERT_TRUE(got && got->messages.size() == 1);
  EXPECT_TRUE(protocol::decode_to_server(got->messages[0]));
  s.server.send(protocol::CancelJob{*AttemptId::parse("att-a")});
  auto message = link->receive(s.soon());
  ASSERT_TRUE(message) << message.error().text();
  EXPECT_TRUE(std::holds_alternative<protocol::CancelJob>(*message));
}

TEST(ServerLink, RefusesAServerThatDoesNotHaveThePinnedKey) {
  Scene s;
  const auto other = crypto::X25519Key::generate(s.random);
  auto link = s.connect(other.public_key());
  ASSERT_FALSE(link);
  EXPECT_FALSE(s.server.connected());
}

TEST(ServerLink, RenewsItsKeyAfterAnHour) {
  Scene s;
  auto link = s.connect(s.key.public_key());
  ASSERT_TRUE(link);
  const auto wire_size = [&] {
    EXPECT_TRUE(link->send(protocol::Ready{1}));
    EXPECT_TRUE(link->flush());
    auto got = s.server.receive();
    EXPECT_TRUE(got) << got.error().text();
    return got ? got->messages.size() : 0;
  };
  EXPECT_EQ(wire_size(), 1U);
  s.clock.advance(channel::kRekeyInterval);
  EXPECT_EQ(wire_size(), 1U);  // the renewal came along, and both ends follow it
  EXPECT_EQ(wire_size(), 1U);
}

TEST(ServerLink, TellsATruncatedStreamFromAnEnd) {
  Scene s;
  auto link = s.connect(s.key.public_key());
  ASSERT_TRUE(link);
  s.server.hang_up();
  auto message = link->receive(s.soon());
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code(), Errc::channel_truncated);
}

}  // namespace
}  // namespace cloister::guest
