#include <memory>
#include <thread>

#include "cli.hpp"
#include "cloister/client/job_runner.hpp"
#include "cloister/client/server_check.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "keys.hpp"
#include "profile.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxPayload = 64U << 20;
constexpr std::chrono::milliseconds kLookEvery{500};

struct Options {
  ConnectionOptions connection;
  std::optional<fs::path> trust;
  std::optional<fs::path> secret;
  std::string challenge;
  std::string job;
  fs::path payload;
  std::string key;
  std::optional<fs::path> receipt;
  std::optional<std::string> state;
  bool attested_server = false;
  bool json = false;
};

void add_client_options(CLI::App& command, Options& options) {
  add_connection_options(command, options.connection);
  command.add_option("--trust", options.trust, "trust file; else CLOISTER_TRUST_FILE, your profile's, or the one in your configuration folder");
  command.add_option("--secret-file", options.secret, "your client secret, made if it is missing; else in your configuration folder");
  command.add_option("--receipt", options.receipt, "write the receipt here");
  command.add_flag("--attested-server", options.attested_server,
                   "send nothing, not even your token, unless the server proves itself first: as `cloister server verify` does");
}

/// What a client of this person works with.
struct Client {
  client::Orchestrator orchestrator;
  policy::TrustFile trust;
  crypto::Secret<32> secret;
};

/// The file that is given, else one in the configuration folder.
Result<fs::path> secret_file_of(const Options& options) {
  if (options.secret) return *options.secret;
  const auto folder = configuration_folder();
  if (!folder) return Error{Errc::invalid_argument, "neither XDG_CONFIG_HOME nor HOME is set: name --secret-file"};
  std::error_code failure;
  fs::create_directories(*folder, failure);
  if (failure) return Error{Errc::io_error, folder->string() + ": " + failure.message()};
  return *folder / "client.secret";
}

Result<Client> open_client(const Options& options, const Context& context) {
  CLOISTER_TRY(access, find_access(options.connection));
  CLOISTER_TRY(trust, trust_of(options.trust, access));
  CLOISTER_TRY(secret_file, secret_file_of(options));
  CLOISTER_TRY(secret, load_or_make_secret(secret_file));
  if (options.attested_server) {
    CLOISTER_TRY(tls, client_tls(access.ca_file));
    SystemRandom random;
    auto attested = client::connect_attested(access.server, access.token, tls, trust, context.clock, random);
    if (!attested) return attested.error().in("--attested-server");
    const auto& server = attested->server;
    context.err << server.server.identity().server_id << " verified" << (server.server.appraised().lab() ? " (LAB ONLY - NOT HARDWARE)" : "")
                << (server.connection_bound ? "" : "; plain HTTP: its evidence is not bound to the connection") << '\n';
    return Client{std::move(attested->orchestrator), server.narrowed(std::move(trust)), std::move(secret)};
  }
  CLOISTER_TRY(orchestrator, connect(access));
  return Client{std::move(orchestrator), std::move(trust), std::move(secret)};
}

/// Shows an outcome: the output as it is on `out`, everything else on `err`.
Result<void> show(const client::FinishedJob& finished, const Options& options, Context& context) {
  if (options.receipt) {
    const auto text = json::write_pretty(receipt::to_json(finished.receipt)) + "\n";
    CLOISTER_CHECK(write_file(*options.receipt, text, Readers::owner));  // it holds the key that opens the commitments
  }
  context.out << as_text(finished.output.reveal()) << '\n';
  context.err << finished.job.str() << ": " << finished.envelope.status << '\n';
  if (finished.envelope.status != "ok") context.exit_code = kRejected;
  return {};
}

client::JobEvents events_to(std::ostream& err) {
  client::JobEvents events;
  events.accepted = [&err](const client::VerifiedInstance& instance) {
    err << instance.id.str() << " verified" << (instance.lab ? " (LAB ONLY - NOT HARDWARE)" : "") << '\n';
  };
  events.refused = [&err](const InstanceId& id, const Error& why) { err << id.str() << " refused: " << why.text() << '\n'; };
  events.interrupted = [&err](const Error& why) { err << "the server does not answer (" << why.text() << "); trying again\n"; };
  events.progressed = [&err, last = std::string{}](const model::Job& job) mutable {
    const auto now = job.id.str() + ": " + std::string{model::to_string(job.state)} + ", " + std::to_string(job.progress) + " %";
    if (now != last) err << now << '\n';
    last = now;
  };
  return events;
}

/// The newest active version of the challenge.
Result<VersionId> newest_version(client::Orchestrator& orchestrator, const ChallengeId& challenge) {
  const auto versions = orchestrator.versions(challenge);
  if (!versions && versions.error().code() == Errc::not_found) {
    return Error{Errc::not_found,
                 "no challenge " + challenge.str() + " on this server: `cloister challenge list` names those it has"};
  }
  if (!versions) return versions.error();
  for (const auto& version : *versions) {
    if (version.active) return version.id;
  }
  return Error{Errc::not_found, "challenge " + challenge.str() + " has no active version"};
}

