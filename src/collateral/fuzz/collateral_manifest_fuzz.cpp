#include <cstdlib>

#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/manifest.hpp"

/// A manifest names files of its own directory alone, no more than there may be, and is written so that it reads the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto entries = collateral::parse_manifest(as_text({data, size}));
  if (!entries) return 0;
  if (entries->size() > collateral::kMaxBundleFiles) std::abort();
  const std::filesystem::path directory{"/bundle"};
  for (const auto& entry : *entries) {
    const auto path = directory / entry.file;
    if (path.lexically_normal() != path || path.parent_path() != directory) std::abort();
    if (std::string{path.c_str()} != path.string()) std::abort();  // what is opened is what is named
  }
  const auto again = collateral::parse_manifest(collateral::write_manifest(*entries));
  if (!again || *again != *entries) std::abort();
  return 0;
}
