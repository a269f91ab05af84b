#pragma once

#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/needs.hpp"
#include "cloister/collateral_cache/cache.hpp"

namespace cloister::collateral_cache {

/// The cache as a verifier's source. Thread-safe; `find` blocks while something is fetched.
class CachedCollateral final : public collateral::CollateralSource {
 public:
  /// `cache` outlives this.
  explicit CachedCollateral(Cache& cache) : cache_{cache} {}
  /// Also what `Cache::get` refuses, with the document's key.
  [[nodiscard]] Result<evidence::QuoteCollateral> find(const collateral::Wanted& wanted) const override;

 private:
  Cache& cache_;
};

}  // namespace cloister::collateral_cache
