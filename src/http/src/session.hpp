#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "cloister/http/server.hpp"
#include "routes.hpp"
#include "traffic.hpp"
#include "wire.hpp"

namespace cloister::http {

/// What all connections of a server share. Outlives them.
struct Service {
  Service(ServerOptions with, Router routes, log::Logger& log)
      : options{std::move(with)}, router{std::move(routes)}, logger{log} {}
  const ServerOptions options;
  const Router router;
  log::Logger& logger;
  Traffic traffic{options.limits, options.clock};
};

/// One connection of a server, from its handshake to its end. Runs on its transport's executor.
class Session : public std::enable_shared_from_this<Session> {
 public:
  /// `refuse`: answers 503 to the first request, because the server is full.
  Session(std::shared_ptr<Service> service, runtime::Executor executor, std::unique_ptr<Transport> transport,
          std::string remote_address, ConnectionCounts::Slot slot, bool refuse);

  [[nodiscard]] static runtime::Task<void> run(std::shared_ptr<Session> self);
  /// Ends the connection after the request under way; at once when there is none. Thread-safe.
  void begin_stop();

 private:
  struct Exchange;

  [[nodiscard]] runtime::Task<bool> serve_one();
  [[nodiscard]] runtime::Task<Result<void>> await_request();
  [[nodiscard]] runtime::Task<Response> answer(Exchange& exchange);
  [[nodiscard]] Result<void> plan(Exchange& exchange);
  [[nodiscard]] Result<void> admit_group(const Request& request);
  [[nodiscard]] runtime::Task<Result<void>> authorise(Exchange& exchange);
  [[nodiscard]] runtime::Task<Result<void>> receive_body(Exchange& exchange);
  [[nodiscard]] runtime::Task<Response> handle(Exchange& exchange);
  [[nodiscard]] runtime::Task<bool> respond(Exchange& exchange, Response response);
  [[nodiscard]] runtime::Task<bool> serve_websocket(Exchange& exchange);
  [[nodiscard]] runtime::Task<void> linger();
  void report(const Exchange& exchange, int status) const;

  std::shared_ptr<Service> service_;
  runtime::Executor executor_;
  std::unique_ptr<Transport> transport_;
  std::string remote_address_;
  ConnectionCounts::Slot slot_;
  bool refuse_;
  // On the executor only.
  ReadBuffer buffer_;
  bool idle_ = true;
  bool stopping_ = false;
  bool first_ = true;
  std::shared_ptr<WebSocketCore> websocket_;
};

}  // namespace cloister::http
