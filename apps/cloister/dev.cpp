#include <csignal>
#include <memory>

#include <poll.h>
#include <sys/signalfd.h>

#include "cli.hpp"
#include "connection.hpp"
#include "example.hpp"
#include "files.hpp"
#include "profile.hpp"
#include "system.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProfile = "dev";
constexpr std::string_view kPartEnded =
    "is another `cloister dev` running here? --data and --port give this one a folder and a port of its own";

struct Options {
  fs::path data = "cloister-dev";
  std::uint16_t port = 7443;
  bool beside_tee = false;
};

/// Keeps the profile. It is put in use only where no other one is, so that nobody's commands end up elsewhere; returns
/// what commands must say to use it.
Result<std::string> keep_profile(Profile profile) {
  CLOISTER_TRY(profiles, Profiles::load());
  const auto name = profile.name;
  profiles.put(std::move(profile));
  if (profiles.current().empty()) CLOISTER_CHECK(profiles.use(name));
  CLOISTER_CHECK(profiles.save());
  return profiles.current() == name ? std::string{} : " --profile " + name;
}

/// Waits for Ctrl-C; returns the name of a part that ended before it.
std::string wait_for_end(System& system, const sigset_t& signals) {
  const process::UniqueFd descriptor{::signalfd(-1, &signals, SFD_CLOEXEC)};
  constexpr int kLookEveryMs = 500;
  for (;;) {
    pollfd polled{descriptor.get(), POLLIN, 0};
    if (::poll(&polled, 1, kLookEveryMs) > 0) return {};
    if (auto gone = system.ended(); !gone.empty()) return gone;
  }
}

Result<void> run(const Options& options, Context& context) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  auto& out = context.out;
  CLOISTER_TRY(system, System::make(options.data, options.port));
  CLOISTER_TRY(sandbox, system.start_platform(options.beside_tee));
  out << "lab platform runs; TDs are held by " << sandbox << std::endl;
  CLOISTER_CHECK(system.start_server_tee(options.beside_tee));
  CLOISTER_CHECK(system.learn_server_keys());
  CLOISTER_CHECK(system.start_server());
  out << "server runs at " << system.url() << std::endl;
  CLOISTER_TRY(token, system.admin_token());
  CLOISTER_TRY(server, client::Orchestrator::connect(system.url(), token));
  CLOISTER_TRY(example, plan_example(system.programs().keyword_search, system.programs().guest, system.server_keys()));
  CLOISTER_CHECK(register_example(server, example));
  auto trust = system.trust();
  trust.reference_values = {example.reference()};
  const auto trust_file = fs::absolute(options.data / "trust.json");
  CLOISTER_CHECK(write_file(trust_file, policy::write_trust_file(trust), Readers::everyone));
  CLOISTER_TRY(validator, server.enrol(system.hotkey()));
  CLOISTER_CHECK(system.start_validator());
  CLOISTER_TRY(profile_words, keep_profile({std::string{kProfile}, system.url(), token, {}, trust_file}));
  out << "validator " << validator.id.str() << " runs\n\n"
      << "LAB ONLY - NOT HARDWARE: confidential VMs are simulated on this machine, the server's own among them.\n\n"
      << "  server      " << system.url() << "\n  token       " << system.admin_token_file().string()
      << "\n  trust file  " << trust_file.string() << "\n  logs        " << system.logs().string() << "\n\n"
      << "Your profile '" << kProfile << "' names them, so in another terminal:\n\n"
      << "  cloister server verify" << profile_words << "\n"
      << "  cloister instance list" << profile_words << "\n"
      << "  cloister job submit keyword-search --payload FILE --receipt receipt.json" << profile_words << "\n"
      << "    (FILE: {\"keyword\":\"…\",\"documents\":[{\"name\":\"…\",\"text\":\"…\"}]})\n\n"
      << "Ctrl-C stops everything." << std::endl;
  const auto gone = wait_for_end(system, signals);
  if (!gone.empty()) {
    return Error{Errc::unavailable, "the " + gone + " process ended; its log is " + (system.logs() / (gone + ".log")).string()};
  }
  out << "\nstopping" << std::endl;
  return {};
}

}  // namespace

void add_dev(CLI::App& app, Context& context) {
  auto* dev = app.add_subcommand("dev", "The whole system on this machine, until Ctrl-C");
  const auto options = std::make_shared<Options>();
  dev->add_option("--data", options->data, "where state and logs are kept");
  dev->add_option("--port", options->port, "the server's port; 0: any free one");
  dev->add_flag("--beside-tee", options->beside_tee, "start the lab also on a machine that has a TEE of its own");
  dev->callback([options, &context] {
    const auto done = run(*options, context);
    if (done) return;
    // A part that ends before it is ready has told its log why, which is in the error's text.
    const bool part_ended = done.error().code() == Errc::peer_closed || done.error().code() == Errc::unavailable;
    context.fail(done.error(), part_ended ? kPartEnded : std::string_view{});
  });
}

}  // namespace cloister::cli
