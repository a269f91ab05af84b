#include <memory>

#include "cli.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "lifetime.hpp"
#include "token_verify.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

struct Options {
  ConnectionOptions connection;
  std::string name;
  std::string role = "client";
  std::string lifetime = "24h";
  std::optional<fs::path> out;
  std::optional<std::string> tenant;
  std::string id;
  bool json = false;
};

std::string member(const json::Value& value, std::string_view name) {
  const auto* found = value.find(name);
  return found == nullptr || found->as_string() == nullptr ? "" : *found->as_string();
}

/// The token goes to a file of its owner's alone, or to standard output, and nothing else with it.
Result<void> issue(const Options& options, Context& context) {
  CLOISTER_TRY(lifetime, parse_lifetime(options.lifetime));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(issued, server.issue_token(options.name, options.role, lifetime, options.tenant));
  const auto token = member(issued, "token");
  if (token.empty()) return Error{Errc::malformed, "the server gave no token"};
  if (options.out) CLOISTER_CHECK(write_file(*options.out, token + "\n", Readers::owner));
  if (options.json) {
    if (options.out) issued.set("token", nullptr).set("file", options.out->string());
    context.out << json::write(issued) << '\n';
    return {};
  }
  if (!options.out) context.out << token << '\n';
  context.err << member(issued, "id") << ": " << options.role << " token for " << options.name << ", expires "
              << member(issued, "expires") << '\n';
  return {};
}

Result<void> list(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(text, render_list(server, "tokens", {"id", "name", "role", "tenant", "created", "expires", "revoked"},
                                 options.json));
  context.out << text;
  return {};
}

Result<void> revoke(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_CHECK(server.revoke_token(options.id));
  context.out << options.id << " revoked\n";
  return {};
}

Result<void> rotate(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(rotated, server.rotate_result_keys());
  if (options.json) {
    context.out << json::write(rotated) << '\n';
  } else {
    context.out << member(rotated, "key_id") << " signs attestation results from now on\n";
  }
  return {};
}

}  // namespace

void add_token(CLI::App& app, Context& context) {
  auto* token = app.add_subcommand("token", "Tokens: who may call the server, and as what; and what verifiers say");
  token->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto on = [&context, options](CLI::App* command, Result<void> (*work)(const Options&, Context&)) {
    add_connection_options(*command, options->connection);
    command->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error());
    });
  };

  auto* issue_command = token->add_subcommand("issue", "Make a token; it is shown once");
  issue_command->add_option("NAME", options->name, "whose it is: 1 to 64 characters of [a-z0-9-_.]")->required();
  issue_command->add_option("--role", options->role, "client, admin or monitor");
  issue_command->add_option("--tenant", options->tenant, "whose jobs and secrets it is for; else your own tenant");
  issue_command->add_option("--lifetime", options->lifetime, "how long it is valid: 30m, 24h, 7d, at most 366d");
  issue_command->add_option("--out", options->out, "write the token to this file (mode 0600), and not to the terminal");
  issue_command->add_flag("--json", options->json, "one JSON object");
  on(issue_command, issue);

  auto* list_command = token->add_subcommand("list", "All tokens of your tenant; never the tokens themselves");
  list_command->add_flag("--json", options->json, "the API's answer");
  on(list_command, list);

  auto* revoke_command = token->add_subcommand("revoke", "Make a token invalid, at once");
  revoke_command->add_option("ID", options->id, "its id, tok-…")->required();
  on(revoke_command, revoke);

  auto* rotate_command = token->add_subcommand("rotate-keys", "Let the next key sign attestation results; the old one stays published for a while");
  rotate_command->add_flag("--json", options->json, "the API's answer");
  on(rotate_command, rotate);

  add_token_verify(*token, context);
}

}  // namespace cloister::cli
