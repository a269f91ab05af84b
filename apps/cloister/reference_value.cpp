#include <memory>

#include "change.hpp"
#include "cli.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxValue = 512U << 10;

struct Options {
  ConnectionOptions connection;
  ChangeOptions change;
  std::string name;
  std::optional<std::string> value;
  std::optional<fs::path> file;
  bool json = false;
};

std::string path_of(const Options& options) { return "reference-values/" + encoded_path(options.name); }

Result<void> list(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(text, render_list(server, "reference-values", {"name", "value", "etag"}, options.json));
  context.out << text;
  return {};
}

Result<void> show(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(found, server.get(path_of(options)));
  const auto* value = found.find("value");
  if (value == nullptr) return Error{Errc::malformed, "the server gave no value"};
  context.out << json::write(options.json ? found : *value) << '\n';
  return {};
}

Result<json::Value> read_value(const Options& options) {
  if (options.value.has_value() == options.file.has_value()) {
    return Error{Errc::invalid_argument, "a value expected, as JSON after the name or in a --file"};
  }
  std::string text;
  if (options.file) {
    CLOISTER_TRY(bytes, read_file(*options.file, kMaxValue));
    text = std::string{as_text(bytes)};
  } else {
    text = *options.value;
  }
  auto value = json::parse(text, {.bytes = kMaxValue});
  if (!value) return value.error().in("value: JSON expected, such as '[\"a\", \"b\"]' or '\"text\"'");
  return value;
}

Result<void> set(const Options& options, Context& context) {
  CLOISTER_TRY(value, read_value(options));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(made, put(server, path_of(options), json::Object{{"value", std::move(value)}}, options.change));
  if (options.json) {
    context.out << json::write(made) << '\n';
  } else {
    context.out << printable(options.name) << " set, ETag " << printable(text_member(made, "etag")) << '\n';
  }
  return {};
}

Result<void> remove(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_CHECK(server.remove(path_of(options), options.change.if_match));
  context.out << printable(options.name) << " removed\n";
  return {};
}

}  // namespace

void add_reference_value(CLI::App& app, Context& context) {
  auto* family = app.add_subcommand("reference-value",
                                    "Reference values of the key broker: what its attestation policies compare with");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto on = [&context, options](CLI::App* command, Result<void> (*work)(const Options&, Context&)) {
    add_connection_options(*command, options->connection);
    command->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error(), remedy_of_change(done.error()));
    });
  };

  auto* list_command = family->add_subcommand("list", "All of your tenant");
  list_command->add_flag("--json", options->json, "the API's answer");
  on(list_command, list);

  auto* show_command = family->add_subcommand("show", "One of them, as JSON");
  show_command->add_option("NAME", options->name, "its name, as policies ask for it")->required();
  show_command->add_flag("--json", options->json, "the API's answer");
  on(show_command, show);

  auto* set_command = family->add_subcommand("set", "Set one; it holds at once");
  set_command->add_option("NAME", options->name, "its name, as policies ask for it")->required();
  set_command->add_option("VALUE", options->value, "JSON, such as '[\"…\"]'");
  set_command->add_option("--file", options->file, "file with the value");
  set_command->add_flag("--json", options->json, "the API's answer");
  add_change_options(*set_command, options->change);
  on(set_command, set);

  auto* remove_command = family->add_subcommand("remove", "Remove one");
  remove_command->add_option("NAME", options->name, "its name")->required();
  remove_command->add_option("--if-match", options->change.if_match, "only what has this ETag");
  on(remove_command, remove);
}

}  // namespace cloister::cli
