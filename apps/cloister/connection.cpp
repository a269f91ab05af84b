#include "connection.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "files.hpp"
#include "profile.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxSmallFile = 64 * 1024;
constexpr std::size_t kMaxCaFile = 1024 * 1024;

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>{value};
}

/// A place that may say where the server is, and what opens it.
struct Place {
  std::string name;
  std::optional<std::string> server;
  std::optional<fs::path> token_file;
  std::optional<std::string> token;
  std::optional<fs::path> ca_file;
  std::optional<fs::path> trust_file;
};

/// The profile that was asked for, or the one in use; nothing when there is neither.
Result<std::optional<Profile>> chosen_profile(const ConnectionOptions& options) {
  const auto wanted = options.profile ? options.profile : variable("CLOISTER_PROFILE");
  CLOISTER_TRY(profiles, Profiles::load());
  const auto name = wanted.value_or(profiles.current());
  if (name.empty()) return std::optional<Profile>{};
  CLOISTER_CHECK(profiles.use(name));
  return std::optional{*profiles.find(name)};
}

/// Where to look, first first.
Result<std::array<Place, 3>> places(const ConnectionOptions& options) {
  std::array<Place, 3> out;
  out[0] = {"the command line", options.server, options.token_file, {}, options.ca_file, {}};
  out[1] = {"the environment", variable("CLOISTER_SERVER"), variable("CLOISTER_TOKEN_FILE"), {},
            variable("CLOISTER_CA"), variable("CLOISTER_TRUST_FILE")};
  const auto complete = [&] { return (out[0].server || out[1].server) && (out[0].token_file || out[1].token_file); };
  if (!options.profile && complete()) return out;  // a profile has no say: nobody needs one then
  CLOISTER_TRY(profile, chosen_profile(options));
  if (profile) {
    out[2] = {"profile " + profile->name, profile->server, {}, profile->token, profile->ca_file, profile->trust_file};
  }
  return out;
}

std::string text_of(const json::Value* value) {
  if (value == nullptr || value->is_null()) return "-";
  if (const auto flag = value->as_bool()) return *flag ? "yes" : "no";
  const auto* text = value->as_string();
  if (text == nullptr) return json::write(*value);
  // Times to the second.
  const auto time = parse_rfc3339(*text);
  if (!time) return printable(*text);
  return to_rfc3339(std::chrono::floor<std::chrono::seconds>(*time));
}

/// A member of a row, also of a nested object: "spec.challenge".
const json::Value* member(const json::Value& row, std::string_view path) {
  const auto dot = path.find('.');
  const auto* found = row.find(path.substr(0, dot));
  if (found == nullptr || dot == std::string_view::npos) return found;
  return member(*found, path.substr(dot + 1));
}

}  // namespace

void add_connection_options(CLI::App& command, ConnectionOptions& options) {
  command.add_option("--server", options.server, "the server, http://… or https://…; else CLOISTER_SERVER, your profile's");
  command.add_option("--token-file", options.token_file, "file with your token; else CLOISTER_TOKEN_FILE, your profile's");
  command.add_option("--ca", options.ca_file, std::string{kCaHelp});
  command.add_option("--profile", options.profile, "the profile of `cloister login`; else CLOISTER_PROFILE, the one in use");
}

Result<std::string> read_token(const fs::path& file) {
  CLOISTER_TRY(bytes, read_file(file, kMaxSmallFile));
  std::string token{as_text(bytes)};
  token.erase(std::ranges::find_if(token, [](char c) { return c == '\n' || c == '\r'; }), token.end());
  if (token.empty()) return Error{Errc::invalid_argument, file.string() + ": a token in its first line expected"};
  return token;
}

namespace {

Result<Access> find(const ConnectionOptions& options, bool with_a_token) {
  CLOISTER_TRY(all, places(options));
  const auto with_server = std::ranges::find_if(all, [](const Place& place) { return place.server.has_value(); });
  if (with_server == all.end()) {
    return Error{Errc::invalid_argument, "no server is named: log in with `cloister login --server URL --token-file FILE`, "
                                         "use --server and --token-file, or start `cloister dev`"};
  }
  Access out;
  out.server = *with_server->server;
  const auto is_for_server = [&](const Place& place) { return !place.server || *place.server == out.server; };
  if (with_a_token) {
    const auto with_token =
        std::ranges::find_if(all, [](const Place& place) { return place.token_file || place.token; });
    if (with_token == all.end()) {
      return Error{Errc::invalid_argument, "no token for " + out.server + ": name one with --token-file, or log in"};
    }
    if (with_token > with_server && !is_for_server(*with_token)) {
      return Error{Errc::invalid_argument, "the token of " + with_token->name + " is for " + *with_token->server +
                                               " and stays there: name one for " + out.server + " with --token-file"};
    }
    if (with_token->token_file) {
      CLOISTER_TRY(token, read_token(*with_token->token_file));
      out.token = std::move(token);
    } else {
      out.token = *with_token->token;
    }
  }
  for (const auto& place : all) {
    if (&place > &*with_server && !is_for_server(place)) continue;  // what it says is about another server
    if (!out.ca_file) out.ca_file = place.ca_file;
    if (!out.trust_file) out.trust_file = place.trust_file;
  }
  return out;
}

}  // namespace

Result<Access> find_access(const ConnectionOptions& options) { return find(options, true); }
Result<Access> find_server(const ConnectionOptions& options) { return find(options, false); }

Result<http::ClientTls> client_tls(const std::optional<fs::path>& ca_file) {
  http::ClientTls tls;
  if (!ca_file) return tls;
  CLOISTER_TRY(pem, read_file(*ca_file, kMaxCaFile));
  tls.ca_pem = std::string{as_text(pem)};
  return tls;
}

Result<client::Orchestrator> connect(const Access& access) {
  CLOISTER_TRY(tls, client_tls(access.ca_file));
  return client::Orchestrator::connect(access.server, access.token, std::move(tls));
}

Result<client::Orchestrator> connect(const ConnectionOptions& options) {
  CLOISTER_TRY(access, find_access(options));
  return connect(access);
}

Result<policy::TrustFile> trust_of(const std::optional<fs::path>& given, const Access& access) {
  return load_trust_file(given ? given : access.trust_file);
}

std::string table(const json::Array& rows, const std::vector<std::string>& columns) {
  std::vector<std::vector<std::string>> cells(1);
  for (const auto& column : columns) {
    const auto dot = column.rfind('.');
    cells[0].push_back(dot == std::string::npos ? column : column.substr(dot + 1));
  }
  for (const auto& row : rows) {
    auto& line = cells.emplace_back();
    for (const auto& column : columns) line.push_back(text_of(member(row, column)));
  }
  std::vector<std::size_t> widths(columns.size(), 0);
  for (const auto& line : cells) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string out;
  for (const auto& line : cells) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      out += line[i];
      if (i + 1 < line.size()) out.append(widths[i] - line[i].size() + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

Result<std::string> render_list(const json::Value& answer, const std::vector<std::string>& columns, bool as_json) {
  if (as_json) return json::write(answer) + "\n";
  const auto* object = answer.as_object();
  if (object != nullptr) {
    for (const auto& [name, value] : *object) {
      if (const auto* list = value.as_array()) return table(*list, columns);
    }
  }
  return Error{Errc::malformed, "the server's answer is no list"};
}

Result<std::string> render_list(client::Orchestrator& orchestrator, const std::string& what,
                                const std::vector<std::string>& columns, bool as_json) {
  CLOISTER_TRY(answer, orchestrator.list(what));
  return render_list(answer, columns, as_json);
}

}  // namespace cloister::cli
