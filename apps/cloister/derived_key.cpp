#include <algorithm>
#include <memory>

#include "cli.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/model/derived_key.hpp"
#include "connection.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxConditions = 64 * 1024;

struct Options {
  ConnectionOptions connection;
  std::string challenge;
  std::string purpose;
  std::uint64_t version = 0;
  std::optional<fs::path> conditions;
  bool any_version = false;
  std::vector<std::string> versions;
  std::vector<std::string> measurements;  // MEMBER=VALUE[,MEMBER=VALUE…]
  std::optional<std::string> floor_of;    // an instance
  std::optional<std::string> tdx_components;
  std::optional<std::string> sgx_components;
  std::optional<std::uint32_t> pce_svn;
  std::optional<std::string> tcb_date;
  bool json = false;
};

std::string name_of(const Options& options) { return options.challenge + '/' + options.purpose; }

Result<json::Value> parse_measurement(std::string_view text) {
  json::Value out = json::Object{};
  while (!text.empty()) {
    const auto part = text.substr(0, text.find(','));
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) {
      return Error{Errc::invalid_argument,
                   "--measurement: MEMBER=VALUE[,MEMBER=VALUE…] expected, e.g. image_digest=sha256:…"};
    }
    out.set(part.substr(0, equals), part.substr(equals + 1));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
  }
  return out;
}

/// Who is allowed, as the options say; nothing when they say nothing.
Result<std::optional<json::Object>> allowed(const Options& options) {
  json::Object out;
  if (options.any_version) out.emplace_back("any_version", true);
  if (!options.versions.empty()) {
    out.emplace_back("versions", json::Array(options.versions.begin(), options.versions.end()));
  }
  if (!options.measurements.empty()) {
    json::Array measurements;
    for (const auto& text : options.measurements) {
      CLOISTER_TRY(one, parse_measurement(text));
      measurements.push_back(std::move(one));
    }
    out.emplace_back("measurements", std::move(measurements));
  }
  return out.empty() ? std::optional<json::Object>{} : std::optional{std::move(out)};
}

/// The security versions of the platform that an instance attested on, as the server has verified its evidence.
Result<json::Value> platform_of(client::Orchestrator& server, const std::string& id, json::Value before) {
  CLOISTER_TRY(name, InstanceId::parse(id));
  CLOISTER_TRY(instance, server.instance(name));
  if (!instance.evidence) return Error{Errc::not_found, id + " has shown no evidence yet"};
  CLOISTER_TRY(quote, evidence::parse_quote(instance.evidence->evidence));
  if (quote.td() == nullptr) return Error{Errc::evidence_unsupported, id + ": the quote of a TD expected"};
  auto pem = as_text(quote.signature().certification.data);
  while (pem.ends_with('\0')) pem.remove_suffix(1);
  CLOISTER_TRY(chain, crypto::x509::parse_chain(pem));
  CLOISTER_TRY(extension, evidence::pck_extension(*chain.front()));
  before.set("tdx_components", codec::to_hex(quote.td()->tee_tcb_svn));
  before.set("sgx_components", codec::to_hex(extension.components));
  before.set("pce_svn", std::uint32_t{extension.pce_svn});
  return before;
}

/// The floor, as the options say; the rest as it was.
Result<json::Value> floor(client::Orchestrator& server, const Options& options, json::Value before) {
  if (options.floor_of) {
    CLOISTER_TRY(platform, platform_of(server, *options.floor_of, std::move(before)));
    before = std::move(platform);
  }
  if (options.tdx_components) before.set("tdx_components", *options.tdx_components);
  if (options.sgx_components) before.set("sgx_components", *options.sgx_components);
  if (options.pce_svn) before.set("pce_svn", *options.pce_svn);
  if (options.tcb_date) {
    const bool day = options.tcb_date->size() == std::string_view{"2024-03-13"}.size();
    before.set("tcb_date", *options.tcb_date + (day ? "T00:00:00Z" : ""));
  }
  return before;
}

/// What the file or the options say; what they do not say is as `before`, the conditions of the newest version.
Result<model::ReleaseConditions> conditions_of(client::Orchestrator& server, const Options& options,
                                               const json::Value& before) {
  if (options.conditions) {
    CLOISTER_TRY(bytes, read_file(*options.conditions, kMaxConditions));
    auto value = json::parse(as_text(bytes));
    if (!value) return value.error().in(options.conditions->string());
    return model::parse_release_conditions(*value);
  }
  json::Object out;
  CLOISTER_TRY(given, allowed(options));
  if (given) {
    out = *std::move(given);
  } else {
    for (const auto& [name, value] : *before.as_object()) {
      if (name != "tcb") out.emplace_back(name, value);
    }
  }
  const auto* tcb = before.find("tcb");
  CLOISTER_TRY(demanded, floor(server, options, tcb == nullptr ? json::Value{json::Object{}} : *tcb));
  if (!demanded.as_object()->empty()) out.emplace_back("tcb", std::move(demanded));
  if (out.empty()) {
    return Error{Errc::invalid_argument,
                 "who may have the key? --version VERSION, --measurement …, --any-version or --conditions FILE"};
  }
  return model::parse_release_conditions(json::Value{std::move(out)});
}

std::string rendered(const Options& options, const model::DerivedKeyVersion& version) {
  if (options.json) return json::write(model::to_json(version)) + "\n";
  return name_of(options) + " version " + std::to_string(version.version) + "\n";
}

