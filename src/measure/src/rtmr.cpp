#include "cloister/measure/rtmr.hpp"

#include "cloister/core/assert.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::measure {

Digest48 rtmr_extend(const Digest48& rtmr, const Digest48& digest) { return crypto::sha384({rtmr, digest}); }

Rtmrs replay(const evidence::EventLog& log) {
  Rtmrs registers{};
  for (const auto& event : log) {
    if (!event.extends()) continue;
    CLOISTER_ASSERT(*event.rtmr < kRtmrCount);  // what every reader of logs makes sure of
    auto& target = registers[*event.rtmr];
    target = rtmr_extend(target, event.digest);
  }
  return registers;
}

}  // namespace cloister::measure
