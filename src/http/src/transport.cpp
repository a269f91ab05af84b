#include "transport.hpp"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

namespace cloister::http {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace ssl = boost::asio::ssl;
namespace websocket = boost::beast::websocket;
namespace {

using boost::system::error_code;
using TcpStream = Transport::Socket;
using TlsStream = beast::ssl_stream<TcpStream>;
constexpr auto kValues = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kWebSocketHandshake{10};
constexpr std::size_t kFrameSize = 64U << 10;

std::string remote_of(const TcpStream& socket) {
  error_code gone;
  const auto endpoint = socket.remote_endpoint(gone);
  return gone ? std::string{} : endpoint.address().to_string();
}

websocket::stream_base::timeout timeouts(const WebSocketLimits& limits) {
  websocket::stream_base::timeout out{};
  out.handshake_timeout = kWebSocketHandshake;
  out.idle_timeout = limits.idle_timeout;
  out.keep_alive_pings = true;
  return out;
}

template <class Stream>
class BeastWebSocket final : public WebSocketCore {
 public:
  using Socket = websocket::stream<Stream>;

  BeastWebSocket(Stream stream, WebSocketLimits limits)
      : WebSocketCore{stream.get_executor(), limits, remote_of(beast::get_lowest_layer(stream))},
        socket_{std::move(stream)} {
    socket_.set_option(timeouts(limits));
    socket_.read_message_max(limits.max_message);
    socket_.write_buffer_bytes(kFrameSize);
  }

  Socket& socket() noexcept { return socket_; }

 private:
  std::shared_ptr<BeastWebSocket> self() {
    return std::static_pointer_cast<BeastWebSocket>(this->shared_from_this());
  }

  Error end_reason(const error_code& failure) const {
    if (failure == websocket::error::closed) {
      const auto& reason = socket_.reason();
      return Error{Errc::peer_closed,
                   "closed with " + std::to_string(reason.code) + ' ' + std::string{reason.reason.c_str()}};
    }
    if (failure == websocket::error::message_too_big || failure == websocket::error::buffer_overflow) {
      return Error{Errc::limit_exceeded, "the peer's message is longer than " + std::to_string(limits().max_message)};
    }
    if (failure.category() == make_error_code(websocket::error::closed).category()) {
      return Error{Errc::malformed, failure.message()};
    }
    return transport_error(failure);
  }

  void start_read() override {
    socket_.async_read(incoming_, [self = self()](const error_code& failure, std::size_t) {
      if (failure) return self->on_read(self->end_reason(failure));
      const auto data = self->incoming_.cdata();
      Message message;
      message.kind = self->socket_.got_text() ? Message::Kind::text : Message::Kind::binary;
      message.data = to_bytes(ByteView{static_cast<const std::uint8_t*>(data.data()), data.size()});
      self->incoming_.consume(data.size());
      self->on_read(std::move(message));
    });
  }

  void start_write(const Message& message) override {
    socket_.text(message.kind == Message::Kind::text);
    socket_.async_write(asio::buffer(message.data), [self = self()](const error_code& failure, std::size_t) {
      self->on_written(failure ? Result<void>{transport_error(failure)} : Result<void>{});
    });
  }

  void start_close(CloseCode code, const std::string& reason) override {
    const websocket::close_reason frame{static_cast<websocket::close_code>(code), reason};
    socket_.async_close(frame, [self = self()](const error_code&) { self->on_closed(); });
  }

  void abort() noexcept override {
    error_code ignored;
    beast::get_lowest_layer(socket_).close(ignored);
  }

  Socket socket_;
  beast::flat_buffer incoming_;
};

Error declined(const beast::http::response<beast::http::string_body>& answer) {
  ClientResponse response;
  response.status = static_cast<int>(answer.result_int());
  for (const auto& field : answer) response.headers.add(field.name_string(), field.value());
  response.body = to_bytes(answer.body());
  if (response.status < 400) return Error{Errc::unsupported, "the server did not upgrade to a WebSocket"};
  return response_error(response);
}

/// Why a handshake failed: what is wrong with the peer's certificate, where that is it.
Error handshake_error(TlsStream& stream, const error_code& failure) {
  const auto verdict = SSL_get_verify_result(stream.native_handle());
  if (verdict == X509_V_OK || failure == asio::error::operation_aborted) {
    return transport_error(failure).in("TLS handshake");
  }
  return Error{Errc::certificate_refused, X509_verify_cert_error_string(verdict)};
}

/// Closes a socket when an operation on it takes longer than until a given time. The time is set anew for each step of each request,
/// and hardly ever comes: so the timer is left to run and looks, when it fires, at what the time is by then. On the socket's executor.
class Limit : public std::enable_shared_from_this<Limit> {
 public:
  explicit Limit(const runtime::Executor& executor) : timer_{executor} {}

