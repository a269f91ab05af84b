#include "instance_link.hpp"

#include <gtest/gtest.h>

#include "cloister/http/client.hpp"

namespace cloister::test {
namespace {

constexpr std::chrono::seconds kPatience{15};  // less than a dispatcher takes to look again by itself
constexpr std::uint32_t kStream = 1;

runtime::Task<void> pump(std::shared_ptr<relay::Mux> mux) {
  for (;;) {
    auto text = co_await mux->receive_control();
    if (!text) co_return;
  }
}

}  // namespace

InstanceLink::InstanceLink(World& world, runtime::IoContext& io, runtime::Executor strand, Serve serve)
    : world_{world},
      io_{io},
      strand_{std::move(strand)},
      serve_{std::move(serve)},
      pumps_{strand_, logger_, "pumps"},
      serving_{strand_, logger_, "serving"} {
  http::Router router;
  router.add_websocket("/", http::kPublic, {}, [this](http::Request, std::shared_ptr<http::WebSocket> socket) {
    return server_end(std::move(socket));
  });
  http::ServerOptions options;
  options.handlers = strand_;
  auto server = http::Server::listen(io_, std::move(options), std::move(router), logger_);
  CLOISTER_ASSERT(server.ok());
  server_ = *std::move(server);
  const auto connected = run(connect());
  if (!connected) fail(connected.error().text());
}

InstanceLink::~InstanceLink() {
  run(stop());
  run(disconnect());
  runtime::block_on(io_, server_->stop(std::chrono::milliseconds{100}));
}

void InstanceLink::fail(const std::string& what) { ADD_FAILURE() << what; }

runtime::Task<void> InstanceLink::server_end(std::shared_ptr<http::WebSocket> socket) {
  server_mux_ = std::make_shared<relay::Mux>(socket);
  auto stream = server_mux_->open(kStream);
  CLOISTER_ASSERT(stream.ok());
  serving_.spawn("serve", serve(*std::move(stream)));
  auto pumping = pump(server_mux_);
  co_await std::move(pumping);
}

runtime::Task<void> InstanceLink::serve(std::shared_ptr<relay::Stream> stream) {
  std::vector<const crypto::X25519Key*> keys{&world_.server_key};
  auto handshake = links::TdLink::accept(std::move(stream), std::move(keys), protocol::Role::instance, &random_, &clock_);
  auto link = co_await std::move(handshake);
  if (!link) {
    why_ = std::move(link).error();
  } else {
    (*link)->trust_peer();
    why_ = co_await serve_(*link);
    co_await (*link)->close();
  }
  ended_.notify_all();
}

runtime::Task<Result<void>> InstanceLink::connect() {
  http::ClientOptions options;
  options.base_url = server_->base_url();
  const http::Headers headers;
  const http::WebSocketLimits limits;
  auto connecting =
      http::WebSocketClient::connect(io_, std::move(options), "/", headers, limits, Deadline::after(clock_, kPatience));
  auto socket = co_await std::move(connecting);
  if (!socket) co_return std::move(socket).error();
  td_mux_ = std::make_shared<relay::Mux>(*socket);
  auto stream = td_mux_->open(kStream);
  if (!stream) co_return std::move(stream).error();
  stream_ = *std::move(stream);
  pumps_.spawn("td", pump(td_mux_));
  channel::Initiator initiator{world_.server_key.public_key(), protocol::Role::instance, random_};
  auto hello = initiator.start();
  if (!hello) co_return std::move(hello).error();
  auto sent = co_await stream_->write(*std::move(hello));
  if (!sent) co_return std::move(sent).error();
  while (!transport_) {
    auto bytes = co_await stream_->read();
    if (!bytes) co_return std::move(bytes).error();
    auto transport = initiator.feed(*bytes);
    if (!transport) co_return std::move(transport).error();
    if (*transport) transport_.emplace(std::move(**transport));
  }
  transport_->allow(channel::kMaxMessage);
  auto behind = transport_->feed({});
  if (!behind) co_return std::move(behind).error();
  for (auto& message : behind->messages) received_.push_back(std::move(message));
  co_return Result<void>{};
}

runtime::Task<Result<void>> InstanceLink::write(protocol::ToServer message) {
  auto wire = transport_->seal(protocol::encode(message));
  if (!wire) co_return std::move(wire).error();
  co_return co_await stream_->write(*std::move(wire));
}

runtime::Task<Result<protocol::ToTd>> InstanceLink::read() {
  while (received_.empty()) {
    auto bytes = co_await stream_->read();
    if (!bytes) co_return std::move(bytes).error();
    auto got = transport_->feed(*bytes);
    if (!got) co_return std::move(got).error();
    for (auto& message : got->messages) received_.push_back(std::move(message));
    if (got->closed) co_return Error{Errc::peer_closed, "the server closed the channel"};
  }
  const Bytes message = std::move(received_.front());
  received_.pop_front();
  co_return protocol::decode_to_td(message);
}

void InstanceLink::send(protocol::ToServer message) {
  const auto sent = run(write(std::move(message)));
  if (!sent) fail(sent.error().text());
}

Result<protocol::ToTd> InstanceLink::receive() {
  return run(runtime::with_deadline(Deadline::after(clock_, kPatience), read()));
}

runtime::Task<bool> InstanceLink::close() {
  co_await stream_->close();
  co_return true;
}

void InstanceLink::hang_up() { run(close()); }

runtime::Task<bool> InstanceLink::disconnect() {
  if (td_mux_) co_await td_mux_->close(http::CloseCode::normal, "the test is over");
  co_await pumps_.cancel_and_wait();
  co_return true;
}

runtime::Task<bool> InstanceLink::stop() {
  co_await serving_.cancel_and_wait();
  co_return true;
}

void InstanceLink::cancel() { run(stop()); }

runtime::Task<std::optional<Error>> InstanceLink::wait_for_end() {
  const auto deadline = Deadline::after(clock_, kPatience);
  for (;;) {
    const auto seen = ended_.version();
    if (why_) co_return why_;
    auto waited = co_await ended_.wait(seen, deadline);
    if (!waited) co_return std::nullopt;
  }
}

std::optional<Error> InstanceLink::ended() {
  auto why = run(wait_for_end());
  if (!why) fail("the serving did not end");
  return why;
}

}  // namespace cloister::test