Result<std::string> create(const Options& options) {
  CLOISTER_TRY(challenge, ChallengeId::parse(options.challenge));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(conditions, conditions_of(server, options, json::Object{}));
  auto made = server.put_derived_key(challenge, options.purpose, 1, conditions);
  if (!made && made.error().code() == Errc::conflict) {
    return Error{Errc::conflict, made.error().detail() + " (cloister derived-key raise makes it)"};
  }
  if (!made) return std::move(made).error();
  return rendered(options, *made);
}

Result<std::string> raise(const Options& options) {
  CLOISTER_TRY(challenge, ChallengeId::parse(options.challenge));
  CLOISTER_TRY(server, connect(options.connection));
  auto key = server.derived_key(challenge, options.purpose);
  if (!key && key.error().code() == Errc::not_found) {
    return Error{Errc::not_found, name_of(options) + ": no such derived key; cloister derived-key create makes one"};
  }
  if (!key) return std::move(key).error();
  const auto& newest = key->versions.back();
  CLOISTER_TRY(conditions, conditions_of(server, options, model::to_json(newest.conditions)));
  CLOISTER_TRY(made, server.put_derived_key(challenge, options.purpose, newest.version + 1, conditions));
  return rendered(options, made);
}

Result<std::string> list(const Options& options) {
  CLOISTER_TRY(server, connect(options.connection));
  return render_list(server, "derived-keys", {"challenge", "purpose", "version", "revoked", "created"}, options.json);
}

Result<std::string> show(const Options& options) {
  CLOISTER_TRY(challenge, ChallengeId::parse(options.challenge));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(key, server.derived_key(challenge, options.purpose));
  if (options.json) return json::write(model::to_json(key)) + "\n";
  json::Array rows;
  for (const auto& version : key.versions) {
    const auto shown = model::to_json(version);
    auto allowed_to = *shown.find("conditions");
    const auto* tcb = allowed_to.find("tcb");
    const auto demanded = tcb == nullptr ? json::Value{} : *tcb;
    std::erase_if(*allowed_to.as_object(), [](const auto& member) { return member.first == "tcb"; });
    json::Value row = json::Object{{"version", version.version}, {"created", to_rfc3339(version.created)}};
    if (version.revoked) row.set("revoked", to_rfc3339(*version.revoked));
    rows.push_back(std::move(row.set("allowed", std::move(allowed_to)).set("tcb", demanded)));
  }
  return table(rows, {"version", "created", "revoked", "allowed", "tcb"});
}

Result<std::string> revoke(const Options& options) {
  CLOISTER_TRY(challenge, ChallengeId::parse(options.challenge));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_CHECK(server.revoke_derived_key(challenge, options.purpose, options.version));
  if (!options.json) return name_of(options) + " version " + std::to_string(options.version) + " revoked\n";
  const json::Value out = json::Object{
      {"challenge", options.challenge}, {"purpose", options.purpose}, {"version", options.version}, {"revoked", true}};
  return json::write(out) + "\n";
}

void add_conditions(CLI::App& command, Options& options) {
  command.add_flag("--any-version", options.any_version, "every registered version of the challenge may have it");
  command.add_option("--version", options.versions, "a version of the challenge that may have it; may be repeated");
  command.add_option(
      "--measurement", options.measurements,
      "what may have it: mrtd=HEX,image_digest=sha256:HEX,configuration_digest=sha256:HEX, one at least; "
      "may be repeated");
  command.add_option("--floor-of", options.floor_of,
                     "an instance: its platform's security versions at least, but for those that are given beside it");
  command.add_option("--tdx-components", options.tdx_components, "TEE_TCB_SVN at least: 32 hex digits, byte by byte");
  command.add_option("--sgx-components", options.sgx_components,
                     "SGX TCB components at least: 32 hex digits, byte by byte");
  command.add_option("--pce-svn", options.pce_svn, "PCESVN at least")->check(CLI::Range(0, 65535));
  command.add_option("--tcb-date", options.tcb_date, "tcbDate at least: 2024-03-13, or RFC 3339");
  auto* file =
      command.add_option("--conditions", options.conditions, "a JSON file that says all of it (docs/derived-keys.md)");
  for (const auto* other : {"--any-version", "--version", "--measurement", "--floor-of", "--tdx-components",
                            "--sgx-components", "--pce-svn", "--tcb-date"}) {
    file->excludes(command.get_option(other));
  }
}

}  // namespace

void add_derived_key(CLI::App& app, Context& context) {
  auto* key = app.add_subcommand("derived-key", "Keys of challenges that follow from the server's root key");
  key->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto add = [&](const std::string& name, const std::string& what, Result<std::string> (*work)(const Options&),
                       bool one) {
    auto* command = key->add_subcommand(name, what);
    if (one) {
      command->add_option("CHALLENGE", options->challenge, "the challenge's id; all of its versions share the key")
          ->required();
      command->add_option("PURPOSE", options->purpose, "what the challenge calls the key, e.g. disk")->required();
    }
    command->add_flag("--json", options->json, "one JSON object");
    add_connection_options(*command, options->connection);
    command->callback([options, &context, work] {
      auto done = work(*options);
      if (!done) return context.fail(done.error());
      context.out << *done;
    });
    return command;
  };
  add_conditions(*add("create", "Make version 1 of a key, and say who may have it", create, true), *options);
  add_conditions(*add("raise", "Make the next version; what is not given stays as it is in the newest", raise, true),
                 *options);
  add("list", "All keys of your tenant", list, false);
  add("show", "The versions of a key and who may have them; never the key", show, true);
  add("revoke", "Release a version to nobody any more", revoke, true)
      ->add_option("VERSION", options->version, "its number")
      ->required()
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 62U));
}

}  // namespace cloister::cli
