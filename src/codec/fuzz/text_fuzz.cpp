// What decodes, encodes to the same text again; what does not, is refused without harm.
#include <cstdlib>

#include "cloister/codec/text.hpp"

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  using namespace cloister::codec;
  const ByteView bytes{data, size};
  const auto text = as_text(bytes);
  if (const auto hex = from_hex(text)) require(*from_hex(to_hex(*hex)) == *hex);
  if (const auto plain = from_base64(text)) {
    require(to_base64(*plain) == text);
    require(*from_base64_lines(text) == *plain);
  }
  if (const auto plain = from_base64url(text)) require(to_base64url(*plain) == text);
  if (const auto blocks = parse_pem(text, 4)) {
    for (const auto& block : *blocks) {
      const auto again = parse_pem(to_pem(block.label, block.der));
      require(again.ok() && again->size() == 1 && again->front().label == block.label &&
              again->front().der == block.der);
    }
  }
  require(*from_hex(to_hex(bytes)) == to_bytes(bytes));
  require(*from_base64(to_base64(bytes)) == to_bytes(bytes));
  require(*from_base64url(to_base64url(bytes)) == to_bytes(bytes));
  (void)is_utf8(bytes);
  return 0;
}
