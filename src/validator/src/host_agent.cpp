#include "cloister/validator/host_agent.hpp"

#include <boost/asio.hpp>
#include <map>

#include "blob_cache.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/protocol/host.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/runtime/task_group.hpp"

namespace cloister::validator {
namespace {

namespace asio = boost::asio;
namespace host = protocol::host;
using runtime::Task;
using Descriptor = std::shared_ptr<asio::posix::stream_descriptor>;  // shared by the two directions of a relay

constexpr std::chrono::seconds kStepTimeout{60};
constexpr std::chrono::seconds kHandOverTimeout{1};
constexpr std::size_t kMaxBlob = std::size_t{1} << 30;
constexpr std::uint32_t kValidatorMemory = 64;
constexpr int kUnknownStatus = -1;
constexpr process::FrameLimits kStreamLimits{.bytes = 0, .descriptors = 1};
constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr http::WebSocketLimits kSocketLimits{.max_message = 1U << 20,
                                              .max_queued_messages = 1024,
                                              .max_queued_bytes = 64U << 20,
                                              .max_unread_messages = 64,
                                              .idle_timeout = std::chrono::milliseconds{60'000}};

}  // namespace

/// A TD on this host.
struct HostAgent::Td {
  InstanceId instance;  // empty: the validator's own TD
  Bytes configuration;
  std::string id;  // at the provider
  provider::CvmLife life;
  process::FrameSocket streams;  // over which it gets its byte streams; used by one relay at a time
};

/// The TDs, and who is told about them. Everything runs on the agent's strand.
struct HostAgent::Host {
  Host(HostAgentServices s, const HostAgentOptions& options, runtime::Executor e)
      : services{s}, blobs{options.blobs, options.blob_bytes}, executor{std::move(e)}, tasks{executor, s.logger, "tds"} {}

  [[nodiscard]] std::shared_ptr<Td> find(const InstanceId& instance) const {
    const auto found = tds.find(instance);
    return found == tds.end() ? nullptr : found->second;
  }
  [[nodiscard]] bool has(const std::shared_ptr<Td>& td) const { return find(td->instance) == td; }
  /// Its life ends now, and its relay with it.
  void stop(const InstanceId& instance) {
    if (const auto td = tds.extract(instance)) td.mapped()->life.stop();
  }
  void stop_all() {
    for (const auto& [instance, td] : tds) td->life.stop();
    tds.clear();
  }
  /// Says when and how a TD ended.
  [[nodiscard]] static Task<void> watch(std::shared_ptr<Host> self, std::shared_ptr<Td> td);

  HostAgentServices services;
  BlobCache blobs;
  runtime::Executor executor;
  std::map<InstanceId, std::shared_ptr<Td>> tds;  // shared with the tasks that watch and relay
  std::shared_ptr<relay::Mux> mux;                // of the connection that there is; shared with its tasks
  runtime::TaskGroup tasks;
};

Task<void> HostAgent::Host::watch(std::shared_ptr<Host> self, std::shared_ptr<Td> td) {
  asio::posix::stream_descriptor life{self->executor, ::dup(td->life.fd())};
  auto [failure] = co_await life.async_wait(asio::posix::stream_descriptor::wait_read, kAsTuple);
  if (failure) co_return;
  auto ask = [&] { return td->life.wait(Deadline::after(self->services.clock, std::chrono::seconds{1})); };
  auto exit = co_await self->services.pool.run(std::move(ask));
  const auto status = exit ? exit->status : process::ExitStatus{kUnknownStatus, 0};
  self->services.logger.info("td.ended", {{"instance", td->instance.str()},
                                          {"status", status.text()},
                                          {"console", exit ? exit->console : exit.error().text()}});
  if (!self->has(td)) co_return;  // it was stopped
  self->tds.erase(td->instance);
  const auto mux = self->mux;
  if (!mux) co_return;  // the next login will not offer it; one under way has `serve` say so
  const host::ToServer message = host::Exited{td->instance, status.signal != 0 ? -status.signal : status.code};
  static_cast<void>(co_await mux->send_control(host::encode(message)));
}

/// One logged-in connection.
struct HostAgent::Connection {
  Connection(std::shared_ptr<Host> h, const HostAgentOptions& o, std::shared_ptr<http::WebSocket> socket)
      : tds{std::move(h)},
        services{tds->services},
        options{o},
        mux{std::make_shared<relay::Mux>(std::move(socket))},
        tasks{tds->executor, services.logger, "agent"} {}

  /// `offered`: the instances that the login named.
  Task<Error> serve(std::vector<InstanceId> offered) {
    tds->mux = mux;
    // From here on `watch` reports; what ended since the login, it could not.
    std::erase_if(offered, [this](const InstanceId& instance) { return tds->find(instance) != nullptr; });
    for (const auto& [instance, td] : tds->tds) {
      if (!instance.empty()) tasks.spawn("relay", relay(td));
    }
    for (const auto& instance : offered) {
      const host::ToServer message = host::Exited{instance, kUnknownStatus};
      auto told = co_await mux->send_control(host::encode(message));
      if (!told) co_return std::move(told).error();
    }
    for (;;) {
      auto text = co_await mux->receive_control();
      if (!text) co_return std::move(text).error();
      auto message = host::decode_to_host(*text);
      if (!message) co_return std::move(message).error();
      if (auto* start = std::get_if<host::Start>(&*message)) {
        tasks.spawn("start", start_instance(std::move(*start)));
      } else if (auto* own = std::get_if<host::StartValidatorTd>(&*message)) {
        tasks.spawn("validator-td", start_own(std::move(own->configuration)));
      } else if (const auto* stop = std::get_if<host::Stop>(&*message)) {
        tds->stop(stop->instance);
      } else if (auto* fresh = std::get_if<host::Token>(&*message)) {
        auto renewed = use_token(std::move(fresh->token));
        if (!renewed) co_return std::move(renewed).error();
      } else if (const auto* notice = std::get_if<host::Attempt>(&*message)) {
        services.logger.info(notice->leased ? "attempt.leased" : "attempt.ended",
                             {{"job", notice->job.str()},
                              {"attempt", notice->attempt.str()},
                              {"instance", notice->instance.str()}});
      } else {
        co_return Error{Errc::channel_message_invalid, "the server logs in once"};
      }
    }
  }

  /// Fetches blobs with this token from now on.
  Result<void> use_token(std::string token) {
    auto with_token = options.server;
    with_token.bearer = std::move(token);
    CLOISTER_TRY(made, http::Client::make(services.io, std::move(with_token)));
    client = std::move(made);
    return {};
  }

  /// Every stream ends; the TDs go on.
  Task<void> end() {
    tds->mux = nullptr;
    co_await mux->close(http::CloseCode::normal, "bye");
    co_await tasks.cancel_and_wait();
  }

  Task<void> start_instance(host::Start start) {
    std::vector<provider::Blob> files;
    for (const auto& digest : start.blobs) {
      auto file = co_await blob(digest);
      if (!file) {
        co_await failed(start.instance, file.error());
        co_return;
      }
      files.push_back({digest, *std::move(file)});
    }
    co_await start_td(start.instance, std::move(start.configuration), std::move(files), start.memory_mib);
  }

  /// The host's own TD: the one that runs, if it is this one.
  Task<void> start_own(Bytes configuration) {
    const InstanceId own;
    if (const auto td = tds->find(own); td && td->configuration == configuration) {
      co_await relay(td);
      co_return;
    }
    tds->stop(own);
    std::vector<provider::Blob> none;
    co_await start_td(own, std::move(configuration), std::move(none), kValidatorMemory);
  }

  /// The blob from the cache, or from the server.
  Task<Result<process::UniqueFd>> blob(Digest32 digest) {
    auto look = [this, digest] { return tds->blobs.find(digest); };
    auto found = co_await services.pool.run(look);
    if (!found) co_return std::move(found).error();
    if (*found) co_return std::move(**found);
    const auto fetching = client;  // a new token may replace it meanwhile
    const std::string target = "/api/v1/blobs/" + codec::to_hex(digest);
    const http::Headers headers;
    const Bytes no_body;
    auto response = co_await fetching->request(http::Method::get, target, headers, no_body,
                                               Deadline::after(services.clock, kStepTimeout), kMaxBlob);
    if (!response) co_return std::move(response).error();
    auto fetched = http::expect_success(*std::move(response));
    if (!fetched) co_return std::move(fetched).error();
    auto keep = [this, digest, &fetched] { return tds->blobs.put(digest, fetched->body); };
    auto kept = co_await services.pool.run(std::move(keep));
    if (!kept) co_return std::move(kept).error();
    auto again = co_await services.pool.run(std::move(look));
    if (!again) co_return std::move(again).error();
    if (!*again) co_return Error{Errc::io_error, "the blob cache lost a blob"};
    co_return std::move(**again);
  }

  Task<void> start_td(InstanceId instance, Bytes configuration, std::vector<provider::Blob> files,
                      std::uint32_t memory_mib) {
    provider::StartRequest request{std::move(configuration), std::move(files), memory_mib};
    auto work = [this, &request] {
      return services.provider.start(request, Deadline::after(services.clock, kStepTimeout));
    };
    auto started = co_await services.pool.run(std::move(work));
    if (!started) {
      co_await failed(instance, started.error());
      co_return;
    }
    services.logger.info("td.started", {{"instance", instance.str()}, {"td", started->id}});
    const auto td = std::make_shared<Td>(Td{instance, std::move(request.configuration), started->id,
                                            std::move(started->life),
                                            process::FrameSocket{std::move(started->streams), kStreamLimits}});
    tds->stop(instance);
    tds->tds.emplace(instance, td);
    tds->tasks.spawn("watch", Host::watch(tds, td));
    co_await relay(td);
  }

  Task<void> failed(InstanceId instance, Error why) {
    services.logger.warn("td.failed", {{"instance", instance.str()}, {"detail", why.text()}});
    const host::ToServer message =
        host::StartFailed{instance, std::string{to_string(why.code())}, why.detail().substr(0, 500)};
    static_cast<void>(co_await mux->send_control(host::encode(message)));
  }

  /// Offers the TD over one stream after the other, while both it and the connection last.
  Task<void> relay(std::shared_ptr<Td> td) {
    while (tds->has(td)) {
      auto relayed = co_await relay_once(td);
      if (!relayed) {
        services.logger.warn("td.unreachable", {{"instance", td->instance.str()}, {"detail", relayed.error().text()}});
      }
      if (td->instance.empty()) co_return;  // it is offered when the server asks for it, once a connection
      auto slept = co_await runtime::sleep_for(options.reopen_pause);
      if (!slept) co_return;
    }
  }

  Task<Result<void>> relay_once(std::shared_ptr<Td> td) {
    auto ends = process::stream_pair();
    if (!ends) co_return std::move(ends).error();
    auto hand_over = [this, &td, &ends] {
      const int end = ends->second.get();
      return td->streams.send({}, {&end, 1}, Deadline::after(services.clock, kHandOverTimeout));
    };
    auto handed = co_await services.pool.run(std::move(hand_over));
    if (!handed) co_return std::move(handed).error();
    ends->second.reset();
    const auto number = next_stream++;
    auto stream = mux->open(number);
    if (!stream) co_return std::move(stream).error();
    const host::ToServer message = td->instance.empty() ? host::ToServer{host::StartedValidatorTd{number}}
                                                        : host::ToServer{host::Started{td->instance, number}};
    auto told = co_await mux->send_control(host::encode(message));
    if (!told) co_return std::move(told).error();
    const auto socket = std::make_shared<asio::posix::stream_descriptor>(tds->executor, ends->first.release());
    tasks.spawn("to-td", to_td(*stream, socket));
    co_await from_td(*stream, socket);
    co_return Result<void>{};
  }

  Task<void> from_td(std::shared_ptr<relay::Stream> stream, Descriptor socket) {
    for (;;) {
      Bytes buffer(host::kMaxData);
      auto target = asio::buffer(buffer);
      auto [failure, size] = co_await socket->async_read_some(target, kAsTuple);
      if (failure || size == 0) break;
      buffer.resize(size);
      auto written = co_await stream->write(std::move(buffer));
      if (!written) break;
    }
    co_await stream->close();
  }

  Task<void> to_td(std::shared_ptr<relay::Stream> stream, Descriptor socket) {
    for (;;) {
      auto bytes = co_await stream->read();
      if (!bytes) break;
      auto source = asio::buffer(*bytes);
      auto [failure, size] = co_await asio::async_write(*socket, source, kAsTuple);
      if (failure) break;
    }
    // The TD sees the end of this stream.
    boost::system::error_code ignored;
    socket->close(ignored);
    co_await stream->close();
  }

  std::shared_ptr<Host> tds;  // shared: see HostAgent
  HostAgentServices services;
  const HostAgentOptions& options;
  std::shared_ptr<relay::Mux> mux;
  std::shared_ptr<http::Client> client;  // with the newest token; shared with the fetches that began with it
  std::uint32_t next_stream = 0;
  runtime::TaskGroup tasks;
};

namespace {

/// Answers the server's hello, and returns its welcome.
Task<Result<host::Welcome>> log_in(std::shared_ptr<http::WebSocket> socket, const crypto::Ed25519Key* hotkey,
                                   std::uint32_t capacity, std::vector<InstanceId> running) {
  auto first = co_await socket->receive();
  if (!first) co_return std::move(first).error();
  auto hello = host::decode_to_host(as_text(first->data));
  if (!hello) co_return std::move(hello).error();
  const auto* challenge = std::get_if<host::Hello>(&*hello);
  if (challenge == nullptr) co_return Error{Errc::channel_message_invalid, "hello was expected"};
  const auto signature = hotkey->sign(host::login_message(challenge->server_id, challenge->nonce));
  const host::ToServer login = host::Login{hotkey->public_key(), signature, capacity, std::move(running)};
  auto sent = co_await socket->send_text(host::encode(login));
  if (!sent) co_return std::move(sent).error();
  auto second = co_await socket->receive();
  if (!second) co_return std::move(second).error();
  auto answer = host::decode_to_host(as_text(second->data));
  if (!answer) co_return std::move(answer).error();
  if (const auto* refused = std::get_if<host::RefusedLogin>(&*answer)) {
    co_return Error{errc_from_string(refused->code).value_or(Errc::unauthenticated), refused->detail};
  }
  if (auto* welcome = std::get_if<host::Welcome>(&*answer)) co_return std::move(*welcome);
  co_return Error{Errc::channel_message_invalid, "welcome was expected"};
}

}  // namespace

HostAgent::HostAgent(HostAgentServices services, HostAgentOptions options, const crypto::Ed25519Key& hotkey,
                     runtime::Executor executor)
    : services_{services},
      options_{std::move(options)},
      hotkey_{hotkey},
      host_{std::make_shared<Host>(services_, options_, std::move(executor))} {}

HostAgent::~HostAgent() { host_->stop_all(); }

Task<void> HostAgent::stop() {
  host_->stop_all();
  co_await host_->tasks.cancel_and_wait();
}

Task<Error> HostAgent::run() {
  const auto deadline = Deadline::after(services_.clock, kStepTimeout);
  const http::Headers headers;
  auto socket = co_await http::WebSocketClient::connect(services_.io, options_.server, "/api/v1/host", headers,
                                                        kSocketLimits, deadline);
  if (!socket) co_return std::move(socket).error();
  std::vector<InstanceId> running;
  for (const auto& [instance, td] : host_->tds) {
    if (!instance.empty()) running.push_back(instance);
  }
  auto logging_in = log_in(*socket, &hotkey_, options_.capacity, running);
  auto welcome = co_await runtime::with_deadline(deadline, std::move(logging_in));
  if (!welcome) co_return std::move(welcome).error();
  services_.logger.info("logged_in", {{"validator", welcome->validator.str()}});
  options_.logged_in(welcome->validator);

  Connection connection{host_, options_, *socket};
  auto ready = connection.use_token(std::move(welcome->token));
  if (!ready) co_return std::move(ready).error();
  Task<Error> work = connection.serve(std::move(running));
  Task<void> cleanup = connection.end();
  co_return co_await runtime::finally(std::move(work), std::move(cleanup));
}

}  // namespace cloister::validator
