#pragma once

#include <array>

#include "cloister/core/bytes.hpp"
#include "cloister/evidence/event_log.hpp"

/// Run-time measurement registers of a TD (Intel TDX Module ABI Reference 348551, TDG.MR.RTMR.EXTEND).
namespace cloister::measure {

inline constexpr std::size_t kRtmrCount = 4;
using Rtmrs = std::array<Digest48, kRtmrCount>;

/// The register after the extension: SHA-384(rtmr || digest). Registers start as 48 zero bytes.
[[nodiscard]] Digest48 rtmr_extend(const Digest48& rtmr, const Digest48& digest);

/// The registers that the log leads to. Only where they equal those of a verified quote is the log the TD's own.
[[nodiscard]] Rtmrs replay(const evidence::EventLog& log);

}  // namespace cloister::measure
