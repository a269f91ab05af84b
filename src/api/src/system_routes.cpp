#include "handlers.hpp"

namespace cloister::api {

void add_system_routes(http::Router& router, const Services& services) {
  router.add(http::Method::get, "/health", http::kPublic, [](http::Request) -> Task<http::Response> {
    co_return http::json_response(json::Object{{"status", "ok"}});
  });
  router.add(http::Method::get, "/ready", http::kPublic, blocking(services, [](const Services& s, const http::Request&) -> Result<http::Response> {
    // Ready means that the database answers, not that this process exists.
    CLOISTER_TRY(snapshot, s.database.read());
    static_cast<void>(snapshot);
    if (!s.ready) return Error{Errc::unavailable, "the server is starting or stopping"};
    return http::json_response(json::Object{{"status", "ready"}});
  }));
  router.add(http::Method::get, "/version", http::kPublic, [&services](http::Request) -> Task<http::Response> {
    const json::Value body = json::Object{{"program", "cloisterd"}, {"version", services.version}, {"server_id", services.server_id}};
    co_return http::json_response(body);
  });
}

}  // namespace cloister::api
