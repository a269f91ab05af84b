#include <cstdlib>

#include "cloister/measure/rtmr.hpp"
#include "cloister/verdict/event_log.hpp"

/// A log has claims exactly beside the registers that it leads to, and they are JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto log = evidence::parse_event_log(ByteView{data, size});
  if (!log) return 0;
  evidence::TdBody td;
  td.rtmr = measure::replay(*log);
  const auto claims = verdict::event_log_claims(*log, td);
  if (claims && !codec::json::parse(codec::json::write(*claims))) std::abort();
  if (!claims && claims.error().code() != Errc::evidence_malformed) std::abort();
  td.rtmr[2][0] ^= 1;
  const auto refused = verdict::event_log_claims(*log, td);
  if (refused || refused.error().code() != Errc::event_log_mismatch) std::abort();
  return 0;
}
