#include <memory>

#include "cli.hpp"
#include "cloister/client/job_runner.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "keys.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxPayload = 64U << 20;

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
  bool json = false;
};

void add_client_options(CLI::App& command, Options& options) {
  add_connection_options(command, options.connection);
  command.add_option("--trust", options.trust, "trust file; else that of your profile or configuration folder");
  command.add_option("--secret-file", options.secret, "your client secret, made if it is missing; else beside your profile");
  command.add_option("--receipt", options.receipt, "write the receipt here");
}

/// What a client of this person works with.
struct Client {
  client::Orchestrator orchestrator;
  policy::TrustFile trust;
  crypto::Secret<32> secret;
};

Result<Client> open_client(const Options& options) {
  CLOISTER_TRY(orchestrator, connect(options.connection));
  auto trust_path = options.trust;
  if (!trust_path && !default_trust_file()) {
    if (auto profile = load_profile()) trust_path = profile->trust_file;
  }
  CLOISTER_TRY(trust, load_trust_file(trust_path));
  const auto secret_file = options.secret.value_or(profile_file().parent_path() / "client.secret");
  std::error_code failure;
  fs::create_directories(secret_file.parent_path(), failure);
  CLOISTER_TRY(secret, load_or_make_secret(secret_file));
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
  events.progressed = [&err, last = std::string{}](const model::Job& job) mutable {
    const auto now = job.id.str() + ": " + std::string{model::to_string(job.state)} + ", " + std::to_string(job.progress) + " %";
    if (now != last) err << now << '\n';
    last = now;
  };
  return events;
}

/// The newest active version of the challenge.
Result<VersionId> newest_version(client::Orchestrator& orchestrator, const ChallengeId& challenge) {
  CLOISTER_TRY(versions, orchestrator.versions(challenge));
  for (const auto& version : versions) {
    if (version.active) return version.id;
  }
  return Error{Errc::not_found, "challenge " + challenge.str() + " has no active version"};
}

Result<void> submit(const Options& options, Context& context) {
  CLOISTER_TRY(payload, read_file(options.payload, kMaxPayload));
  CLOISTER_TRY(challenge, ChallengeId::parse(options.challenge));
  CLOISTER_TRY(client, open_client(options));
  CLOISTER_TRY(version, newest_version(client.orchestrator, challenge));
  SystemRandom random;
  client::JobRunner runner{client.orchestrator, client.trust, client.secret, context.clock, random};
  const auto key = options.key.empty() ? random_id("cli", random) : options.key;
  CLOISTER_TRY(finished, runner.run({challenge, version, key, payload}, events_to(context.err)));
  return show(finished, options, context);
}

Result<void> collect(const Options& options, Context& context) {
  CLOISTER_TRY(job, JobId::parse(options.job));
  CLOISTER_TRY(client, open_client(options));
  SystemRandom random;
  client::JobRunner runner{client.orchestrator, client.trust, client.secret, context.clock, random};
  CLOISTER_TRY(finished, runner.collect(job, events_to(context.err)));
  return show(finished, options, context);
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

  auto* list_command = job->add_subcommand("list", "Your jobs, newest first");
  list_command->add_option("--state", options->state, "only jobs in this state");
  list_command->add_flag("--json", options->json, "the API's answer");
  add_connection_options(*list_command, options->connection);
  on(list_command, list);

  auto* cancel_command = job->add_subcommand("cancel", "Cancel a job that is not finished");
  cancel_command->add_option("JOB", options->job, "the job's id")->required();
  add_connection_options(*cancel_command, options->connection);
  on(cancel_command, cancel);
}

}  // namespace cloister::cli
