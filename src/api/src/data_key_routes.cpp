#include "cloister/keyring/data_keys.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

/// The asker's own tenant, or the one that an administrator of the server names.
Result<TenantId> tenant_query(const Request& request) {
  CLOISTER_TRY(named, id_query<TenantId>(request, "tenant"));
  auto own = tenant_of(request);
  if (!named || *named == own) return own;
  if (own.str() != kServerTenant) return Error{Errc::permission_denied, "tenant: administrators of one see and rotate the keys of their own"};
  return *std::move(named);
}

json::Object to_json(const TenantId& tenant, const keyring::DataKeys::Status& status) {
  return {{"tenant", tenant.str()},
          {"key", status.active ? json::Value{*status.active} : json::Value{}},
          {"older", status.older},
          {"remaining", status.remaining}};
}

Result<Response> show(const Services& s, const Request& request) {
  CLOISTER_TRY(tenant, tenant_query(request));
  CLOISTER_TRY(status, keyring::DataKeys{s.result_keys}.status(tenant));
  return http::json_response(to_json(tenant, status));
}

Result<Response> rotate(const Services& s, const Request& request) {
  CLOISTER_TRY(tenant, tenant_query(request));
  CLOISTER_TRY(status, keyring::DataKeys{s.result_keys}.rotate(tenant, s.clock.now(), request.principal->subject));
  return http::json_response(to_json(tenant, status));
}

Result<Response> reseal(const Services& s, const Request& request) {
  CLOISTER_TRY(tenant, tenant_query(request));
  CLOISTER_TRY(step, keyring::DataKeys{s.result_keys}.step(tenant, s.clock.now(), request.principal->subject));
  auto out = to_json(tenant, step.left);
  out.emplace_back("resealed", step.resealed);
  out.emplace_back("retired", step.retired);
  return http::json_response(std::move(out));
}

}  // namespace

void add_data_key_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  constexpr std::string_view kTenant = "Whose; administrators of the server's own tenant may name another, and `system` for the server's own values";
  routes.add(Method::get, "/api/v1/data-key", admin,
             Doc{"The key that a tenant's values are sealed under, and how many are still under older ones"}
                 .query("tenant", "Id", kTenant)
                 .answers(200, "DataKey"),
             reading(services, show));
  routes.add(Method::post, "/api/v1/data-key/rotate", admin,
             Doc{"A new data key for what is sealed from now on"}.query("tenant", "Id", kTenant).answers(200, "DataKey"),
             blocking(services, rotate));
  routes.add(Method::post, "/api/v1/data-key/reseal", admin,
             Doc{"Seals some values again that are under older keys; to be called until none remain, when the older keys are erased"}
                 .query("tenant", "Id", kTenant)
                 .answers(200, "DataKey"),
             blocking(services, reseal));
}

}  // namespace cloister::api
