// What parses, encodes back to its bytes; the spans that signatures cover are inside it and are what the fields say.
#include "check.hpp"
#include "cloister/evidence/quote.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input{data, size};
  const auto quote = parse_quote(input);
  if (!quote) return 0;
  require(quote->bytes().size() + quote->trailing_bytes() == size);
  require(same_bytes(quote->bytes(), input.first(quote->bytes().size())));
  const auto encoded = encode_quote(quote->content());
  require(encoded.ok() && same_bytes(*encoded, quote->bytes()));
  const auto signed_part = encode_signed_part(quote->header(), quote->body());
  require(signed_part.ok() && same_bytes(*signed_part, quote->signed_bytes()));
  require(same_bytes(encode_sgx_report(quote->signature().qe_report), quote->qe_report_bytes()));
  require((quote->sgx() == nullptr) != (quote->td() == nullptr));
  return 0;
}
