#include <algorithm>
#include <memory>

#include "cli.hpp"
#include "cloister/builder/builder.hpp"
#include "cloister/oci/layout.hpp"
#include "connection.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

struct Options {
  ConnectionOptions connection;
  fs::path source;
  fs::path out;
  std::vector<std::string> entrypoint;
  std::string id;
  std::uint32_t instances = 1;
  std::vector<std::string> secrets;  // NAME=PATH
  std::vector<std::string> derived_keys;
  bool demand_server_evidence = false;
  std::optional<fs::path> trust;
  std::optional<std::string> not_before;
  bool json = false;
};

constexpr std::string_view kDemandCaveat =
    "its instances prove the server's program, configuration and keys, not that its platform's TCB is good today: a host can set "
    "a TD's clock back to --not-before";

/// A layout from a folder of files, or from one program.
Result<std::string> build(const Options& options) {
  std::error_code failure;
  const bool folder = fs::is_directory(options.source, failure);
  if (folder && options.entrypoint.empty()) {
    return Error{Errc::invalid_argument, "a folder needs --entrypoint, e.g. --entrypoint /run"};
  }
  CLOISTER_TRY(image, folder ? builder::image_of_folder(options.source, options.entrypoint)
                             : builder::image_of_program(options.source));
  CLOISTER_CHECK(oci::write_layout(image, options.out));
  return model::digest_text(image.digest) + "\n";
}

Result<std::vector<model::SecretRef>> parse_secrets(const std::vector<std::string>& words) {
  std::vector<model::SecretRef> out;
  for (const auto& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) return Error{Errc::invalid_argument, "--secret: NAME=PATH expected, got " + word};
    out.push_back({word.substr(0, equals), word.substr(equals + 1)});
  }
  return out;
}

/// What is measured is a time that does not change while nobody means it to: the same push on one day is one version.
Result<UnixTime> not_before_of(const Options& options, UnixTime now) {
  if (!options.not_before) return UnixTime{std::chrono::floor<std::chrono::days>(now)};
  auto given = parse_rfc3339(*options.not_before);
  if (!given) return given.error().in("--not-before");
  return given;
}

/// What the version's instances demand of the server, from what this person trusts.
Result<std::optional<model::EvidenceDemand>> demand_of(const Options& options, const Access& access, Context& context) {
  if (!options.demand_server_evidence) return std::optional<model::EvidenceDemand>{};
  CLOISTER_TRY(trust, trust_of(options.trust, access));
  if (trust.server_reference_values.empty()) {
    return Error{Errc::invalid_argument, "--demand-server-evidence: the trust file has no server_reference_values, which say what the "
                                         "server must be; name one that has with --trust FILE"};
  }
  const auto add = [](auto& list, const auto& item) {  // once
    if (std::ranges::find(list, item) == list.end()) list.push_back(item);
  };
  model::EvidenceDemand out;
  for (const auto& reference : trust.server_reference_values) add(out.references, reference);
  for (const auto* list : {&trust.roots, &trust.lab_roots}) {
    for (const auto& root : *list) add(out.roots, root->der);
  }
  CLOISTER_TRY(not_before, not_before_of(options, context.clock.now()));
  out.not_before = not_before;
  context.err << "cloister: " << kDemandCaveat << " (" << to_rfc3339(not_before) << ")\n";
  return std::optional{std::move(out)};
}

