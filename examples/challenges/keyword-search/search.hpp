#pragma once

#include <cstdint>
#include <string_view>

#include "cloister/sdk/challenge.hpp"

namespace keyword_search {

inline constexpr std::string_view kSecret = "index-salt";

/// How often `word` stands in `text`. Words are the longest runs of ASCII letters, digits and bytes from 0x80 on; they
/// are compared without the case of ASCII letters.
[[nodiscard]] std::uint64_t count_word(std::string_view word, std::string_view text);

/// The output for a payload, both as README.md has them; `malformed` and the like for another payload.
[[nodiscard]] cloister::Result<cloister::Bytes> search(cloister::ByteView payload, cloister::sdk::JobContext& job);

/// Stateless after its start, so it serves several slots.
class Challenge final : public cloister::sdk::Challenge {
 public:
  [[nodiscard]] cloister::Result<void> start(const cloister::sdk::Secrets& secrets) override;
  [[nodiscard]] cloister::Result<cloister::Bytes> execute(cloister::ByteView payload,
                                                          cloister::sdk::JobContext& job) override;
};

}  // namespace keyword_search