  void set(SteadyTime at) {
    at_ = at;
    if (operations_ > 0 && (!running_ || timer_.expiry() > at_)) start();
  }
  [[nodiscard]] bool passed() const noexcept { return passed_; }
  /// The timer neither fires nor holds this any longer.
  void end() {
    at_ = SteadyTime::max();
    if (running_) timer_.cancel();
  }

  /// While this lives an operation goes on.
  class Operation {
   public:
    Operation(Limit& limit, TcpStream& socket) : limit_{limit} {
      limit_.socket_ = &socket;
      ++limit_.operations_;
      if (!limit_.running_ || limit_.timer_.expiry() > limit_.at_) limit_.start();
    }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    ~Operation() { --limit_.operations_; }

   private:
    Limit& limit_;
  };

 private:
  void start() {
    if (at_ == SteadyTime::max()) return;
    running_ = true;
    timer_.expires_at(at_);  // one that runs already hears that it was cancelled
    timer_.async_wait([self = shared_from_this()](const error_code& cancelled) {
      if (!cancelled) self->fired();
    });
  }
  void fired() {
    running_ = false;
    if (operations_ == 0) return;  // the next one starts it again
    if (std::chrono::steady_clock::now() < at_) return start();
    passed_ = true;
    error_code ignored;
    socket_->close(ignored);
  }

  asio::steady_timer timer_;
  SteadyTime at_ = SteadyTime::max();
  TcpStream* socket_ = nullptr;  // of the operations that go on
  int operations_ = 0;
  bool running_ = false;
  bool passed_ = false;
};

template <class Stream>
class StreamTransport final : public Transport {
 public:
  StreamTransport(Stream stream, TlsContext tls, ssl::stream_base::handshake_type side)
      : tls_{std::move(tls)},
        side_{side},
        stream_{std::move(stream)},
        limit_{std::make_shared<Limit>(beast::get_lowest_layer(stream_).get_executor())} {
    error_code ignored;
    tcp().non_blocking(true, ignored);
  }
  ~StreamTransport() override { limit_->end(); }

  void expires_after(std::chrono::milliseconds span) override { limit_->set(std::chrono::steady_clock::now() + span); }
  void expires_never() override { limit_->set(SteadyTime::max()); }

  runtime::Task<Result<void>> handshake() override {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      const Limit::Operation operation{*limit_, tcp()};
      const auto [failure] = co_await stream_.async_handshake(side_, kValues);
      if (failure && limit_->passed()) co_return too_slow();
      if (failure) co_return handshake_error(stream_, failure);
    }
    co_return Result<void>{};
  }

  std::optional<Digest32> peer_key() override {
    if constexpr (std::is_same_v<Stream, TlsStream>) return key_of_peer(stream_.native_handle());
    return std::nullopt;
  }

  runtime::Task<Result<std::size_t>> read_some(std::span<std::uint8_t> space) override {
    const Limit::Operation operation{*limit_, tcp()};
    const auto [failure, count] = co_await stream_.async_read_some(asio::buffer(space.data(), space.size()), kValues);
    if (failure == asio::error::eof) co_return std::size_t{0};
    if (failure) co_return reason(failure);
    co_return count;
  }

  runtime::Task<Result<void>> write(ByteView bytes) override {
    if constexpr (std::is_same_v<Stream, TcpStream>) {
      // What the kernel takes at once, which is most of what is written, needs no turn of the event loop.
      error_code failure;
      const auto count = tcp().write_some(asio::buffer(bytes.data(), bytes.size()), failure);
      if (!failure) bytes = bytes.subspan(count);
      else if (failure != asio::error::would_block) co_return reason(failure);
      if (bytes.empty()) co_return Result<void>{};
    }
    const Limit::Operation operation{*limit_, tcp()};
    const auto [failure, count] =
        co_await asio::async_write(stream_, asio::buffer(bytes.data(), bytes.size()), kValues);
    if (failure) co_return reason(failure);
    co_return Result<void>{};
  }

  runtime::Task<void> shutdown() override {
    error_code ignored;
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      const Limit::Operation operation{*limit_, tcp()};
      [[maybe_unused]] const auto [failure] = co_await stream_.async_shutdown(kValues);
    }
    tcp().shutdown(asio::socket_base::shutdown_send, ignored);
    co_return;
  }

  runtime::Task<std::size_t> discard_some(std::span<std::uint8_t> space) override {
    const Limit::Operation operation{*limit_, tcp()};
    const auto [failure, count] = co_await tcp().async_read_some(asio::buffer(space.data(), space.size()), kValues);
    co_return failure ? 0 : count;
  }

