#include <cstdlib>

#include "cloister/collateral/entry.hpp"

/// An entry that can be read is written so that it reads the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto entry = collateral::parse_entry(as_text({data, size}));
  if (!entry) return 0;
  const auto again = collateral::parse_entry(collateral::write_entry(*entry));
  if (!again || *again != *entry) std::abort();
  return 0;
}
