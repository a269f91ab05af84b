#include "cloister/http/router.hpp"

#include <algorithm>
#include <array>

#include "routes.hpp"

namespace cloister::http {
namespace {

using Params = std::map<std::string, std::string, std::less<>>;

enum class SegmentKind { literal, parameter, rest };  // the earlier wins over the later

SegmentKind kind_of(std::string_view segment) noexcept {
  if (!segment.starts_with('{')) return SegmentKind::literal;
  return segment.ends_with("...}") ? SegmentKind::rest : SegmentKind::parameter;
}

std::string name_of(std::string_view segment) {
  const std::size_t tail = kind_of(segment) == SegmentKind::rest ? 4 : 1;  // "...}" or "}"
  return std::string{segment.substr(1, segment.size() - 1 - tail)};
}

std::vector<std::string> split(std::string_view pattern) {
  CLOISTER_ASSERT(pattern.starts_with('/'));
  std::vector<std::string> out;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);
    const auto end = std::min(pattern.find('/'), pattern.size());
    out.emplace_back(pattern.substr(0, end));
    pattern.remove_prefix(end);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    CLOISTER_ASSERT(!out[i].starts_with('{') || out[i].ends_with('}'));
    CLOISTER_ASSERT(kind_of(out[i]) != SegmentKind::rest || i + 1 == out.size());
  }
  return out;
}

std::string join(const std::vector<std::string>& segments, std::size_t from) {
  std::string out;
  for (std::size_t i = from; i < segments.size(); ++i) {
    if (i > from) out += '/';
    out += segments[i];
  }
  return out;
}

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  // Most patterns are of another length, which costs less to see than another text.
  const bool rest = kind_of(pattern.back()) == SegmentKind::rest;
  if (rest ? path.size() < pattern.size() : path.size() != pattern.size()) return false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto kind = kind_of(pattern[i]);
    if (kind == SegmentKind::rest) return true;
    if (kind == SegmentKind::literal ? pattern[i] != path[i] : path[i].empty()) return false;
  }
  return true;
}

/// Of a path that matches.
Params params_of(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  Params out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto kind = kind_of(pattern[i]);
    if (kind == SegmentKind::rest) out[name_of(pattern[i])] = join(path, i);
    if (kind == SegmentKind::parameter) out[name_of(pattern[i])] = path[i];
  }
  return out;
}

/// Patterns that match the same paths have the same shape.
std::vector<std::string> shape(const std::vector<std::string>& segments) {
  std::vector<std::string> out;
  for (const auto& segment : segments) {
    switch (kind_of(segment)) {
      case SegmentKind::literal: out.push_back(segment); break;
      case SegmentKind::parameter: out.emplace_back("{}"); break;
      case SegmentKind::rest: out.emplace_back("{...}"); break;
    }
  }
  return out;
}

bool more_specific(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::ranges::lexicographical_compare(a, b, {}, kind_of, kind_of);
}

bool serves(Method route, Method request) noexcept {
  return route == request || (route == Method::get && request == Method::head);
}

}  // namespace

std::optional<Method> method_from(std::string_view name) noexcept {
  constexpr std::array kAll{Method::get, Method::head,   Method::post, Method::put,
                            Method::patch, Method::del, Method::options};
  for (const auto method : kAll) {
    if (to_string(method) == name) return method;
  }
  return std::nullopt;
}

Result<void> AuthPolicy::allows(const Principal& principal) const {
  if (public_ || roles_.empty()) return {};
  if (std::ranges::any_of(roles_, [&](const auto& role) { return principal.has_role(role); })) return {};
  std::string detail;
  for (const auto& role : principal.roles) detail += (detail.empty() ? "Role " : ", ") + role;
  detail += detail.empty() ? "none of the roles" : " not allowed";
  detail += "; this route is for";
  for (const auto& role : roles_) detail += ' ' + role;
  return Error{Errc::permission_denied, std::move(detail)};
}

AuthPolicy require(std::vector<std::string> any_of) {
  AuthPolicy out;
  out.roles_ = std::move(any_of);
  return out;
}

AuthPolicy public_route() {
  AuthPolicy out;
  out.public_ = true;
  return out;
}

RouteOptions blob_route() {
  RouteOptions out;
  out.max_body = std::size_t{256} << 20;
  out.body = BodyMode::file;
  out.body_timeout = std::chrono::minutes{10};
  return out;
}

Router& Router::insert(Route route) {
  route.segments = split(route.pattern);
  for (const auto& other : routes_) {
    CLOISTER_ASSERT(other->method != route.method || shape(other->segments) != shape(route.segments));
  }
  routes_.push_back(std::make_shared<const Route>(std::move(route)));
  return *this;
}

Router& Router::add(Method method, std::string pattern, AuthPolicy policy, Handler handler, RouteOptions options) {
  CLOISTER_ASSERT(handler != nullptr && method != Method::head);
  return insert(Route{method, std::move(pattern), {}, std::move(policy), options, std::move(handler), nullptr, {}});
}

Router& Router::add_websocket(std::string pattern, AuthPolicy policy, WebSocketLimits limits,
                              WebSocketHandler handler) {
  CLOISTER_ASSERT(handler != nullptr);
  RouteOptions options;
  options.max_body = 0;
  return insert(
      Route{Method::get, std::move(pattern), {}, std::move(policy), options, nullptr, std::move(handler), limits});
}

Router::Match Router::match(std::string_view method_name, const std::vector<std::string>& segments) const {
  const auto method = method_from(method_name);
  Match best;
  std::vector<std::string_view> allowed;
  for (const auto& route : routes_) {
    if (!matches(route->segments, segments)) continue;
    allowed.push_back(to_string(route->method));
    const bool head = route->method == Method::get && route->handler && route->options.head;
    if (head) allowed.push_back("HEAD");
    if (!method || !serves(route->method, *method) || (*method == Method::head && !head)) continue;
    if (best.route && !more_specific(route->segments, best.route->segments)) continue;
    best.route = route;
  }
  if (best.route) {
    best.params = params_of(best.route->segments, segments);
    return best;
  }
  if (allowed.empty()) {
    best.error = Error{Errc::not_found, "no such path"};
    return best;
  }
  std::ranges::sort(allowed);
  allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
  for (const auto name : allowed) best.allow += (best.allow.empty() ? "" : ", ") + std::string{name};
  best.error = Error{Errc::method_not_allowed, "this path allows " + best.allow};
  return best;
}

std::vector<std::string> Router::describe() const {
  std::vector<std::string> out;
  for (const auto& route : routes_) {
    const std::string method{route->websocket ? "WEBSOCKET" : to_string(route->method)};
    out.push_back(method + ' ' + route->pattern);
  }
  return out;
}

}  // namespace cloister::http
