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

}  // namespace cloister
