#include <cstdlib>

#include "cloister/collateral_service/routes.hpp"

/// A request target that is understood asks for a key whose own request is understood as the same key.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto parts = [](std::string_view target) -> Result<collateral_service::Asked> {
    CLOISTER_TRY(parsed, http::parse_target(target));
    std::string path;
    for (const auto& segment : parsed.segments) path += '/' + segment;
    return collateral_service::asked_for(path, parsed.query);
  };
  const auto asked = parts(as_text({data, size}));
  if (!asked) return 0;
  const bool amd = collateral::amd_kds().serves(asked->key);
  auto endpoint = *collateral::parse_endpoint(amd ? collateral::Endpoint::Kind::kds : collateral::Endpoint::Kind::pcs, "http://h");
  endpoint.version = asked->version;
  const auto request = collateral::request_for(endpoint, asked->key);
  if (!request) std::abort();
  const auto again = parts(request->target);
  if (!again || again->key != asked->key || again->version != asked->version) std::abort();
  return 0;
}
