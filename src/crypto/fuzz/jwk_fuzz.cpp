// Keys that are read are written as keys that are read alike, and no key comes without an algorithm of its kind.
#include "../src/jws.hpp"
#include "cloister/crypto/jwk.hpp"

using namespace cloister;
namespace jose = crypto::jose;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto keys = jose::parse_keys(as_text({data, size}));
  if (!keys) return 0;
  CLOISTER_ASSERT(!keys->empty() && keys->size() <= jose::kMaxJwks);
  for (const auto& key : *keys) {
    const auto again = jose::parse_jwk(codec::json::write(jose::to_json(key)));
    CLOISTER_ASSERT(again.ok() && again->algorithm == key.algorithm && again->key_id == key.key_id);
    CLOISTER_ASSERT(jose::same_key(again->key, key.key));
  }
  return 0;
}
