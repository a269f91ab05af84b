// Init-data that is read has a digest of a known size and claims that are written as JSON.
#include "cloister/rcar/init_data.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = rcar::read_init_data({"toml", std::string{as_text({data, size})}});
  if (!read) return 0;
  CLOISTER_ASSERT(read->digest.size() == 32 || read->digest.size() == 48 || read->digest.size() == 64);
  const auto claims = rcar::claims_of(*read);
  CLOISTER_ASSERT(claims.as_object() != nullptr && claims.as_object()->size() == read->texts.size());
  static_cast<void>(codec::json::write(claims));
  return 0;
}
