// Logging in, and profiles.
#include <memory>

#include "cli.hpp"
#include "cloister/core/ids.hpp"
#include "connection.hpp"
#include "profile.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

struct LoginOptions {
  std::string server;
  fs::path token_file;
  std::optional<fs::path> ca_file;
  std::optional<fs::path> trust_file;
  std::string profile = "default";
};

struct ProfileOptions {
  std::string name;
  bool json = false;
};

std::optional<fs::path> absolute(const std::optional<fs::path>& path) {
  return path ? std::optional{fs::absolute(*path)} : std::nullopt;
}

/// Tries the token before it keeps it.
Result<std::string> log_in(const LoginOptions& options) {
  if (!valid_id(options.profile)) {
    return Error{Errc::invalid_argument, "--profile: 1 to 64 characters of [a-z0-9-_.] expected"};
  }
  CLOISTER_TRY(token, read_token(options.token_file));
  const Access access{options.server, token, absolute(options.ca_file), absolute(options.trust_file)};
  // A trust file that cannot be used is found now, and not when the first job is to be sealed.
  if (access.trust_file) CLOISTER_CHECK(trust_of({}, access));
  CLOISTER_TRY(server, connect(access));
  // A role that may not see the log is known all the same.
  const auto head = server.get("audit/head");
  if (!head && head.error().code() != Errc::permission_denied) return head.error();
  CLOISTER_TRY(profiles, Profiles::load());
  profiles.put({options.profile, access.server, access.token, access.ca_file, access.trust_file});
  CLOISTER_CHECK(profiles.use(options.profile));
  CLOISTER_CHECK(profiles.save());
  return "logged in at " + options.server + "; profile " + options.profile + " is in use\n";
}

/// Without the tokens.
json::Value to_json(const Profiles& profiles) {
  json::Array list;
  for (const auto& profile : profiles.all()) {
    json::Object item{{"name", profile.name}, {"in_use", profile.name == profiles.current()}, {"server", profile.server}};
    if (profile.ca_file) item.emplace_back("ca_file", profile.ca_file->string());
    if (profile.trust_file) item.emplace_back("trust_file", profile.trust_file->string());
    list.emplace_back(std::move(item));
  }
  return json::Object{{"profiles", std::move(list)}};
}

Result<std::string> list(const ProfileOptions& options) {
  CLOISTER_TRY(profiles, Profiles::load());
  return render_list(to_json(profiles), {"name", "in_use", "server", "trust_file"}, options.json);
}

Result<std::string> use(const ProfileOptions& options) {
  CLOISTER_TRY(profiles, Profiles::load());
  CLOISTER_CHECK(profiles.use(options.name));
  CLOISTER_CHECK(profiles.save());
  return "profile " + options.name + " is in use\n";
}

Result<std::string> remove(const ProfileOptions& options) {
  CLOISTER_TRY(profiles, Profiles::load());
  CLOISTER_CHECK(profiles.remove(options.name));
  CLOISTER_CHECK(profiles.save());
  return "profile " + options.name + " removed; its token is valid until it is revoked or expires\n";
}

}  // namespace

void add_login(CLI::App& app, Context& context) {
  auto* login = app.add_subcommand("login", "Try a server and a token, and keep them as a profile");
  const auto options = std::make_shared<LoginOptions>();
  login->add_option("--server", options->server, "the server, http://… or https://…")->required();
  login->add_option("--token-file", options->token_file, "file with your token")->required();
  login->add_option("--ca", options->ca_file, std::string{kCaHelp});
  login->add_option("--trust", options->trust_file, "your trust file for this server");
  login->add_option("--profile", options->profile, "the profile's name");
  login->callback([options, &context] {
    auto done = log_in(*options);
    if (!done) return context.fail(done.error());
    context.out << *done;
  });
}

void add_profile(CLI::App& app, Context& context) {
  auto* profile = app.add_subcommand("profile", "The servers that you are logged in at");
  profile->require_subcommand(1);
  const auto options = std::make_shared<ProfileOptions>();
  const auto on = [&context, options](CLI::App* command, Result<std::string> (*work)(const ProfileOptions&)) {
    command->callback([options, &context, work] {
      auto done = work(*options);
      if (!done) return context.fail(done.error());
      context.out << *done;
    });
  };
  auto* list_command = profile->add_subcommand("list", "All profiles; never their tokens");
  list_command->add_flag("--json", options->json, "one JSON object");
  on(list_command, list);
  auto* use_command = profile->add_subcommand("use", "Use this profile where none is named");
  use_command->add_option("NAME", options->name, "the profile's name")->required();
  on(use_command, use);
  auto* remove_command = profile->add_subcommand("remove", "Forget a profile and its token");
  remove_command->add_option("NAME", options->name, "the profile's name")->required();
  on(remove_command, remove);
}

}  // namespace cloister::cli
