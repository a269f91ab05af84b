#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/time.hpp"
#include "cloister/http/router.hpp"
#include "cloister/runtime/io_context.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::http {

/// Finds the principal of a bearer token, or `unauthenticated`. Called once for each request to a route that is not
/// public, where handlers run and within the route's handler timeout; never with an empty token.
using Authenticator = std::function<runtime::Task<Result<Principal>>(std::string bearer_token)>;

/// An authenticator that knows nobody: for servers whose routes are all public.
[[nodiscard]] Authenticator deny_all();

/// One answered request.
struct RequestMetric {
  std::string_view route;  // the pattern; "unmatched" when there was none
  std::string_view method;
  int status;
  double seconds;          // from the first byte of the header to the last of the response
};
/// Called on the connection's strand; must be quick and thread-safe.
using MetricsHook = std::function<void(const RequestMetric&)>;

/// Which requests share one limit; nothing: this one counts with none. Called with the principal, where the route demands
/// one, and before the body is read; must be quick and thread-safe, and give few names.
using GroupOf = std::function<std::optional<std::string>(const Request&)>;

/// PEM files. TLS 1.3 only. A certificate that has expired is refused.
struct TlsFiles {
  std::filesystem::path certificate;  // with its chain
  std::filesystem::path key;
};

struct ServerLimits {
  std::size_t max_header = 16U << 10;  // bytes of request line and header fields
  std::size_t max_target = 4U << 10;
  std::size_t max_connections = 1024;  // above it: 503 with Retry-After
  std::size_t max_connections_per_address = 256;  // of one IPv4 address or IPv6 /64; above it: 503, further ones are
                                                  // closed. Loopback has no limit
  std::size_t max_pending = 512;       // requests that are authorised or handled at the same time; above it: 503
  std::size_t max_body_memory = std::size_t{512} << 20;  // bytes of all bodies in memory; above it: 503
  std::uint32_t requests_per_address = 0;  // a second, of one IPv4 address or IPv6 /64, twice that at once; above it:
                                           // 429 with Retry-After. Loopback has no limit. 0: none
  std::uint32_t requests_per_token = 0;    // the same, of one token
  std::uint32_t requests_per_group = 0;    // the same, of one group: `ServerOptions::group_of`. From loopback too
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds header_timeout{10'000};  // from its first byte, or from the connection's begin
  std::chrono::milliseconds idle_timeout{60'000};    // between two requests of a connection
  std::chrono::milliseconds write_timeout{30'000};   // for each 64 KiB of a response
};

struct ServerOptions {
  std::string address = "127.0.0.1";  // IPv4 or IPv6; beyond loopback only with TLS
  std::uint16_t port = 0;             // 0: the system chooses
  std::optional<TlsFiles> tls;
  ServerLimits limits;
  std::filesystem::path upload_directory;  // for BodyMode::file; the system's temporary directory when empty
  /// Origins of pages, exactly as browsers send them ("https://example.org"), that may use this server beside its own
  /// pages: their requests, preflights included, are answered with the fields of the CORS protocol (WHATWG Fetch, section
  /// 3.2), without credentials, and their WebSockets are accepted.
  std::vector<std::string> allowed_origins;
  Authenticator authenticator = deny_all();
  MetricsHook metrics;
  GroupOf group_of;
  const Clock* clock = nullptr;  // of the limits a second; the system's when null. Outlives the server
  /// Where handlers and the authenticator run; the connection's own strand when empty. Its context outlives the server.
  runtime::Executor handlers;
};

/// An HTTP/1.1 and WebSocket server. Thread-safe. Call `stop` and wait for it before destruction.
class Server {
 public:
  /// Binds and serves. `io` and `logger` must outlive the server. `configuration_invalid` for a bad address, unusable
  /// TLS files, or an address beyond loopback without TLS; `io_error` when the port cannot be bound.
  [[nodiscard]] static Result<std::unique_ptr<Server>> listen(runtime::IoContext& io, ServerOptions options,
                                                              Router router, log::Logger& logger);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// "http://127.0.0.1:8443", with the real port.
  [[nodiscard]] std::string base_url() const;
  /// Open connections.
  [[nodiscard]] std::size_t connections() const;

  /// Reads the files of `ServerOptions::tls` again, for connections from now on. When they cannot be used
  /// (`configuration_invalid`) the certificate before them stays. Does nothing without TLS.
  [[nodiscard]] Result<void> reload_tls();

  /// SHA-256 of the SubjectPublicKeyInfo (DER) of the certificate that connections from now on are served with; nothing
  /// without TLS.
  [[nodiscard]] std::optional<Digest32> tls_key() const;

  /// Accepts nothing more, closes idle connections and WebSockets (1001), lets requests end within `drain`, then
  /// cancels. Idempotent.
  [[nodiscard]] runtime::Task<void> stop(std::chrono::milliseconds drain = std::chrono::seconds{5});

 private:
  struct Impl;
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with its connections
};

}  // namespace cloister::http