Result<void> submit(const Options& options, Context& context) {
  CLOISTER_TRY(payload, read_file(options.payload, kMaxPayload));
  CLOISTER_TRY(challenge, ChallengeId::parse(options.challenge));
  CLOISTER_TRY(client, open_client(options, context));
  CLOISTER_TRY(version, newest_version(client.orchestrator, challenge));
  SystemRandom random;
  client::JobRunner runner{client.orchestrator, client.trust, client.secret, context.clock, random};
  const auto key = options.key.empty() ? random_id("cli", random) : options.key;
  CLOISTER_TRY(finished, runner.run({challenge, version, key, payload}, events_to(context.err)));
  return show(finished, options, context);
}

Result<void> collect(const Options& options, Context& context) {
  CLOISTER_TRY(job, JobId::parse(options.job));
  CLOISTER_TRY(client, open_client(options, context));
  SystemRandom random;
  client::JobRunner runner{client.orchestrator, client.trust, client.secret, context.clock, random};
  CLOISTER_TRY(finished, runner.collect(job, events_to(context.err)));
  return show(finished, options, context);
}

/// One line about a job as it is now.
std::string state_line(const client::Orchestrator::JobView& view) {
  const auto& job = view.job;
  std::string out = std::string{model::to_string(job.state)} + ", " + std::to_string(job.progress) + " %";
  if (job.attempts > 0) out += ", attempt " + std::to_string(job.attempts);
  if (job.failure) out += ", " + printable(*job.failure);
  if (job.state == model::JobState::awaiting_rewrap) {
    out += view.missing_recipients.empty() ? ": no instance is ready"
                                           : ": its client must seal it to another instance (cloister job result)";
  }
  return out;
}

/// Follows a job to its end. The answer is no (exit code 2) unless it succeeds.
Result<void> watch(const Options& options, Context& context) {
  CLOISTER_TRY(id, JobId::parse(options.job));
  CLOISTER_TRY(server, connect(options.connection));
  for (std::string shown;;) {
    CLOISTER_TRY(view, server.job(id, std::chrono::seconds{0}));
    const auto now = options.json ? json::write(model::to_json(view.job)) : state_line(view);
    if (now != shown) {
      if (!options.json) context.out << to_rfc3339(std::chrono::floor<std::chrono::seconds>(context.clock.now())) << "  ";
      context.out << now << std::endl;
      shown = now;
    }
    if (model::is_final(view.job.state)) {
      if (view.job.state != model::JobState::succeeded) context.exit_code = kRejected;
      return {};
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

Result<void> cancel(const Options& options, Context& context) {
  CLOISTER_TRY(job, JobId::parse(options.job));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(cancelled, server.cancel(job));
  context.out << cancelled.id.str() << ": " << model::to_string(cancelled.state) << '\n';
  return {};
}

Result<void> list(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  const auto what = "jobs" + (options.state ? "?state=" + *options.state : "");
  CLOISTER_TRY(text, render_list(server, what, {"id", "state", "progress", "attempts", "version", "submitted", "failure"},
                                 options.json));
  context.out << text;
  return {};
}

Result<void> get(const Options& options, Context& context) {
  CLOISTER_TRY(job, JobId::parse(options.job));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(value, server.get("jobs/" + job.str()));
  context.out << (options.json ? json::write(value) : json::write_pretty(value)) << '\n';
  return {};
}

}  // namespace

void add_job(CLI::App& app, Context& context) {
  auto* job = app.add_subcommand("job", "Jobs: sealed work for verified instances");
  job->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto on = [&context, options](CLI::App* command, Result<void> (*work)(const Options&, Context&)) {
    command->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error());
    });
  };

  auto* submit_command = job->add_subcommand("submit", "Verify instances, seal a payload to them, and wait for the result");
  submit_command->add_option("CHALLENGE", options->challenge, "the challenge's id")->required();
  submit_command->add_option("--payload", options->payload, "file with the payload")->required();
  submit_command->add_option("--key", options->key, "idempotency key; the same key and payload are the same job");
  add_client_options(*submit_command, *options);
  on(submit_command, submit);

  auto* result = job->add_subcommand("result", "Wait for a job that was submitted before, and open its result");
  result->add_option("JOB", options->job, "the job's id")->required();
  add_client_options(*result, *options);
  on(result, collect);

  auto* get_command = job->add_subcommand("get", "A job's record");
  get_command->add_option("JOB", options->job, "the job's id")->required();
  get_command->add_flag("--json", options->json, "in one line");
  add_connection_options(*get_command, options->connection);
  on(get_command, get);

  auto* watch_command = job->add_subcommand("watch", "Follow a job to its end: exit 0 when it succeeded, 2 when not");
  watch_command->add_option("JOB", options->job, "the job's id")->required();
  watch_command->add_flag("--json", options->json, "the job's record, one line for each change");
  add_connection_options(*watch_command, options->connection);
  on(watch_command, watch);

  auto* list_command = job->add_subcommand("list", "Your jobs, newest first");
  list_command->add_option("--state", options->state, "only jobs in this state: queued, awaiting_rewrap, leased, succeeded, failed, cancelled, expired");
  list_command->add_flag("--json", options->json, "the API's answer");
  add_connection_options(*list_command, options->connection);
  on(list_command, list);

  auto* cancel_command = job->add_subcommand("cancel", "Cancel a job that is not finished");
  cancel_command->add_option("JOB", options->job, "the job's id")->required();
  add_connection_options(*cancel_command, options->connection);
  on(cancel_command, cancel);
}

}  // namespace cloister::cli
