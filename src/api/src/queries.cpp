#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
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

Result<Paging> paging(const http::Request& request) {
  CLOISTER_TRY(limit, limit_query(request));
  Paging out{limit, std::nullopt};
  const auto cursor = request.query.find("cursor");
  if (!cursor) return out;
  if (!valid_id(*cursor)) return Error{Errc::invalid_argument, "cursor: `next` of a page expected"};
  out.cursor = std::string{*cursor};
  return out;
}

Result<std::optional<bool>> flag_query(const http::Request& request, std::string_view name) {
  const auto text = request.query.find(name);
  if (!text) return std::optional<bool>{};
  if (*text != "true" && *text != "false") {
    return Error{Errc::invalid_argument, std::string{name} + ": true or false expected"};
  }
  return std::optional{*text == "true"};
}

bool has_already(const http::Request& request, std::string_view tag) {
  const auto field = request.headers.find("If-None-Match");
  if (!field) return false;
  return *field == "*" || field->find('"' + std::string{tag} + '"') != std::string_view::npos;
}

http::Response not_modified(std::string_view tag) {
  http::Response out;
  out.status = 304;
  out.headers.set("ETag", '"' + std::string{tag} + '"');
  return out;
}

http::Response tagged(const http::Request& request, http::Response whole) {
  const auto tag = codec::to_hex(crypto::sha256(whole.body));
  if (has_already(request, tag)) return not_modified(tag);
  whole.headers.set("ETag", '"' + tag + '"');
  return whole;
}

}  // namespace cloister::api
