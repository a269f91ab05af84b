#include <cstdlib>

#include "cloister/protocol/messages.hpp"

/// What decodes encodes to the same bytes, in either direction.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (auto message = protocol::decode_to_td(bytes); message && !same_bytes(protocol::encode(*message), bytes)) std::abort();
  if (auto message = protocol::decode_to_server(bytes); message && !same_bytes(protocol::encode(*message), bytes)) {
    std::abort();
  }
  return 0;
}
