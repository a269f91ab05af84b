#include "session.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "cloister/core/assert.hpp"
#include "cloister/core/ids.hpp"

namespace cloister::http {
namespace beast = boost::beast;
namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
/// Room for what most requests are whole. What a connection has received is erased after each, and so what is made is little.
constexpr std::size_t kFirstPiece = 4U << 10;
constexpr std::size_t kLingerBytes = std::size_t{4} << 20;
constexpr std::chrono::seconds kLinger{2};
constexpr std::string_view kTokenProtocol = "bearer.";

bool valid_request_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  });
}

/// Of the system, in pieces that many names are made from: what a request is called is no secret.
class RandomForNames final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    if (out.size() > left_.size()) {
      SystemRandom{}.fill(piece_);
      left_ = piece_;
    }
    CLOISTER_ASSERT(out.size() <= left_.size());
    std::ranges::copy(left_.first(out.size()), out.begin());
    left_ = left_.subspan(out.size());
  }

 private:
  ByteArray<2048> piece_{};
  std::span<const std::uint8_t> left_;
};

std::string request_id(const Headers& headers) {
  const auto given = headers.find("X-Request-Id");
  if (given && valid_request_id(*given)) return std::string{*given};
  static thread_local RandomForNames random;
  return random_id("req", random);
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

/// The elements of a comma-separated list, without white space around them.
std::vector<std::string_view> list_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    auto element = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (element.starts_with(' ')) element.remove_prefix(1);
    while (element.ends_with(' ')) element.remove_suffix(1);
    if (!element.empty()) out.push_back(element);
  }
  return out;
}

/// RFC 6750 section 2.1.
Result<std::string> bearer_of(const Headers& headers) {
  const auto field = headers.find("Authorization");
  if (!field) return Error{Errc::unauthenticated, "a bearer token expected"};
  const auto space = field->find(' ');
  if (space == std::string_view::npos || !same_ignoring_case(field->substr(0, space), "Bearer")) {
    return Error{Errc::unauthenticated, "the authorization scheme Bearer expected"};
  }
  const auto token = field->substr(space + 1);
  if (token.empty() || token.find(' ') != std::string_view::npos) {
    return Error{Errc::unauthenticated, "a bearer token expected"};
  }
  return std::string{token};
}

/// What a client of a WebSocket offers: the protocol it wants, and a token where it cannot send header fields.
struct Offer {
  std::string protocol;
  std::optional<std::string> token;
};

Offer offer_of(const Headers& headers) {
  Offer out;
  for (const auto element : list_of(headers.find("Sec-WebSocket-Protocol").value_or(""))) {
    if (element.starts_with(kTokenProtocol)) out.token = std::string{element.substr(kTokenProtocol.size())};
    else if (out.protocol.empty()) out.protocol = std::string{element};
  }
  return out;
}

/// A page of another host must not use what the person's browser can reach (RFC 6455 section 10.2).
bool from_own_origin(const Headers& headers) {
  const auto origin = headers.find("Origin");
  if (!origin) return true;
  const auto host = origin->find("://");
  return host != std::string_view::npos && headers.find("Host") == origin->substr(host + 3);
}

/// The request's Origin where the server's owner allows it.
std::optional<std::string> allowed_origin(const ServerOptions& options, const Headers& headers) {
  const auto origin = headers.find("Origin");
  if (!origin || std::ranges::find(options.allowed_origins, *origin) == options.allowed_origins.end()) return std::nullopt;
  return std::string{*origin};
}

/// The answer to a page's question whether it may send what it has (WHATWG Fetch, section 3.2.2 "HTTP requests").
Response preflight_response(const Headers& asked) {
  auto out = no_content();
  out.headers.set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
  out.headers.set("Access-Control-Allow-Headers", "Authorization, Content-Type");
  out.headers.set("Access-Control-Max-Age", "600");
  if (asked.find("Access-Control-Request-Private-Network") == "true") {
    out.headers.set("Access-Control-Allow-Private-Network", "true");
  }
  return out;
}

