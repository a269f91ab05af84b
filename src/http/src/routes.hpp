#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/http/router.hpp"

namespace cloister::http {

/// One route; immutable once it is in the router.
struct Router::Route {
  Method method;
  std::string pattern;
  std::vector<std::string> segments;  // as written: "literal", "{name}", "{name...}"
  AuthPolicy policy;
  RouteOptions options;
  Handler handler;                    // empty for a WebSocket
  WebSocketHandler websocket;
  WebSocketLimits websocket_limits;
};

/// What a request matched.
struct Router::Match {
  std::shared_ptr<const Route> route;  // null: see `error`
  std::map<std::string, std::string, std::less<>> params;
  std::optional<Error> error;
  std::string allow;                   // with method_not_allowed
};

[[nodiscard]] std::optional<Method> method_from(std::string_view name) noexcept;

}  // namespace cloister::http
