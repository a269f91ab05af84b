// A report of fields has the size of a report, and evidence with it is left alone when it is read again.
#include "cloister/rcar/snp_evidence.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto raw = rcar::with_raw_snp_report(as_text({data, size}));
  if (!raw) return 0;
  CLOISTER_ASSERT(*rcar::with_raw_snp_report(*raw) == *raw);
  return 0;
}
