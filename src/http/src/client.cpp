#include "cloister/http/client.hpp"

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <mutex>
#include <vector>

#include "origin.hpp"
#include "wire.hpp"

namespace cloister::http {
namespace asio = boost::asio;
namespace {

using boost::system::error_code;
using codec::json::Value;
constexpr std::size_t kMaxResponseHeader = 32U << 10;
constexpr auto kValues = asio::as_tuple(asio::use_awaitable);

/// What a status means when no problem document says more.
Errc code_of(int status) noexcept {
  switch (status) {
    case 401: return Errc::unauthenticated;
    case 403: return Errc::permission_denied;
    case 404: return Errc::not_found;
    case 405: return Errc::method_not_allowed;
    case 408: return Errc::request_timeout;
    case 409: return Errc::conflict;
    case 413: return Errc::limit_exceeded;
    case 414: return Errc::uri_too_long;
    case 415: return Errc::unsupported_media_type;
    case 416: return Errc::range_not_satisfiable;
    case 429: return Errc::rate_limited;
    case 431: return Errc::header_too_large;
    case 503: return Errc::unavailable;
    case 504: return Errc::deadline_exceeded;
    default: return status >= 400 && status < 500 ? Errc::invalid_argument : Errc::internal;
  }
}

bool is_json(const Headers& headers) {
  const auto type = headers.find("Content-Type").value_or("");
  const auto name = type.substr(0, type.find(';'));
  return name == "application/json" || name.ends_with("+json");
}

/// RFC 9110 section 9.2.2.
bool is_idempotent(Method method) noexcept { return method != Method::post && method != Method::patch; }

Result<void> valid_target(std::string_view target) {
  const bool clean = std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7F && c != '#'; });
  if (target.starts_with('/') && clean) return {};
  return Error{Errc::invalid_argument, "a target that begins with / and is percent-encoded expected"};
}

Result<Bytes> request_bytes(Method method, const std::string& target, const Headers& headers, ByteView body) {
  CLOISTER_CHECK(valid_target(target));
  std::string head = std::string{to_string(method)} + ' ' + target + " HTTP/1.1\r\n";
  CLOISTER_CHECK(append_fields(head, headers));
  const bool wants_length = !body.empty() || method == Method::post || method == Method::put || method == Method::patch;
  if (wants_length) head += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  head += "\r\n";
  auto out = to_bytes(head);
  append(out, body);
  return out;
}

/// The options, understood.
struct Peer {
  Origin origin;
  TlsContext tls;  // null: plain
  std::optional<std::string> bearer;
};

Result<Peer> peer_of(const ClientOptions& options) {
  CLOISTER_TRY(origin, parse_origin(options.base_url));
  Peer out{std::move(origin), nullptr, options.bearer};
  if (out.bearer && !out.origin.tls && !is_loopback(out.origin.host)) {
    return Error{Errc::invalid_argument, "a bearer token goes over https, or http to this machine only"};
  }
  if (out.bearer && options.tls.allow_tls12) return Error{Errc::invalid_argument, "a bearer token goes over TLS 1.3 only"};
  if (out.origin.tls) {
    CLOISTER_TRY(tls, client_tls(options.tls, out.origin.host));
    out.tls = std::move(tls);
  }
  return out;
}

void add_own_fields(Headers& headers, const Peer& peer) {
  if (peer.bearer) headers.set("Authorization", "Bearer " + *peer.bearer);
}

runtime::Task<Result<std::unique_ptr<Transport>>> connect(Peer peer) {
  const runtime::Executor executor = co_await asio::this_coro::executor;
  asio::ip::basic_resolver<asio::ip::tcp, runtime::Executor> resolver{executor};
  const auto [unknown, endpoints] =
      co_await resolver.async_resolve(peer.origin.host, std::to_string(peer.origin.port), kValues);
  if (unknown) co_return Error{Errc::unavailable, peer.origin.authority + ": " + unknown.message()};
  Transport::Socket socket{executor};
  const auto [failure, where] = co_await asio::async_connect(socket, endpoints, kValues);
  if (failure == asio::error::operation_aborted) co_return transport_error(failure);
  if (failure) co_return Error{Errc::unavailable, peer.origin.authority + ": " + failure.message()};
  error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay{true}, ignored);
  auto transport = client_transport(std::move(socket), peer.tls, peer.origin.host);
  if (!transport) co_return std::move(transport).error();
  auto shaken = co_await (*transport)->handshake();
  if (!shaken && shaken.error().code() == Errc::cancelled) co_return std::move(shaken).error();
  if (!shaken && shaken.error().code() == Errc::certificate_refused) {
    co_return std::move(shaken).error().in("the certificate of " + peer.origin.authority);
  }
  if (!shaken) co_return Error{Errc::unavailable, peer.origin.authority + ": " + shaken.error().detail()};
  if (peer.tls && !(*transport)->peer_key()) {  // so that whoever sees no key knows that there is no TLS
    co_return Error{Errc::certificate_refused, "the certificate of " + peer.origin.authority + " has no key that can be named"};
  }
  co_return std::move(*transport);
}

