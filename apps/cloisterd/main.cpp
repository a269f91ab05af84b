#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <sstream>

#include "cloister/process/private_memory.hpp"
#include "server.hpp"

namespace {

using namespace cloister;

/// What an operator can do about it; empty where the detail says it.
std::string_view remedy(const Error& error) {
  switch (error.code()) {
    case Errc::hsm_pin_refused: return "the file of pin-source holds another PIN; every attempt brings the token nearer to its lock";
    case Errc::hsm_pin_locked: return "its security officer unlocks a token";
    case Errc::hsm_key_missing: return "restore the HSM's own backup: what `data` holds is sealed under that key";
    case Errc::database_newer: return "a newer cloisterd wrote this database: run that version, or restore a backup";
    case Errc::database_behind_head:
      return "restore the newest backup, the whole of it: what the audit log once showed is lost or was changed, revocations among it; "
             "where there is none, --accept-rollback takes the database as it is, and the audit log says so";
    case Errc::unavailable:
      if (error.detail().starts_with("HSM: ")) return "is it connected, and does the module's configuration know it?";
      return "one cloisterd for each data directory: stop the other one, or set another `data`";
    default: return {};  // the detail names the file or setting
  }
}

/// One line for each thing that is wrong.
int fail(const Error& error, std::string_view what) {
  std::istringstream lines{error.detail()};
  for (std::string line; std::getline(lines, line);) {
    const auto hint = remedy(error);
    std::fprintf(stderr, "cloisterd: %.*s%s%s%.*s%s\n", static_cast<int>(what.size()), what.data(), line.c_str(),
                 hint.empty() ? "" : " (", static_cast<int>(hint.size()), hint.data(), hint.empty() ? "" : ")");
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == std::string_view{server::kEvaluatePolicies}) return server::evaluate_policies();
  process::keep_memory_private();

  // A file that may not grow is a failure of that write, not of the server.
  std::signal(SIGXFSZ, SIG_IGN);

  CLI::App app{"Cloister's server"};
  std::filesystem::path file;
  bool keys_only = false;
  bool accept_rollback = false;
  std::string moved_from;
  app.add_option("--config", file, "configuration, TOML")->required();
  auto* show = app.add_flag("--show-keys", keys_only, "print the server's public keys as JSON, making them if there are none");
  auto* rollback = app.add_flag(
      "--accept-rollback", accept_rollback,
      "start once on a database that is behind its audit log's head (a new log begins, which names both heads), or that has other "
      "revocations, policies or reference values than the log says (which then says what it has)");
  app.add_option("--move-keys-from", moved_from,
                 "`file`, or a PKCS#11 URI: move the data from there to the keeper of keys that the configuration names; "
                 "the server must be stopped; its audit log goes on under another key (docs/kms.md)")
      ->excludes(show)
      ->excludes(rollback);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : 1;
  }

  const auto config = server::load_config(file);
  if (!config) return fail(config.error(), "");
  log::StderrLogger logger{"cloisterd", config->log_level};
  const auto on_rollback = accept_rollback ? server::Rollback::accept : server::Rollback::refuse;
  const auto done = keys_only              ? server::show_keys(*config)
                    : !moved_from.empty() ? server::move_keys(*config, moved_from)
                                           : server::run(*config, logger, on_rollback);
  if (!done) return fail(done.error(), std::string{to_string(done.error().code())} + ": ");
  return 0;
}
