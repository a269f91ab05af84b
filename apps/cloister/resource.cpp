#include <iostream>
#include <iterator>
#include <memory>

#include "cli.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/http/target.hpp"
#include "cloister/rcar/resource.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace json = codec::json;

constexpr std::size_t kMaxValue = 2U << 20;

struct Options {
  ConnectionOptions connection;
  std::string path;
  std::optional<std::string> file;
  std::vector<std::string> labels;
  bool clear = false;
  bool deleted = false;
  std::uint32_t random = 32;
  std::uint64_t number = 0;
  std::optional<std::uint64_t> version;
  std::string keep;
  bool json = false;
};

/// A value comes from a file or standard input, and never from the command line, which others on this machine may see.
Result<Bytes> read_value(const std::string& file) {
  if (file != "-") return read_file(file, kMaxValue);
  Bytes out;
  for (std::istreambuf_iterator<char> at{std::cin}, end; at != end; ++at) {
    if (out.size() == kMaxValue) {
      crypto::cleanse(out);
      return Error{Errc::limit_exceeded, "standard input: at most " + std::to_string(kMaxValue) + " bytes expected"};
    }
    out.push_back(static_cast<std::uint8_t>(*at));
  }
  return out;
}

std::string joined(const std::vector<std::string>& labels) {
  std::string out;
  for (const auto& label : labels) out += (out.empty() ? "" : ",") + label;
  return out;
}

std::optional<std::string> labels_of(const Options& options) {
  if (options.labels.empty()) return std::nullopt;
  return joined(options.labels);
}

/// {"name":"value"} of name=value; what is wrong with names and values the server says.
Result<json::Value> label_object(const std::vector<std::string>& labels) {
  json::Value out{json::Object{}};
  for (const auto& label : labels) {
    const auto equals = label.find('=');
    if (equals == std::string::npos) return Error{Errc::invalid_argument, "label: name=value expected, got " + label};
    if (out.find(label.substr(0, equals)) != nullptr) return Error{Errc::invalid_argument, "label: given twice: " + label.substr(0, equals)};
    out.set(label.substr(0, equals), label.substr(equals + 1));
  }
  return out;
}

std::string number_in(const json::Value& answer, std::string_view name) {
  const auto* value = answer.find(name);
  return value == nullptr ? "?" : json::write(*value);
}

/// The API's answer, or a sentence.
void say(Context& context, const Options& options, const json::Value& answer, const std::string& sentence) {
  context.out << (options.json ? json::write(answer) : printable(sentence)) << '\n';
}

/// `act(server, path)` with the server and the checked path.
template <class Act>
Result<void> with_resource(const Options& options, Act act) {
  CLOISTER_TRY(path, rcar::ResourcePath::parse(options.path));
  CLOISTER_TRY(server, connect(options.connection));
  return act(server, path);
}

Result<void> put_value(const Options& options, Context& context, bool existing) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(value, read_value(*options.file));
    auto answer = server.put_resource(path, value, labels_of(options), existing);
    crypto::cleanse(value);
    if (!answer) return std::move(answer).error();
    say(context, options, *answer, path.str() + " version " + number_in(*answer, "version"));
    return {};
  });
}

Result<void> put(const Options& options, Context& context) { return put_value(options, context, false); }

Result<void> rotate(const Options& options, Context& context) {
  if (options.file) return put_value(options, context, true);
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(answer, server.act_on_resource(path, "rotate"));
    say(context, options, answer, path.str() + " version " + number_in(answer, "version"));
    return {};
  });
}

Result<void> generate(const Options& options, Context& context) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    json::Value body{json::Object{{"random", options.random}}};
    if (!options.labels.empty()) {
      CLOISTER_TRY(labels, label_object(options.labels));
      body.set("labels", std::move(labels));
    }
    CLOISTER_TRY(answer, server.set_on_resource(path, "generator", std::move(body)));
    say(context, options, answer, path.str() + " is made when the first guest asks for it that may have it");
    return {};
  });
}

Result<void> list(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  std::string what = options.deleted ? "resources?deleted=true" : "resources?deleted=false";
  if (!options.labels.empty()) what += "&label=" + http::percent_encode(joined(options.labels));
  CLOISTER_TRY(text, render_list(server, what, {"path", "current", "last", "created", "generator", "pending", "labels"}, options.json));
  context.out << text;
  return {};
}

Result<void> show(const Options& options, Context& context) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(answer, server.get("resources/" + path.str()));
    CLOISTER_TRY(versions, server.list("resources/" + path.str() + "/versions"));
    if (options.json) {
      const auto* all = versions.find("versions");
      answer.set("versions", all == nullptr ? json::Value{json::Array{}} : *all);
      context.out << json::write(answer) << '\n';
      return {};
    }
    CLOISTER_TRY(text, render_list(versions, {"version", "state", "current", "size", "generated", "created", "deleted"}, false));
    print_plain(context.out, answer);
    context.out << '\n' << text;
    return {};
  });
}

Result<void> set_current(const Options& options, Context& context) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(answer, server.set_on_resource(path, "current", json::Object{{"version", options.number}}));
    say(context, options, answer, path.str() + ": guests that name no version get version " + number_in(answer, "current"));
    return {};
  });
}