Result<std::string> push(const Options& options, Context& context) {
  CLOISTER_TRY(layout, oci::Layout::open(options.source));
  CLOISTER_TRY(digest, layout.find());
  CLOISTER_TRY(image, oci::load(digest, layout.blobs()));
  model::ChallengeSpec spec;
  CLOISTER_TRY(id, ChallengeId::parse(options.id));
  CLOISTER_TRY(secrets, parse_secrets(options.secrets));
  spec.challenge = std::move(id);
  spec.image_digest = digest;
  spec.instances = options.instances;
  spec.secrets = std::move(secrets);
  spec.derived_keys = options.derived_keys;
  CLOISTER_TRY(access, find_access(options.connection));
  CLOISTER_TRY(demand, demand_of(options, access, context));
  spec.server_evidence = std::move(demand);
  CLOISTER_TRY(server, connect(access));
  std::vector<oci::Descriptor> blobs = image.manifest.layers;
  blobs.push_back(image.manifest.config);
  for (const auto& blob : blobs) {
    CLOISTER_TRY(bytes, oci::fetch(blob, layout.blobs()));
    CLOISTER_CHECK(server.put_blob(blob.digest, bytes));
  }
  constexpr std::uint64_t kMaxManifest = 4U << 20;
  CLOISTER_TRY(manifest, layout.blobs()(digest, kMaxManifest));
  CLOISTER_CHECK(server.put_blob(digest, manifest));
  CLOISTER_TRY(version, server.register_version(spec));
  if (options.json) return json::write(model::to_json(version)) + "\n";
  return version.id.str() + "\n";
}

}  // namespace

void add_challenge(CLI::App& app, Context& context) {
  auto* challenge = app.add_subcommand("challenge", "Challenges: workloads in confidential VMs");
  challenge->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto run = [&context](Result<std::string> done) {
    if (!done) return context.fail(done.error());
    context.out << *done;
  };

  auto* build_command = challenge->add_subcommand("build", "Make an OCI layout, and print its image digest");
  build_command->add_option("SOURCE", options->source, "a program, or a folder of files")->required();
  build_command->add_option("--out", options->out, "directory for the layout; made, must be empty")->required();
  build_command->add_option("--entrypoint", options->entrypoint, "what a folder's image runs");
  build_command->callback([options, run] { run(build(*options)); });

  auto* push_command = challenge->add_subcommand("push", "Upload a layout and register it as a version");
  push_command->add_option("LAYOUT", options->source, "directory of an OCI layout")->required();
  push_command->add_option("--id", options->id, "the challenge's id")->required();
  push_command->add_option("--instances", options->instances, "wanted at the same time")->check(CLI::Range(0, 64));
  push_command->add_option("--secret", options->secrets, "NAME=PATH of a secret that it needs; may be repeated");
  push_command->add_option("--derived-key", options->derived_keys,
                           "PURPOSE of a derived key that it needs (cloister derived-key); may be repeated");
  auto* demand = push_command->add_flag(
      "--demand-server-evidence", options->demand_server_evidence,
      "its instances send nothing to a server, and take no keys from it, that does not prove on their channel to be one of "
      "server_reference_values in the trust file, under its roots. Caution: " + std::string{kDemandCaveat});
  push_command->add_option("--trust", options->trust,
                           "trust file of that demand; else CLOISTER_TRUST_FILE, your profile's, or the one in your configuration folder")
      ->needs(demand);
  push_command->add_option("--not-before", options->not_before,
                           "RFC 3339: instances take it for the earliest time that it can be, and refuse collateral of the server that "
                           "had ended by then; else the beginning of today, UTC")
      ->needs(demand);
  push_command->add_flag("--json", options->json, "the registered version");
  add_connection_options(*push_command, options->connection);
  push_command->callback([options, run, &context] { run(push(*options, context)); });

  auto* list = challenge->add_subcommand("list", "All challenges; with --id, one's versions");
  list->add_option("--id", options->id, "list the versions of this challenge");
  list->add_flag("--json", options->json, "the API's answer");
  add_connection_options(*list, options->connection);
  list->callback([options, run] {
    auto server = connect(options->connection);
    if (!server) return run(std::move(server).error());
    if (options->id.empty()) return run(render_list(*server, "challenges", {"id", "tenant", "created"}, options->json));
    run(render_list(*server, "challenges/" + options->id + "/versions",
                    {"id", "active", "spec.instances", "spec.image_digest", "registered"}, options->json));
  });
}

}  // namespace cloister::cli
