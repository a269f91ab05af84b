#include "cloister/links/td_link.hpp"

#include <gtest/gtest.h>

#include "cloister/http/client.hpp"
#include "cloister/http/server.hpp"
#include "cloister/runtime/task_group.hpp"

namespace cloister::links {
namespace {

using runtime::Task;

constexpr std::chrono::seconds kPatience{20};

Deadline soon() { return Deadline{std::chrono::steady_clock::now() + kPatience}; }

/// A machine's clock that is so far behind that a minute's patience is over in a tenth of a second.
class ImpatientClock final : public Clock {
 public:
  [[nodiscard]] UnixTime now() const override { return machine_.now(); }
  [[nodiscard]] SteadyTime steady() const override { return machine_.steady() - lag; }
  std::chrono::milliseconds lag{0};

 private:
  SystemClock machine_;
};

protocol::AssignJob job_of(Bytes ciphertext) {
  protocol::AssignJob job;
  job.job = *JobId::parse("job-a");
  job.attempt = *AttemptId::parse("att-a");
  job.version = *VersionId::parse("ver-a");
  job.fence = 1;
  job.sealed_key = Bytes(48, 1);
  job.ciphertext = std::move(ciphertext);
  job.timeout_ms = 1000;
  return job;
}

/// A link over a real connection, and the TD at its other end.
class TdLinkTest : public testing::Test {
 protected:
  void SetUp() override {
    io.start();
    http::Router router;
    router.add_websocket("/", http::kPublic, {}, [this](http::Request, std::shared_ptr<http::WebSocket> socket) {
      return serve(std::move(socket));
    });
    http::ServerOptions options;
    options.handlers = strand;
    auto listening = http::Server::listen(io, std::move(options), std::move(router), logger);
    ASSERT_TRUE(listening);
    server = *std::move(listening);
    ASSERT_TRUE(run(runtime::with_deadline(soon(), connect())));
  }
  void TearDown() override {
    runtime::block_on(io, tasks.cancel_and_wait());
    link.reset();
    stream.reset();
    mux.reset();
    runtime::block_on(io, server->stop(std::chrono::milliseconds{100}));
  }
  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(io, runtime::run_on(strand, std::move(task)));
  }

  Task<void> serve(std::shared_ptr<http::WebSocket> socket) {
    relay::Mux server_mux{std::move(socket)};
    auto opened = server_mux.open(1);
    tasks.spawn("accept", accept(*opened));
    while (true) {
      auto text = co_await server_mux.receive_control();
      if (!text) co_return;
    }
  }
  Task<void> accept(std::shared_ptr<relay::Stream> server_stream) {
    std::vector<const crypto::X25519Key*> keys = {&server_key};
    auto accepted = co_await TdLink::accept(std::move(server_stream), std::move(keys), protocol::Role::instance, &random, &clock);
    if (accepted) link = *std::move(accepted);
    changed.notify_all();
  }
  Task<void> pump() {
    while (true) {
      auto text = co_await mux->receive_control();
      if (!text) co_return;
    }
  }
  /// The TD's end: connects and shakes hands.
  Task<Result<void>> connect() {
    http::ClientOptions options;
    options.base_url = server->base_url();
    const http::Headers headers;
    const http::WebSocketLimits limits;
    auto socket = co_await http::WebSocketClient::connect(io, std::move(options), "/", headers, limits, soon());
    if (!socket) co_return std::move(socket).error();
    mux = std::make_unique<relay::Mux>(*std::move(socket));
    auto opened = mux->open(1);
    stream = *opened;
    tasks.spawn("pump", pump());
    channel::Initiator initiator{server_key.public_key(), protocol::Role::instance, random};
    auto hello = initiator.start();
    Bytes first = *std::move(hello);
    auto sent = co_await stream->write(std::move(first));
    if (!sent) co_return sent;
    while (!td) {
      auto bytes = co_await stream->read();
      if (!bytes) co_return std::move(bytes).error();
      auto shaken = initiator.feed(*bytes);
      if (!shaken) co_return std::move(shaken).error();
      if (*shaken) td.emplace(std::move(**shaken));
    }
    for (auto seen = changed.version(); !link; seen = changed.version()) {
      auto waited = co_await changed.wait(seen, soon());
      if (!waited) co_return waited;
    }
    co_return Result<void>{};
  }
  Task<Result<std::vector<protocol::ToTd>>> receive(std::size_t count) {
    std::vector<protocol::ToTd> out;
    while (out.size() < count) {
      auto bytes = co_await stream->read();
      if (!bytes) co_return std::move(bytes).error();
      auto got = td->feed(*bytes);
      if (!got) co_return std::move(got).error();
      for (const auto& message : got->messages) out.push_back(*protocol::decode_to_td(message));
    }
    co_return out;
  }
  Result<void> send(const std::string& detail) {
    return run(runtime::with_deadline(soon(), link->send(protocol::Refused{"code", detail})));
  }
  Task<void> send_quietly(std::size_t size) {
    Bytes large(size, 7);
    protocol::ToTd message = job_of(std::move(large));
    auto sent = co_await link->send(std::move(message));
    outcome = sent ? Errc::internal : sent.error().code();
    changed.notify_all();
  }
  Task<Result<Errc>> wait_for_outcome() {
    for (auto seen = changed.version(); !outcome; seen = changed.version()) {
      auto waited = co_await changed.wait(seen, soon());
      if (!waited) co_return std::move(waited).error();
    }
    co_return *outcome;
  }

