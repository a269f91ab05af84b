#include "lifetime.hpp"

#include <charconv>
#include <string>
#include <utility>

namespace cloister::cli {

Result<std::chrono::seconds> parse_lifetime(std::string_view text) {
  std::int64_t number = 0;
  const auto* const end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, number);
  constexpr std::pair<char, std::int64_t> kUnits[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  constexpr std::int64_t kMost = 1'000'000;  // of any unit; the server has a limit of its own
  if (failure == std::errc{} && number > 0 && number <= kMost && stopped + 1 == end) {
    for (const auto& [unit, seconds] : kUnits) {
      if (*stopped == unit) return std::chrono::seconds{number * seconds};
    }
  }
  return Error{Errc::invalid_argument, "--lifetime: a number and s, m, h or d expected, such as 24h; got " + std::string{text}};
}

}  // namespace cloister::cli
