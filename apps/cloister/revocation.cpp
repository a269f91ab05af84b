#include <memory>

#include "cli.hpp"
#include "connection.hpp"
#include "lifetime.hpp"

namespace cloister::cli {
namespace {

struct Options {
  ConnectionOptions connection;
  client::Revocation what;
  std::optional<std::string> lifetime;
  std::string id;
  bool all = false;
  bool json = false;
};

using Work = Result<std::string> (*)(const Options&);

Result<std::string> add(const Options& options) {
  auto what = options.what;
  if (options.lifetime) {
    CLOISTER_TRY(lifetime, parse_lifetime(*options.lifetime));
    what.lifetime = lifetime;
  }
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(made, server.revoke(what));
  if (options.json) return codec::json::write(made) + "\n";
  const auto* id = made.find("id");
  if (id == nullptr || id->as_string() == nullptr) return Error{Errc::malformed, "the server named no revocation"};
  return what.kind + " revoked, as " + *id->as_string() + "\n";
}

Result<std::string> list(const Options& options) {
  CLOISTER_TRY(server, connect(options.connection));
  return render_list(server, "revocations", {"id", "kind", "value", "everywhere", "expires", "by", "reason"}, options.json);
}

Result<std::string> lift(const Options& options) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_CHECK(server.lift_revocation(options.id));
  if (options.json) return codec::json::write(codec::json::Object{{"lifted", options.id}}) + "\n";
  return options.id + " lifted\n";
}

Result<std::string> list_guests(const Options& options) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(all, server.get(options.all ? "guests?limit=1000" : "guests?limit=1000&attested=true"));
  return render_list(all, {"session", "tee", "state", "expires", "token", "revoked"}, options.json);
}

/// A command that prints what its work gives.
void on(CLI::App& command, const std::shared_ptr<Options>& options, Context& context, Work work) {
  command.add_flag("--json", options->json, "the API's answer");
  add_connection_options(command, options->connection);
  command.callback([options, &context, work] {
    const auto done = work(*options);
    if (!done) return context.fail(done.error());
    context.out << *done;
  });
}

}  // namespace

void add_revocation(CLI::App& app, Context& context) {
  auto* revocation = app.add_subcommand("revocation", "What the key broker does not accept of guests any more");
  revocation->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  auto* add_command = revocation->add_subcommand("add", "Revoke a session, a token, a measurement or a chip, at once");
  add_command->add_option("KIND", options->what.kind, "session, token, measurement or chip")->required();
  add_command->add_option("VALUE", options->what.value, "what `cloister guest list --json` calls it")->required();
  add_command->add_option("--reason", options->what.reason, "one line, for administrators and the audit log; guests are not told")->required();
  add_command->add_option("--lifetime", options->lifetime,
                          "how long: 1h to 3660d; else a day for sessions and tokens, which end before that, and for ever for others");
  add_command->add_flag("--everywhere", options->what.everywhere, "of the guests of all tenants: a measurement or a chip, by the server's administrators");
  on(*add_command, options, context, add);

  on(*revocation->add_subcommand("list", "What is revoked, newest first"), options, context, list);

  auto* lift_command = revocation->add_subcommand("lift", "Take a revocation back, at once");
  lift_command->add_option("ID", options->id, "its id, rev-…")->required();
  on(*lift_command, options, context, lift);
}

void add_guest(CLI::App& app, Context& context) {
  auto* guest = app.add_subcommand("guest", "Guests of the key broker");
  guest->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  auto* list_command = guest->add_subcommand("list", "Those that were attested, youngest first; with --json, what each can be revoked by");
  list_command->add_flag("--all", options->all, "also sessions that wait for evidence, or got none that was taken");
  on(*list_command, options, context, list_guests);
}

}  // namespace cloister::cli
