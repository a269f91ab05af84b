#include <cstdlib>

#include "cloister/collateral/transfer.hpp"

/// The documents of a file, written as a bundle, are the documents of that bundle.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto found = collateral::documents_of({{"input", Bytes(data, data + size)}});
  if (!found || found->documents.empty()) return 0;
  auto files = collateral::write_bundle(found->documents);
  files.pop_back();  // the manifest
  const auto again = collateral::documents_of(files);
  if (!again || again->documents.size() != found->documents.size()) std::abort();
  for (std::size_t i = 0; i < found->documents.size(); ++i) {
    if (again->documents[i].key != found->documents[i].key || again->documents[i].body != found->documents[i].body) std::abort();
  }
  return 0;
}
