#include <memory>

#include "cli.hpp"
#include "connection.hpp"

namespace cloister::cli {

void add_instance(CLI::App& app, Context& context) {
  auto* instance = app.add_subcommand("instance", "Instances: confidential VMs that run a challenge");
  instance->require_subcommand(1);
  struct Options {
    ConnectionOptions connection;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  auto* list = instance->add_subcommand("list", "All instances and their states");
  add_connection_options(*list, options->connection);
  list->add_flag("--json", options->json, "the API's answer");
  list->callback([options, &context] {
    auto server = connect(options->connection);
    if (!server) return context.fail(server.error());
    auto text = render_list(*server, "instances", {"id", "state", "version", "validator", "created", "failure"}, options->json);
    if (!text) return context.fail(text.error());
    context.out << *text;
  });
}

}  // namespace cloister::cli
