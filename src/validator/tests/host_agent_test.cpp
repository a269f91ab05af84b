#include "cloister/validator/host_agent.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <set>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/http/server.hpp"
#include "cloister/protocol/host.hpp"
#include "cloister/provider/lab_host_wire.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/runtime/task_group.hpp"
#include "support/support.hpp"

namespace cloister::validator {
namespace {

namespace host = protocol::host;
using process::UniqueFd;
using runtime::Task;

constexpr std::chrono::seconds kPatience{20};
constexpr int kPatienceMs = 20'000;
const std::string kServerId = "srv-test";
const auto kInstance = *InstanceId::parse("inst-a");

Deadline soon() { return Deadline{std::chrono::steady_clock::now() + kPatience}; }

/// The platform's ends of a TD that does nothing by itself: hung, whatever its stream says.
struct Machine {
  provider::StartRequest request;
  process::FrameSocket streams;
  UniqueFd life;
  UniqueFd stream;

  /// The next byte stream that the TD is handed; true when there was one.
  bool take_stream() {
    auto frame = streams.receive(soon());
    if (!frame || !frame->payload.empty() || frame->descriptors.size() != 1) return false;
    stream = std::move(frame->descriptors[0]);
    return true;
  }
  void hang_up() { stream.reset(); }
  bool stream_ended() {
    pollfd ready{stream.get(), POLLIN, 0};
    char byte = 0;
    return ::poll(&ready, 1, kPatienceMs) == 1 && ::recv(stream.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  void write(std::string_view text) { EXPECT_EQ(::send(stream.get(), text.data(), text.size(), 0), std::ssize(text)); }
  std::string read(std::size_t size) {
    std::string out(size, '\0');
    for (std::size_t have = 0; have < size;) {
      pollfd ready{stream.get(), POLLIN, 0};
      if (::poll(&ready, 1, kPatienceMs) != 1) return "nothing came";
      const auto n = ::recv(stream.get(), out.data() + have, size - have, 0);
      if (n <= 0) return "the stream ended";
      have += static_cast<std::size_t>(n);
    }
    return out;
  }
  /// What ends it: its life was let go of.
  bool stopped() {
    pollfd ready{life.get(), POLLIN, 0};
    char byte = 0;
    return ::poll(&ready, 1, kPatienceMs) == 1 && ::recv(life.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }
  void exit(int code) {
    process::FrameSocket socket{std::move(life), provider::kExitLimits};
    EXPECT_TRUE(socket.send(provider::encode_exit({.status = {code, 0}, .console = "bye"}), {}, soon()));
  }
};

class Machines final : public provider::CvmProvider {
 public:
  Result<provider::StartedCvm> start(const provider::StartRequest& request, Deadline) override {
    const std::lock_guard lock{mutex_};
    if (failure) return *failure;
    auto [streams, td_streams] = *process::stream_pair();
    auto [life, td_life] = *process::stream_pair();
    machines_.push_back({{request.configuration, {}, request.memory_mib},
                         process::FrameSocket{std::move(td_streams), {.bytes = 0, .descriptors = 1}},
                         std::move(td_life),
                         {}});
    for (const auto& blob : request.blobs) {
      machines_.back().request.blobs.push_back({blob.sha256, UniqueFd{::dup(blob.file.get())}});
    }
    return provider::StartedCvm{"td-" + std::to_string(machines_.size()), std::move(streams),
                                provider::CvmLife{process::FrameSocket{std::move(life), provider::kExitLimits}}};
  }
  Result<void> stop(const std::string&, Deadline) override { return {}; }
  Result<std::vector<std::string>> list(Deadline) override { return std::vector<std::string>{}; }

  std::size_t size() {
    const std::lock_guard lock{mutex_};
    return machines_.size();
  }
  Machine& at(std::size_t index) {
    const std::lock_guard lock{mutex_};
    return machines_.at(index);
  }
  std::optional<Error> failure;

 private:
  std::mutex mutex_;
  std::deque<Machine> machines_;
};

/// Keeps which events there were, and says when there is one.
class Events final : public log::Logger {
 public:
  explicit Events(runtime::AsyncEvent& changed) : changed_{changed} {}
  void write(log::Level, std::string_view event, std::initializer_list<log::Field>) override {
    const std::lock_guard lock{mutex_};
    seen_.emplace(event);
    changed_.notify_all();
  }
  [[nodiscard]] bool has(std::string_view event) const {
    const std::lock_guard lock{mutex_};
    return seen_.contains(event);
  }

 private:
  runtime::AsyncEvent& changed_;
  mutable std::mutex mutex_;
  std::set<std::string, std::less<>> seen_;
};

/// The server's end of one connection.
struct Link {
  explicit Link(std::shared_ptr<http::WebSocket> socket) : mux{std::move(socket)} {}
  Task<void> pump() {
    while (!end) {
      auto text = co_await mux.receive_control();
      if (text) inbox.push_back(*std::move(text));
      else end = std::move(text).error();
      arrived.notify_all();
    }
  }
  Task<Result<host::ToServer>> next() {
    const Deadline never{SteadyTime::max()};
    for (auto seen = arrived.version(); inbox.empty(); seen = arrived.version()) {
      if (end) co_return *end;
      auto waited = co_await arrived.wait(seen, never);
      if (!waited) co_return std::move(waited).error();
    }
    const std::string text = std::move(inbox.front());
    inbox.pop_front();
    co_return host::decode_to_server(text);
  }
  relay::Mux mux;
  std::deque<std::string> inbox;
  std::optional<Error> end;
  runtime::AsyncEvent arrived;
};

/// A host agent, and the server that it speaks to, whose every word a test chooses.
class HostAgentTest : public testing::Test {
 protected:
  void SetUp() override {
    io.start();
    http::Router router;
    const http::WebSocketLimits limits;
    router.add_websocket("/api/v1/host", http::kPublic, limits,
                         [this](http::Request, std::shared_ptr<http::WebSocket> socket) { return serve(std::move(socket)); });
    router.add(http::Method::get, "/api/v1/blobs/{digest}", http::kPublic,
               [this](http::Request request) { return serve_blob(std::move(request)); });
    http::ServerOptions options;
    options.handlers = strand;
    auto listening = http::Server::listen(io, std::move(options), std::move(router), logger);
    ASSERT_TRUE(listening) << listening.error().text();
    server = *std::move(listening);
    http::ClientOptions client;
    client.base_url = server->base_url();
    HostAgentOptions agent_options;
    agent_options.server = client;
    agent_options.capacity = 3;
    agent_options.blobs = dir.path() / "blobs";
    agent_options.reopen_pause = std::chrono::milliseconds{1};
    agent = std::make_unique<HostAgent>(HostAgentServices{io, pool, machines, clock, logger}, agent_options, hotkey,
                                        strand);
  }
  void TearDown() override {
    cancel();
    run(stop_agent());
    agent.reset();
    link.reset();
    runtime::block_on(io, server->stop(std::chrono::milliseconds{100}));
  }

  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(io, runtime::run_on(strand, std::move(task)));
  }
  void start() { tasks->spawn("agent", run_agent()); }
  /// Cancels `run`; it can be started again.
  void cancel() {
    runtime::block_on(io, tasks->cancel_and_wait());
    tasks = std::make_unique<runtime::TaskGroup>(strand, logger, "test");
  }
  Task<bool> stop_agent() {
    co_await agent->stop();
    co_return true;
  }
  Task<void> run_agent() {
    const Error why = co_await agent->run();
    ended = why;
    changed.notify_all();
  }
  /// Waits until this holds, looking again whenever something happened.
  Task<Result<void>> until(std::function<bool()> condition) {
    for (auto seen = changed.version(); !condition(); seen = changed.version()) {
      auto waited = co_await changed.wait(seen, soon());
      if (!waited) co_return waited;
    }
    co_return Result<void>{};
  }
  Error why_it_ended() {
    EXPECT_TRUE(run(until([this] { return ended.has_value(); })));
    return ended.value_or(Error{Errc::internal});
  }

  Task<void> serve(std::shared_ptr<http::WebSocket> socket) {
    const auto mine = std::make_shared<Link>(std::move(socket));
    link = mine;
    changed.notify_all();
    co_await mine->pump();
  }
  Task<http::Response> serve_blob(http::Request request) {
    tokens.emplace_back(request.headers.find("Authorization").value_or(""));
    co_return http::bytes_response("application/octet-stream", blob);
  }

  void send(const host::ToHost& message) { EXPECT_TRUE(run(link->mux.send_control(host::encode(message)))); }
  Result<host::ToServer> next() { return run(runtime::with_deadline(soon(), link->next())); }
  template <class M>
  M expect() {
    auto message = next();
    if (!message) {
      ADD_FAILURE() << message.error().text();
      return {};
    }
    if (auto* wanted = std::get_if<M>(&*message)) return std::move(*wanted);
    ADD_FAILURE() << "another message: " << host::encode(*message);
    return {};
  }
  /// The server ends the connection.
  void disconnect() {
    run(close_link());
    static_cast<void>(why_it_ended());
    ended.reset();
    link.reset();
  }
  Task<bool> close_link() {
    co_await link->mux.close(http::CloseCode::going_away, "bye");
    co_return true;
  }
  /// The agent connects, logs in, and is welcome.
  host::Login join() {
    start();
    EXPECT_TRUE(run(until([this] { return link != nullptr; })));
    send(host::Hello{kServerId, ByteArray<32>{5}});
    auto login = expect<host::Login>();
    send(host::Welcome{*ValidatorId::parse("val-a"), "first"});
    return login;
  }
  Task<Result<std::shared_ptr<relay::Stream>>> open_there(std::uint32_t number) { co_return link->mux.open(number); }
  std::shared_ptr<relay::Stream> open(std::uint32_t number) {
    auto stream = run(open_there(number));  // a multiplexer is its executor's
    EXPECT_TRUE(stream);
    return *stream;
  }
  /// A TD that was started for this instance, and its stream.
  std::shared_ptr<relay::Stream> start_td(const InstanceId& instance = kInstance) {
    send(host::Start{instance, Bytes{1, 2}, {}, 64});
    const auto started = expect<host::Started>();
    EXPECT_EQ(started.instance, instance);
    return open(started.stream);
  }
  /// That TD's new stream, after it was offered again.
  std::shared_ptr<relay::Stream> offered_again(const InstanceId& instance = kInstance) {
    const auto started = expect<host::Started>();
    EXPECT_EQ(started.instance, instance);
    return open(started.stream);
  }
  Task<Result<std::string>> read_text(std::shared_ptr<relay::Stream> stream, std::size_t size) {
    std::string out;
    while (out.size() < size) {
      auto bytes = co_await stream->read();
      if (!bytes) co_return std::move(bytes).error();
      out += as_text(*bytes);
    }
    co_return out;
  }
  Task<bool> close(std::shared_ptr<relay::Stream> stream) {
    co_await stream->close();
    co_return true;
  }
  std::string read(const std::shared_ptr<relay::Stream>& stream, std::size_t size) {
    auto text = run(runtime::with_deadline(soon(), read_text(stream, size)));
    return text ? *text : text.error().text();
  }

  test::TempDir dir;
  SystemRandom random;
  SystemClock clock;
  runtime::AsyncEvent changed;
  Events logger{changed};
  crypto::Ed25519Key hotkey = crypto::Ed25519Key::generate(random);
  Machines machines;
  runtime::IoContext io{1};
  runtime::BlockingPool pool{2, 64};
  runtime::Executor strand = io.strand();
  std::unique_ptr<http::Server> server;
  std::unique_ptr<HostAgent> agent;
  std::shared_ptr<Link> link;  // the newest connection; shared with what serves it
  std::optional<Error> ended;
  Bytes blob;
  std::vector<std::string> tokens;
  std::unique_ptr<runtime::TaskGroup> tasks = std::make_unique<runtime::TaskGroup>(strand, logger, "test");
};

TEST_F(HostAgentTest, ProvesItsHotkeyToThisServerForThisNonce) {
  const auto login = join();
  EXPECT_EQ(login.hotkey, hotkey.public_key());
  EXPECT_EQ(login.capacity, 3U);
  EXPECT_TRUE(crypto::ed25519_verify(login.hotkey, host::login_message(kServerId, ByteArray<32>{5}), login.signature));
}

TEST_F(HostAgentTest, SaysWhyItWasRefused) {
  start();
  ASSERT_TRUE(run(until([this] { return link != nullptr; })));
  send(host::Hello{kServerId, {}});
  expect<host::Login>();
  send(host::RefusedLogin{"conflict", "draining"});
  EXPECT_EQ(why_it_ended().text(), "conflict: draining");
}

TEST_F(HostAgentTest, EndsOnMessagesThatNoServerSends) {
  join();
  EXPECT_TRUE(run(link->mux.send_control(R"({"type":"sing"})")));
  EXPECT_EQ(why_it_ended().code(), Errc::unsupported);
}

TEST_F(HostAgentTest, EndsOnASecondLogin) {
  join();
  send(host::Hello{kServerId, {}});
  EXPECT_EQ(why_it_ended().code(), Errc::channel_message_invalid);
}

TEST_F(HostAgentTest, StartsATdAndRelaysItsStream) {
  join();
  const auto stream = start_td();
  EXPECT_EQ(machines.at(0).request.configuration, (Bytes{1, 2}));
  EXPECT_EQ(machines.at(0).request.memory_mib, 64U);
  ASSERT_TRUE(machines.at(0).take_stream());
  machines.at(0).write("from the TD");
  EXPECT_EQ(read(stream, 11), "from the TD");
  EXPECT_TRUE(run(stream->write(to_bytes("to the TD"))));
  EXPECT_EQ(machines.at(0).read(9), "to the TD");
}

TEST_F(HostAgentTest, StopsATdThatHangs) {
  join();
  const auto stream = start_td();
  send(host::Stop{kInstance});
  EXPECT_TRUE(machines.at(0).stopped());
}

TEST_F(HostAgentTest, StopsItsTdsAtItsEnd) {
  join();
  const auto first = start_td();
  const auto second = start_td(*InstanceId::parse("inst-b"));
  cancel();
  run(stop_agent());
  EXPECT_TRUE(machines.at(0).stopped());
  EXPECT_TRUE(machines.at(1).stopped());
}

TEST_F(HostAgentTest, SaysHowATdEnded) {
  join();
  const auto stream = start_td();
  machines.at(0).exit(3);
  const auto exited = expect<host::Exited>();
  EXPECT_EQ(exited.instance, kInstance);
  EXPECT_EQ(exited.status, 3);
}

TEST_F(HostAgentTest, GoesOnWhileATdIsSlowToEnd) {
  join();
  const auto slow = start_td();
  const auto other = start_td(*InstanceId::parse("inst-b"));
  // The life of the first is readable, but what it has to say is not whole.
  ASSERT_EQ(::send(machines.at(0).life.get(), "\0", 1, 0), 1);
  ASSERT_TRUE(machines.at(1).take_stream());
  machines.at(1).write("meanwhile");
  EXPECT_EQ(read(other, 9), "meanwhile");
  EXPECT_TRUE(link->inbox.empty()) << "the other TD was kept waiting until the slow one had ended";
  EXPECT_EQ(expect<host::Exited>().instance, kInstance);
}

// --- TDs outlive streams and connections ---

TEST_F(HostAgentTest, KeepsItsTdsOverABrokenConnectionAndOffersThem) {
  EXPECT_TRUE(join().running.empty());
  const auto stream = start_td();
  ASSERT_TRUE(machines.at(0).take_stream());
  disconnect();
  EXPECT_TRUE(machines.at(0).stream_ended());
  EXPECT_EQ(join().running, std::vector{kInstance});
  const auto second = offered_again();
  ASSERT_TRUE(machines.at(0).take_stream());
  machines.at(0).write("still here");
  EXPECT_EQ(read(second, 10), "still here");
  send(host::Stop{kInstance});
  EXPECT_TRUE(machines.at(0).stopped());
}

TEST_F(HostAgentTest, DoesNotOfferATdThatEndedMeanwhile) {
  join();
  const auto stream = start_td();
  disconnect();
  machines.at(0).exit(0);
  ASSERT_TRUE(run(until([this] { return logger.has("td.ended"); })));
  EXPECT_TRUE(join().running.empty());
}

TEST_F(HostAgentTest, SaysThatATdEndedWhichItsLoginOffered) {
  join();
  const auto stream = start_td();
  const auto other = start_td(*InstanceId::parse("inst-b"));
  disconnect();
  start();
  ASSERT_TRUE(run(until([this] { return link != nullptr; })));
  send(host::Hello{kServerId, {}});
  ASSERT_EQ(expect<host::Login>().running.size(), 2U);
  machines.at(0).exit(0);
  ASSERT_TRUE(run(until([this] { return logger.has("td.ended"); })));
  send(host::Welcome{*ValidatorId::parse("val-a"), "first"});
  // The one that is left is offered, in whichever order the two are said.
  std::set<InstanceId> exited;
  std::set<InstanceId> started;
  while (exited.size() + started.size() < 2) {
    auto message = next();
    ASSERT_TRUE(message) << message.error().text();
    if (const auto* end = std::get_if<host::Exited>(&*message)) exited.insert(end->instance);
    else if (const auto* offer = std::get_if<host::Started>(&*message)) started.insert(offer->instance);
  }
  EXPECT_EQ(exited, std::set{kInstance});
  EXPECT_EQ(started, std::set{*InstanceId::parse("inst-b")});
}

TEST_F(HostAgentTest, GivesATdANewStreamWhenTheServerClosesOne) {
  join();
  const auto stream = start_td();
  ASSERT_TRUE(machines.at(0).take_stream());
  run(close(stream));
  EXPECT_TRUE(machines.at(0).stream_ended());
  const auto second = offered_again();
  ASSERT_TRUE(machines.at(0).take_stream());
  EXPECT_TRUE(run(second->write(to_bytes("again"))));
  EXPECT_EQ(machines.at(0).read(5), "again");
}

TEST_F(HostAgentTest, GivesATdANewStreamWhenItClosesOneItself) {
  join();
  const auto stream = start_td();
  ASSERT_TRUE(machines.at(0).take_stream());
  machines.at(0).hang_up();
  const auto second = offered_again();
  ASSERT_TRUE(machines.at(0).take_stream());
  machines.at(0).write("again");
  EXPECT_EQ(read(second, 5), "again");
}

TEST_F(HostAgentTest, StartsItsOwnTdOnceForOneConfiguration) {
  join();
  send(host::StartValidatorTd{Bytes{1}});
  expect<host::StartedValidatorTd>();
  disconnect();
  EXPECT_TRUE(join().running.empty()) << "it is no instance";
  send(host::StartValidatorTd{Bytes{1}});
  expect<host::StartedValidatorTd>();
  EXPECT_EQ(machines.size(), 1U);
  disconnect();
  join();
  send(host::StartValidatorTd{Bytes{2}});
  expect<host::StartedValidatorTd>();
  EXPECT_TRUE(machines.at(0).stopped());
  EXPECT_EQ(machines.at(1).request.configuration, Bytes{2});
}

TEST_F(HostAgentTest, SaysWhyATdDidNotStart) {
  join();
  machines.failure = Error{Errc::overloaded, "no memory"};
  send(host::Start{kInstance, {}, {}, 64});
  const auto failed = expect<host::StartFailed>();
  EXPECT_EQ(failed.instance, kInstance);
  EXPECT_EQ(failed.code, "overloaded");
  EXPECT_EQ(failed.detail, "no memory");
}

TEST_F(HostAgentTest, FetchesBlobsOnceWithTheNewestToken) {
  join();
  blob = to_bytes("the blob");
  const auto digest = crypto::sha256(blob);
  send(host::Start{kInstance, {}, {digest}, 64});
  expect<host::Started>();
  ASSERT_EQ(machines.at(0).request.blobs.size(), 1U);
  EXPECT_EQ(machines.at(0).request.blobs[0].sha256, digest);
  send(host::Token{"second"});
  send(host::Start{*InstanceId::parse("inst-b"), {}, {digest}, 64});
  expect<host::Started>();
  EXPECT_EQ(tokens, std::vector<std::string>{"Bearer first"});
  blob = to_bytes("another");
  send(host::Start{*InstanceId::parse("inst-c"), {}, {crypto::sha256(blob)}, 64});
  expect<host::Started>();
  EXPECT_EQ(tokens.back(), "Bearer second");
}

TEST_F(HostAgentTest, DoesNotStartATdWithABlobThatIsAnother) {
  join();
  blob = to_bytes("not what was asked for");
  send(host::Start{kInstance, {}, {Digest32{1}}, 64});
  EXPECT_EQ(expect<host::StartFailed>().code, "digest_mismatch");
}

}  // namespace
}  // namespace cloister::validator
