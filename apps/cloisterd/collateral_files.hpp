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
  /// All that there are; none is no error.
  [[nodiscard]] Result<evidence::SnpEndorsements> find(const evidence::SnpReport& report, const evidence::SnpEndorsements& known);

 private:
  [[nodiscard]] std::shared_ptr<const collateral::CollateralSource> current();
  explicit CollateralFiles(std::filesystem::path path) : path_{std::move(path)} {}
  [[nodiscard]] std::filesystem::file_time_type newest() const;
  std::filesystem::path path_;
  std::mutex mutex_;
  std::filesystem::file_time_type read_at_{};
  std::shared_ptr<const collateral::CollateralSource> source_;  // shared: a search may outlast a renewal
};

}  // namespace cloister::server
