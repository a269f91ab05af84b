// A CRL that is read keeps its bytes, is sorted, and revokes each of its entries.
#include <algorithm>

#include "cloister/crypto/x509.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = crypto::x509::parse_crl({data, size});
  if (!parsed.ok()) {
    CLOISTER_ASSERT(parsed.error().code() == Errc::collateral_malformed);
    return 0;
  }
  CLOISTER_ASSERT(same_bytes(parsed->der, {data, size}));
  CLOISTER_ASSERT(std::ranges::is_sorted(parsed->revoked, {}, &crypto::x509::RevokedEntry::serial));
  for (const auto& entry : parsed->revoked) CLOISTER_ASSERT(parsed->revokes(entry.serial));
  CLOISTER_ASSERT(!parsed->revokes({}));
  return 0;
}
