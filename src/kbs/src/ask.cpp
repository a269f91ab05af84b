#include "cloister/kbs/ask.hpp"

#include <charconv>

namespace cloister::kbs {
namespace {

constexpr std::string_view kVersion = "version";
constexpr std::uint64_t kMaxVersion = std::uint64_t{1} << 53;

}  // namespace

Result<std::uint64_t> parse_version(std::string_view text) {
  std::uint64_t version = 0;
  const auto* const end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, version);
  if (failure != std::errc{} || stopped != end || version == 0 || version > kMaxVersion || text.front() == '0') {
    return Error{Errc::invalid_argument, "version: a number from 1 on expected"};
  }
  return version;
}

Result<Ask> Ask::make(rcar::ResourcePath path, const std::vector<std::pair<std::string, std::string>>& query) {
  Ask out{std::move(path)};
  for (const auto& [name, value] : query) {
    if (name == kVersion) {
      CLOISTER_TRY(version, parse_version(value));
      out.version = version;
    }
    if (!out.query.emplace(name, value).second) return Error{Errc::invalid_argument, "query: '" + name + "' occurs twice"};
  }
  return out;
}

}  // namespace cloister::kbs
