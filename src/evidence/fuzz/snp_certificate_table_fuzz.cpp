// What parses, is the same after it was written.
#include "check.hpp"
#include "cloister/evidence/snp/endorsements.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto table = parse_snp_certificate_table({data, size});
  if (!table) return 0;
  const auto again = parse_snp_certificate_table(encode_snp_certificate_table(*table));
  require(again.ok() && again->certificates.size() == table->certificates.size() && again->crls.size() == table->crls.size());
  for (std::size_t i = 0; i < table->certificates.size(); ++i) {
    require(again->certificates[i]->der == table->certificates[i]->der);
  }
  return 0;
}
