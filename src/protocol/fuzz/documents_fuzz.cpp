#include <cstdlib>

#include "cloister/protocol/job.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/report_data.hpp"

/// Configurations, preimages and envelopes that decode encode to the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (auto c = protocol::decode_configuration(bytes); c && !same_bytes(protocol::encode(*c), bytes)) std::abort();
  if (auto p = protocol::decode_preimage(bytes); p && !same_bytes(protocol::encode(*p), bytes)) std::abort();
  if (auto e = protocol::decode_envelope(bytes); e && !same_bytes(protocol::encode(*e), bytes)) std::abort();
  return 0;
}
