#include <cstdlib>

#include "cloister/collateral/document.hpp"
#include "cloister/collateral/needs.hpp"

/// Keys, addresses, dates and SNP reports: whatever is understood is written as it was read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  using collateral::Endpoint;
  const auto text = as_text({data, size});
  const auto key = collateral::parse_key(text);
  if (key && to_string(*key) != text) std::abort();
  for (const auto kind : {Endpoint::Kind::pcs, Endpoint::Kind::kds}) {
    const auto endpoint = collateral::parse_endpoint(kind, text);
    if (!endpoint) continue;
    auto address = endpoint->text();
    if (kind == Endpoint::Kind::pcs) address += endpoint->version == collateral::ApiVersion::v3 ? "/sgx/certification/v3" : "/sgx/certification/v4";
    const auto again = collateral::parse_endpoint(kind, address);
    if (!again || *again != *endpoint) std::abort();
  }
  if (const auto date = collateral::parse_http_date(text); date && collateral::to_http_date(*date) != text) std::abort();
  const auto keys = collateral::keys_of_snp_report({data, size}, collateral::Product::milan);
  if (!keys) return 0;
  for (const auto& one : *keys) {
    const auto again = collateral::parse_key(to_string(one));
    if (!again || *again != one) std::abort();
  }
  return 0;
}
