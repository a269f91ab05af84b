#include <map>
#include <mutex>

#include "cloister/collateral_cache/transport.hpp"
#include "cloister/http/client.hpp"

namespace cloister::collateral_cache {

struct HttpTransport::Impl {
  explicit Impl(Options given) : options{std::move(given)} { io.start(); }

  /// The client of a service, made when it is first asked.
  Result<std::shared_ptr<http::Client>> client_of(const std::string& origin) {
    constexpr std::size_t kMaxClients = 64;
    const std::lock_guard lock{mutex};
    if (const auto found = clients.find(origin); found != clients.end()) return found->second;
    http::ClientOptions wanted;
    wanted.base_url = origin;
    wanted.tls.ca_pem = options.ca_pem;
    wanted.tls.allow_tls12 = true;  // vendors' services may speak nothing newer, and what they give is signed
    CLOISTER_TRY(made, http::Client::make(io, std::move(wanted)));
    std::shared_ptr<http::Client> client{std::move(made)};
    if (clients.size() < kMaxClients) clients.emplace(origin, client);
    return client;
  }

  Options options;
  runtime::IoContext io;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<http::Client>> clients;  // shared with requests that are under way
};

HttpTransport::HttpTransport(Options options) : impl_{std::make_unique<Impl>(std::move(options))} {}
HttpTransport::~HttpTransport() = default;

Result<collateral::Answer> HttpTransport::get(const Request& request) {
  CLOISTER_TRY(client, impl_->client_of(request.origin));
  http::Headers headers;
  for (const auto& [name, value] : request.headers) headers.add(name, value);
  const Deadline deadline{std::chrono::steady_clock::now() + impl_->options.timeout};
  auto response = runtime::block_on(
      impl_->io, client->request(http::Method::get, request.target, std::move(headers), {}, deadline, request.max_body));
  if (!response) return std::move(response).error();
  return collateral::Answer{.status = response->status, .headers = response->headers.all(), .body = std::move(response->body)};
}

}  // namespace cloister::collateral_cache
