#pragma once

#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"

namespace cloister::evidence {

/// A text that somebody signed, as it stood, with its SHA-256, which is computed once and fits the text always.
class HashedText {
 public:
  explicit HashedText(std::string text);
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] const Digest32& digest() const noexcept { return digest_; }
  operator const std::string&() const noexcept { return text_; }
  operator std::string_view() const noexcept { return text_; }

  friend bool operator==(const HashedText& a, std::string_view b) noexcept { return a.text_ == b; }

 private:
  std::string text_;
  Digest32 digest_;
};

}  // namespace cloister::evidence
