#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/document.hpp"

/// Documents on their way into and out of a cache: bundles as they are carried to machines without a network.
namespace cloister::collateral {

/// The documents of a bundle's files, with their keys and issuer chains. The key is what the content says: TCB info and
/// identities count as the standard evaluation, unless `key` of the manifest names another one of the same document.
/// Issuer chains are found among the certificates by signature and by names. Documents whose chain is not there, and
/// files that are no documents of a service, are left out: `left_out` has their names and why.
struct Documents {
  std::vector<Document> documents;
  std::vector<std::string> left_out;  // "name: why"
};
/// `collateral_malformed` when a file is of a known kind and cannot be read.
[[nodiscard]] Result<Documents> documents_of(const std::vector<BundleFile>& files);

/// The files of what `open_collateral` takes: one file, or a directory by its manifest, or all of it. `io_error`,
/// `collateral_malformed` for a manifest, `limit_exceeded`.
[[nodiscard]] Result<std::vector<BundleFile>> read_bundle(const std::filesystem::path& path);

/// A bundle's files, the last of them manifest.json, for `open_collateral` and `documents_of`.
[[nodiscard]] std::vector<BundleFile> write_bundle(const std::vector<Document>& documents);

}  // namespace cloister::collateral
