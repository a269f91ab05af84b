#include "connection.hpp"

#include <algorithm>
#include <cstdlib>

#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxSmallFile = 64 * 1024;

std::string text_of(const json::Value* value) {
  if (value == nullptr || value->is_null()) return "-";
  if (const auto* text = value->as_string()) return *text;
  return json::write(*value);
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
  command.add_option("--server", options.server, "the server, http://… or https://…; else that of your profile");
  command.add_option("--token-file", options.token_file, "file with your token; else that of your profile");
}

fs::path profile_file() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config != '\0') {
    return fs::path{config} / "cloister" / "profile.json";
  }
  const char* home = std::getenv("HOME");
  return fs::path{home == nullptr ? "." : home} / ".config" / "cloister" / "profile.json";
}

Result<void> write_profile(const Profile& profile) {
  const auto file = profile_file();
  std::error_code failure;
  fs::create_directories(file.parent_path(), failure);
  const json::Value value = json::Object{{"server", profile.server},
                                         {"token_file", profile.token_file.string()},
                                         {"trust_file", profile.trust_file.string()}};
  return write_file(file, json::write_pretty(value) + "\n", Readers::owner);
}

Result<Profile> load_profile() {
  const auto file = profile_file();
  std::error_code failure;
  if (!fs::exists(file, failure)) {
    return Error{Errc::invalid_argument, "no server is named: use --server and --token-file, or start `cloister dev`"};
  }
  CLOISTER_TRY(bytes, read_file(file, kMaxSmallFile));
  CLOISTER_TRY(value, json::parse(as_text(bytes)));
  json::Fields fields{value, file.string()};
  Profile profile;
  profile.server = fields.string("server");
  profile.token_file = fields.string("token_file");
  profile.trust_file = fields.string("trust_file");
  CLOISTER_CHECK(fields.finish());
  return profile;
}

Result<client::Orchestrator> connect(const ConnectionOptions& options) {
  Profile profile;
  if (!options.server || !options.token_file) {
    CLOISTER_TRY(loaded, load_profile());
    profile = std::move(loaded);
  }
  CLOISTER_TRY(bytes, read_file(options.token_file.value_or(profile.token_file), kMaxSmallFile));
  std::string token{as_text(bytes)};
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' ')) token.pop_back();
  return client::Orchestrator::connect(options.server.value_or(profile.server), std::move(token));
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

Result<std::string> render_list(client::Orchestrator& orchestrator, const std::string& what,
                                const std::vector<std::string>& columns, bool as_json) {
  CLOISTER_TRY(value, orchestrator.list(what));
  if (as_json) return json::write(value) + "\n";
  const auto* object = value.as_object();
  if (object == nullptr || object->empty() || object->front().second.as_array() == nullptr) {
    return Error{Errc::malformed, "the server's answer is no list"};
  }
  return table(*object->front().second.as_array(), columns);
}

}  // namespace cloister::cli
