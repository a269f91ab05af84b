#include "profile.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "cloister/codec/json.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/process/descriptor.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxFile = 256 * 1024;

Result<fs::path> file_of_profiles() {
  const auto folder = configuration_folder();
  if (!folder) return Error{Errc::configuration_invalid, "neither XDG_CONFIG_HOME nor HOME names a folder for profiles"};
  return *folder / "profiles.json";
}

std::optional<fs::path> optional_path(json::Fields& fields, std::string_view name) {
  const auto text = fields.optional_string(name);
  return text ? std::optional<fs::path>{*text} : std::nullopt;
}

Result<Profile> parse_profile(const json::Value& value) {
  json::Fields fields{value, "profile"};
  Profile out;
  out.name = fields.string("name");
  out.server = fields.string("server");
  out.token = fields.string("token");
  out.ca_file = optional_path(fields, "ca_file");
  out.trust_file = optional_path(fields, "trust_file");
  if (!fields.failed() && !valid_id(out.name)) fields.fail(Errc::malformed, "name", "an id expected");
  CLOISTER_CHECK(fields.finish());
  return out;
}

json::Value to_json(const Profile& profile) {
  json::Object out{{"name", profile.name}, {"server", profile.server}, {"token", profile.token}};
  if (profile.ca_file) out.emplace_back("ca_file", profile.ca_file->string());
  if (profile.trust_file) out.emplace_back("trust_file", profile.trust_file->string());
  return out;
}

}  // namespace

std::optional<fs::path> configuration_folder() {
  const char* config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && *config == '/') return fs::path{config} / "cloister";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return fs::path{home} / ".config" / "cloister";
  return std::nullopt;
}

Result<Profiles> Profiles::load() {
  CLOISTER_TRY(file, file_of_profiles());
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return Profiles{};
    return process::errno_error(file.string());
  }
  if ((facts.st_mode & 077) != 0) {
    return Error{Errc::configuration_invalid, file.string() + " holds tokens, and others may read it; chmod 600 it"};
  }
  CLOISTER_TRY(bytes, read_file(file, kMaxFile));
  auto profiles = parse(as_text(bytes));
  if (!profiles) {
    return Error{Errc::configuration_invalid,
                 file.string() + ": " + profiles.error().text() + "; mend it, or remove it and log in again"};
  }
  return profiles;
}

Result<Profiles> Profiles::parse(std::string_view text) {
  CLOISTER_TRY(value, json::parse(text));
  json::Fields fields{value, "profiles"};
  static_cast<void>(fields.integer("version", 1, 1));
  Profiles out;
  out.current_ = fields.string("current");
  const auto& list = fields.array("profiles");
  CLOISTER_CHECK(fields.finish());
  for (const auto& item : list) {
    CLOISTER_TRY(profile, parse_profile(item));
    out.put(std::move(profile));
  }
  return out;
}

Result<void> Profiles::save() const {
  CLOISTER_TRY(file, file_of_profiles());
  std::error_code failure;
  fs::create_directories(file.parent_path(), failure);
  if (failure) return Error{Errc::io_error, file.parent_path().string() + ": " + failure.message()};
  return write_file(file, write(), Readers::owner);
}

std::string Profiles::write() const {
  json::Array list;
  for (const auto& profile : profiles_) list.push_back(to_json(profile));
  const json::Value value = json::Object{{"version", 1}, {"current", current_}, {"profiles", std::move(list)}};
  return json::write_pretty(value) + "\n";
}

const Profile* Profiles::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find(profiles_, name, &Profile::name);
  return found == profiles_.end() ? nullptr : &*found;
}

void Profiles::put(Profile profile) {
  std::erase_if(profiles_, [&](const Profile& held) { return held.name == profile.name; });
  profiles_.push_back(std::move(profile));
  std::ranges::sort(profiles_, {}, &Profile::name);
}

Error Profiles::absent(std::string_view name) const {
  std::string names;
  for (const auto& profile : profiles_) names += (names.empty() ? "" : ", ") + profile.name;
  return Error{Errc::not_found, "no profile '" + std::string{name} + "'; " +
                                    (names.empty() ? "there is none: log in with `cloister login`" : "there are: " + names)};
}

Result<void> Profiles::use(std::string_view name) {
  if (find(name) == nullptr) return absent(name);
  current_ = name;
  return {};
}

Result<void> Profiles::remove(std::string_view name) {
  if (find(name) == nullptr) return absent(name);
  std::erase_if(profiles_, [&](const Profile& held) { return held.name == name; });
  if (current_ == name) current_.clear();
  return {};
}

}  // namespace cloister::cli
