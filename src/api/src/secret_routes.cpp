#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

/// The value is the body, as it is, which is overwritten wherever it was. It is never answered, listed or logged.
Task<Response> put_secret(const Services* services, Request request) {
  auto work = [services, &request]() -> Result<std::uint64_t> {
    return services->broker.put(tenant_of(request), request.param("path"), request.body, request.principal->subject,
                                services->clock.now());
  };
  auto version = co_await services->pool.run(std::move(work));
  if (!version) co_return refuse(request, version.error());
  services->fleet.wake();
  const json::Value body = json::Object{{"path", request.param("path")}, {"version", *version}};
  co_return http::json_response(body, 201);
}

Result<Response> list_secrets(const Services& s, const Request& request) {
  CLOISTER_TRY(secrets, s.broker.list(tenant_of(request)));
  json::Array list;
  for (const auto& secret : secrets) {
    list.emplace_back(json::Object{{"path", secret.path},
                                   {"version", secret.version},
                                   {"created", to_rfc3339(secret.created)}});
  }
  return http::json_response(json::Object{{"secrets", std::move(list)}});
}

Result<Response> remove_secret(const Services& s, const Request& request) {
  CLOISTER_CHECK(
      s.broker.remove(tenant_of(request), request.param("path"), request.principal->subject, s.clock.now()));
  return http::no_content();
}

}  // namespace

void add_secret_routes(http::Router& router, const Services& services) {
  const auto admin = administrators();
  http::RouteOptions value;
  value.max_body = storage::Secrets::kMaxValue;
  router.add(Method::put, "/api/v1/secrets/{path...}", admin,
             [&services](Request request) { return put_secret(&services, std::move(request)); }, value);
  router.add(Method::get, "/api/v1/secrets", admin, blocking(services, list_secrets));
  router.add(Method::del, "/api/v1/secrets/{path...}", admin, blocking(services, remove_secret));
}

}  // namespace cloister::api
