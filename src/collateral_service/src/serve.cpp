#include "cloister/collateral_service/serve.hpp"

#include <csignal>
#include <ostream>

#include "cloister/codec/json.hpp"
#include "cloister/collateral_service/routes.hpp"
#include "cloister/http/server.hpp"
#include "cloister/runtime/io_context.hpp"

namespace cloister::collateral_service {

Result<void> serve(const ServeOptions& options, std::ostream& out, log::Logger& logger) {
  CLOISTER_TRY(documents, FileDocuments::open(options.data));
  runtime::IoContext io;
  http::ServerOptions wanted;
  wanted.port = options.port;
  CLOISTER_TRY(server, http::Server::listen(io, std::move(wanted), routes(*documents), logger));
  io.start();
  const codec::json::Value ready =
      codec::json::Object{{"url", server->base_url()}, {"documents", std::uint64_t{documents->count()}}, {"lab", true}};
  out << codec::json::write(ready) << std::endl;
  auto signalled = runtime::block_on(io, io.wait_for_signal({SIGTERM, SIGINT}));
  runtime::block_on(io, server->stop());
  if (!signalled) return std::move(signalled).error();
  return {};
}

}  // namespace cloister::collateral_service
