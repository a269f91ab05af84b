#pragma once

#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/needs.hpp"
#include "cloister/collateral_cache/cache.hpp"

namespace cloister::collateral_cache {

/// The cache as a verifier's source. Thread-safe; `find` blocks while something is fetched. It fetches for whatever says
/// that it is evidence: what can be refused before is the caller's to refuse.
class CachedCollateral final : public collateral::CollateralSource {
 public:
  /// `cache` outlives this.
  explicit CachedCollateral(Cache& cache) : cache_{cache} {}
  /// Also what `Cache::get` refuses, with the document's key.
  [[nodiscard]] Result<evidence::QuoteCollateral> find(const collateral::Wanted& wanted) const override;
  /// What is not among `given`: the chip's certificate (once ever for a chip and its TCB), the chain, the CRL. What a
  /// report needs and nobody has is refused as `Cache::get` does, also a CRL.
  [[nodiscard]] Result<evidence::SnpEndorsements> find(const evidence::SnpReport& report,
                                                       const evidence::SnpEndorsements& given) const override;

 private:
  [[nodiscard]] Result<collateral::Bundle> fetch(const std::vector<collateral::Key>& keys) const;
  Cache& cache_;
};

}  // namespace cloister::collateral_cache
