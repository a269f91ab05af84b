#include <cstdlib>

#include "cloister/protocol/challenge.hpp"

/// Frames out of arbitrary bytes; what decodes encodes to the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  namespace challenge = protocol::challenge;
  challenge::Deframer deframer;
  deframer.feed({data, size});
  for (;;) {
    auto next = deframer.next();
    if (!next || !*next) break;
    const ByteView body = **next;
    if (auto message = challenge::decode_to_guest(body)) {
      const auto frame = challenge::frame(*message);
      if (!same_bytes(ByteView{frame}.subspan(4), body)) std::abort();
    }
    if (auto message = challenge::decode_to_challenge(body)) {
      const auto frame = challenge::frame(*message);
      if (!same_bytes(ByteView{frame}.subspan(4), body)) std::abort();
    }
  }
  return 0;
}