/// Where an upload goes while it comes.
class Upload {
 public:
  [[nodiscard]] static Result<Upload> create(std::filesystem::path directory) {
    if (directory.empty()) directory = std::filesystem::temp_directory_path();
    auto path = (directory / "upload-XXXXXX").string();
    const int fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0) return Error{Errc::io_error, "no file could be made for the upload"};
    return Upload{fd, path};
  }
  Upload(Upload&& other) noexcept : fd_{std::exchange(other.fd_, -1)}, path_{std::move(other.path_)} {}
  Upload& operator=(Upload&&) = delete;
  ~Upload() {
    if (fd_ >= 0) {
      ::close(fd_);
      ::unlink(path_.c_str());
    }
  }

  [[nodiscard]] Result<void> write(ByteView bytes) {
    while (!bytes.empty()) {
      const auto done = ::write(fd_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return Error{Errc::io_error, "the upload could not be written"};
      bytes = bytes.subspan(static_cast<std::size_t>(done));
      size_ += static_cast<std::uint64_t>(done);
    }
    return {};
  }
  [[nodiscard]] std::shared_ptr<const BodyFile> finish() {
    ::close(std::exchange(fd_, -1));
    return std::make_shared<const BodyFile>(path_, size_);
  }

 private:
  Upload(int fd, std::string path) : fd_{fd}, path_{std::move(path)} {}
  int fd_;
  std::string path_;
  std::uint64_t size_ = 0;
};

Transport::UpgradeRequest upgrade_of(const RequestParser& parser) {
  Transport::UpgradeRequest out;
  out.method(parser.get().method());
  out.target(parser.get().target());
  out.version(parser.get().version());
  for (const auto& field : parser.get()) out.insert(field.name_string(), field.value());
  return out;
}

/// The handler's coroutine is made and run where handlers run.
runtime::Task<Result<Response>> call_handler(std::shared_ptr<const Router::Route> route, Request request) {
  co_return co_await route->handler(std::move(request));
}

runtime::Task<bool> call_websocket_handler(std::shared_ptr<const Router::Route> route, Request request,
                                           std::shared_ptr<WebSocket> socket) {
  co_await route->websocket(std::move(request), std::move(socket));
  co_return true;
}

runtime::Task<Result<Principal>> call_authenticator(std::shared_ptr<Service> service, std::string token) {
  co_return co_await service->options.authenticator(std::move(token));
}

/// Runs code of the server's owner where handlers run, until the deadline; what it throws becomes `internal`.
template <class T>
runtime::Task<Result<T>> call_out(runtime::Executor where, Deadline deadline, runtime::Task<Result<T>> work) {
  std::string thrown;
  try {
    if (where) work = runtime::run_on(std::move(where), std::move(work));
    co_return co_await runtime::with_deadline(deadline, std::move(work));
  } catch (const boost::system::system_error& error) {
    if (error.code() == boost::asio::error::operation_aborted) throw;
    thrown = error.what();
  } catch (const std::exception& error) {
    thrown = error.what();
  }
  co_return Error{Errc::internal, "a handler threw: " + thrown};
}

/// Drops the connection however the scope is left.
struct KillAtEnd {
  std::shared_ptr<WebSocketCore> core;
  ~KillAtEnd() { core->kill(); }
};

}  // namespace

/// One request while it is served.
struct Session::Exchange {
  SteadyTime begin = std::chrono::steady_clock::now();
  RequestParser parser;
  std::string method = "-";
  std::shared_ptr<const Router::Route> route;
  std::string allow;
  Offer offer;
  Request request;
  Traffic::Share body_memory;
  std::optional<std::string> origin;  // of a page that may use the server
  bool preflight = false;
  bool head = false;
  bool body_read = false;  // the connection can go on
};

Session::Session(std::shared_ptr<Service> service, runtime::Executor executor,
                 std::unique_ptr<Transport> transport, std::string remote_address, ConnectionCounts::Slot slot,
                 bool refuse)
    : service_{std::move(service)},
      executor_{std::move(executor)},
      transport_{std::move(transport)},
      remote_address_{std::move(remote_address)},
      slot_{std::move(slot)},
      refuse_{refuse} {}

void Session::begin_stop() {
  runtime::post(executor_, [self = shared_from_this()] {
    self->stopping_ = true;
    if (self->websocket_) self->websocket_->begin_close(CloseCode::going_away, "the server stops");
    else if (self->idle_) self->transport_->close();
  });
}

