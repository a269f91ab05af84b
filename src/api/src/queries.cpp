#include "handlers.hpp"

#include <charconv>

namespace cloister::api {
namespace {

constexpr std::uint64_t kMaxNumber = std::uint64_t{1} << 62;
constexpr std::uint32_t kPage = 100;
constexpr std::uint32_t kMaxPage = 1000;

}  // namespace

Result<std::optional<std::uint64_t>> number_query(const http::Request& request, std::string_view name) {
  const auto text = request.query.find(name);
  if (!text) return std::optional<std::uint64_t>{};
  std::uint64_t value = 0;
  const auto* const end = text->data() + text->size();
  const auto [stopped, failure] = std::from_chars(text->data(), end, value);
  if (failure != std::errc{} || stopped != end || value > kMaxNumber) {
    return Error{Errc::invalid_argument, std::string{name} + ": a number expected"};
  }
  return std::optional{value};
}

Result<std::uint32_t> limit_query(const http::Request& request) {
  CLOISTER_TRY(limit, number_query(request, "limit"));
  if (!limit) return kPage;
  if (*limit == 0 || *limit > kMaxPage) {
    return Error{Errc::invalid_argument, "limit: 1 to " + std::to_string(kMaxPage) + " expected"};
  }
  return static_cast<std::uint32_t>(*limit);
}

}  // namespace cloister::api
