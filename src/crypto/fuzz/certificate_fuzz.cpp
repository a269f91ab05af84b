// A certificate that is read keeps its bytes, reads the same again, and has each extension once.
#include <algorithm>

#include "cloister/crypto/x509.hpp"

using namespace cloister;
using crypto::x509::Certificate;

namespace {

bool contains(ByteView whole, ByteView part) {
  return std::search(whole.begin(), whole.end(), part.begin(), part.end()) != whole.end();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = crypto::x509::parse_certificate({data, size});
  if (!parsed.ok()) {
    CLOISTER_ASSERT(parsed.error().code() == Errc::certificate_malformed);
    return 0;
  }
  const Certificate& one = **parsed;
  CLOISTER_ASSERT(same_bytes(one.der, {data, size}));
  CLOISTER_ASSERT(contains(one.der, one.tbs) && contains(one.tbs, one.issuer) && contains(one.tbs, one.subject));
  CLOISTER_ASSERT(!one.path_length || one.is_ca.value_or(false));
  for (const auto& extension : one.extensions) CLOISTER_ASSERT(one.find(extension.oid) == &extension);
  const auto again = crypto::x509::parse_certificate(one.der);
  CLOISTER_ASSERT(again.ok() && (*again)->tbs == one.tbs && (*again)->signature == one.signature);
  static_cast<void>(crypto::x509::verify_signature(one, one));
  return 0;
}