/// One connection: in the pool, or with one request.
struct Connection {
  runtime::Executor executor;
  std::unique_ptr<Transport> transport;
  ReadBuffer buffer;
  bool used = false;  // a response came over it before
};
using ConnectionPtr = std::shared_ptr<Connection>;

struct Exchanged {
  ClientResponse response;
  bool keep_alive = false;
};

/// One request and its response. `answered` is set once a byte of the response is there.
runtime::Task<Result<Exchanged>> exchange(ConnectionPtr connection, Bytes request, bool head, std::size_t max_response,
                                          std::shared_ptr<bool> answered) {
  auto written = co_await connection->transport->write(request);
  if (!written) co_return std::move(written).error();
  while (true) {
    ResponseParser parser;
    if (head) parser.skip(true);
    auto got = co_await read_header(*connection->transport, connection->buffer, parser, kMaxResponseHeader);
    *answered = parser.got_some();
    if (!got && got.error().code() == Errc::header_too_large) co_return Error{Errc::limit_exceeded, got.error().detail()};
    if (!got) co_return std::move(got).error();
    const auto status = static_cast<int>(parser.get().result_int());
    if (status == 101) co_return Error{Errc::malformed, "an upgrade that nobody asked for"};
    if (status < 200) continue;  // interim: RFC 9110 section 15.2
    Exchanged out;
    out.response.status = status;
    out.response.headers = headers_of(parser.get());
    std::function<Result<void>(ByteView)> sink = [&out](ByteView piece) {
      append(out.response.body, piece);
      return Result<void>{};
    };
    auto body = co_await read_body(*connection->transport, connection->buffer, parser, max_response, std::move(sink));
    if (!body) co_return std::move(body).error();
    out.keep_alive = parser.keep_alive() && connection->buffer.size() == 0;
    co_return out;
  }
}

runtime::Task<Result<std::shared_ptr<WebSocketCore>>> open_websocket(Peer peer, std::string path, Headers headers,
                                                                     WebSocketLimits limits) {
  add_own_fields(headers, peer);
  const auto authority = peer.origin.authority;
  auto transport = co_await connect(std::move(peer));
  if (!transport) co_return std::move(transport).error();
  co_return co_await (*transport)->open_websocket(authority, std::move(path), std::move(headers), limits);
}

}  // namespace

Error response_error(const ClientResponse& response) {
  const auto fallback = code_of(response.status);
  const Error plain{fallback, "the server answered " + std::to_string(response.status)};
  if (!is_json(response.headers)) return plain;
  const auto document = codec::json::parse(as_text(response.body));
  if (!document) return plain;
  const auto* code = document->find("code");
  const auto* detail = document->find("detail");
  const auto* name = code != nullptr ? code->as_string() : nullptr;
  const auto* text = detail != nullptr ? detail->as_string() : nullptr;
  const auto known = name != nullptr ? errc_from_string(*name) : std::nullopt;
  std::string said = text != nullptr ? *text : plain.detail();
  if (name != nullptr && !known) said = *name + ": " + said;
  return Error{known.value_or(fallback), std::move(said)};
}

Result<ClientResponse> expect_success(ClientResponse response) {
  if (response.ok()) return response;
  return response_error(response);
}

struct Client::Impl {
  Impl(runtime::IoContext& context, Peer where, std::size_t idle)
      : io{context}, peer{std::move(where)}, max_idle{idle} {}

  runtime::IoContext& io;
  Peer peer;
  std::size_t max_idle;
  std::mutex mutex;
  std::vector<ConnectionPtr> pool;  // idle
  std::optional<Digest32> required_key;

  [[nodiscard]] bool acceptable(Transport& transport) {
    const std::lock_guard lock{mutex};
    return !required_key || transport.peer_key() == required_key;
  }

  /// An idle connection that is still good, or null.
  [[nodiscard]] ConnectionPtr take() {
    const std::lock_guard lock{mutex};
    while (!pool.empty()) {
      auto connection = std::move(pool.back());
      pool.pop_back();
      const bool right_peer = !required_key || connection->transport->peer_key() == required_key;
      if (right_peer && connection->transport->quiet()) return connection;
    }
    return nullptr;
  }

  void give_back(ConnectionPtr connection) {
    const std::lock_guard lock{mutex};
    connection->used = true;
    if (pool.size() < max_idle) pool.push_back(std::move(connection));
  }

  [[nodiscard]] static runtime::Task<Result<ConnectionPtr>> dial(std::shared_ptr<Impl> self) {
    auto fresh = std::make_shared<Connection>();
    fresh->executor = self->io.strand();
    auto pending = connect(self->peer);
    auto transport = co_await runtime::run_on(fresh->executor, std::move(pending));
    if (!transport) co_return std::move(transport).error();
    fresh->transport = std::move(*transport);
    co_return fresh;
  }

