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
  bool json = false;
};

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

Result<std::string> push(const Options& options) {
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
  CLOISTER_TRY(server, connect(options.connection));
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
  push_command->add_flag("--json", options->json, "the registered version");
  add_connection_options(*push_command, options->connection);
  push_command->callback([options, run] { run(push(*options)); });

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
