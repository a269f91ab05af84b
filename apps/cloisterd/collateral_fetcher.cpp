#include "collateral_fetcher.hpp"

#include <fstream>
#include <iterator>

namespace cloister::server {
namespace {

/// A verification waits for it, and others may wait behind that.
constexpr std::chrono::seconds kPatience{5};

}  // namespace

Result<std::unique_ptr<CollateralFetcher>> CollateralFetcher::open(const CollateralServices& services, const Clock& clock,
                                                                   log::Logger& logger) {
  std::unique_ptr<CollateralFetcher> out{new CollateralFetcher};
  CLOISTER_TRY(store, collateral::Store::open(services.folder));
  out->store_ = std::move(store);
  collateral_cache::HttpTransport::Options http{.ca_pem = std::nullopt, .timeout = kPatience};
  if (services.ca) {
    std::ifstream in(*services.ca, std::ios::binary);
    if (!in) return Error{Errc::io_error, services.ca->string() + ": cannot be read"};
    http.ca_pem = std::string(std::istreambuf_iterator<char>(in), {});
  }
  out->transport_ = std::make_unique<collateral_cache::HttpTransport>(std::move(http));
  collateral_cache::CacheOptions options;
  for (const auto& url : services.services) {
    CLOISTER_TRY(endpoint, collateral::parse_endpoint(collateral::Endpoint::Kind::pcs, url));
    options.endpoints.push_back(std::move(endpoint));
  }
  if (services.services.empty()) options.endpoints.push_back(collateral::intel_pcs());
  for (const auto& url : services.kds_services) {
    CLOISTER_TRY(endpoint, collateral::parse_endpoint(collateral::Endpoint::Kind::kds, url));
    options.endpoints.push_back(std::move(endpoint));
  }
  if (services.kds_services.empty()) options.endpoints.push_back(collateral::amd_kds());
  out->cache_ = std::make_unique<collateral_cache::Cache>(*out->store_, out->transport_.get(), clock, logger, std::move(options));
  return out;
}

Result<evidence::QuoteCollateral> CollateralFetcher::find(const evidence::Quote& quote) {
  return collateral_cache::CachedCollateral{*cache_}.find(collateral::wanted_by(quote));
}

Result<evidence::SnpEndorsements> CollateralFetcher::find(const evidence::SnpReport& report,
                                                          const evidence::SnpEndorsements& known) {
  return collateral_cache::CachedCollateral{*cache_}.find(report, known);
}

}  // namespace cloister::server
