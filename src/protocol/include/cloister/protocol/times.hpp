#pragma once

#include <chrono>

#include "cloister/core/time.hpp"

namespace cloister::protocol {

/// How far the clocks of a server, a guest and a client may be apart without anything being refused for it. A TD has no
/// clock that its host could not set, so a guest's times prove nothing; signature, session, attempt and fence bind a
/// result to where it was made. Times are compared to find what is grossly wrong, and a clock that is an hour off, or
/// jumps by one, must not cost a result.
inline constexpr std::chrono::hours kClockTolerance{2};

/// Whether work that a guest dates so can be of a session that the server dates so. Any times.
[[nodiscard]] inline bool within_session(UnixTime started, UnixTime finished, UnixTime opened, UnixTime expires) {
  return started >= opened - kClockTolerance && finished <= expires + kClockTolerance;
}

}  // namespace cloister::protocol
