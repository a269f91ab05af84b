#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cloister/client/orchestrator.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

namespace cloister::cli {

/// How a command reaches a server: given on the command line, else by the profile that `cloister dev` writes.
struct ConnectionOptions {
  std::optional<std::string> server;
  std::optional<std::filesystem::path> token_file;
};
void add_connection_options(CLI::App& command, ConnectionOptions& options);

/// $XDG_CONFIG_HOME/cloister/profile.json, else ~/.config/cloister/profile.json.
[[nodiscard]] std::filesystem::path profile_file();
struct Profile {
  std::string server;
  std::filesystem::path token_file;
  std::filesystem::path trust_file;
};
[[nodiscard]] Result<void> write_profile(const Profile& profile);
[[nodiscard]] Result<Profile> load_profile();

/// `invalid_argument` with the remedy when neither names a server.
[[nodiscard]] Result<client::Orchestrator> connect(const ConnectionOptions& options);

/// A list for people: one line a row, columns aligned, headed by the names.
[[nodiscard]] std::string table(const codec::json::Array& rows, const std::vector<std::string>& columns);
/// What `list` commands do: the member `name` of the API's answer, as JSON or as a table.
[[nodiscard]] Result<std::string> render_list(client::Orchestrator& orchestrator, const std::string& what,
                                              const std::vector<std::string>& columns, bool as_json);

}  // namespace cloister::cli
