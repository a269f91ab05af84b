#include "cloister/collateral_cache/source.hpp"

namespace cloister::collateral_cache {

Result<collateral::Bundle> CachedCollateral::fetch(const std::vector<collateral::Key>& keys) const {
  std::vector<collateral::BundleFile> files;
  for (const auto& key : keys) {
    CLOISTER_TRY(held, cache_.get(key, Need::valid));
    const auto& document = held.entry->document;
    files.push_back({to_string(key), document.body});
    if (!document.issuer_chain.empty()) files.push_back({to_string(key) + " issuer chain", to_bytes(document.issuer_chain)});
  }
  return collateral::Bundle::from_files(files);
}

Result<evidence::QuoteCollateral> CachedCollateral::find(const collateral::Wanted& wanted) const {
  CLOISTER_TRY(keys, collateral::keys_of(wanted));
  CLOISTER_TRY(bundle, fetch(keys));
  return bundle.find(wanted);
}

Result<evidence::SnpEndorsements> CachedCollateral::find(const evidence::SnpReport& report,
                                                         const evidence::SnpEndorsements& given) const {
  CLOISTER_TRY(keys, collateral::keys_missing(report, given));
  if (keys.empty()) return evidence::SnpEndorsements{};
  CLOISTER_TRY(bundle, fetch(keys));
  return bundle.find(report, given);
}

}  // namespace cloister::collateral_cache
