#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister {

/// Wall-clock time, UTC, microseconds since 1970 (the unit of every signed message).
using UnixTime = std::chrono::sys_time<std::chrono::microseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;

/// Where time comes from. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual UnixTime now() const = 0;
  /// Never goes back; for timeouts and leases held in memory.
  [[nodiscard]] virtual SteadyTime steady() const = 0;
};

/// The machine's clocks.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] UnixTime now() const override;
  [[nodiscard]] SteadyTime steady() const override;
};

/// When a remote or database call must have ended.
class Deadline {
 public:
  explicit Deadline(SteadyTime at) : at_{at} {}
  [[nodiscard]] static Deadline after(const Clock& clock, std::chrono::milliseconds span) {
    return Deadline{clock.steady() + span};
  }
  [[nodiscard]] SteadyTime at() const noexcept { return at_; }

 private:
  SteadyTime at_;
};

/// RFC 3339 in UTC, "2026-03-17T22:34:05Z"; with six decimals when the time is not a whole second.
[[nodiscard]] std::string to_rfc3339(UnixTime time);
/// RFC 3339 with "Z" or a numeric offset, up to six decimals, years 1970 to 9999.
[[nodiscard]] Result<UnixTime> parse_rfc3339(std::string_view text);
/// Gregorian date and time of day in UTC; refuses what the calendar does not have (a leap second included).
[[nodiscard]] Result<UnixTime> from_civil(int year, int month, int day, int hour, int minute, int second);

[[nodiscard]] inline std::int64_t to_micros(UnixTime time) noexcept { return time.time_since_epoch().count(); }
[[nodiscard]] inline UnixTime from_micros(std::int64_t micros) noexcept {
  return UnixTime{std::chrono::microseconds{micros}};
}

}  // namespace cloister