  [[nodiscard]] static runtime::Task<Result<ClientResponse>> request(std::shared_ptr<Impl> self, Method method,
                                                                     Bytes bytes, std::size_t max_response) {
    auto connection = self->take();
    while (true) {
      if (!connection) {
        auto dialled = co_await dial(self);
        if (!dialled) co_return std::move(dialled).error();
        connection = std::move(*dialled);
      }
      if (!self->acceptable(*connection->transport)) {
        co_return Error{Errc::certificate_refused, self->peer.origin.authority + " has another TLS key than the one it is held to"};
      }
      const auto answered = std::make_shared<bool>(false);
      auto pending = exchange(connection, bytes, method == Method::head, max_response, answered);
      auto outcome = co_await runtime::run_on(connection->executor, std::move(pending));
      if (outcome) {
        outcome->response.peer_key = connection->transport->peer_key();
        if (outcome->keep_alive) self->give_back(std::move(connection));
        co_return std::move(outcome->response);
      }
      const bool stale = connection->used && !*answered && outcome.error().code() == Errc::peer_closed;
      if (!stale || !is_idempotent(method)) co_return std::move(outcome).error();
      connection = nullptr;  // the server had closed it meanwhile
    }
  }
};

Client::Client(std::shared_ptr<Impl> impl) : impl_{std::move(impl)} {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::make(runtime::IoContext& io, ClientOptions options) {
  CLOISTER_TRY(peer, peer_of(options));
  auto impl = std::make_shared<Impl>(io, std::move(peer), options.max_idle_connections);
  return std::unique_ptr<Client>{new Client{std::move(impl)}};
}

runtime::Task<Result<ClientResponse>> Client::request(Method method, std::string target, Headers headers, Bytes body,
                                                      Deadline deadline, std::size_t max_response) {
  const auto impl = impl_;
  headers.set("Host", impl->peer.origin.authority);
  add_own_fields(headers, impl->peer);
  auto bytes = request_bytes(method, target, headers, body);
  if (!bytes) co_return std::move(bytes).error();
  auto pending = Impl::request(impl, method, std::move(*bytes), max_response);
  co_return co_await runtime::with_deadline(deadline, std::move(pending));
}

void Client::hold_to(const Digest32& peer_key) {
  const std::lock_guard lock{impl_->mutex};
  impl_->required_key = peer_key;
}

runtime::Task<Result<Value>> Client::call(Method method, std::string target, Value body, Deadline deadline) {
  Headers headers;
  headers.set("Accept", "application/json");
  Bytes bytes;
  if (!body.is_null()) {
    headers.set("Content-Type", "application/json");
    bytes = to_bytes(codec::json::write(body));
  }
  auto pending = request(method, std::move(target), std::move(headers), std::move(bytes), deadline);
  auto response = co_await std::move(pending);
  if (!response) co_return std::move(response).error();
  if (!response->ok()) co_return response_error(*response);
  if (response->body.empty()) co_return Value{};
  codec::json::Limits limits;
  limits.bytes = kMaxResponse;
  co_return codec::json::parse(as_text(response->body), limits);
}

Result<std::unique_ptr<BlockingClient>> BlockingClient::make(ClientOptions options) {
  std::unique_ptr<BlockingClient> out{new BlockingClient};
  out->io_ = std::make_unique<runtime::IoContext>();
  CLOISTER_TRY(client, Client::make(*out->io_, std::move(options)));
  out->client_ = std::move(client);
  out->io_->start();
  return out;
}

BlockingClient::~BlockingClient() = default;

void BlockingClient::hold_to(const Digest32& peer_key) { client_->hold_to(peer_key); }

Result<ClientResponse> BlockingClient::request(Method method, std::string target, Headers headers, Bytes body,
                                               std::chrono::milliseconds timeout, std::size_t max_response) {
  const Deadline deadline{std::chrono::steady_clock::now() + timeout};
  return runtime::block_on(*io_, client_->request(method, std::move(target), std::move(headers), std::move(body),
                                                  deadline, max_response));
}

Result<Value> BlockingClient::call(Method method, std::string target, Value body, std::chrono::milliseconds timeout) {
  const Deadline deadline{std::chrono::steady_clock::now() + timeout};
  return runtime::block_on(*io_, client_->call(method, std::move(target), std::move(body), deadline));
}

runtime::Task<Result<std::shared_ptr<WebSocket>>> WebSocketClient::connect(runtime::IoContext& io,
                                                                          ClientOptions options, std::string target,
                                                                          Headers headers, WebSocketLimits limits,
                                                                          Deadline deadline) {
  auto where = peer_of(options);
  if (!where) co_return std::move(where).error();
  auto valid = valid_target(target);
  std::string fields;
  if (valid) valid = append_fields(fields, headers);
  if (!valid) co_return std::move(valid).error();
  auto opening = open_websocket(std::move(*where), std::move(target), std::move(headers), limits);
  auto there = runtime::run_on(io.strand(), std::move(opening));
  auto core = co_await runtime::with_deadline(deadline, std::move(there));
  if (!core) co_return std::move(core).error();
  (*core)->start();
  co_return make_websocket(std::move(*core));
}

}  // namespace cloister::http