Result<void> label(const Options& options, Context& context) {
  if (options.labels.empty() != options.clear) return Error{Errc::invalid_argument, "labels, or --clear for none, expected"};
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(labels, label_object(options.labels));
    CLOISTER_TRY(answer, server.set_on_resource(path, "labels", json::Object{{"labels", std::move(labels)}}));
    say(context, options, answer, path.str() + (options.clear ? " has no labels" : " has the labels " + joined(options.labels)));
    return {};
  });
}

Result<void> keep(const Options& options, Context& context) {
  json::Value number;  // null: all
  if (options.keep != "all") {
    auto parsed = json::parse(options.keep);
    if (!parsed || !parsed->as_uint()) return Error{Errc::invalid_argument, "a number of versions, or all, expected, got " + options.keep};
    number = *std::move(parsed);
  }
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(answer, server.set_on_resource(path, "retention", json::Object{{"keep", std::move(number)}}));
    say(context, options, answer, path.str() + ": versions that stay: " + options.keep);
    return {};
  });
}

std::string named(const rcar::ResourcePath& path, std::optional<std::uint64_t> version) {
  return path.str() + (version ? " version " + std::to_string(*version) : "");
}

Result<void> remove(const Options& options, Context& context) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_CHECK(server.delete_resource(path, options.version));
    json::Value answer{json::Object{{"path", path.str()}, {"deleted", true}}};
    if (options.version) answer.set("version", *options.version);
    say(context, options, answer, named(path, options.version) + " deleted; `undelete` brings it back, `purge` erases it");
    return {};
  });
}

Result<void> undelete(const Options& options, Context& context) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(answer, server.act_on_resource(path, "undelete", options.version));
    say(context, options, answer, named(path, options.version) + " is there again");
    return {};
  });
}

Result<void> purge(const Options& options, Context& context) {
  return with_resource(options, [&](client::Orchestrator& server, const rcar::ResourcePath& path) -> Result<void> {
    CLOISTER_TRY(answer, server.act_on_resource(path, "purge", options.version));
    say(context, options, answer, named(path, options.version) + " is erased: versions " + number_in(answer, "versions"));
    const auto* emptied = answer.find("log_emptied");
    if (emptied != nullptr && *emptied == json::Value{false}) {
      context.err << "cloister: the database's write-ahead log still has the sealed value, until readers let it be emptied\n";
    }
    return {};
  });
}

Result<void> usage(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(answer, server.get("resource-usage"));
  if (options.json) context.out << json::write(answer) << '\n';
  else print_plain(context.out, answer);
  return {};
}

}  // namespace

void add_resource(CLI::App& app, Context& context) {
  auto* resource = app.add_subcommand("resource", "Resources of the key broker, which its policy gives to attested guests");
  resource->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto command = [&](const std::string& name, const std::string& what, Result<void> (*work)(const Options&, Context&), bool of_one) {
    auto* out = resource->add_subcommand(name, what);
    if (of_one) out->add_option("PATH", options->path, "repository/type/tag")->required();
    add_connection_options(*out, options->connection);
    out->add_flag("--json", options->json, "the API's answer");
    out->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error());
    });
    return out;
  };
  constexpr const char* kFile = "the value; - reads standard input";
  constexpr const char* kLabel = "name=value; may be given several times";
  constexpr const char* kVersion = "which one; without it the resource with all of them";

  auto* put_command = command("put", "Store a new version of a resource, the current one from now on", put, true);
  put_command->add_option("--file", options->file, kFile)->required();
  put_command->add_option("--label", options->labels, kLabel);

  auto* generate_command = command("generate", "A resource that the server makes at its first use, and that nobody but guests sees", generate, true);
  generate_command->add_option("--random", options->random, "so many random bytes")->check(CLI::Range(16, 4096));
  generate_command->add_option("--label", options->labels, kLabel);

  auto* list_command = command("list", "Paths, versions and labels, never values", list, false);
  list_command->add_option("--label", options->labels, "only those that carry it: name=value; may be given several times");
  list_command->add_flag("--deleted", options->deleted, "those that are deleted, and nothing else");

  command("show", "One resource with its versions, never values", show, true);

  auto* rotate_command = command("rotate", "A new version: made by the server where it makes them, else from --file", rotate, true);
  rotate_command->add_option("--file", options->file, kFile);

  command("current", "Set the version that guests get who name none, back or forward", set_current, true)
      ->add_option("VERSION", options->number, "its number")->required()->check(CLI::PositiveNumber);

  auto* label_command = command("label", "Set all labels of a resource", label, true);
  label_command->add_option("LABEL", options->labels, "name=value …");
  label_command->add_flag("--clear", options->clear, "no labels any more");

  command("keep", "How many of the newest versions stay, beside the current one; others are erased", keep, true)
      ->add_option("N", options->keep, "1 to 10000, or all")->required();

  command("delete", "Take a version or a resource from guests, until it is undeleted", remove, true)
      ->add_option("--version", options->version, kVersion)->check(CLI::PositiveNumber);
  command("undelete", "Give back what was deleted and not purged", undelete, true)
      ->add_option("--version", options->version, kVersion)->check(CLI::PositiveNumber);
  command("purge", "Erase what was deleted, for good", purge, true)
      ->add_option("--version", options->version, kVersion)->check(CLI::PositiveNumber);

  command("usage", "What your resources take of your tenant's quota", usage, false);
}

}  // namespace cloister::cli
