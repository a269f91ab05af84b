#include "cloister/collateral_cache/source.hpp"

namespace cloister::collateral_cache {

Result<evidence::QuoteCollateral> CachedCollateral::find(const collateral::Wanted& wanted) const {
  CLOISTER_TRY(keys, collateral::keys_of(wanted));
  std::vector<collateral::BundleFile> files;
  for (const auto& key : keys) {
    CLOISTER_TRY(held, cache_.get(key, Need::valid));
    const auto& document = held.entry->document;
    files.push_back({to_string(key), document.body});
    if (!document.issuer_chain.empty()) files.push_back({to_string(key) + " issuer chain", to_bytes(document.issuer_chain)});
  }
  CLOISTER_TRY(bundle, collateral::Bundle::from_files(files));
  return bundle.find(wanted);
}

}  // namespace cloister::collateral_cache
