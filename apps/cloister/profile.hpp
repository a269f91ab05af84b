#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/result.hpp"

namespace cloister::cli {

/// Where this person's files are: $XDG_CONFIG_HOME/cloister, else ~/.config/cloister; nothing when neither variable has
/// an absolute path.
[[nodiscard]] std::optional<std::filesystem::path> configuration_folder();

/// A server, and this person's access to it.
struct Profile {
  std::string name;  // an id (core/ids.hpp)
  std::string server;
  std::string token;
  std::optional<std::filesystem::path> ca_file;
  std::optional<std::filesystem::path> trust_file;
  friend bool operator==(const Profile&, const Profile&) = default;
};

/// All profiles of this person: profiles.json in the configuration folder, mode 0600, as it holds tokens.
class Profiles {
 public:
  /// None where there is no file. `configuration_invalid` for a file that others may read, or that is none of ours.
  [[nodiscard]] static Result<Profiles> load();
  /// Makes the folder where it is missing.
  [[nodiscard]] Result<void> save() const;
  /// From and to the text of that file; no I/O. Whatever is not of this form is refused: another version, an unknown
  /// member, a name that is no id.
  [[nodiscard]] static Result<Profiles> parse(std::string_view text);
  [[nodiscard]] std::string write() const;

  [[nodiscard]] const std::vector<Profile>& all() const noexcept { return profiles_; }
  /// The name of the profile in use; empty when there is none.
  [[nodiscard]] const std::string& current() const noexcept { return current_; }
  [[nodiscard]] const Profile* find(std::string_view name) const noexcept;

  /// Adds it, or takes the place of the one of that name.
  void put(Profile profile);
  /// `not_found` names those that there are.
  [[nodiscard]] Result<void> use(std::string_view name);
  [[nodiscard]] Result<void> remove(std::string_view name);
  friend bool operator==(const Profiles&, const Profiles&) = default;

 private:
  [[nodiscard]] Error absent(std::string_view name) const;
  std::string current_;
  std::vector<Profile> profiles_;  // by name
};

}  // namespace cloister::cli
