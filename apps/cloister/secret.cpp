#include <iostream>
#include <iterator>
#include <memory>

#include "cli.hpp"
#include "cloister/crypto/secret.hpp"
#include "connection.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

constexpr std::size_t kMaxSecret = 64 * 1024;

struct Options {
  ConnectionOptions connection;
  std::string path;
  std::string file;
  bool json = false;
};

Result<Bytes> read_secret(const std::string& file) {
  if (file != "-") return read_file(file, kMaxSecret);
  return Bytes(std::istreambuf_iterator<char>(std::cin), {});
}

Result<std::string> put(const Options& options) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(value, read_secret(options.file));
  auto version = server.put_secret(options.path, value);
  crypto::cleanse(value);
  if (!version) return std::move(version).error();
  return options.path + " version " + std::to_string(*version) + "\n";
}

}  // namespace

void add_secret(CLI::App& app, Context& context) {
  auto* secret = app.add_subcommand("secret", "Secrets that verified instances get");
  secret->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  auto* put_command = secret->add_subcommand("put", "Store a new version of a secret");
  put_command->add_option("PATH", options->path, "1 to 4 ids joined by '/'")->required();
  put_command->add_option("--file", options->file, "the value; - reads standard input")->required();
  add_connection_options(*put_command, options->connection);
  put_command->callback([options, &context] {
    auto done = put(*options);
    if (!done) return context.fail(done.error());
    context.out << *done;
  });

  auto* list = secret->add_subcommand("list", "Paths and versions, never values");
  add_connection_options(*list, options->connection);
  list->add_flag("--json", options->json, "the API's answer");
  list->callback([options, &context] {
    auto server = connect(options->connection);
    if (!server) return context.fail(server.error());
    auto text = render_list(*server, "secrets", {"path", "version", "created"}, options->json);
    if (!text) return context.fail(text.error());
    context.out << *text;
  });

  auto* remove = secret->add_subcommand("remove", "Erase all versions of a secret");
  remove->add_option("PATH", options->path, "its path")->required();
  add_connection_options(*remove, options->connection);
  remove->callback([options, &context] {
    auto server = connect(options->connection);
    if (!server) return context.fail(server.error());
    if (auto done = server->remove_secret(options->path); !done) return context.fail(done.error());
    context.out << options->path << " removed\n";
  });
}

}  // namespace cloister::cli
