#include <algorithm>
#include <memory>
#include <sstream>

#include "change.hpp"
#include "cloister/codec/text.hpp"
#include "cli.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxPolicy = 256U << 10;
constexpr std::size_t kMaxAbout = 2U << 20;

struct Options {
  ConnectionOptions connection;
  ChangeOptions change;
  std::string policy;  // "resource/NAME", "attestation/NAME"
  fs::path file;
  std::string scope;
  std::optional<std::string> path;
  std::optional<std::string> name;
  std::optional<fs::path> claims;
  std::optional<fs::path> guest_token;
  std::optional<fs::path> evidence;
  std::string tee = "tdx";
  bool json = false;
};

bool is_resource(const Options& options) { return options.policy.starts_with("resource/"); }

Result<std::string> path_of(const Options& options) {
  const auto& policy = options.policy;
  if (is_resource(options) || policy.starts_with("attestation/")) return "policies/" + encoded_path(policy);
  return Error{Errc::invalid_argument, "resource/NAME or attestation/NAME expected, got " + policy};
}

Result<std::string> read_text(const fs::path& file, std::size_t most) {
  CLOISTER_TRY(bytes, read_file(file, most));
  return std::string{as_text(bytes)};
}

Result<void> list(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(text, render_list(server, "policies", {"kind", "name", "scope", "origin", "changed", "etag", "digest"},
                                 options.json));
  context.out << text;
  return {};
}

