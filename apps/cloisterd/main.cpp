#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "cloister/process/private_memory.hpp"
#include "server.hpp"

int main(int argc, char** argv) {
  using namespace cloister;
  process::keep_memory_private();

  // A file that may not grow is a failure of that write, not of the server.
  std::signal(SIGXFSZ, SIG_IGN);

  CLI::App app{"Cloister's server"};
  std::filesystem::path file;
  bool keys_only = false;
  app.add_option("--config", file, "configuration, TOML")->required();
  app.add_flag("--show-keys", keys_only, "print the server's public keys as JSON, making them if there are none");
  CLI11_PARSE(app, argc, argv);

  const auto config = server::load_config(file);
  if (!config) {
    std::fprintf(stderr, "cloisterd: %s\n", config.error().detail().c_str());
    return 1;
  }
  log::StderrLogger logger{"cloisterd", config->log_level};
  const auto done = keys_only ? server::show_keys(*config) : server::run(*config, logger);
  if (!done) {
    std::fprintf(stderr, "cloisterd: %s\n", done.error().text().c_str());
    return 1;
  }
  return 0;
}
