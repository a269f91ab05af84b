#include <algorithm>
#include <fstream>
#include <iterator>

#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/manifest.hpp"
#include "cloister/collateral/recognise.hpp"
#include "cloister/collateral/transfer.hpp"

namespace cloister::collateral {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifest = "manifest.json";

Result<Bytes> read(const fs::path& path) {
  std::error_code failure;
  const auto size = fs::file_size(path, failure);
  if (failure) return Error{Errc::io_error, path.string() + ": " + failure.message()};
  if (size > kMaxBundleFileSize) return Error{Errc::limit_exceeded, path.string() + ": larger than 12 MiB"};
  std::ifstream in(path, std::ios::binary);
  Bytes out(std::istreambuf_iterator<char>(in), {});
  if (!in.good() && !in.eof()) return Error{Errc::io_error, path.string() + ": cannot be read"};
  return out;
}

Result<std::vector<ManifestEntry>> read_manifest(const fs::path& path) {
  CLOISTER_TRY(text, read(path));
  auto entries = parse_manifest(as_text(text));
  if (!entries) return entries.error().in(path.string());
  return entries;
}

Result<std::vector<ManifestEntry>> list_files(const fs::path& directory) {
  std::vector<ManifestEntry> out;
  std::error_code failure;
  for (fs::directory_iterator at{directory, failure}, end; !failure && at != end; at.increment(failure)) {
    const auto name = at->path().filename().string();
    if (at->is_regular_file(failure) && !name.starts_with('.')) out.push_back({name, {}, {}});
    if (out.size() > kMaxBundleFiles) return Error{Errc::limit_exceeded, directory.string() + ": more than 1024 files"};
  }
  if (failure) return Error{Errc::io_error, directory.string() + ": " + failure.message()};
  std::ranges::sort(out, {}, &ManifestEntry::file);
  return out;
}

/// True unless the manifest gives a kind of ours that the content is not of.
bool kind_agrees(std::string_view kind, const Recognised& content) {
  if (kind == "tcb_info") return std::holds_alternative<evidence::SignedTcbInfo>(content);
  if (kind == "qe_identity") return std::holds_alternative<evidence::SignedQeIdentity>(content);
  if (kind == "pck_crl" || kind == "root_ca_crl") return std::holds_alternative<crypto::x509::Crl>(content);
  if (kind == "certificates") return std::holds_alternative<Certificates>(content);
  if (kind == "collateral") return std::holds_alternative<evidence::QuoteCollateral>(content);
  return true;
}

Result<std::vector<BundleFile>> read_directory(const fs::path& directory) {
  std::error_code failure;
  const bool listed = fs::exists(directory / kManifest, failure);
  CLOISTER_TRY(entries, listed ? read_manifest(directory / kManifest) : list_files(directory));
  std::vector<BundleFile> files;
  for (const auto& entry : entries) {
    CLOISTER_TRY(content, read(directory / entry.file));
    const auto part = recognise(content);
    if (part && !kind_agrees(entry.kind, *part)) {
      return Error{Errc::collateral_malformed, entry.file + ": the manifest calls it " + entry.kind + ", and it is none"};
    }
    files.push_back({entry.file, std::move(content), entry.key});
  }
  return files;
}

}  // namespace

Result<std::vector<BundleFile>> read_bundle(const fs::path& path) {
  std::error_code failure;
  if (fs::is_directory(path, failure)) return read_directory(path);
  CLOISTER_TRY(content, read(path));
  return std::vector<BundleFile>{{path.filename().string(), std::move(content)}};
}

Result<std::unique_ptr<CollateralSource>> open_collateral(const fs::path& path) {
  std::error_code failure;
  if (fs::is_directory(path, failure)) {
    CLOISTER_TRY(files, read_directory(path));
    CLOISTER_TRY(bundle, Bundle::from_files(files));
    return std::unique_ptr<CollateralSource>{std::make_unique<Bundle>(std::move(bundle))};
  }
  CLOISTER_TRY(text, read(path));
  const auto part = recognise(text);
  if (part && (std::holds_alternative<Certificates>(*part) || std::holds_alternative<crypto::x509::Crl>(*part))) {
    CLOISTER_TRY(bundle, Bundle::from_files({{path.filename().string(), std::move(text)}}));
    return std::unique_ptr<CollateralSource>{std::make_unique<Bundle>(std::move(bundle))};
  }
  CLOISTER_TRY(collateral, evidence::parse_quote_collateral(as_text(text)));
  return std::unique_ptr<CollateralSource>{std::make_unique<SingleCollateral>(std::move(collateral))};
}

}  // namespace cloister::collateral
