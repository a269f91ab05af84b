#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cloister/collateral/document.hpp"
#include "cloister/core/result.hpp"

namespace cloister::collateral_cache {

struct Request {
  std::string origin;  // "https://host:port"
  std::string target;  // path and query, percent-encoded
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t max_body = 0;  // bytes
};

/// How a request reaches a service. Implementations are thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Any whole answer, whatever its status; redirections are not followed. Errors: no connection, a certificate that is
  /// not trusted, an answer that breaks off, is too long (`limit_exceeded`), or does not come in time. Blocks.
  [[nodiscard]] virtual Result<collateral::Answer> get(const Request& request) = 0;
};

/// HTTP/1.1 over TCP and TLS 1.3 or 1.2, with connections that are kept. Thread-safe.
class HttpTransport final : public Transport {
 public:
  struct Options {
    std::optional<std::string> ca_pem;  // exactly these authorities; without it the system's
    std::chrono::milliseconds timeout{30'000};  // of one request, with its connection
  };
  explicit HttpTransport(Options options);
  ~HttpTransport() override;
  [[nodiscard]] Result<collateral::Answer> get(const Request& request) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::collateral_cache
