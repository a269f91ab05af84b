#include <cstdlib>

#include "cloister/protocol/job.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/report_data.hpp"
#include "cloister/protocol/server_proof.hpp"

/// Configurations, preimages and envelopes that decode encode to the same bytes; what a server shows says the same after
/// another round.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  if (auto c = protocol::decode_configuration(bytes); c && !same_bytes(protocol::encode(*c), bytes)) std::abort();
  if (auto p = protocol::decode_preimage(bytes); p && !same_bytes(protocol::encode(*p), bytes)) std::abort();
  if (auto e = protocol::decode_envelope(bytes); e && !same_bytes(protocol::encode(*e), bytes)) std::abort();
  if (auto s = protocol::decode_server_preimage(bytes); s && !same_bytes(protocol::encode(*s), bytes)) std::abort();
  if (auto proof = protocol::parse_server_proof(as_text(bytes))) {
    const auto again = protocol::parse_server_proof(codec::json::write(protocol::to_json(*proof)));
    if (again && !(*again == *proof)) std::abort();
    if (!again && again.error().code() != Errc::limit_exceeded) std::abort();  // what is written may be longer
  }
  return 0;
}
