#include <charconv>
#include <cstdio>
#include <string_view>

#include "search.hpp"

namespace {

/// 0 when the text is no number from 1 to 64.
unsigned slots_from(std::string_view text) {
  unsigned slots = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), slots);
  const bool valid = failure == std::errc{} && end == text.data() + text.size() && slots <= 64;
  return valid ? slots : 0;
}

}  // namespace

int main(int argc, char** argv) {
  cloister::sdk::Options options{.slots = 4};
  if (argc == 3 && std::string_view{argv[1]} == "--slots") options.slots = slots_from(argv[2]);
  if ((argc != 1 && argc != 3) || options.slots == 0) {
    std::fputs("usage: keyword-search [--slots 1..64]\n", stderr);
    return 2;
  }
  keyword_search::Challenge challenge;
  return cloister::sdk::run(challenge, options);
}
