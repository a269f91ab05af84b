// A bundle that parses is the same after it was written; its CRLs are DER already; parsing the parts keeps the signed text.
#include "check.hpp"
#include "cloister/evidence/collateral.hpp"

using namespace cloister;
using namespace cloister::evidence;

namespace {
bool names_an_envelope(const QuoteCollateral& collateral) {
  return collateral.tcb_info.find("\"tcbInfo\"") != std::string::npos ||
         collateral.qe_identity.find("\"enclaveIdentity\"") != std::string::npos;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input{data, size};
  if (const auto der = crl_to_der(input)) require(*crl_to_der(*der) == *der);
  const auto collateral = parse_quote_collateral(as_text(input));
  if (!collateral) return 0;
  const auto again = parse_quote_collateral(write_quote_collateral(*collateral));
  // A signed value that names the envelope's own member inside would be taken for an envelope: refused, never altered.
  require(again.ok() ? *again == *collateral : names_an_envelope(*collateral));
  if (const auto documents = parse_documents(*collateral)) {
    require(documents->tcb_info.body == collateral->tcb_info && documents->qe_identity.body == collateral->qe_identity);
    require(documents->root_ca_crl.der == collateral->root_ca_crl);
  }
  return 0;
}
