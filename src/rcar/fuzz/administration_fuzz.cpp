// Policies and reference values that are read are written as ones that are read alike.
#include "cloister/rcar/administration.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text({data, size});
  if (const auto policy = rcar::parse_resource_policy(text)) {
    CLOISTER_ASSERT(*rcar::parse_resource_policy(rcar::write_resource_policy(*policy)) == *policy);
  }
  if (const auto policy = rcar::parse_attestation_policy(text)) {
    const auto again = rcar::parse_attestation_policy(rcar::write_attestation_policy(*policy));
    CLOISTER_ASSERT(again.ok() && again->id == policy->id && again->policy == policy->policy);
  }
  if (const auto values = rcar::parse_reference_values(text)) {
    CLOISTER_ASSERT(*rcar::parse_reference_values(rcar::write_reference_values(*values)) == *values);
  }
  return 0;
}
