// Every event names a register that exists; a CCEL can be written again; our own logs encode back to their bytes, with
// digests that follow from them.
#include "check.hpp"
#include "cloister/evidence/event_log.hpp"

using namespace cloister;
using namespace cloister::evidence;

namespace {
void check(const Result<EventLog>& log) {
  if (!log) return;
  require(log->size() <= kMaxEvents);
  for (const auto& event : *log) require(!event.rtmr || *event.rtmr <= 3);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input{data, size};
  const auto ccel = parse_ccel(input);
  check(ccel);
  if (ccel) {
    // Every log can be written in the form that has one bank, where it says the same.
    const auto written = encode_ccel(*ccel, kMaxEventLogSize);
    require(written.ok() && parse_ccel(*written).value() == *ccel);
  }
  if (const auto table = parse_ccel_table(input)) {
    require(parse_ccel_table(encode_ccel_table(*table)).value() == *table);
  }
  check(parse_dstack_event_log(as_text(input)));
  check(parse_event_log(input));
  const auto events = parse_guest_event_log(input);
  if (!events) return 0;
  require(same_bytes(encode_guest_event_log(*events), input));
  const auto log = to_event_log(*events);
  check(log);
  for (std::size_t i = 0; i < log.size(); ++i) {
    require(log[i].digest == guest_event_digest((*events)[i].name, (*events)[i].payload));
  }
  return 0;
}
