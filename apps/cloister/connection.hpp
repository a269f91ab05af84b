#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/client/orchestrator.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/policy/trust_file.hpp"

namespace cloister::cli {

/// What the command line says about the server.
struct ConnectionOptions {
  std::optional<std::string> server;
  std::optional<std::filesystem::path> token_file;
  std::optional<std::filesystem::path> ca_file;
  std::optional<std::string> profile;
};
void add_connection_options(CLI::App& command, ConnectionOptions& options);
inline constexpr std::string_view kCaHelp =
    "PEM file of the authority, or the certificate, that the server is known by; else the system's authorities";
/// How a server is known that this file vouches for; nothing: by the system's authorities.
[[nodiscard]] Result<http::ClientTls> client_tls(const std::optional<std::filesystem::path>& ca_file);

/// A server, and how this person reaches it.
struct Access {
  std::string server;
  std::string token;
  std::optional<std::filesystem::path> ca_file;
  std::optional<std::filesystem::path> trust_file;
};
/// Options win over the environment (CLOISTER_SERVER, CLOISTER_TOKEN_FILE, CLOISTER_CA, CLOISTER_TRUST_FILE), and
/// that over the profile (--profile, else CLOISTER_PROFILE, else the one in use). A token is sent to no server but the
/// one that it was named with. `invalid_argument` with the remedy when server or token is missing.
[[nodiscard]] Result<Access> find_access(const ConnectionOptions& options);
/// The same for what is asked without a token, which stays empty.
[[nodiscard]] Result<Access> find_server(const ConnectionOptions& options);
/// The first line of a token file.
[[nodiscard]] Result<std::string> read_token(const std::filesystem::path& file);

[[nodiscard]] Result<client::Orchestrator> connect(const Access& access);
[[nodiscard]] Result<client::Orchestrator> connect(const ConnectionOptions& options);

/// What a client trusts: the file that is given, else that of its access, else the user's own.
[[nodiscard]] Result<policy::TrustFile> trust_of(const std::optional<std::filesystem::path>& given, const Access& access);

/// A list for people: one line a row, columns aligned, headed by their names. "spec.image" is a member of a member.
[[nodiscard]] std::string table(const codec::json::Array& rows, const std::vector<std::string>& columns);
/// The list in an API's answer, as the answer itself or as a table.
[[nodiscard]] Result<std::string> render_list(const codec::json::Value& answer, const std::vector<std::string>& columns,
                                              bool as_json);
/// The same of the whole list that the server has under that path.
[[nodiscard]] Result<std::string> render_list(client::Orchestrator& orchestrator, const std::string& what,
                                              const std::vector<std::string>& columns, bool as_json);

}  // namespace cloister::cli
