#include "cloister/collateral_service/serve.hpp"

#include <csignal>
#include <ostream>

#include "cloister/codec/json.hpp"
#include "cloister/collateral_service/routes.hpp"
#include "cloister/http/server.hpp"
#include "cloister/runtime/io_context.hpp"

namespace cloister::collateral_service {

Result<void> serve(const ServeOptions& options, std::ostream& out, log::Logger& logger) {
  std::unique_ptr<FileDocuments> documents;
  if (options.also == nullptr || std::filesystem::exists(options.data)) {
    CLOISTER_TRY(opened, FileDocuments::open(options.data));
    documents = std::move(opened);
  }
  std::vector<const DocumentSource*> sources;
  if (documents) sources.push_back(documents.get());
  if (options.also != nullptr) sources.push_back(options.also);
  const JoinedDocuments all{std::move(sources)};
  runtime::IoContext io;
  http::ServerOptions wanted;
  wanted.port = options.port;
  CLOISTER_TRY(server, http::Server::listen(io, std::move(wanted), routes(all), logger));
  io.start();
  const codec::json::Value ready =
      codec::json::Object{{"url", server->base_url()}, {"documents", std::uint64_t{documents ? documents->count() : 0}}, {"lab", true}};
  out << codec::json::write(ready) << std::endl;
  auto signalled = runtime::block_on(io, io.wait_for_signal({SIGTERM, SIGINT}));
  runtime::block_on(io, server->stop());
  if (!signalled) return std::move(signalled).error();
  return {};
}

}  // namespace cloister::collateral_service
