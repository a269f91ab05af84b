#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "cloister/codec/json.hpp"
#include "cloister/http/message.hpp"
#include "cloister/http/websocket.hpp"
#include "cloister/runtime/io_context.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::http {

/// How a client knows an https server. Without either, the system's certificate authorities.
struct ClientTls {
  std::optional<std::string> ca_pem;           // exactly these authorities (or the server's own certificate)
  std::optional<Digest32> pinned_certificate;  // SHA-256 of the server's certificate (DER); instead of chain and name
  /// Also TLS 1.2, with ephemeral keys and authenticated encryption alone: for services of others, which may speak nothing
  /// newer. Not with a bearer token.
  bool allow_tls12 = false;
};

struct ClientOptions {
  std::string base_url;  // "https://host:port" or "http://host:port", without a path
  /// Sent as Authorization: Bearer. Over plain http to loopback only.
  std::optional<std::string> bearer;
  ClientTls tls;
  std::size_t max_idle_connections = 4;
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  Bytes body;
  std::optional<Digest32> peer_key{};  // over TLS, and only there: SHA-256 of the SubjectPublicKeyInfo (DER) of the server's certificate
  [[nodiscard]] bool ok() const noexcept { return status >= 200 && status < 300; }
};

inline constexpr std::size_t kMaxResponse = 16U << 20;

/// The Error that a response with a status of 400 or more stands for: a problem document's code and detail when it is
/// one and the code is known, else by status.
[[nodiscard]] Error response_error(const ClientResponse& response);
/// The response itself when its status is 2xx, else `response_error`.
[[nodiscard]] Result<ClientResponse> expect_success(ClientResponse response);

/// An HTTP/1.1 client of one server. Redirects are not followed. Connections are kept and used again. Thread-safe.
class Client {
 public:
  /// `io` must outlive the client. `invalid_argument` for a bad URL, unreadable authorities, or a bearer token that
  /// would leave the machine in the clear or by TLS 1.2.
  [[nodiscard]] static Result<std::unique_ptr<Client>> make(runtime::IoContext& io, ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Any answer of the server, whatever its status. `unavailable` when there is no connection, `certificate_refused`
  /// when its certificate is not as `ClientTls` wants it, `peer_closed` when the connection breaks off,
  /// `deadline_exceeded`, `limit_exceeded` for a longer body than `max_response`, `malformed` for what is no HTTP.
  /// An idempotent request (not POST, not PATCH) is sent once more when a kept connection turns out closed.
  [[nodiscard]] runtime::Task<Result<ClientResponse>> request(Method method, std::string target, Headers headers,
                                                              Bytes body, Deadline deadline,
                                                              std::size_t max_response = kMaxResponse);

  /// From now on nothing is sent over a connection whose peer has another TLS key than this one, nor over one without TLS:
  /// `certificate_refused`.
  void hold_to(const Digest32& peer_key);

  /// JSON both ways: sends `body` unless it is null, and gives the answer's body (null when it is empty), or
  /// `response_error`.
  [[nodiscard]] runtime::Task<Result<codec::json::Value>> call(Method method, std::string target,
                                                               codec::json::Value body, Deadline deadline);

 private:
  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with running requests
};

/// `Client` for programs that wait: has a thread of its own. Thread-safe.
class BlockingClient {
 public:
  [[nodiscard]] static Result<std::unique_ptr<BlockingClient>> make(ClientOptions options);
  ~BlockingClient();

  [[nodiscard]] Result<ClientResponse> request(Method method, std::string target, Headers headers, Bytes body,
                                               std::chrono::milliseconds timeout,
                                               std::size_t max_response = kMaxResponse);
  [[nodiscard]] Result<codec::json::Value> call(Method method, std::string target, codec::json::Value body,
                                                std::chrono::milliseconds timeout);
  void hold_to(const Digest32& peer_key);  // as of Client

 private:
  BlockingClient() = default;
  std::unique_ptr<runtime::IoContext> io_;
  std::unique_ptr<Client> client_;
};

/// Opening side of a WebSocket.
class WebSocketClient {
 public:
  /// `options.base_url` with http or https (or ws, wss); `target` e.g. "/api/v1/validators/connect". Connects on a
  /// strand of `io`. An answer other than 101 becomes its `response_error`.
  [[nodiscard]] static runtime::Task<Result<std::shared_ptr<WebSocket>>> connect(runtime::IoContext& io,
                                                                                ClientOptions options,
                                                                                std::string target, Headers headers,
                                                                                WebSocketLimits limits,
                                                                                Deadline deadline);
};

}  // namespace cloister::http
