#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/result.hpp"

/// manifest.json of a bundle's directory: which of its files count, and what they are.
namespace cloister::collateral {

struct ManifestEntry {
  std::string file;  // a name inside the directory: no path, not hidden
  std::string kind;  // empty: whatever it is
  std::string key;   // for people, and for caches; empty when there is none that is a text
  friend bool operator==(const ManifestEntry&, const ManifestEntry&) = default;
};

/// {"version":1,"files":[{"kind":…,"key":…,"file":…}]} or that list alone. Other members are left alone, as others write
/// manifests too. `collateral_malformed`, also for another version; `limit_exceeded` beyond 1024 files.
[[nodiscard]] Result<std::vector<ManifestEntry>> parse_manifest(std::string_view text);
[[nodiscard]] std::string write_manifest(const std::vector<ManifestEntry>& entries);

}  // namespace cloister::collateral
