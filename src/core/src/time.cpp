#include "cloister/core/time.hpp"

#include <cstdio>

namespace cloister {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Error bad_time(std::string_view text) {
  return Error{Errc::malformed, "RFC 3339 time expected, got '" + std::string{text.substr(0, 40)} + "'"};
}

/// Reads exactly `count` digits at `at` and moves past them; -1 when they are not there.
int digits(std::string_view text, std::size_t& at, std::size_t count) {
  if (count > text.size() - at) return -1;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const char c = text[at + i];
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  at += count;
  return value;
}

bool literal(std::string_view text, std::size_t& at, char expected) {
  if (at >= text.size() || text[at] != expected) return false;
  ++at;
  return true;
}

}  // namespace

UnixTime SystemClock::now() const {
  return std::chrono::time_point_cast<microseconds>(std::chrono::system_clock::now());
}

SteadyTime SystemClock::steady() const { return std::chrono::steady_clock::now(); }

Result<UnixTime> from_civil(int year, int month, int day, int hour, int minute, int second) {
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  const bool in_day = hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60;
  if (year < 1 || year > 9999 || !date.ok() || !in_day) return Error{Errc::malformed, "no such date or time of day"};
  return UnixTime{std::chrono::sys_days{date}} + hours{hour} + minutes{minute} + seconds{second};
}

std::string to_rfc3339(UnixTime time) {
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const auto in_day = (time - day).count();
  const auto micros = in_day % 1'000'000;
  const auto second = in_day / 1'000'000;
  char out[48];
  const int n = std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                              static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                              static_cast<int>(second / 3600), static_cast<int>(second / 60 % 60),
                              static_cast<int>(second % 60));
  std::string text{out, static_cast<std::size_t>(n)};
  if (micros != 0) {
    const int m = std::snprintf(out, sizeof out, ".%06d", static_cast<int>(micros));
    text.append(out, static_cast<std::size_t>(m));
  }
  return text + 'Z';
}

Result<UnixTime> parse_rfc3339(std::string_view text) {
  std::size_t at = 0;
  const int year = digits(text, at, 4);
  const bool d1 = literal(text, at, '-');
  const int month = d1 ? digits(text, at, 2) : -1;
  const bool d2 = literal(text, at, '-');
  const int day = d2 ? digits(text, at, 2) : -1;
  if (day < 0 || month < 0 || year < 1970) return bad_time(text);
  if (!literal(text, at, 'T') && !literal(text, at, 't')) return bad_time(text);
  const int hour = digits(text, at, 2);
  const bool c1 = literal(text, at, ':');
  const int minute = c1 ? digits(text, at, 2) : -1;
  const bool c2 = literal(text, at, ':');
  const int second = c2 ? digits(text, at, 2) : -1;
  if (hour < 0 || minute < 0 || second < 0) return bad_time(text);
  auto base = from_civil(year, month, day, hour, minute, second);
  if (!base) return bad_time(text);
  UnixTime time = *base;
  if (literal(text, at, '.')) {
    int unit = 100'000;
    std::size_t count = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++count) {
      time += microseconds{(text[at] - '0') * unit};
      unit /= 10;
    }
    if (count == 0 || count > 6) return bad_time(text);
  }
  if (literal(text, at, 'Z') || literal(text, at, 'z')) {
    if (at != text.size()) return bad_time(text);
    return time;
  }
  const bool east = at < text.size() && text[at] == '+';
  if (!east && !(at < text.size() && text[at] == '-')) return bad_time(text);
  ++at;
  const int offset_hours = digits(text, at, 2);
  const bool c3 = literal(text, at, ':');
  const int offset_minutes = c3 ? digits(text, at, 2) : -1;
  if (offset_hours < 0 || offset_hours > 23 || offset_minutes < 0 || offset_minutes > 59 || at != text.size()) {
    return bad_time(text);
  }
  const auto offset = hours{offset_hours} + minutes{offset_minutes};
  return east ? time - offset : time + offset;
}

}  // namespace cloister
