#include <cstdlib>

#include "cloister/protocol/host.hpp"

/// What decodes survives another round unchanged.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  namespace host = protocol::host;
  const ByteView bytes{data, size};
  if (auto message = host::decode_to_host(as_text(bytes))) {
    const auto text = host::encode(*message);
    if (auto again = host::decode_to_host(text); !again || host::encode(*again) != text) std::abort();
  }
  if (auto message = host::decode_to_server(as_text(bytes))) {
    const auto text = host::encode(*message);
    if (auto again = host::decode_to_server(text); !again || host::encode(*again) != text) std::abort();
  }
  if (auto frame = host::decode_frame(bytes); frame && frame->kind == host::FrameKind::data) {
    if (!same_bytes(host::encode_data(frame->stream, frame->payload), bytes)) std::abort();
  }
  return 0;
}
