#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

namespace cloister::kbs {

/// How values are made here, which no administrator gives and none sees: so many random bytes. A value that is always
/// well-formed.
class Generator {
 public:
  static constexpr std::uint32_t kMinBytes = 16;  // below it a value could be guessed
  static constexpr std::uint32_t kMaxBytes = 4096;

  /// `invalid_argument` outside the limits above.
  [[nodiscard]] static Result<Generator> random(std::uint64_t bytes);
  /// The same of "random/32".
  [[nodiscard]] static Result<Generator> parse(std::string_view text);

  [[nodiscard]] std::uint32_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::string str() const { return "random/" + std::to_string(bytes_); }
  [[nodiscard]] crypto::SecretBytes make(Random& source) const;

 private:
  explicit Generator(std::uint32_t bytes) : bytes_{bytes} {}
  std::uint32_t bytes_;
};

}  // namespace cloister::kbs
