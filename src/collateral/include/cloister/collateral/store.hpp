#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cloister/collateral/entry.hpp"

namespace cloister::collateral {

struct StoreLimits {
  std::size_t entries = 4096;
  std::uintmax_t bytes = std::uintmax_t{256} << 20;
};

/// The cache's folder: one file for each key, replaced whole (a reader finds the old one or the new, also after a crash
/// and from other processes). Beyond the limits, what has ended goes first, then what was fetched longest ago, and
/// certificates that never change last. Nothing in it is trusted more than what a service says. Thread-safe; processes
/// may share a folder.
class Store {
 public:
  /// Makes the folder (mode 0700) when it is not there. `configuration_invalid` when it is another user's, or others may
  /// write to it; `io_error`.
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(std::filesystem::path folder, StoreLimits limits = {});

  /// Nothing when it is not there. `collateral_malformed` and the like when it is damaged: `put` replaces it.
  [[nodiscard]] Result<std::optional<Entry>> find(const Key& key) const;
  /// On disk when this returns. `io_error`, `limit_exceeded` for one that is larger than the whole store may be. `now`
  /// says what has ended, when something has to go.
  [[nodiscard]] Result<void> put(const Entry& entry, UnixTime now);

  struct Listed {
    std::filesystem::path file;
    Result<Entry> entry;  // or why it cannot be read
  };
  /// Every file that is an entry by its name, in order of names. `io_error`.
  [[nodiscard]] Result<std::vector<Listed>> list() const;
  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }

 private:
  Store(std::filesystem::path folder, StoreLimits limits) : folder_{std::move(folder)}, limits_{limits} {}
  [[nodiscard]] std::filesystem::path file_of(const Key& key) const;
  [[nodiscard]] Result<void> make_room(const std::filesystem::path& file, std::uintmax_t size, UnixTime now) const;
  std::filesystem::path folder_;
  StoreLimits limits_;
  std::mutex writing_;
};

}  // namespace cloister::collateral
