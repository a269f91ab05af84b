#include "cloister/http/server.hpp"

#include <boost/asio.hpp>
#include <list>
#include <mutex>

#include "cloister/runtime/task_group.hpp"
#include "session.hpp"
#include "tls.hpp"

namespace cloister::http {
namespace asio = boost::asio;
namespace {

using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, runtime::Executor>;
// Connections above a limit that are told so; the others are just closed.
constexpr std::size_t kRefusals = 32;
constexpr std::size_t kRefusalsPerAddress = 4;
constexpr std::chrono::milliseconds kAcceptPause{100};

Result<asio::ip::tcp::endpoint> endpoint_of(const ServerOptions& options) {
  error_code failure;
  const auto address = asio::ip::make_address(options.address, failure);
  if (failure) return Error{Errc::configuration_invalid, "an IP address to listen on expected: " + options.address};
  if (!address.is_loopback() && !options.tls) {
    return Error{Errc::configuration_invalid, "without a TLS certificate only loopback is listened on"};
  }
  return asio::ip::tcp::endpoint{address, options.port};
}

Result<void> open(Acceptor& acceptor, const asio::ip::tcp::endpoint& endpoint) {
  error_code failure;
  acceptor.open(endpoint.protocol(), failure);
  if (!failure) acceptor.set_option(asio::socket_base::reuse_address{true}, failure);
  if (!failure && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only{true}, failure);
  if (!failure) acceptor.bind(endpoint, failure);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (!failure) return {};
  return Error{Errc::io_error,
               "cannot listen on " + endpoint.address().to_string() + ':' + std::to_string(endpoint.port()) + ": " +
                   failure.message()};
}

}  // namespace

Authenticator deny_all() {
  return [](std::string) -> runtime::Task<Result<Principal>> {
    co_return Error{Errc::unauthenticated, "this server knows no tokens"};
  };
}

struct Server::Impl {
  Impl(runtime::IoContext& context, std::shared_ptr<Service> shared, TlsContext certificate)
      : io{context},
        service{std::move(shared)},
        strand{context.strand()},
        acceptor{strand},
        tls{std::move(certificate)},
        sessions{strand, service->logger, "http"} {}

  runtime::IoContext& io;
  std::shared_ptr<Service> service;
  runtime::Executor strand;
  Acceptor acceptor;  // on the strand only, once it listens
  asio::ip::tcp::endpoint local;

  mutable std::mutex mutex;
  bool stopping = false;
  TlsContext tls;  // null: plain
  std::list<std::weak_ptr<Session>> open_sessions;

  runtime::TaskGroup sessions;  // last: its tasks use all of the above

  [[nodiscard]] static runtime::Task<void> accept_loop(std::shared_ptr<Impl> self) {
    while (true) {
      const auto executor = self->io.strand();
      Transport::Socket socket{executor};
      const auto [failure] =
          co_await self->acceptor.async_accept(socket, asio::as_tuple(asio::use_awaitable));
      if (failure == asio::error::operation_aborted || !self->acceptor.is_open()) co_return;
      if (failure) {  // out of descriptors or the like: the listening socket itself is sound
        self->service->logger.warn("accept_failed", {{"error", failure.message()}});
        const auto paused = co_await runtime::sleep_for(kAcceptPause);
        if (!paused) co_return;
        continue;
      }
      self->admit(std::move(socket), executor);
    }
  }

  void admit(Transport::Socket socket, const runtime::Executor& executor) {
    error_code ignored;
    const auto remote = socket.remote_endpoint(ignored).address().to_string();
    socket.set_option(asio::ip::tcp::no_delay{true}, ignored);
    const auto limit = service->options.limits.max_connections;
    const auto count = connections();
    if (count >= limit + kRefusals) return;  // closes
    const auto of_address = service->options.limits.max_connections_per_address;
    auto slot = service->traffic.add_connection(remote);
    if (slot.number() > of_address + kRefusalsPerAddress) return;
    const bool refuse = count >= limit || slot.number() > of_address;
    auto session = std::make_shared<Session>(service, executor, server_transport(std::move(socket), certificate()),
                                             remote, std::move(slot), refuse);
    {
      const std::lock_guard lock{mutex};
      if (stopping) return;
      std::erase_if(open_sessions, [](const auto& old) { return old.expired(); });
      open_sessions.push_back(session);
    }
    sessions.spawn_on(executor, "connection", Session::run(session));
  }

  [[nodiscard]] TlsContext certificate() const {
    const std::lock_guard lock{mutex};
    return tls;
  }

  [[nodiscard]] std::size_t connections() const {
    const auto running = sessions.running();
    return running > 0 ? running - 1 : 0;  // one is the accept loop
  }

  void begin_stop() {
    std::list<std::weak_ptr<Session>> all;
    {
      const std::lock_guard lock{mutex};
      stopping = true;
      all.swap(open_sessions);
    }
    for (const auto& weak : all) {
      if (const auto session = weak.lock()) session->begin_stop();
    }
  }
};

Result<std::unique_ptr<Server>> Server::listen(runtime::IoContext& io, ServerOptions options, Router router,
                                               log::Logger& logger) {
  CLOISTER_TRY(endpoint, endpoint_of(options));
  TlsContext tls;
  if (options.tls) {
    CLOISTER_TRY(context, server_tls(*options.tls));
    tls = std::move(context);
  }
  auto service = std::make_shared<Service>(std::move(options), std::move(router), logger);
  auto impl = std::make_shared<Impl>(io, std::move(service), std::move(tls));
  CLOISTER_CHECK(open(impl->acceptor, endpoint));
  error_code failure;
  impl->local = impl->acceptor.local_endpoint(failure);
  if (failure) return Error{Errc::io_error, "the listening address cannot be read: " + failure.message()};
  impl->sessions.spawn("accept", Impl::accept_loop(impl));
  return std::unique_ptr<Server>{new Server{std::move(impl)}};
}

Server::Server(std::shared_ptr<Impl> impl) : impl_{std::move(impl)} {}

Server::~Server() {
  impl_->begin_stop();
  runtime::post(impl_->strand, [impl = impl_] { impl->acceptor.close(); });
}

std::uint16_t Server::port() const noexcept { return impl_->local.port(); }

std::string Server::base_url() const {
  const auto address = impl_->local.address();
  const auto host = address.is_v6() ? '[' + address.to_string() + ']' : address.to_string();
  return std::string{impl_->service->options.tls ? "https://" : "http://"} + host + ':' + std::to_string(port());
}

std::size_t Server::connections() const { return impl_->connections(); }

Result<void> Server::reload_tls() {
  const auto& files = impl_->service->options.tls;
  if (!files) return {};
  CLOISTER_TRY(fresh, server_tls(*files));
  const std::lock_guard lock{impl_->mutex};
  impl_->tls = std::move(fresh);
  return {};
}

std::optional<Digest32> Server::tls_key() const { return key_served_by(impl_->certificate()); }

runtime::Task<void> Server::stop(std::chrono::milliseconds drain) {
  const auto impl = impl_;
  runtime::post(impl->strand, [impl] {
    error_code ignored;
    impl->acceptor.close(ignored);
  });
  impl->begin_stop();
  const Deadline deadline{std::chrono::steady_clock::now() + drain};
  const auto drained = co_await impl->sessions.wait_until_empty(deadline);
  if (!drained) impl->service->logger.info("connections_dropped", {{"count", impl->connections()}});
  co_await impl->sessions.cancel_and_wait();
}

}  // namespace cloister::http
