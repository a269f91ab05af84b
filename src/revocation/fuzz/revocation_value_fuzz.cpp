// A value that somebody wants to revoke: what is taken is in its canonical form, and stays so.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cloister/revocation/subjects.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text{data, data + size};
  for (const auto kind : cloister::revocation::kKinds) {
    const auto value = cloister::revocation::canonical(kind, text);
    if (!value) continue;
    const auto again = cloister::revocation::canonical(kind, *value);
    if (!again || *again != *value || value->size() != text.size()) std::abort();
  }
  return 0;
}
