#pragma once

#include <memory>

#include "cloister/collateral_cache/source.hpp"
#include "config.hpp"

namespace cloister::server {

/// Collateral from the services of the configuration, kept in its folder. Thread-safe; calls block.
class CollateralFetcher {
 public:
  /// The references outlive this. `configuration_invalid`, `io_error` for a folder that cannot be used.
  [[nodiscard]] static Result<std::unique_ptr<CollateralFetcher>> open(const CollateralServices& services, const Clock& clock,
                                                                       log::Logger& logger);
  [[nodiscard]] Result<evidence::QuoteCollateral> find(const evidence::Quote& quote);
  /// What is not among `known`.
  [[nodiscard]] Result<evidence::SnpEndorsements> find(const evidence::SnpReport& report, const evidence::SnpEndorsements& known);
  /// Asks again for what is due, so that a verification finds it; failures are logged.
  [[nodiscard]] Result<std::size_t> refresh() { return cache_->refresh(); }

 private:
  CollateralFetcher() = default;
  std::unique_ptr<collateral::Store> store_;
  std::unique_ptr<collateral_cache::HttpTransport> transport_;
  std::unique_ptr<collateral_cache::Cache> cache_;
};

}  // namespace cloister::server