runtime::Task<void> Session::run(std::shared_ptr<Session> self) {
  self->transport_->expires_after(self->service_->options.limits.handshake_timeout);
  const auto shaken = co_await self->transport_->handshake();
  if (!shaken) co_return;
  bool more = true;
  while (more && !self->stopping_) {
    more = co_await self->serve_one();
    // A connection that waits keeps nothing of what it has received.
    self->buffer_.shrink_to_fit();
  }
}

/// Waits for the first byte, then reads the header.
runtime::Task<Result<void>> Session::await_request() {
  const auto& limits = service_->options.limits;
  if (buffer_.size() == 0) {
    transport_->expires_after(first_ ? limits.header_timeout : limits.idle_timeout);
    const auto space = buffer_.prepare(kFirstPiece);
    const std::span<std::uint8_t> target{static_cast<std::uint8_t*>(space.data()), space.size()};
    auto got = co_await transport_->read_some(target);
    if (!got) co_return Error{Errc::peer_closed, "no further request"};
    if (*got == 0) co_return Error{Errc::peer_closed, "no further request"};
    buffer_.commit(*got);
  }
  transport_->expires_after(limits.header_timeout);
  co_return Result<void>{};
}

runtime::Task<bool> Session::serve_one() {
  idle_ = true;
  const auto began = co_await await_request();
  idle_ = false;
  first_ = false;
  if (!began) co_return false;

  Exchange exchange;
  auto header = co_await read_header(*transport_, buffer_, exchange.parser, service_->options.limits.max_header);
  if (!header && header.error().code() == Errc::peer_closed) co_return false;
  if (!header && header.error().code() == Errc::cancelled) co_return false;
  if (header) header = plan(exchange);
  else exchange.request.request_id = request_id({});
  if (!header) {
    // A slow peer's stream is useless by now: nothing can be written on it.
    if (header.error().code() == Errc::deadline_exceeded) {
      report(exchange, 408);
      co_return false;
    }
    // What is malformed may hide where the next request begins.
    if (header.error().code() == Errc::malformed) exchange.body_read = false;
    co_return co_await respond(exchange, problem(header.error(), exchange.request.request_id));
  }
  if (exchange.preflight) co_return co_await respond(exchange, preflight_response(exchange.request.headers));
  const auto authorised = co_await authorise(exchange);
  if (!authorised) co_return co_await respond(exchange, problem(authorised.error(), exchange.request.request_id));
  if (const auto within = admit_group(exchange.request); !within) {
    co_return co_await respond(exchange, problem(within.error(), exchange.request.request_id));
  }
  if (exchange.route->websocket) co_return co_await serve_websocket(exchange);
  const auto body = co_await receive_body(exchange);
  if (!body) {
    const auto code = body.error().code();
    if (code == Errc::deadline_exceeded) report(exchange, 408);
    if (code == Errc::deadline_exceeded || code == Errc::peer_closed || code == Errc::cancelled) co_return false;
    co_return co_await respond(exchange, problem(body.error(), exchange.request.request_id));
  }
  Response response = co_await handle(exchange);
  co_return co_await respond(exchange, std::move(response));
}

