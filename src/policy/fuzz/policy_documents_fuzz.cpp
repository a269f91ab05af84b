#include <cstdlib>

#include "cloister/policy/policy.hpp"
#include "cloister/policy/trust_file.hpp"

/// Policies and trust files that parse say the same after another round.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto text = as_text({data, size});
  if (const auto policy = policy::parse_policy(text)) {
    const auto again = policy::parse_policy(codec::json::write(policy::to_json(*policy)));
    if (!again || !(*again == *policy) || policy::digest(*again) != policy::digest(*policy)) std::abort();
  }
  if (const auto trust = policy::parse_trust_file(text)) {
    const auto written = policy::write_trust_file(*trust);
    const auto again = policy::parse_trust_file(written);
    if (!again || policy::write_trust_file(*again) != written) std::abort();
  }
  return 0;
}
