#include <cstdlib>

#include "cloister/receipt/receipt.hpp"

/// A receipt that parses says the same after another round.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto receipt = receipt::parse_receipt(as_text({data, size}));
  if (!receipt) return 0;
  const auto text = codec::json::write(receipt::to_json(*receipt));
  const auto again = receipt::parse_receipt(text);
  if (!again || codec::json::write(receipt::to_json(*again)) != text) std::abort();
  return 0;
}