  SystemRandom random;
  ImpatientClock clock;
  log::NullLogger logger;
  crypto::X25519Key server_key = crypto::X25519Key::generate(random);
  runtime::IoContext io{1};
  runtime::Executor strand = io.strand();
  std::unique_ptr<http::Server> server;
  std::unique_ptr<relay::Mux> mux;
  std::shared_ptr<relay::Stream> stream;  // shared with the mux
  std::optional<channel::Transport> td;
  std::shared_ptr<TdLink> link;
  std::optional<Errc> outcome;
  runtime::AsyncEvent changed;
  runtime::TaskGroup tasks{strand, logger, "test"};
};

constexpr std::size_t kMoreThanTheWindow = 3U << 20;

TEST_F(TdLinkTest, SendsInTheOrderOfTheCallsWhoeverWrites) {
  td->allow(channel::kMaxMessage);
  tasks.spawn("large", send_quietly(kMoreThanTheWindow));
  tasks.spawn("small", send_quietly(100));
  auto got = run(runtime::with_deadline(soon(), receive(2)));
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(std::get<protocol::AssignJob>((*got)[0]).ciphertext.size(), kMoreThanTheWindow);
  EXPECT_EQ(std::get<protocol::AssignJob>((*got)[1]).ciphertext.size(), 100U);
  EXPECT_EQ(*run(wait_for_outcome()), Errc::internal);
}

TEST_F(TdLinkTest, FailsForGoodWhenTheTdTakesNothing) {
  clock.lag = std::chrono::milliseconds{59'900};
  tasks.spawn("large", send_quietly(kMoreThanTheWindow));
  EXPECT_EQ(*run(wait_for_outcome()), Errc::deadline_exceeded);
  EXPECT_EQ(send("later").error().code(), Errc::deadline_exceeded);
  auto received = run(runtime::with_deadline(soon(), link->receive()));
  EXPECT_EQ(received.error().code(), Errc::channel_truncated) << "the stream was ended";
}

TEST_F(TdLinkTest, FailsEverySenderThatWaitsBehindAFailedOne) {
  clock.lag = std::chrono::milliseconds{59'900};
  tasks.spawn("large", send_quietly(kMoreThanTheWindow));
  EXPECT_EQ(send("behind").error().code(), Errc::deadline_exceeded);
}

TEST_F(TdLinkTest, FailsForGoodWhenTheStreamHasEnded) {
  EXPECT_TRUE(send("before"));
  runtime::block_on(io, tasks.cancel_and_wait());  // which use them
  mux.reset();
  stream.reset();
  for (int i = 0; i < 2; ++i) {
    auto sent = send("after");
    for (int tries = 0; sent && tries < 1000; ++tries) sent = send("until the server has seen it");
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code(), Errc::peer_closed);
  }
}

Task<Result<void>> send_large(std::shared_ptr<TdLink> link) {
  protocol::ToTd message = job_of(Bytes(kMoreThanTheWindow, 7));
  co_return co_await link->send(std::move(message));
}

TEST_F(TdLinkTest, FailsWhenASenderIsCancelledInTheMiddle) {
  const Deadline now{std::chrono::steady_clock::now() + std::chrono::milliseconds{50}};
  EXPECT_EQ(run(runtime::with_deadline(now, send_large(link))).error().code(), Errc::deadline_exceeded);
  EXPECT_FALSE(send("after"));
}

}  // namespace
}  // namespace cloister::links
