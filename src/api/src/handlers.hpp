#pragma once

#include "cloister/api/api.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/http/message.hpp"

/// What the route files share.
namespace cloister::api {

using runtime::Task;
namespace json = codec::json;

inline http::Response refuse(const http::Request& request, const Error& error) {
  auto response = http::problem(error, request.request_id);
  response.cause = error;
  return response;
}

/// A handler that only needs the database or the disk: runs `work(services, request)`, which gives a Result of a
/// response, on the pool.
template <class Work>
[[nodiscard]] http::Handler blocking(const Services& services, Work work) {
  return [&services, work](http::Request request) -> Task<http::Response> {
    auto job = [&services, &request, &work]() -> Result<http::Response> { return work(services, request); };
    auto response = co_await services.pool.run(std::move(job));
    if (!response) co_return refuse(request, response.error());
    co_return *std::move(response);
  };
}

/// A path parameter that is an id.
template <class Name>
[[nodiscard]] Result<Name> id_param(const http::Request& request, std::string_view name) {
  return Name::parse(request.param(name));
}

/// A query parameter that is a number up to 2^62, or nothing.
[[nodiscard]] Result<std::optional<std::uint64_t>> number_query(const http::Request& request, std::string_view name);
/// How many entries of a list are wanted at once: `limit`, 1 to 1000, else 100.
[[nodiscard]] Result<std::uint32_t> limit_query(const http::Request& request);

[[nodiscard]] inline TenantId tenant_of(const http::Request& request) {
  auto tenant = TenantId::parse(request.principal->tenant);
  CLOISTER_ASSERT(tenant.ok());  // the authenticator made it from a TenantId
  return *std::move(tenant);
}

/// Who may change the configuration.
[[nodiscard]] inline http::AuthPolicy administrators() { return http::require({std::string{session::kAdminRole}}); }
/// Who may see the state of the server as a whole.
[[nodiscard]] inline http::AuthPolicy monitors() {
  return http::require({std::string{session::kAdminRole}, std::string{session::kMonitorRole}});
}
/// People and their programs, but no hosts: what a host needs comes over its own connection.
[[nodiscard]] inline http::AuthPolicy operators() {
  return http::require({std::string{session::kAdminRole}, std::string{session::kClientRole}});
}

void add_system_routes(http::Router& router, const Services& services);
void add_challenge_routes(http::Router& router, const Services& services);
void add_fleet_routes(http::Router& router, const Services& services);
void add_secret_routes(http::Router& router, const Services& services);
void add_job_routes(http::Router& router, const Services& services);
void add_audit_routes(http::Router& router, const Services& services);
void add_token_routes(http::Router& router, const Services& services);

}  // namespace cloister::api
