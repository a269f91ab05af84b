#include <csignal>
#include <filesystem>
#include <memory>
#include <utility>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/provider/process_provider.hpp"
#include "cloister/runtime/task_group.hpp"
#include "cloister/validator/host_agent.hpp"
#include "connection.hpp"
#include "keys.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kPoolThreads = 4;
constexpr std::size_t kPoolQueue = 256;
/// Much less than the time for which a server waits for instances.
constexpr std::chrono::seconds kLongestPause{5};

struct RunOptions {
  std::string server;
  std::optional<fs::path> ca_file;
  fs::path platform;
  fs::path guest;
  fs::path hotkey;
  fs::path data;
  std::uint32_t capacity = 4;
};

/// What the person who runs the host can do about it.
std::string_view remedy_of(const Error& why) {
  if (why.code() == Errc::unauthenticated || why.code() == Errc::permission_denied) {
    return "an administrator enrols the hotkey: cloister validator enrol, with what `cloister validator hotkey` prints";
  }
  if (why.code() == Errc::certificate_refused) return "name the authority that the server is known by with --ca FILE";
  return "none needed if the server is away for a while; else look at --server and the server's log";
}

/// Connects, and again after every end, with pauses that grow.
runtime::Task<void> keep_connected(validator::HostAgent* agent, log::Logger* logger) {
  auto pause = std::chrono::milliseconds{250};
  for (;;) {
    const SystemClock clock;
    const auto begun = clock.steady();
    const Error why = co_await agent->run();
    if (clock.steady() - begun > kLongestPause) pause = std::chrono::milliseconds{250};
    logger->warn("disconnected", {{"detail", why.text()},
                                  {"remedy", remedy_of(why)},
                                  {"again_in_ms", static_cast<std::int64_t>(pause.count())}});
    auto slept = co_await runtime::sleep_for(pause);
    if (!slept) co_return;
    pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause);
  }
}

/// The value is there because `run_on` carries one.
runtime::Task<bool> stop_agent(validator::HostAgent* agent) {
  co_await agent->stop();
  co_return true;
}

Result<void> run_agent(const RunOptions& options, std::ostream& out) {
  log::StderrLogger logger{"validator", log::Level::info};
  CLOISTER_TRY(hotkey, load_or_make_hotkey(options.hotkey));
  CLOISTER_TRY(image, provider::td_image_of_program(options.guest));
  provider::ProcessProvider provider{options.platform, std::move(image)};
  http::ClientOptions server;
  server.base_url = options.server;
  CLOISTER_TRY(tls, client_tls(options.ca_file));
  server.tls = std::move(tls);
  const SystemClock clock;
  runtime::IoContext io;
  runtime::BlockingPool pool{kPoolThreads, kPoolQueue};
  const auto strand = io.strand();
  validator::HostAgentOptions agent_options{server, options.capacity, options.data / "blobs"};
  agent_options.logged_in = [&, told = false](const ValidatorId& id) mutable {
    if (std::exchange(told, true)) return;  // of the first login alone: whoever starts this waits for one line
    const json::Value line = json::Object{{"event", "ready"},
                                          {"validator", id.str()},
                                          {"hotkey", codec::to_hex(hotkey.public_key())},
                                          {"server", options.server}};
    out << json::write(line) << std::endl;
  };
  validator::HostAgent agent{{io, pool, provider, clock, logger}, std::move(agent_options), hotkey, strand};
  io.start();
  runtime::TaskGroup tasks{strand, logger, "validator"};
  tasks.spawn("agent", keep_connected(&agent, &logger));
  auto signalled = runtime::block_on(io, io.wait_for_signal({SIGINT, SIGTERM}));
  logger.info("stopping", {{"signal", signalled ? *signalled : 0}});
  runtime::block_on(io, tasks.cancel_and_wait());
  static_cast<void>(runtime::block_on(io, runtime::run_on(strand, stop_agent(&agent))));
  return {};
}

struct AdminOptions {
  ConnectionOptions connection;
  std::string hotkey;
  std::string id;
  bool json = false;
};

Result<void> show_hotkey(const fs::path& file, std::ostream& out) {
  CLOISTER_TRY(hotkey, load_or_make_hotkey(file));
  out << codec::to_hex(hotkey.public_key()) << '\n';
  return {};
}

Result<void> enrol_hotkey(const AdminOptions& options, std::ostream& out) {
  CLOISTER_TRY(hotkey, codec::array_from_hex<32>(options.hotkey));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(validator, server.enrol(hotkey));
  out << validator.id.str() << '\n';
  return {};
}

Result<void> drain_validator(const AdminOptions& options, std::ostream& out) {
  CLOISTER_TRY(id, ValidatorId::parse(options.id));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(validator, server.drain(id));
  out << validator.id.str() << ": " << model::to_string(validator.state) << '\n';
  return {};
}

}  // namespace

void add_validator(CLI::App& app, Context& context) {
  auto* validator = app.add_subcommand("validator", "A validator: a host that runs confidential VMs");
  validator->require_subcommand(1);
  auto* run = validator->add_subcommand("run", "Serve a server from this host until Ctrl-C; prints one line once it is let in");
  const auto options = std::make_shared<RunOptions>();
  run->add_option("--server", options->server, "the server, http://… or https://…")->required();
  run->add_option("--ca", options->ca_file, std::string{kCaHelp});
  run->add_option("--platform", options->platform, "control socket of the lab platform on this host")->required();
  run->add_option("--guest", options->guest, "the cloister-guest program that TDs run")->required();
  run->add_option("--hotkey", options->hotkey, "file of the hotkey, made (mode 0600) if it is missing")->required();
  run->add_option("--data", options->data, "directory for fetched blobs")->required();
  run->add_option("--capacity", options->capacity, "instances at the same time")->check(CLI::Range(1, 1024));
  run->callback([options, &context] {
    if (auto done = run_agent(*options, context.out); !done) context.fail(done.error());
  });

  auto* hotkey = validator->add_subcommand("hotkey", "The public hotkey of a file, which an administrator enrols");
  hotkey->add_option("FILE", options->hotkey, "file of the hotkey, made (mode 0600) if it is missing")->required();
  hotkey->callback([options, &context] {
    if (auto done = show_hotkey(options->hotkey, context.out); !done) context.fail(done.error());
  });

  const auto admin = std::make_shared<AdminOptions>();
  auto* enrol = validator->add_subcommand("enrol", "Let a host's hotkey in");
  enrol->add_option("HOTKEY", admin->hotkey, "64 hex digits, as `cloister validator hotkey` prints them")->required();
  add_connection_options(*enrol, admin->connection);
  enrol->callback([admin, &context] {
    if (auto done = enrol_hotkey(*admin, context.out); !done) context.fail(done.error());
  });

  auto* drain = validator->add_subcommand("drain", "Start nothing more on a host, and elsewhere what runs there");
  drain->add_option("VALIDATOR", admin->id, "its id; `enrol` lets it in again")->required();
  add_connection_options(*drain, admin->connection);
  drain->callback([admin, &context] {
    if (auto done = drain_validator(*admin, context.out); !done) context.fail(done.error());
  });

  auto* list = validator->add_subcommand("list", "All validators and their states");
  list->add_flag("--json", admin->json, "the API's answer");
  add_connection_options(*list, admin->connection);
  list->callback([admin, &context] {
    auto server = connect(admin->connection);
    if (!server) return context.fail(server.error());
    auto text = render_list(*server, "validators", {"id", "state", "capacity", "verified", "hotkey"}, admin->json);
    if (!text) return context.fail(text.error());
    context.out << *text;
  });
}

}  // namespace cloister::cli