  void close() noexcept override {
    error_code ignored;
    tcp().close(ignored);
  }

  bool quiet() override {
    std::uint8_t byte = 0;
    const auto got = ::recv(tcp().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  runtime::Task<Result<std::shared_ptr<WebSocketCore>>> accept_websocket(UpgradeRequest request,
                                                                         std::string subprotocol,
                                                                         WebSocketLimits limits) override {
    auto core = std::make_shared<BeastWebSocket<Stream>>(std::move(stream_), limits);
    auto decorate = [&subprotocol](websocket::response_type& answer) {
      answer.erase(beast::http::field::server);  // which library that is, is nobody's concern
      if (!subprotocol.empty()) answer.set(beast::http::field::sec_websocket_protocol, subprotocol);
    };
    core->socket().set_option(websocket::stream_base::decorator(decorate));
    const auto [failure] = co_await core->socket().async_accept(request, kValues);
    if (failure) co_return transport_error(failure).in("WebSocket handshake");
    co_return std::shared_ptr<WebSocketCore>{std::move(core)};
  }

  runtime::Task<Result<std::shared_ptr<WebSocketCore>>> open_websocket(std::string host, std::string target,
                                                                       Headers headers,
                                                                       WebSocketLimits limits) override {
    auto core = std::make_shared<BeastWebSocket<Stream>>(std::move(stream_), limits);
    auto decorate = [&headers](websocket::request_type& request) {
      for (const auto& [name, value] : headers.all()) request.set(name, value);
    };
    core->socket().set_option(websocket::stream_base::decorator(decorate));
    websocket::response_type answer;
    const auto [failure] = co_await core->socket().async_handshake(answer, host, target, kValues);
    if (failure == websocket::error::upgrade_declined) co_return declined(answer);
    if (failure) co_return transport_error(failure).in("WebSocket handshake");
    co_return std::shared_ptr<WebSocketCore>{std::move(core)};
  }

 private:
  TcpStream& tcp() noexcept { return beast::get_lowest_layer(stream_); }
  static Error too_slow() { return Error{Errc::deadline_exceeded, "the peer was too slow"}; }
  [[nodiscard]] Error reason(const error_code& failure) const { return limit_->passed() ? too_slow() : transport_error(failure); }

  TlsContext tls_;  // outlives the stream
  ssl::stream_base::handshake_type side_;
  Stream stream_;
  std::shared_ptr<Limit> limit_;  // shared with its timer
};

bool is_address(const std::string& host) {
  error_code no;
  asio::ip::make_address(host, no);
  return !no;
}

}  // namespace

Error transport_error(const error_code& failure) {
  if (failure == asio::error::operation_aborted) return Error{Errc::cancelled, "the operation was cancelled"};
  if (failure == beast::error::timeout) return Error{Errc::deadline_exceeded, "the peer was too slow"};
  if (failure == asio::error::eof || failure == asio::error::connection_reset ||
      failure == asio::error::broken_pipe || failure == ssl::error::stream_truncated) {
    return Error{Errc::peer_closed, "the peer closed the connection"};
  }
  if (failure == asio::error::connection_refused || failure == asio::error::host_unreachable ||
      failure == asio::error::network_unreachable || failure == asio::error::host_not_found) {
    return Error{Errc::unavailable, failure.message()};
  }
  return Error{Errc::io_error, failure.message()};
}

std::unique_ptr<Transport> server_transport(Transport::Socket socket, const TlsContext& tls) {
  TcpStream tcp{std::move(socket)};
  if (!tls) return std::make_unique<StreamTransport<TcpStream>>(std::move(tcp), tls, ssl::stream_base::server);
  TlsStream stream{std::move(tcp), *tls};
  return std::make_unique<StreamTransport<TlsStream>>(std::move(stream), tls, ssl::stream_base::server);
}

Result<std::unique_ptr<Transport>> client_transport(Transport::Socket socket, const TlsContext& tls,
                                                    const std::string& host) {
  TcpStream tcp{std::move(socket)};
  if (!tls) {
    return std::unique_ptr<Transport>{
        std::make_unique<StreamTransport<TcpStream>>(std::move(tcp), tls, ssl::stream_base::client)};
  }
  TlsStream stream{std::move(tcp), *tls};
  if (!is_address(host) && SSL_set_tlsext_host_name(stream.native_handle(), host.c_str()) != 1) {
    return Error{Errc::invalid_argument, "a host name that TLS can carry expected"};
  }
  return std::unique_ptr<Transport>{
      std::make_unique<StreamTransport<TlsStream>>(std::move(stream), tls, ssl::stream_base::client)};
}

}  // namespace cloister::http
