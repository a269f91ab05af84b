// What a server answers: challenges, tokens and refusals that are read are written as ones that are read alike.
#include "cloister/rcar/messages.hpp"
#include "cloister/rcar/refusal.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text({data, size});
  if (const auto challenge = rcar::parse_challenge(text)) {
    CLOISTER_ASSERT(*rcar::parse_challenge(rcar::write(*challenge)) == *challenge);
  }
  if (const auto token = rcar::parse_token(text)) CLOISTER_ASSERT(*rcar::parse_token(rcar::write_token(*token)) == *token);
  if (const auto refusal = rcar::parse_refusal(text)) CLOISTER_ASSERT(refusal->kind.find('/') == std::string::npos);
  return 0;
}
