// What parses, encodes back to its bytes.
#include "check.hpp"
#include "cloister/evidence/td_report.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input{data, size};
  const auto report = parse_td_report(input);
  if (report) require(same_bytes(encode_td_report(*report), input));
  return 0;
}