Result<void> show(const Options& options, Context& context) {
  CLOISTER_TRY(path, path_of(options));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(found, server.get(path));
  if (options.json) {
    context.out << json::write(found) << '\n';
    return {};
  }
  const auto text = text_member(found, "text");
  std::string_view rest{text};
  while (!rest.empty()) {  // line by line, since policies have tabs and nothing else that terminals obey
    const auto end = std::min(rest.find('\n'), rest.size());
    std::string line{rest.substr(0, end)};
    for (auto at = line.find('\t'); at != std::string::npos; at = line.find('\t', at)) line.replace(at, 1, "    ");
    context.out << printable(line) << '\n';
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

Result<void> set(const Options& options, Context& context) {
  CLOISTER_TRY(path, path_of(options));
  CLOISTER_TRY(text, read_text(options.file, kMaxPolicy));
  json::Value body = json::Object{{"text", text}};
  if (is_resource(options)) body.set("scope", options.scope);
  else if (!options.scope.empty()) return Error{Errc::invalid_argument, "--scope: of resource policies alone"};
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(made, put(server, path, body, options.change));
  if (options.json) {
    context.out << json::write(made) << '\n';
  } else {
    context.out << options.policy << " set, SHA-256 " << printable(text_member(made, "digest")) << ", ETag "
                << printable(text_member(made, "etag")) << '\n';
  }
  return {};
}

Result<void> remove(const Options& options, Context& context) {
  CLOISTER_TRY(path, path_of(options));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_CHECK(server.remove(path, options.change.if_match));
  context.out << options.policy << " removed\n";
  return {};
}

/// What the policies are asked about: a resource where a path is given, else an attestation.
Result<json::Value> question_of(const Options& options) {
  if (int{options.claims.has_value()} + int{options.guest_token.has_value()} + int{options.evidence.has_value()} != 1) {
    return Error{Errc::invalid_argument, "--claims, --guest-token or --evidence expected, one of them"};
  }
  json::Value out = json::Object{{"kind", options.path ? "resource" : "attestation"}};
  if (options.path) out.set("path", *options.path);
  if (options.name) out.set("name", *options.name);
  if (options.claims) {
    CLOISTER_TRY(text, read_text(*options.claims, kMaxAbout));
    auto claims = json::parse(text, {.bytes = kMaxAbout});
    if (!claims) return claims.error().in(options.claims->string());
    out.set("claims", *std::move(claims));
  } else if (options.guest_token) {
    CLOISTER_TRY(token, read_token(*options.guest_token));
    out.set("token", token);
  } else {
    CLOISTER_TRY(bytes, read_file(*options.evidence, kMaxAbout));
    const bool text = codec::is_utf8(bytes);  // of a quote in binary there is none
    out.set("evidence", text ? std::string{as_text(bytes)} : codec::to_base64(bytes)).set("tee", options.tee);
  }
  return out;
}

void print_error(std::ostream& out, const json::Value& answer, std::string_view name, std::string_view what) {
  const auto* error = answer.find(name);
  if (error == nullptr || error->as_object() == nullptr) return;
  out << what << printable(text_member(*error, "code")) << ": " << printable(text_member(*error, "detail")) << '\n';
}

std::string number(const json::Value& value, std::string_view name) {
  const auto* found = value.find(name);
  return found == nullptr ? "?" : json::write(*found);
}

void print_unmet(std::ostream& out, const json::Value& of) {
  const auto* unmet = of.find("unmet");
  if (unmet == nullptr || unmet->as_array() == nullptr) return;
  for (const auto& one : *unmet->as_array()) {
    out << "  not met: " << printable(text_member(one, "condition")) << " (" << printable(text_member(one, "rule")) << ", line "
        << number(one, "line") << ':' << number(one, "column") << ")\n";
  }
}

void print_rules(std::ostream& out, const json::Value& of) {
  const auto* rules = of.find("rules");
  if (rules == nullptr || rules->as_array() == nullptr) return;
  for (const auto& one : *rules->as_array()) {
    const auto* is_default = one.find("default");
    const bool fell_back = is_default != nullptr && *is_default == json::Value{true};
    out << "  held: " << (fell_back ? "the default of " : "") << printable(text_member(one, "rule")) << ", line "
        << number(one, "line") << '\n';
  }
}

std::string policy_line(const json::Value& policy) {
  const auto scope = text_member(policy, "scope");
  return printable(text_member(policy, "name")) + (scope.empty() ? "" : ", scope " + printable(scope)) + ", SHA-256 " +
         printable(text_member(policy, "digest"));
}

/// Says what came out; whether it was a yes.
bool print_answer(std::ostream& out, const json::Value& answer) {
  print_error(out, answer, "token_error", "the token would not be taken now: ");
  if (text_member(answer, "kind") == "resource") {
    const auto* allowed = answer.find("allowed");
    const auto* policy = answer.find("policy");
    const bool yes = allowed != nullptr && *allowed == json::Value{true};
    out << (yes ? "allowed" : "denied") << " by " << (policy == nullptr ? "?" : policy_line(*policy)) << '\n';
    print_error(out, answer, "error", "  the policy failed: ");
    print_rules(out, answer);
    if (!yes) print_unmet(out, answer);
    return yes;
  }
  print_error(out, answer, "evidence_error", "not authentic: ");
  const auto* judgements = answer.find("judgements");
  if (judgements == nullptr || judgements->as_array() == nullptr) return false;
  bool yes = !judgements->as_array()->empty();
  for (const auto& one : *judgements->as_array()) {
    const auto* policy = one.find("policy");
    const auto* accepted = one.find("accepted");
    const auto* reasons = one.find("reasons");
    const bool affirmed = accepted != nullptr && *accepted == json::Value{true};
    yes = yes && affirmed;
    out << printable(text_member(one, "status")) << " by " << (policy == nullptr ? "?" : policy_line(*policy)) << '\n';
    if (reasons != nullptr && reasons->as_array() != nullptr) {
      for (const auto& reason : *reasons->as_array()) out << "  " << printable(text_member(reason, "detail")) << '\n';
    }
    if (!affirmed) print_unmet(out, one);
  }
  return yes;
}

Result<void> ask(std::string_view how, const Options& options, const json::Value& question, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(answer, server.ask_policies(how, question));
  std::ostringstream text;
  const bool yes = print_answer(text, answer);
  context.out << (options.json ? json::write(answer) + "\n" : text.str());
  if (!yes) context.exit_code = kRejected;
  return {};
}

Result<void> explain(const Options& options, Context& context) {
  CLOISTER_TRY(question, question_of(options));
  return ask("explain", options, question, context);
}

Result<void> try_out(const Options& options, Context& context) {
  CLOISTER_TRY(question, question_of(options));
  CLOISTER_TRY(text, read_text(options.file, kMaxPolicy));
  return ask("try", options, question.set("text", text), context);
}

void add_question_options(CLI::App& command, Options& options) {
  command.add_option("--path", options.path, "repository/type/tag: may a guest have this resource? Else it is about an attestation");
  command.add_option("--claims", options.claims, "JSON file with the policy's input: a token's claims, or those of evidence");
  command.add_option("--guest-token", options.guest_token, "file with a guest's token; it may have expired");
  command.add_option("--evidence", options.evidence, "file with evidence, as `cloister verify` takes it");
  command.add_option("--tee", options.tee, "what the evidence is of: sgx, snp or tdx");
  command.add_flag("--json", options.json, "the API's answer");
}

}  // namespace

void add_policy(CLI::App& app, Context& context) {
  auto* family =
      app.add_subcommand("policy", "Policies of the key broker: who gets which resource, and what evidence is good for");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto on = [&context, options](CLI::App* command, Result<void> (*work)(const Options&, Context&)) {
    add_connection_options(*command, options->connection);
    command->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error(), remedy_of_change(done.error()));
    });
  };
  constexpr auto kPolicy = "resource/NAME or attestation/NAME";

  auto* list_command = family->add_subcommand("list", "All of your tenant, without their texts");
  list_command->add_flag("--json", options->json, "the API's answer");
  on(list_command, list);

  auto* show_command = family->add_subcommand("show", "The text of one");
  show_command->add_option("POLICY", options->policy, kPolicy)->required();
  show_command->add_flag("--json", options->json, "the API's answer");
  on(show_command, show);

  auto* set_command = family->add_subcommand("set", "Set one; it holds at once, if it compiles");
  set_command->add_option("POLICY", options->policy, kPolicy)->required();
  set_command->add_option("--file", options->file, "its text, Rego")->required();
  set_command->add_option("--scope", options->scope, "of a resource policy: repository, repository/type or repository/type/tag");
  set_command->add_flag("--json", options->json, "the API's answer");
  add_change_options(*set_command, options->change);
  on(set_command, set);

  auto* remove_command =
      family->add_subcommand("remove", "Remove one; default ones become what is configured, or built in, again");
  remove_command->add_option("POLICY", options->policy, kPolicy)->required();
  remove_command->add_option("--if-match", options->change.if_match, "only what has this ETag");
  on(remove_command, remove);

  auto* explain_command =
      family->add_subcommand("explain", "Which policy decides, what it says, and which rule and condition it is");
  add_question_options(*explain_command, *options);
  explain_command->add_option("--name", options->name, "of an attestation policy; else each that is about TEEs");
  on(explain_command, explain);

  auto* try_command = family->add_subcommand("try", "The same of a policy that is not set");
  try_command->add_option("--file", options->file, "its text, Rego")->required();
  add_question_options(*try_command, *options);
  on(try_command, try_out);
}

}  // namespace cloister::cli
