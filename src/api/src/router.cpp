#include "handlers.hpp"

namespace cloister::api {
namespace {

/// The document tells of its own route too, so it is made when all are there.
void add_document_route(Routes& routes) {
  const auto text = std::make_shared<Bytes>();  // shared with the handler, which is registered before it is written
  routes.add(http::Method::get, "/api/v1/openapi.json", http::kPublic,
             Doc{"This document; with ETag"}.answers(200, "OpenApi").answers(304),
             [text](http::Request request) -> Task<http::Response> {
               co_return tagged(request, http::bytes_response("application/json", *text));
             });
  *text = to_bytes(json::write_pretty(routes.document()) + "\n");
}

}  // namespace

http::GroupOf make_group_of(const Services& services) {
  return [&services](const http::Request& request) -> std::optional<std::string> {
    if (request.principal) {
      if (request.principal->has_role(session::kHostRole)) return std::nullopt;
      return request.principal->tenant + "/operators";
    }
    if (services.guests == nullptr || request.route.find("/kbs/v0/") == std::string::npos) return std::nullopt;
    const auto named = request.params.find("tenant");
    const auto tenant = named == request.params.end() ? Result<TenantId>{services.guests->main().tenant()} : TenantId::parse(named->second);
    // Where nobody was served yet, there is nothing to share: whoever makes up names must not hold up a tenant's first guest.
    if (!tenant || services.guests->opened(*tenant) == nullptr) return std::nullopt;
    return tenant->str() + "/guests";
  };
}

http::Router make_router(const Services& services) {
  Routes routes;
  add_system_routes(routes, services);
  add_challenge_routes(routes, services);
  add_fleet_routes(routes, services);
  add_secret_routes(routes, services);
  add_derived_key_routes(routes, services);
  add_job_routes(routes, services);
  add_audit_routes(routes, services);
  add_token_routes(routes, services);
  add_attestation_routes(routes, services);
  add_resource_routes(routes, services);
  add_data_key_routes(routes, services);
  add_policy_routes(routes, services);
  add_revocation_routes(routes, services);
  add_document_route(routes);
  auto router = std::move(routes).router();
  if (services.guests != nullptr) add_kbs_routes(router, services);
  return router;
}

}  // namespace cloister::api
