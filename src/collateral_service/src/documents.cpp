#include "cloister/collateral_service/documents.hpp"

#include <algorithm>

#include "cloister/collateral/transfer.hpp"

namespace cloister::collateral_service {
namespace {

namespace fs = std::filesystem;
using collateral::Document;
using collateral::Key;
using Named = std::map<std::string, Document>;

std::optional<Document> find_in(const Named& documents, const Key& key) {
  const auto found = documents.find(to_string(key));
  return found == documents.end() ? std::nullopt : std::optional{found->second};
}

/// Of the path and what is in it.
fs::file_time_type newest(const fs::path& path) {
  std::error_code failure;
  auto time = fs::last_write_time(path, failure);
  if (!fs::is_directory(path, failure)) return time;
  for (fs::directory_iterator at{path, failure}, end; !failure && at != end; at.increment(failure)) {
    std::error_code gone;
    time = std::max(time, at->last_write_time(gone));
  }
  return time;
}

}  // namespace

void MemoryDocuments::put(Document document) {
  auto name = to_string(document.key);
  const std::lock_guard lock{mutex_};
  documents_.insert_or_assign(std::move(name), std::move(document));
}

std::optional<Document> MemoryDocuments::find(const Key& key) const {
  const std::lock_guard lock{mutex_};
  return find_in(documents_, key);
}

Result<std::unique_ptr<FileDocuments>> FileDocuments::open(fs::path path) {
  std::unique_ptr<FileDocuments> out{new FileDocuments{std::move(path)}};
  out->read_at_ = newest(out->path_);
  CLOISTER_CHECK(out->read());
  if (out->documents_.empty()) return Error{Errc::collateral_missing, out->path_.string() + ": no document of a vendor's service is in it"};
  return out;
}

Result<void> FileDocuments::read() const {
  CLOISTER_TRY(files, collateral::read_bundle(path_));
  auto found = collateral::documents_of(files);
  if (!found) return found.error().in(path_.string());
  Named fresh;
  for (auto& document : found->documents) {
    auto name = to_string(document.key);
    fresh.emplace(std::move(name), std::move(document));
  }
  documents_ = std::move(fresh);
  return {};
}

void FileDocuments::follow() const {
  const auto time = newest(path_);
  if (time == read_at_) return;
  if (read()) read_at_ = time;
}

std::optional<Document> FileDocuments::find(const Key& key) const {
  const std::lock_guard lock{mutex_};
  follow();
  return find_in(documents_, key);
}

std::size_t FileDocuments::count() const {
  const std::lock_guard lock{mutex_};
  return documents_.size();
}

std::optional<collateral::Document> JoinedDocuments::find(const collateral::Key& key) const {
  for (const auto* source : sources_) {
    if (auto found = source->find(key)) return found;
  }
  return std::nullopt;
}

}  // namespace cloister::collateral_service
