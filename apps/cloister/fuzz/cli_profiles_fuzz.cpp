#include <cstdlib>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "profile.hpp"

/// Profiles have names that are ids, each once, and are written so that they read the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto profiles = cli::Profiles::parse(as_text({data, size}));
  if (!profiles) return 0;
  for (const auto& profile : profiles->all()) {
    if (!valid_id(profile.name) || profiles->find(profile.name) != &profile) std::abort();
  }
  const auto again = cli::Profiles::parse(profiles->write());
  if (!again || *again != *profiles) std::abort();
  return 0;
}
