#include "cloister/lab_service/serve.hpp"

#include <algorithm>
#include <csignal>
#include <functional>
#include <ostream>

#include "cloister/codec/text.hpp"
#include "cloister/device/select.hpp"
#include "cloister/http/server.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/lab_service/service.hpp"
#include "cloister/runtime/io_context.hpp"
#include "state_file.hpp"

namespace cloister::lab_service {
namespace {

constexpr unsigned kShortLivedBits = 2048;  // of a lab that ends with the process: keys of AMD's size take seconds

/// "https://example.org", with a port or without: what browsers send, character by character.
Result<void> check_origin(std::string_view origin) {
  const auto rest = origin.starts_with("http://")    ? origin.substr(7)
                    : origin.starts_with("https://") ? origin.substr(8)
                                                     : std::string_view{};
  const bool good = !rest.empty() && std::ranges::all_of(rest, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
  });
  if (good) return {};
  return Error{Errc::configuration_invalid,
               "--allow-origin: scheme, host and port as browsers send them expected, e.g. https://example.org"};
}

/// Says that it answers once a signal would be heard: what is posted runs when the only thread waits.
runtime::Task<Result<int>> announce_and_wait(runtime::IoContext& io, std::function<void()> announce) {
  runtime::post(io.executor(), std::move(announce));
  std::vector<int> signals{SIGTERM, SIGINT};
  co_return co_await io.wait_for_signal(std::move(signals));
}

}  // namespace

Result<void> serve(const ServeOptions& options, std::ostream& out, const Clock& clock, log::Logger& logger) {
  device::LinuxKernel kernel;
  if (const auto alone = device::refuse_lab_beside_tee(kernel); !alone) {
    if (!options.beside_tee) return alone.error();
    logger.warn("lab_service_beside_tee", {{"detail", alone.error().detail()}, {"lab", true}});
  }
  for (const auto& origin : options.allowed_origins) CLOISTER_CHECK(check_origin(origin));
  SystemRandom random;
  CLOISTER_TRY(state, options.seed_file
                          ? open_state(*options.seed_file, random)
                          : Result<LabState>{LabState{crypto::Secret<32>::random(random),
                                                      lab_snp::AuthorityKeys::generate(kShortLivedBits)}});
  const kms::SoftwareKms keys{crypto::hkdf32({}, state.seed.reveal(), as_bytes("cloister/lab/1/service keys")), random};
  CLOISTER_TRY(machine, Machine::create(state.seed, kCreated, std::move(state.authority), keys, random));
  runtime::IoContext connections;
  Service service{*machine, clock, logger, {.allowed_origins = options.allowed_origins}};
  runtime::IoContext handlers;  // one thread, whose alone the service is; what is suspended there refers to it
  http::ServerOptions wanted;
  wanted.port = options.port;
  wanted.allowed_origins = options.allowed_origins;
  wanted.handlers = handlers.executor();
  CLOISTER_TRY(server, http::Server::listen(connections, std::move(wanted), service.router(), logger));
  handlers.start();
  connections.start();
  const codec::json::Value ready = codec::json::Object{{"url", server->base_url()}, {"lab", true}};
  auto announce = [&out, &ready] { out << codec::json::write(ready) << std::endl; };
  auto signalled = runtime::block_on(connections, announce_and_wait(connections, std::move(announce)));
  runtime::block_on(connections, server->stop());
  if (!signalled) return std::move(signalled).error();
  return {};
}

}  // namespace cloister::lab_service
