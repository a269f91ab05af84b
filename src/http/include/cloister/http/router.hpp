#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/http/message.hpp"
#include "cloister/http/websocket.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::http {

/// Who may use a route. There is no default: `kPublic`, or `require({...})`.
class AuthPolicy {
 public:
  [[nodiscard]] bool is_public() const noexcept { return public_; }
  /// Any one of these roles is enough; empty: any authenticated principal.
  [[nodiscard]] const std::vector<std::string>& roles() const noexcept { return roles_; }
  /// Success, or `permission_denied`.
  [[nodiscard]] Result<void> allows(const Principal& principal) const;

 private:
  friend AuthPolicy require(std::vector<std::string> any_of);
  friend AuthPolicy public_route();
  AuthPolicy() = default;
  bool public_ = false;
  std::vector<std::string> roles_;
};

/// A principal with any one of these roles; of any or no role when the list is empty.
[[nodiscard]] AuthPolicy require(std::vector<std::string> any_of);
[[nodiscard]] AuthPolicy public_route();
/// Whoever can connect. The bearer token, if there is one, is not looked at: the handler has the headers.
inline const AuthPolicy kPublic = public_route();

using Handler = std::function<runtime::Task<Response>(Request)>;
using WebSocketHandler = std::function<runtime::Task<void>(Request, std::shared_ptr<WebSocket>)>;

enum class BodyMode { memory, file };

struct RouteOptions {
  std::size_t max_body = 1U << 20;
  BodyMode body = BodyMode::memory;
  std::chrono::milliseconds body_timeout{30'000};     // for the whole body to arrive
  std::chrono::milliseconds handler_timeout{60'000};  // then the handler is cancelled and 504 answered
  bool head = true;  // of a GET route: whether it answers HEAD too; not where an answer is an act
};

/// Blobs: up to 256 MiB, to a file, ten minutes.
[[nodiscard]] RouteOptions blob_route();

/// The routes of a server; built once, then handed over. Patterns: "/api/v1/jobs/{id}" matches one non-empty segment
/// at {id}; a last "{name...}" matches the rest, also nothing. Literal segments win over parameters, and those over a
/// rest. HEAD is answered by the GET route, unless that says no. A pattern that was added before, and a HEAD route, are bugs (asserted).
class Router {
 public:
  Router& add(Method method, std::string pattern, AuthPolicy policy, Handler handler, RouteOptions options = {});
  /// The handler runs beside the connection; the connection lives for as long as anybody holds the WebSocket.
  /// A request that comes from a web page (has Origin) of another host is refused, unless the server allows its origin.
  /// Beside the Authorization header, browsers may give the token as a subprotocol "bearer.<token>" after the
  /// protocol that they want, which is then the one selected.
  Router& add_websocket(std::string pattern, AuthPolicy policy, WebSocketLimits limits, WebSocketHandler handler);

  struct Route;
  struct Match;
  /// For the server: the route of a request; `not_found`, or `method_not_allowed` with the allowed ones in `allow`.
  [[nodiscard]] Match match(std::string_view method, const std::vector<std::string>& segments) const;
  /// Every "METHOD pattern" in order of registration, for tests that compare with a document.
  [[nodiscard]] std::vector<std::string> describe() const;

 private:
  Router& insert(Route route);
  std::vector<std::shared_ptr<const Route>> routes_;
};

}  // namespace cloister::http
