#include "cloister/kbs/generator.hpp"

#include <charconv>

namespace cloister::kbs {

Result<Generator> Generator::random(std::uint64_t bytes) {
  if (bytes >= kMinBytes && bytes <= kMaxBytes) return Generator{static_cast<std::uint32_t>(bytes)};
  return Error{Errc::invalid_argument, "generator: " + std::to_string(kMinBytes) + " to " + std::to_string(kMaxBytes) +
                                           " random bytes expected, got " + std::to_string(bytes)};
}

Result<Generator> Generator::parse(std::string_view text) {
  constexpr std::string_view kRandom = "random/";
  std::uint64_t bytes = 0;
  if (text.starts_with(kRandom)) {
    const auto number = text.substr(kRandom.size());
    const auto* const end = number.data() + number.size();
    const auto [stopped, failure] = std::from_chars(number.data(), end, bytes);
    if (failure == std::errc{} && stopped == end) return random(bytes);
  }
  return Error{Errc::invalid_argument, "generator: random/BYTES expected"};
}

crypto::SecretBytes Generator::make(Random& source) const {
  crypto::SecretBytes out{bytes_};
  source.fill(out.writable());
  return out;
}

}  // namespace cloister::kbs
