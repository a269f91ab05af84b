#include "cloister/core/ids.hpp"

#include <algorithm>

namespace cloister {
namespace {

constexpr std::size_t kMaxIdLength = 64;

bool is_alphanumeric(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

bool valid_id(std::string_view text) noexcept {
  if (text.empty() || text.size() > kMaxIdLength || !is_alphanumeric(text.front())) return false;
  return std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

std::string random_id(std::string_view prefix, Random& random) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const auto bits = random.array<26>();
  std::string out{prefix};
  out += '-';
  for (const auto byte : bits) out += kAlphabet[byte & 31U];
  return out;
}

std::string ordered_id(std::string_view prefix, UnixTime now, Random& random) {
  constexpr std::string_view kAlphabet = "0123456789abcdefghijklmnopqrstuv";  // in the order of its characters
  constexpr unsigned kTimeBits = 50;
  const auto millis = static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count());
  std::string out{prefix};
  out += '-';
  for (unsigned left = kTimeBits; left > 0; left -= 5) out += kAlphabet[(millis >> (left - 5)) & 31U];
  for (const auto byte : random.array<16>()) out += kAlphabet[byte & 31U];
  return out;
}

}  // namespace cloister
