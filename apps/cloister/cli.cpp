#include "cli.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "render.hpp"

namespace cloister::cli {
namespace {

constexpr std::array kCommands = {
    add_demo,  add_dev,     add_login,    add_profile, add_challenge, add_job,     add_validator, add_instance,
    add_secret, add_token,  add_audit,    add_receipt, add_verify,    add_inspect, add_measure,   add_lab,
    add_collateral, add_derived_key, add_server, add_resource, add_data_key, add_policy, add_reference_value, add_revocation,
    add_guest,
};

constexpr std::string_view kExitCodes =
    "Exit codes: 0 done, or accepted; 1 the command could not do its work; 2 the answer is no: rejected, or the job "
    "failed.\nServer and token: --server and --token-file, else CLOISTER_SERVER and CLOISTER_TOKEN_FILE, else a profile "
    "of `cloister login`.";

/// What a person can do about it, where the code alone says so.
std::string_view remedy_of(const Error& error) {
  const auto code = error.code();
  // A server's words about its own HSM: it runs, and its address is right.
  if (code == Errc::unavailable && error.detail().starts_with("HSM: ")) return "is the server's HSM connected? Its log says more";
  constexpr std::pair<Errc, std::string_view> kRemedies[] = {
      {Errc::unauthenticated, "log in with a valid token: cloister login --server URL --token-file FILE"},
      {Errc::permission_denied, "this takes a token of another role: cloister token issue NAME --role admin"},
      {Errc::unavailable, "is the server running, and is its address right? `cloister profile list` has yours"},
      {Errc::peer_closed, "is the server running, and is its address right? `cloister profile list` has yours"},
      {Errc::certificate_refused, "name the authority that the server is known by with --ca FILE, if you trust it"},
      {Errc::overloaded, "try again in a moment"},
      {Errc::rate_limited, "try again in a moment"},
      {Errc::lab_root_not_trusted, "a trust file that names the lab's root makes it trusted: --trust FILE"},
      {Errc::audit_key_not_trusted, "the trust file must name the server's audit key"},
      {Errc::measurement_mismatch, "compare the reference value in your trust file with the version's"},
      {Errc::idempotency_conflict, "another --key makes it another job"},
      {Errc::attestation_revoked, "the administrators of the broker revoked it: `cloister revocation list`"},
      {Errc::key_invalid, "--secret-file names the secret of the client that submitted it"},
  };
  const auto* const found = std::ranges::find(kRemedies, code, &std::pair<Errc, std::string_view>::first);
  return found == std::end(kRemedies) ? std::string_view{} : found->second;
}

}  // namespace

void Context::fail(const Error& error, std::string_view remedy) {
  err << "cloister: " << printable(error.text());
  if (remedy.empty()) remedy = remedy_of(error);
  if (!remedy.empty()) err << " (" << remedy << ')';
  err << '\n';
  exit_code = kFailed;
}

int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err, const Clock& clock) {
  Context context{out, err, clock};
  CLI::App app{"Runs confidential workloads and proves it.", "cloister"};
  app.require_subcommand(1);
  app.footer(std::string{kExitCodes});
  app.option_defaults()->always_capture_default();
  for (const auto add : kCommands) add(app, context);
  try {
    std::ranges::reverse(arguments);  // as CLI11 takes a vector
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& stop) {
    // Help is a success; whatever else is wrong with the words of the command is our one usage code.
    return app.exit(stop, out, err) == 0 ? kOk : kFailed;
  }
  return context.exit_code;
}

}  // namespace cloister::cli
