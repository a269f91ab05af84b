#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/http/router.hpp"

/// The table of routes: each with what it takes and answers, from which checks, router and OpenAPI document all come.
namespace cloister::lab_service {

/// A member of a body, a query parameter, or a member of an answer.
struct Field {
  enum class Kind { text, hex, bytes, base64, integer, number, boolean, object, array, any };
  std::string_view name;
  Kind kind = Kind::text;
  std::string_view what;
  bool required = true;
  std::int64_t min = 0;  // characters of text, bytes of hex and of either form, the least integer
  std::int64_t max = 0;
  std::vector<std::string_view> choices = {};
  codec::json::Value fallback = {};  // null: none

  [[nodiscard]] Field optional() && {
    required = false;
    return std::move(*this);
  }
  /// As a member of an answer: always there.
  [[nodiscard]] Field stated() && {
    required = true;
    fallback = {};
    return std::move(*this);
  }
  [[nodiscard]] Field or_else(codec::json::Value value) && {
    required = false;
    fallback = std::move(value);
    return std::move(*this);
  }
};
[[nodiscard]] Field text(std::string_view name, std::string_view what, std::int64_t max, std::int64_t min = 1);
[[nodiscard]] Field hex(std::string_view name, std::string_view what, std::int64_t bytes);
/// As hex or as base64; its length tells which.
[[nodiscard]] Field bytes(std::string_view name, std::string_view what, std::int64_t count);
[[nodiscard]] Field base64(std::string_view name, std::string_view what);
[[nodiscard]] Field integer(std::string_view name, std::string_view what, std::int64_t min, std::int64_t max);
[[nodiscard]] Field boolean(std::string_view name, std::string_view what);
[[nodiscard]] Field object(std::string_view name, std::string_view what);
[[nodiscard]] Field array(std::string_view name, std::string_view what);
[[nodiscard]] Field any(std::string_view name, std::string_view what);
[[nodiscard]] Field choice(std::string_view name, std::string_view what, std::vector<std::string_view> choices);

/// What a route was given, checked against its fields.
class Input {
 public:
  Input(std::map<std::string, codec::json::Value, std::less<>> values) : values_{std::move(values)} {}
  [[nodiscard]] const std::string& text(std::string_view name) const;
  [[nodiscard]] std::optional<std::string> optional_text(std::string_view name) const;
  [[nodiscard]] std::uint64_t number(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] const codec::json::Value& value(std::string_view name) const;
  /// Null pointer where it was not given.
  [[nodiscard]] const codec::json::Value* optional_value(std::string_view name) const;
  /// Of a field of hex, or of bytes.
  template <std::size_t N>
  [[nodiscard]] std::optional<ByteArray<N>> bytes(std::string_view name) const {
    const auto all = decoded(name, N);
    return all ? std::optional{to_array<N>(*all)} : std::nullopt;
  }

 private:
  [[nodiscard]] std::optional<Bytes> decoded(std::string_view name, std::size_t size) const;
  std::map<std::string, codec::json::Value, std::less<>> values_;
};

struct Route {
  http::Method method = http::Method::get;
  std::string pattern;
  std::string_view tag;
  std::string_view summary;  // one sentence without a full stop
  std::vector<Field> takes;  // of the body of a POST unless `in_query`; of the query otherwise
  std::vector<Field> answers;
  std::vector<int> refusals;  // statuses of its own, beside those of `statuses_of` that every route has
  std::function<Result<codec::json::Value>(const Input&)> run;
  bool in_query = false;
};

/// Every status but 200 that the route answers: its own, and 413; where it has code also 403, 422 and 500, which the
/// table itself says. What the server says of a request that reaches no route is the document's `default`.
[[nodiscard]] std::set<int> statuses_of(const Route& route);

/// A reply of `{"detail": …}`: 422 for `invalid_argument`, else the code's status.
[[nodiscard]] http::Response refusal(const Error& error);

inline constexpr std::size_t kMaxBody = 1U << 20;

class RouteTable {
 public:
  /// Pages of other origins than these and the server's own may send nothing.
  explicit RouteTable(std::vector<std::string> allowed_origins) : allowed_origins_{std::move(allowed_origins)} {}
  void add(Route route) { routes_.push_back(std::move(route)); }
  /// Files and streams, which have no fields: documented only.
  void document_only(Route route) { others_.push_back(std::move(route)); }
  [[nodiscard]] codec::json::Value openapi() const;
  /// Adds every route; the table must outlive the router.
  void fill(http::Router& router) const;
  /// `permission_denied` for pages of other origins, and for a Host that is no name of loopback, which a page of
  /// another origin has whose name was made to lead here.
  [[nodiscard]] Result<void> admit(const http::Request& request) const;
  /// What the route says to a request: for the router, and for tests.
  [[nodiscard]] http::Response answer(const Route& route, const http::Request& request) const;
  [[nodiscard]] const std::vector<Route>& routes() const noexcept { return routes_; }

 private:
  std::vector<std::string> allowed_origins_;
  std::vector<Route> routes_;
  std::vector<Route> others_;
};

}  // namespace cloister::lab_service
