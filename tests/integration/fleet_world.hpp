#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>

#include "cloister/channel/channel.hpp"
#include "cloister/fleet/fleet.hpp"
#include "cloister/http/client.hpp"
#include "cloister/http/server.hpp"
#include "cloister/protocol/host.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/runtime/io_context.hpp"
#include "world.hpp"

namespace cloister::test {

namespace host = protocol::host;

/// The world's wall time, and a machine's, which both move on when told to. Waiting is real.
class MovableClock final : public Clock {
 public:
  explicit MovableClock(UnixTime begin) : begin_{begin} {}
  [[nodiscard]] UnixTime now() const override { return begin_ + moved_.load() + jumped_.load(); }
  [[nodiscard]] SteadyTime steady() const override { return machine_.steady() + moved_.load(); }
  void advance(std::chrono::microseconds span) { moved_ = moved_.load() + span; }
  /// The wall time alone.
  void jump(std::chrono::microseconds span) { jumped_ = jumped_.load() + span; }

 private:
  UnixTime begin_;
  SystemClock machine_;
  std::atomic<std::chrono::microseconds> moved_{};
  std::atomic<std::chrono::microseconds> jumped_{};
};

/// Counts what could not be written down.
class StorageFailures final : public log::Logger {
 public:
  void write(log::Level, std::string_view event, std::initializer_list<log::Field>) override {
    if (event == "storage.failed") ++count;
  }
  std::atomic<int> count = 0;
};

/// The fleet behind a real server, with hosts and TDs whose every word a test chooses. Blocking, for the test's thread.
class FleetWorld {
 public:
  explicit FleetWorld(std::chrono::milliseconds session_lifetime = std::chrono::hours{1});
  ~FleetWorld();
  FleetWorld(const FleetWorld&) = delete;
  FleetWorld& operator=(const FleetWorld&) = delete;

  template <class T>
  T run(runtime::Task<T> task) {
    return runtime::block_on(io, runtime::run_on(strand, std::move(task)));
  }
  /// Ends fleet and server in order, as the program does. Idempotent. `open` makes them anew, on the same database.
  void stop();
  /// Waits until the condition holds, or fails the test.
  bool eventually(const std::function<bool()>& condition);

  [[nodiscard]] model::Instance instance(const InstanceId& id);
  [[nodiscard]] std::vector<model::Instance> instances();
  [[nodiscard]] model::Validator validator_row();
  /// Of another enrolled validator.
  ValidatorId enrol(const crypto::Ed25519Key& key);
  /// Registers another version, with so many instances.
  model::Version add_version(std::uint32_t instances);

  World world;
  MovableClock clock{world.clock.now()};
  SystemRandom random;
  StorageFailures logger;
  audit::Refusals refusals;
  crypto::Ed25519Key hotkey = crypto::Ed25519Key::generate(random);
  ValidatorId validator;
  attestation::VerificationCache known{random};
  std::atomic<int> collateral_asked = 0;  // how often, for whatever quote
  runtime::IoContext io{1};
  runtime::BlockingPool pool{2, 256};
  static constexpr std::size_t kProofQueue = 2;
  runtime::BlockingPool proofs{1, kProofQueue};
  runtime::Executor strand;
  std::unique_ptr<session::AttestedSessions> sessions;
  revocation::List revoked{revocation::List::Services{*world.database, *world.log, random}, std::nullopt};
  std::unique_ptr<links::Attestor> attestor;
  std::unique_ptr<scheduler::Dispatcher> dispatcher;
  std::unique_ptr<runtime::TaskGroup> tasks;
  std::unique_ptr<fleet::Fleet> fleet;
  std::unique_ptr<http::Server> server;

  /// From `open` on, the server shows this evidence of its own.
  void run_in_tee(links::ServerProver prove, std::chrono::milliseconds patience = std::chrono::seconds{20});

  /// The fleet is made by `open`, so that a test may choose these before.
  fleet::Fleet::Options options;
  void open();
};

/// A TD at its end of a relayed stream.
class TdEnd {
 public:
  TdEnd(FleetWorld& world, std::shared_ptr<relay::Stream> stream) : world_{world}, stream_{std::move(stream)} {}

  [[nodiscard]] Result<void> shake(protocol::Role role);
  [[nodiscard]] const Digest32& handshake_hash() const { return transport_->handshake_hash(); }
  [[nodiscard]] Result<protocol::ToTd> receive();
  /// The next message, which must be of this kind.
  template <class M>
  M expect() {
    auto message = receive();
    if (!message) {
      failed("a message", message.error());
      return {};
    }
    if (auto* wanted = std::get_if<M>(&*message)) return std::move(*wanted);
    failed("another message", Error{Errc::internal});
    return {};
  }
  bool send(protocol::ToServer message);
  /// What a good guest answers.
  [[nodiscard]] protocol::Attest answer(const World::Td& td, const protocol::Challenge& challenge,
                                        protocol::Role role = protocol::Role::instance);
  /// Shakes hands, attests and is accepted, gets its secrets, and says that it is ready.
  std::optional<SessionId> become_ready(const World::Td& td, std::uint32_t slots = 1);
  /// Answers another challenge, and is accepted.
  SessionId attest_again(const World::Td& td);
  void close();
  /// True once the server has ended the stream.
  [[nodiscard]] bool ended();

 private:
  void failed(const char* expected, const Error& why);
  runtime::Task<Result<void>> shake_hands(protocol::Role role);
  runtime::Task<Result<protocol::ToTd>> receive_one();
  runtime::Task<Result<void>> send_bytes(Bytes bytes);
  FleetWorld& world_;
  std::shared_ptr<relay::Stream> stream_;
  std::optional<channel::Transport> transport_;
  std::deque<Bytes> received_;
};

/// A host agent at its end of the connection.
class HostEnd {
 public:
  explicit HostEnd(FleetWorld& world);
  ~HostEnd();
  HostEnd(const HostEnd&) = delete;
  HostEnd& operator=(const HostEnd&) = delete;

  /// The next control message; an error when the connection has ended.
  [[nodiscard]] Result<host::ToHost> next();
  template <class M>
  M expect() {
    auto message = next();
    if (!message) {
      failed(message.error());
      return {};
    }
    if (auto* wanted = std::get_if<M>(&*message)) return std::move(*wanted);
    failed(Error{Errc::internal, "another message: " + host::encode(*message)});
    return {};
  }
  bool send(const host::ToServer& message);
  /// Signs the server's hello with this key.
  void log_in(const crypto::Ed25519Key& key, std::uint32_t capacity = 4, std::vector<InstanceId> running = {});
  /// Logs in with the world's hotkey and is welcome; the server then asks for the host's own TD.
  void join(std::uint32_t capacity = 4, std::vector<InstanceId> running = {});
  /// Starts and attests the host's own TD, so that instances may follow.
  void verify();
  [[nodiscard]] TdEnd open(std::uint32_t stream);
  [[nodiscard]] std::uint32_t next_stream() { return next_stream_++; }
  /// Says that this instance has started, on a new stream.
  [[nodiscard]] TdEnd started(const InstanceId& instance);
  void close();
  /// True once the server has ended the connection.
  [[nodiscard]] bool ended();

 private:
  struct Link;
  void failed(const Error& why);
  FleetWorld& world_;
  std::shared_ptr<Link> link_;  // shared with its receiving task
  std::uint32_t next_stream_ = 1;
};

}  // namespace cloister::test