/// Everything that the header alone decides.
Result<void> Session::plan(Exchange& exchange) {
  const auto& message = exchange.parser.get();
  auto& request = exchange.request;
  exchange.method = std::string{message.method_string()};
  exchange.head = message.method() == beast::http::verb::head;
  request.headers = headers_of(message);
  request.request_id = request_id(request.headers);
  request.remote_address = remote_address_;
  exchange.origin = allowed_origin(service_->options, request.headers);
  exchange.body_read = exchange.parser.is_done();
  if (refuse_) return Error{Errc::overloaded, "the server has too many connections"};
  CLOISTER_CHECK(service_->traffic.admit_address(remote_address_));
  const std::string_view target{message.target().data(), message.target().size()};
  if (target.size() > service_->options.limits.max_target) {
    return Error{Errc::uri_too_long,
                 "a target of at most " + std::to_string(service_->options.limits.max_target) + " bytes expected"};
  }
  if (const auto hosts = message.count(beast::http::field::host); hosts > 1 || (hosts == 0 && message.version() == 11)) {
    return Error{Errc::malformed, "one Host field expected (RFC 9112 section 3.2)"};
  }
  if (const auto coding = request.headers.find("Content-Encoding"); coding && !same_ignoring_case(*coding, "identity")) {
    return Error{Errc::unsupported_media_type, "bodies are taken as they are: no Content-Encoding expected"};
  }
  CLOISTER_TRY(parts, parse_target(target));
  exchange.preflight = exchange.origin && exchange.method == "OPTIONS" &&
                       request.headers.find("Access-Control-Request-Method").has_value();
  if (exchange.preflight) return {};
  auto match = service_->router.match(exchange.method, parts.segments);
  if (match.error) {
    exchange.allow = std::move(match.allow);
    return *match.error;
  }
  exchange.route = std::move(match.route);
  request.method = *method_from(exchange.method);
  for (const auto& segment : parts.segments) request.path += '/' + segment;
  request.params = std::move(match.params);
  request.query = std::move(parts.query);
  request.route = exchange.route->pattern;
  if (exchange.route->websocket) {
    if (!beast::websocket::is_upgrade(upgrade_of(exchange.parser))) {
      return Error{Errc::unsupported, "a WebSocket upgrade expected"};
    }
    if (!exchange.origin && !from_own_origin(request.headers)) {
      return Error{Errc::permission_denied, "a page of another origin may not connect"};
    }
    exchange.offer = offer_of(request.headers);
  }
  return {};
}

Result<void> Session::admit_group(const Request& request) {
  if (!service_->options.group_of) return {};
  const auto group = service_->options.group_of(request);
  return group ? service_->traffic.admit_group(*group) : Result<void>{};
}

runtime::Task<Result<void>> Session::authorise(Exchange& exchange) {
  const auto& policy = exchange.route->policy;
  if (policy.is_public()) co_return Result<void>{};
  auto token = exchange.offer.token ? Result<std::string>{*exchange.offer.token} : bearer_of(exchange.request.headers);
  if (!token) co_return std::move(token).error();
  auto working = service_->traffic.begin_work();
  if (!working) co_return std::move(working).error();
  transport_->expires_never();
  const Deadline deadline{std::chrono::steady_clock::now() + exchange.route->options.handler_timeout};
  auto work = call_authenticator(service_, std::move(*token));
  auto principal = co_await call_out(service_->options.handlers, deadline, std::move(work));
  if (!principal) co_return std::move(principal).error();
  auto within = service_->traffic.admit_token(principal->token_id);
  if (!within) co_return std::move(within).error();
  auto allowed = policy.allows(*principal);
  if (!allowed) co_return std::move(allowed).error();
  exchange.request.principal = std::move(*principal);
  co_return Result<void>{};
}

runtime::Task<Result<void>> Session::receive_body(Exchange& exchange) {
  const auto& options = exchange.route->options;
  auto& parser = exchange.parser;
  auto& request = exchange.request;
  transport_->expires_after(options.body_timeout);
  const auto announced = parser.content_length();
  if (announced && *announced > options.max_body) {
    co_return Error{Errc::limit_exceeded,
                    "a body of at most " + std::to_string(options.max_body) + " bytes expected"};
  }
  if (!parser.is_done() && same_ignoring_case(request.headers.find("Expect").value_or(""), "100-continue")) {
    auto told = co_await transport_->write(as_bytes(kContinue));
    if (!told) co_return std::move(told).error();
  }
  std::optional<Upload> upload;
  if (options.body == BodyMode::file) {
    auto made = Upload::create(service_->options.upload_directory);
    if (!made) co_return std::move(made).error();
    upload.emplace(std::move(*made));
  }
  auto& traffic = service_->traffic;
  exchange.body_memory = traffic.body();
  std::function<Result<void>(ByteView)> sink = [&](ByteView piece) -> Result<void> {
    if (upload) return upload->write(piece);
    CLOISTER_CHECK(traffic.grow_body(exchange.body_memory, piece.size()));
    append(request.body, piece);
    return {};
  };
  auto read = co_await read_body(*transport_, buffer_, parser, options.max_body, std::move(sink));
  if (!read) co_return std::move(read).error();
  exchange.body_read = true;
  if (upload) request.body_file = upload->finish();
  co_return Result<void>{};
}

