#include <cstdlib>

#include "cloister/collateral/bundle.hpp"
#include "cloister/collateral/recognise.hpp"

/// What is recognised makes a bundle, and whatever a bundle gives can be read again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView content{data, size};
  const auto part = collateral::recognise(content);
  const auto bundle = collateral::Bundle::from_files({{"input", to_bytes(content)}});
  if (part.ok() != bundle.ok()) std::abort();
  if (!bundle) return 0;
  for (const auto tee : {evidence::TeeType::sgx, evidence::TeeType::tdx}) {
    const auto found = bundle->find({.tee = tee, .fmspc = std::nullopt, .ca = std::nullopt});
    if (found && !evidence::parse_quote_collateral(evidence::write_quote_collateral(*found))) std::abort();
  }
  return 0;
}
