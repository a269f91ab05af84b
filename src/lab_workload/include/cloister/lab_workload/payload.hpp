#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

/// What workloads share.
namespace cloister::lab_workload {

/// `invalid_argument` when the payload has a member that is not among `known`.
[[nodiscard]] Result<void> known_members(const codec::json::Value& payload,
                                         std::initializer_list<std::string_view> known);

/// The text in lower case, character by character: ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic; other
/// characters stay. The text is UTF-8.
[[nodiscard]] std::string lower_case(std::string_view text);
/// Calls `take` with each run of characters between white space (Unicode's White_Space, and the separators 1C to 1F).
void for_each_word(std::string_view text, auto&& take);
/// The length in bytes of the white-space character at the front; 0 when there is none.
[[nodiscard]] std::size_t white_space(std::string_view text) noexcept;

/// A number as Python writes it: the shortest digits that give it back, "3.0", "1e+16", "1e-05". Finite.
[[nodiscard]] std::string python_float(double value);

void for_each_word(std::string_view text, auto&& take) {
  std::size_t begin = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto space = white_space(text.substr(at));
    if (space == 0) {
      ++at;
      continue;
    }
    if (at > begin) take(text.substr(begin, at - begin));
    at += space;
    begin = at;
  }
  if (at > begin) take(text.substr(begin));
}

}  // namespace cloister::lab_workload
