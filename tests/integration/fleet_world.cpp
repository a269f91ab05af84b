#include "fleet_world.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/oci/layout.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/runtime/task_group.hpp"
#include "cloister/storage/fleet.hpp"

namespace cloister::test {
namespace {

using runtime::Task;

constexpr std::chrono::seconds kPatience{20};

Deadline soon() { return Deadline{std::chrono::steady_clock::now() + kPatience}; }

}  // namespace

FleetWorld::FleetWorld(std::chrono::milliseconds session_lifetime) : strand{io.strand()} {
  sessions = std::make_unique<session::AttestedSessions>(*world.database, *world.sealer, *world.log, random,
                                                         session_lifetime);
  run_in_tee({});
  dispatcher = std::make_unique<scheduler::Dispatcher>(*world.jobs, pool, clock, logger);
  validator = enrol(hotkey);
  options.server_id = "srv-test";
  options.keys = {&world.server_key};
  options.host_token = [](const ValidatorId& id) { return "token of " + id.str(); };
  io.start();
}

void FleetWorld::run_in_tee(links::ServerProver prove, std::chrono::milliseconds patience) {
  attestor = std::make_unique<links::Attestor>(
      links::Attestor::Services{*sessions, pool, clock, logger, &known, &revoked, std::move(prove), &proofs, patience},
      [this](const evidence::Quote&) -> Result<evidence::QuoteCollateral> {
        ++collateral_asked;
        return world.collateral;
      },
      world.anchors,
      policy::Policy{});
}

void FleetWorld::open() {
  fleet = std::make_unique<fleet::Fleet>(
      fleet::Fleet::Services{*world.database, *world.registry, *attestor, *world.broker, *world.jobs, *dispatcher,
                             refusals, pool, clock, random, logger},
      options, strand);
  EXPECT_TRUE(fleet->recover());
  http::Router router;
  const http::WebSocketLimits limits{.max_message = 1U << 20,
                                     .max_queued_messages = 1024,
                                     .max_queued_bytes = 64U << 20,
                                     .max_unread_messages = 64,
                                     .idle_timeout = std::chrono::milliseconds{60'000}};
  router.add_websocket("/api/v1/host", http::kPublic, limits,
                       [this](http::Request, std::shared_ptr<http::WebSocket> socket) {
                         return fleet->serve_host(std::move(socket));
                       });
  http::ServerOptions serving;
  serving.handlers = strand;
  auto listening = http::Server::listen(io, std::move(serving), std::move(router), logger);
  ASSERT_TRUE(listening) << listening.error().text();
  server = *std::move(listening);
  tasks = std::make_unique<runtime::TaskGroup>(strand, logger, "world");
  tasks->spawn("reconcile", fleet->reconcile());
}

namespace {

Task<bool> shut_down(fleet::Fleet* fleet) {
  co_await fleet->shut_down();
  co_return true;
}

}  // namespace

void FleetWorld::stop() {
  if (!server) return;
  EXPECT_TRUE(run(shut_down(fleet.get())));
  runtime::block_on(io, server->stop(std::chrono::milliseconds{100}));
  runtime::block_on(io, tasks->cancel_and_wait());
  server.reset();
}

FleetWorld::~FleetWorld() { stop(); }

bool FleetWorld::eventually(const std::function<bool()>& condition) {
  const auto deadline = soon();
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline.at()) {
      ADD_FAILURE() << "it did not happen in time";
      return false;
    }
    static_cast<void>(run(runtime::sleep_for(std::chrono::milliseconds{2})));
  }
  return true;
}

model::Instance FleetWorld::instance(const InstanceId& id) {
  auto snapshot = world.database->read();
  auto found = storage::instances::get(*snapshot, id);
  EXPECT_TRUE(found) << found.error().text();
  return found ? *found : model::Instance{};
}

std::vector<model::Instance> FleetWorld::instances() {
  auto snapshot = world.database->read();
  return *storage::instances::list(*snapshot, {});
}

model::Validator FleetWorld::validator_row() {
  auto snapshot = world.database->read();
  return *storage::validators::get(*snapshot, validator);
}

ValidatorId FleetWorld::enrol(const crypto::Ed25519Key& key) {
  model::Validator host;
  host.id = ValidatorId::make(random);
  host.hotkey = key.public_key();
  auto transaction = world.database->write();
  EXPECT_TRUE(storage::validators::enrol(*transaction, host));
  EXPECT_TRUE(transaction->commit());
  return host.id;
}

model::Version FleetWorld::add_version(std::uint32_t instances) {
  auto spec = world.version.spec;
  spec.instances = instances;
  auto added = world.registry->add(world.tenant, spec, "tester", clock.now());
  EXPECT_TRUE(added) << added.error().text();
  return *added;
}

// --- TdEnd ---

void TdEnd::failed(const char* expected, const Error& why) { ADD_FAILURE() << expected << ": " << why.text(); }

Task<Result<void>> TdEnd::shake_hands(protocol::Role role) {
  channel::Initiator initiator{world_.world.server_key.public_key(), role, world_.random};
  auto hello = initiator.start();
  if (!hello) co_return std::move(hello).error();
  Bytes first = *std::move(hello);
  auto sent = co_await stream_->write(std::move(first));
  if (!sent) co_return sent;
  while (!transport_) {
    auto bytes = co_await stream_->read();
    if (!bytes) co_return std::move(bytes).error();
    auto shaken = initiator.feed(*bytes);
    if (!shaken) co_return std::move(shaken).error();
    if (*shaken) transport_.emplace(std::move(**shaken));
  }
  auto behind = transport_->feed({});
  if (!behind) co_return std::move(behind).error();
  for (auto& message : behind->messages) received_.push_back(std::move(message));
  co_return Result<void>{};
}

Result<void> TdEnd::shake(protocol::Role role) {
  return world_.run(runtime::with_deadline(soon(), shake_hands(role)));
}

Task<Result<protocol::ToTd>> TdEnd::receive_one() {
  while (received_.empty()) {
    auto bytes = co_await stream_->read();
    if (!bytes) co_return std::move(bytes).error();
    auto got = transport_->feed(*bytes);
    if (!got) co_return std::move(got).error();
    for (auto& message : got->messages) received_.push_back(std::move(message));
  }
  const Bytes message = std::move(received_.front());
  received_.pop_front();
  co_return protocol::decode_to_td(message);
}

Result<protocol::ToTd> TdEnd::receive() { return world_.run(runtime::with_deadline(soon(), receive_one())); }

Task<Result<void>> TdEnd::send_bytes(Bytes bytes) { return stream_->write(std::move(bytes)); }

bool TdEnd::send(protocol::ToServer message) {
  auto wire = transport_->seal(protocol::encode(message));
  if (!wire) return false;
  return world_.run(runtime::with_deadline(soon(), send_bytes(*std::move(wire)))).ok();
}

protocol::Attest TdEnd::answer(const World::Td& td, const protocol::Challenge& challenge, protocol::Role role) {
  protocol::Preimage preimage;
  preimage.role = role;
  preimage.server_key_id = protocol::server_key_id(world_.world.server_key.public_key());
  preimage.nonce = challenge.nonce;
  preimage.handshake_hash = transport_->handshake_hash();
  preimage.instance = challenge.instance;
  preimage.hotkey = challenge.hotkey;
  if (role == protocol::Role::instance) {
    preimage.keys = {{"payload", "x25519", to_bytes(ByteView{td.payload_key.public_key()})},
                     {"result", "ed25519", to_bytes(ByteView{td.result_key.public_key()})}};
  }
  protocol::Attest out;
  out.preimage = protocol::encode(preimage);
  out.event_log = td.event_log;
  out.configuration = td.configuration;
  const auto report = td.machine.tdg_mr_report(protocol::report_data(out.preimage));
  auto quote = world_.world.platform.quote(*report);
  EXPECT_TRUE(quote);
  out.evidence = *std::move(quote);
  return out;
}

std::optional<SessionId> TdEnd::become_ready(const World::Td& td, std::uint32_t slots) {
  if (auto shaken = shake(protocol::Role::instance); !shaken) {
    failed("a handshake", shaken.error());
    return std::nullopt;
  }
  EXPECT_TRUE(send(answer(td, expect<protocol::Challenge>())));
  const auto accepted = expect<protocol::Accepted>();
  EXPECT_EQ(expect<protocol::Release>().secrets.size(), 1U);
  EXPECT_TRUE(send(protocol::Ready{slots}));
  return accepted.session;
}

SessionId TdEnd::attest_again(const World::Td& td) {
  EXPECT_TRUE(send(answer(td, expect<protocol::Challenge>())));
  return expect<protocol::Accepted>().session;
}

namespace {

Task<Result<void>> close_stream(std::shared_ptr<relay::Stream> stream) {
  co_await stream->close();
  co_return Result<void>{};
}

Task<Result<void>> read_to_end(std::shared_ptr<relay::Stream> stream) {
  for (;;) {
    auto bytes = co_await stream->read();
    if (!bytes && bytes.error().code() == Errc::peer_closed) co_return Result<void>{};
    if (!bytes) co_return std::move(bytes).error();
  }
}

}  // namespace

void TdEnd::close() { static_cast<void>(world_.run(close_stream(stream_))); }

bool TdEnd::ended() { return world_.run(runtime::with_deadline(soon(), read_to_end(stream_))).ok(); }

// --- HostEnd ---

struct HostEnd::Link {
  Link(FleetWorld& world, std::shared_ptr<http::WebSocket> s)
      : socket{std::move(s)}, mux{socket}, tasks{world.strand, world.logger, "host-end"} {}

