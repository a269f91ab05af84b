#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cloister/collateral/document.hpp"
#include "cloister/core/result.hpp"

namespace cloister::collateral_service {

/// What a service has. Implementations are thread-safe.
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  /// Nothing when it is not there.
  [[nodiscard]] virtual std::optional<collateral::Document> find(const collateral::Key& key) const = 0;
};

/// Documents that somebody puts in. Thread-safe.
class MemoryDocuments final : public DocumentSource {
 public:
  void put(collateral::Document document);
  [[nodiscard]] std::optional<collateral::Document> find(const collateral::Key& key) const override;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, collateral::Document> documents_;
};

/// The documents of a file or directory, as `--collateral` takes them, read again when it changed. While a new version
/// cannot be read, the old one serves. Thread-safe.
class FileDocuments final : public DocumentSource {
 public:
  /// What `read_bundle` and `documents_of` refuse; `collateral_missing` when there is no document in it.
  [[nodiscard]] static Result<std::unique_ptr<FileDocuments>> open(std::filesystem::path path);
  [[nodiscard]] std::optional<collateral::Document> find(const collateral::Key& key) const override;
  /// As of now.
  [[nodiscard]] std::size_t count() const;

 private:
  explicit FileDocuments(std::filesystem::path path) : path_{std::move(path)} {}
  [[nodiscard]] Result<void> read() const;
  void follow() const;
  std::filesystem::path path_;
  mutable std::mutex mutex_;
  mutable std::filesystem::file_time_type read_at_{};
  mutable std::map<std::string, collateral::Document> documents_;
};

/// What several sources have; the first that has a document gives it. They outlive this. Thread-safe.
class JoinedDocuments final : public DocumentSource {
 public:
  explicit JoinedDocuments(std::vector<const DocumentSource*> sources) : sources_{std::move(sources)} {}
  [[nodiscard]] std::optional<collateral::Document> find(const collateral::Key& key) const override;

 private:
  std::vector<const DocumentSource*> sources_;
};

}  // namespace cloister::collateral_service
