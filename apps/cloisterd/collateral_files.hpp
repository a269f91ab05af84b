#pragma once

#include <filesystem>
#include <memory>
#include <mutex>

#include "cloister/collateral/source.hpp"
#include "cloister/core/result.hpp"

namespace cloister::server {

/// The collateral of the configuration, read again when its file changed, so that whoever renews it needs no restart.
/// While a new version cannot be read, the old one serves. Thread-safe.
class CollateralFiles {
 public:
  [[nodiscard]] static Result<std::unique_ptr<CollateralFiles>> open(std::filesystem::path path);
  [[nodiscard]] Result<evidence::QuoteCollateral> find(const evidence::Quote& quote);

 private:
  explicit CollateralFiles(std::filesystem::path path) : path_{std::move(path)} {}
  [[nodiscard]] std::filesystem::file_time_type newest() const;
  std::filesystem::path path_;
  std::mutex mutex_;
  std::filesystem::file_time_type read_at_{};
  std::shared_ptr<const collateral::CollateralSource> source_;  // shared: a search may outlast a renewal
};

}  // namespace cloister::server
