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

constexpr std::chrono::seconds kStepTimeout{60};
constexpr std::size_t kMaxBlob = std::size_t{1} << 30;
constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr http::WebSocketLimits kSocketLimits{.max_message = 1U << 20,
                                              .max_queued_messages = 1024,
                                              .max_queued_bytes = 64U << 20,
                                              .max_unread_messages = 64,
                                              .idle_timeout = std::chrono::milliseconds{60'000}};

/// A TD on this host.
struct Td {
  provider::CvmLife life;
  std::string id;  // at the provider
};

}  // namespace

/// One logged-in connection. Everything runs on its strand.
struct HostAgent::Connection {
  Connection(HostAgentServices s, const HostAgentOptions& o, std::shared_ptr<http::WebSocket> socket,
             runtime::Executor e)
      : services{s}, options{o}, blobs{o.blobs, o.blob_bytes}, mux{std::move(socket)}, executor{e}, tasks{e, s.logger, "agent"} {}

  Task<Error> serve() {
    for (;;) {
      auto text = co_await mux.receive_control();
      if (!text) co_return std::move(text).error();
      auto message = host::decode_to_host(*text);
      if (!message) co_return std::move(message).error();
      if (auto* start = std::get_if<host::Start>(&*message)) {
        tasks.spawn("start", start_instance(std::move(*start)));
      } else if (auto* own = std::get_if<host::StartValidatorTd>(&*message)) {
        tasks.spawn("validator-td", start_td({}, std::move(own->configuration), {}, kValidatorMemory));
      } else if (const auto* stop = std::get_if<host::Stop>(&*message)) {
        if (const auto td = tds.extract(stop->instance)) td.mapped()->life.stop();
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

  /// Every TD ends, and then every task.
  Task<void> end() {
    for (const auto& [instance, td] : tds) td->life.stop();
    tds.clear();
    co_await mux.close(http::CloseCode::normal, "bye");
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

  /// The blob from the cache, or from the server.
  Task<Result<process::UniqueFd>> blob(Digest32 digest) {
    auto look = [this, digest] { return blobs.find(digest); };
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
    auto keep = [this, digest, &fetched] { return blobs.put(digest, fetched->body); };
    auto kept = co_await services.pool.run(std::move(keep));
    if (!kept) co_return std::move(kept).error();
    auto again = co_await services.pool.run(std::move(look));
    if (!again) co_return std::move(again).error();
    if (!*again) co_return Error{Errc::io_error, "the blob cache lost a blob"};
    co_return std::move(**again);
  }

  /// An empty instance: the validator's own TD.
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
    const auto number = next_stream++;
    auto stream = mux.open(number);
    if (!stream) co_return;
    const auto td = std::make_shared<Td>(Td{std::move(started->life), started->id});
    tds.insert_or_assign(instance, td);
    services.logger.info("td.started", {{"instance", instance.str()}, {"td", started->id}});
    const host::ToServer message = instance.empty() ? host::ToServer{host::StartedValidatorTd{number}}
                                                    : host::ToServer{host::Started{instance, number}};
    auto told = co_await mux.send_control(host::encode(message));
    if (!told) co_return;
    auto socket = std::make_shared<asio::posix::stream_descriptor>(executor, started->stream.release());
    tasks.spawn("to-td", to_td(*stream, socket));
    tasks.spawn("watch", watch(instance, td, *stream));
    co_await from_td(*stream, socket);
  }

  Task<void> failed(InstanceId instance, Error why) {
    services.logger.warn("td.failed", {{"instance", instance.str()}, {"detail", why.text()}});
    const host::ToServer message =
        host::StartFailed{instance, std::string{to_string(why.code())}, why.detail().substr(0, 500)};
    static_cast<void>(co_await mux.send_control(host::encode(message)));
  }

  Task<void> from_td(std::shared_ptr<relay::Stream> stream, std::shared_ptr<asio::posix::stream_descriptor> socket) {
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

  Task<void> to_td(std::shared_ptr<relay::Stream> stream, std::shared_ptr<asio::posix::stream_descriptor> socket) {
    for (;;) {
      auto bytes = co_await stream->read();
      if (!bytes) break;
      auto source = asio::buffer(*bytes);
      auto [failure, size] = co_await asio::async_write(*socket, source, kAsTuple);
      if (failure) break;
    }
    // The TD sees the end of its stream, and ends.
    boost::system::error_code ignored;
    socket->close(ignored);
    co_await stream->close();
  }

  /// Says when and how the TD ended.
  Task<void> watch(InstanceId instance, std::shared_ptr<Td> td, std::shared_ptr<relay::Stream> stream) {
    asio::posix::stream_descriptor life{executor, ::dup(td->life.fd())};
    auto [failure] = co_await life.async_wait(asio::posix::stream_descriptor::wait_read, kAsTuple);
    if (failure) co_return;
    auto ask = [this, &td] { return td->life.wait(Deadline::after(services.clock, std::chrono::seconds{1})); };
    auto exit = co_await services.pool.run(std::move(ask));
    const auto status = exit ? exit->status : process::ExitStatus{-1, 0};
    services.logger.info("td.ended", {{"instance", instance.str()},
                                      {"status", status.text()},
                                      {"console", exit ? exit->console : exit.error().text()}});
    co_await stream->close();
    const auto found = tds.find(instance);
    if (found != tds.end() && found->second == td) tds.erase(found);
    const host::ToServer message = host::Exited{instance, status.signal != 0 ? -status.signal : status.code};
    static_cast<void>(co_await mux.send_control(host::encode(message)));
  }

  static constexpr std::uint32_t kValidatorMemory = 64;
  HostAgentServices services;
  const HostAgentOptions& options;
  BlobCache blobs;
  relay::Mux mux;
  runtime::Executor executor;
  std::shared_ptr<http::Client> client;  // with the newest token; shared with the fetches that began with it
  std::map<InstanceId, std::shared_ptr<Td>> tds;
  std::uint32_t next_stream = 0;
  runtime::TaskGroup tasks;
};

namespace {

/// Answers the server's hello, and returns its welcome.
Task<Result<host::Welcome>> log_in(std::shared_ptr<http::WebSocket> socket, const crypto::Ed25519Key* hotkey,
                                   std::uint32_t capacity) {
  auto first = co_await socket->receive();
  if (!first) co_return std::move(first).error();
  auto hello = host::decode_to_host(as_text(first->data));
  if (!hello) co_return std::move(hello).error();
  const auto* challenge = std::get_if<host::Hello>(&*hello);
  if (challenge == nullptr) co_return Error{Errc::channel_message_invalid, "hello was expected"};
  const auto signature = hotkey->sign(host::login_message(challenge->server_id, challenge->nonce));
  const host::ToServer login = host::Login{hotkey->public_key(), signature, capacity};
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

Task<Error> HostAgent::run() {
  const auto deadline = Deadline::after(services_.clock, kStepTimeout);
  const http::Headers headers;
  auto socket = co_await http::WebSocketClient::connect(services_.io, options_.server, "/api/v1/host", headers,
                                                        kSocketLimits, deadline);
  if (!socket) co_return std::move(socket).error();
  auto logging_in = log_in(*socket, &hotkey_, options_.capacity);
  auto welcome = co_await runtime::with_deadline(deadline, std::move(logging_in));
  if (!welcome) co_return std::move(welcome).error();
  services_.logger.info("logged_in", {{"validator", welcome->validator.str()}});
  options_.logged_in(welcome->validator);

  auto executor = co_await runtime::this_executor();
  Connection connection{services_, options_, *socket, executor};
  auto ready = connection.use_token(std::move(welcome->token));
  if (!ready) co_return std::move(ready).error();
  Task<Error> work = connection.serve();
  Task<void> cleanup = connection.end();
  co_return co_await runtime::finally(std::move(work), std::move(cleanup));
}

}  // namespace cloister::validator
