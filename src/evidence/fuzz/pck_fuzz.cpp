// What parses, is the same after it was written in the profile's order.
#include "check.hpp"
#include "cloister/evidence/pck.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto extension = parse_pck_extension({data, size});
  if (!extension) return 0;
  const auto again = parse_pck_extension(encode_pck_extension(*extension));
  require(again.ok() && *again == *extension);
  return 0;
}