  Task<void> pump() {
    while (!end) {
      auto text = co_await mux.receive_control();
      const bool notice = text && text->find(R"("type":"attempt")") != std::string::npos;  // for its log alone
      if (text && !notice) inbox.push_back(*std::move(text));
      if (!text) end = std::move(text).error();
      arrived.notify_all();
    }
  }
  Task<Result<host::ToHost>> next() {
    const Deadline never{SteadyTime::max()};
    for (auto seen = arrived.version(); inbox.empty(); seen = arrived.version()) {
      if (end) co_return *end;
      auto waited = co_await arrived.wait(seen, never);
      if (!waited) co_return std::move(waited).error();
    }
    const std::string text = std::move(inbox.front());
    inbox.pop_front();
    co_return host::decode_to_host(text);
  }
  Task<Result<std::shared_ptr<relay::Stream>>> open(std::uint32_t stream) { co_return mux.open(stream); }
  Task<Result<void>> finish() {
    co_await mux.close(http::CloseCode::normal, "bye");
    co_await tasks.cancel_and_wait();
    co_return Result<void>{};
  }

  std::shared_ptr<http::WebSocket> socket;
  relay::Mux mux;
  runtime::TaskGroup tasks;
  std::deque<std::string> inbox;
  std::optional<Error> end;
  runtime::AsyncEvent arrived;
};

HostEnd::HostEnd(FleetWorld& world) : world_{world} {
  http::ClientOptions options;
  options.base_url = world.server->base_url();
  auto socket = world.run(http::WebSocketClient::connect(world.io, options, "/api/v1/host", {}, {}, soon()));
  EXPECT_TRUE(socket) << socket.error().text();
  link_ = std::make_shared<Link>(world, *std::move(socket));
  link_->tasks.spawn("pump", link_->pump());
}

HostEnd::~HostEnd() { close(); }

void HostEnd::close() { static_cast<void>(world_.run(link_->finish())); }

void HostEnd::failed(const Error& why) { ADD_FAILURE() << "control message: " << why.text(); }

Result<host::ToHost> HostEnd::next() { return world_.run(runtime::with_deadline(soon(), link_->next())); }

bool HostEnd::send(const host::ToServer& message) { return world_.run(link_->mux.send_control(host::encode(message))).ok(); }

void HostEnd::log_in(const crypto::Ed25519Key& key, std::uint32_t capacity, std::vector<InstanceId> running) {
  const auto hello = expect<host::Hello>();
  const auto signature = key.sign(host::login_message(hello.server_id, hello.nonce));
  EXPECT_TRUE(send(host::Login{key.public_key(), signature, capacity, std::move(running)}));
}

void HostEnd::join(std::uint32_t capacity, std::vector<InstanceId> running) {
  log_in(world_.hotkey, capacity, std::move(running));
  EXPECT_EQ(expect<host::Welcome>().validator, world_.validator);
  EXPECT_EQ(expect<host::StartValidatorTd>().configuration, world_.world.registry->validator_configuration());
}

void HostEnd::verify() {
  auto td = world_.world.launch_validator();
  const auto stream = next_stream();
  auto end = open(stream);
  EXPECT_TRUE(send(host::StartedValidatorTd{stream}));
  EXPECT_TRUE(end.shake(protocol::Role::validator));
  EXPECT_TRUE(end.send(end.answer(td, end.expect<protocol::Challenge>(), protocol::Role::validator)));
  EXPECT_FALSE(end.expect<protocol::Accepted>().session.empty());
}

TdEnd HostEnd::open(std::uint32_t stream) {
  auto opened = world_.run(link_->open(stream));  // a multiplexer is its executor's
  EXPECT_TRUE(opened) << opened.error().text();
  return {world_, *std::move(opened)};
}

TdEnd HostEnd::started(const InstanceId& instance) {
  const auto stream = next_stream();
  auto end = open(stream);
  EXPECT_TRUE(send(host::Started{instance, stream}));
  return end;
}

bool HostEnd::ended() {
  for (;;) {
    auto message = next();
    if (!message) return message.error().code() != Errc::deadline_exceeded;
  }
}

}  // namespace cloister::test
