#pragma once

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/evidence/quote.hpp"

/// An event log beside a TD's quote: whether it is that TD's, and what it says then.
namespace cloister::verdict {

/// The claims of a log whose replay equals all four RTMRs of `td`: {"events", "dstack", "runtime_events"}.
/// `dstack` has the events that a dstack guest extends into RTMR3 before the application runs, up to "system-ready":
/// `app_id`, `compose_hash`, `instance_id`, `os_image_hash` and the like as hex, `key_provider` and `storage_fs` as
/// text. An application may extend events of any name afterwards; they, and those of other guests, are
/// `runtime_events`, in order. What firmware wrote beside its digests is signed by nobody and is not repeated.
/// As trustworthy as the quote. Errors: `event_log_mismatch` with the registers that differ; `evidence_malformed` when
/// dstack's events before "system-ready" are ambiguous (a name twice, or one with a colon, which the digest cannot tell
/// from the payload).
[[nodiscard]] Result<codec::json::Value> event_log_claims(const evidence::EventLog& log, const evidence::TdBody& td);

}  // namespace cloister::verdict
