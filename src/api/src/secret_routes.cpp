#include "handlers.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::size_t kCursorSize = 32;  // hex digits

/// The value is the body, as it is, which is overwritten wherever it was. It is never answered, listed or logged.
Task<Response> put_secret(const Services* services, Request request) {
  const SharedRequest shared = std::make_shared<Request>(std::move(request));
  auto work = [services, shared]() -> Result<std::uint64_t> {
    return services->broker.put(tenant_of(*shared), shared->param("path"), shared->body, shared->principal->subject,
                                services->clock.now());
  };
  auto version = co_await run_in_time(services->pool, services->patience, std::move(work));
  if (!version) co_return refuse(*shared, version.error());
  services->fleet.wake();
  const json::Value body = json::Object{{"path", shared->param("path")}, {"version", *version}};
  co_return http::json_response(body, 201);
}

Result<Response> list_secrets(const Services& s, const Request& request) {
  CLOISTER_TRY(secrets, s.broker.list(tenant_of(request)));
  using Secret = decltype(secrets)::value_type;
  // A path is no id, so that its hash is the cursor.
  return page_of(
      request, "secrets", secrets,
      [](const Secret& secret) { return codec::to_hex(crypto::sha256(as_bytes(secret.path))).substr(0, kCursorSize); },
      [](const Secret& secret) -> json::Value {
        return json::Object{
            {"path", secret.path}, {"version", secret.version}, {"created", to_rfc3339(secret.created)}};
      });
}

Result<Response> remove_secret(const Services& s, const Request& request) {
  if (!model::valid_secret_path(request.param("path"))) {
    return Error{Errc::invalid_argument, "secret path: 1 to 4 ids joined by '/' expected"};
  }
  CLOISTER_CHECK(
      s.broker.remove(tenant_of(request), request.param("path"), request.principal->subject, s.clock.now()));
  return http::no_content();
}

}  // namespace

void add_secret_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  http::RouteOptions value;
  value.max_body = storage::Secrets::kMaxValue;
  routes.add(Method::put, "/api/v1/secrets/{path...}", admin,
             Doc{"Sets a secret to the body, as it is; its value is never answered"}.takes_bytes().answers(201, "Secret"),
             [&services](Request request) { return put_secret(&services, std::move(request)); }, value);
  routes.add(Method::get, "/api/v1/secrets", admin,
             Doc{"The tenant's secrets by path, without their values"}.paged().answers(200, "SecretList"),
             reading(services, list_secrets));
  routes.add(Method::del, "/api/v1/secrets/{path...}", admin, Doc{"Removes a secret"}.answers(204),
             blocking(services, remove_secret));
}

}  // namespace cloister::api