runtime::Task<Response> Session::handle(Exchange& exchange) {
  const auto working = service_->traffic.begin_work();
  if (!working) co_return problem(working.error(), exchange.request.request_id);
  transport_->expires_never();
  const Deadline deadline{std::chrono::steady_clock::now() + exchange.route->options.handler_timeout};
  const auto id = exchange.request.request_id;
  exchange.request.deadline = deadline;
  auto work = call_handler(exchange.route, std::move(exchange.request));
  auto response = co_await call_out(service_->options.handlers, deadline, std::move(work));
  exchange.request.request_id = id;
  if (!response) co_return problem(response.error(), id);
  co_return std::move(*response);
}

runtime::Task<bool> Session::respond(Exchange& exchange, Response response) {
  const auto& id = exchange.request.request_id;
  response.headers.set("X-Request-Id", id);
  if (!service_->options.allowed_origins.empty()) response.headers.add("Vary", "Origin");
  if (exchange.origin) {
    response.headers.set("Access-Control-Allow-Origin", *exchange.origin);
    response.headers.set("Access-Control-Expose-Headers", "ETag, Retry-After, X-Request-Id");
  }
  if (!exchange.allow.empty()) response.headers.set("Allow", exchange.allow);
  if (response.cause) {
    const auto level = response.status >= 500 ? log::Level::warn : log::Level::debug;
    service_->logger.write(level, "request_refused",
                           {{"request_id", id}, {"status", response.status}, {"error", response.cause->text()}});
  }
  const bool keep = exchange.body_read && exchange.parser.keep_alive() && !stopping_;
  const auto step = service_->options.limits.write_timeout;
  auto written = co_await write_response(*transport_, response, exchange.head, keep, step);
  if (!written && written.error().code() == Errc::invalid_argument) {  // nothing was written yet
    service_->logger.error("response_header_invalid", {{"request_id", id}});
    response = problem(Error{Errc::internal, "the handler's header fields are invalid"}, id);
    written = co_await write_response(*transport_, response, exchange.head, keep, step);
  }
  if (!written) service_->logger.debug("response_not_sent", {{"request_id", id}, {"error", written.error().text()}});
  report(exchange, response.status);
  if (written && keep) co_return true;
  if (written) co_await linger();
  co_return false;
}

/// Says that nothing more comes, and lets the peer read it: closing with unread input would reset the connection
/// (RFC 9112 section 9.6).
runtime::Task<void> Session::linger() {
  transport_->expires_after(kLinger);
  co_await transport_->shutdown();
  crypto::CleansedBytes sink(kPiece);
  for (std::size_t total = 0; total < kLingerBytes;) {
    const std::span<std::uint8_t> space{sink};
    const auto got = co_await transport_->discard_some(space);
    if (got == 0) break;
    total += got;
  }
  transport_->close();
}

runtime::Task<bool> Session::serve_websocket(Exchange& exchange) {
  auto upgrade = upgrade_of(exchange.parser);
  auto made = co_await transport_->accept_websocket(std::move(upgrade), exchange.offer.protocol,
                                                    exchange.route->websocket_limits);
  report(exchange, made ? 101 : 400);
  if (!made) co_return false;
  const KillAtEnd guard{*made};
  websocket_ = *made;
  websocket_->start();
  if (stopping_) websocket_->begin_close(CloseCode::going_away, "the server stops");
  exchange.request.deadline = Deadline{SteadyTime::max()};
  auto handle = make_websocket(websocket_);
  auto work = call_websocket_handler(exchange.route, std::move(exchange.request), std::move(handle));
  if (service_->options.handlers) work = runtime::run_on(service_->options.handlers, std::move(work));
  co_await std::move(work);
  // The handler may have handed the socket over: the connection ends when nobody holds it any longer.
  co_await WebSocketCore::ended(websocket_);
  co_return false;
}

void Session::report(const Exchange& exchange, int status) const {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - exchange.begin;
  RequestMetric metric{"unmatched", exchange.method, status, took.count()};
  if (exchange.route) metric.route = exchange.route->pattern;
  // The pattern and not the path, which may name what is nobody's business.
  service_->logger.debug("request", {{"request_id", exchange.request.request_id},
                                     {"method", metric.method},
                                     {"route", metric.route},
                                     {"status", status},
                                     {"seconds", metric.seconds}});
  if (service_->options.metrics) service_->options.metrics(metric);
}

}  // namespace cloister::http
