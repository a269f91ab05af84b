#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>

#include "cloister/api/api.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/http/message.hpp"
#include "routes.hpp"

/// What the route files share.
namespace cloister::api {

using runtime::Task;
namespace json = codec::json;

inline http::Response refuse(const http::Request& request, const Error& error) {
  auto response = http::problem(error, request.request_id);
  response.cause = error;
  return response;
}

inline Error late() {
  return Error{Errc::storage_failure, "the storage did not answer in time; what was asked for may yet come to pass"};
}

/// Runs work that owns what it uses. `storage_failure` when it is not done in time: it goes on by itself if it had begun.
template <class Work>
[[nodiscard]] Task<std::invoke_result_t<Work&>> run_in_time(runtime::BlockingPool& pool,
                                                            std::chrono::milliseconds patience, Work work) {
  const Deadline deadline{std::chrono::steady_clock::now() + patience};
  auto out = co_await pool.run_until(deadline, std::move(work));
  if (out.ok() || out.error().code() != Errc::deadline_exceeded) co_return out;
  co_return late();
}

/// A request that work on a pool shares with the handler, which may leave it.
using SharedRequest = std::shared_ptr<const http::Request>;

template <class Work>
[[nodiscard]] http::Handler on_pool(const Services& services, runtime::BlockingPool& pool,
                                    std::chrono::milliseconds patience, Work work) {
  return [&services, &pool, patience, work](http::Request request) -> Task<http::Response> {
    const SharedRequest shared = std::make_shared<http::Request>(std::move(request));
    auto job = [&services, shared, work]() -> Result<http::Response> { return work(services, *shared); };
    auto response = co_await run_in_time(pool, patience, std::move(job));
    if (!response) co_return refuse(*shared, response.error());
    co_return *std::move(response);
  };
}

/// A handler that writes to the database or the disk, or computes for long: runs `work(services, request)`, which gives
/// a Result of a response.
template <class Work>
[[nodiscard]] http::Handler blocking(const Services& services, Work work) {
  return on_pool(services, services.pool, services.patience, std::move(work));
}

/// The same for one that answers when others are done: `work(services, request, answer)`, where `request` is shared and
/// `answer(Result<Response>)` is called once, from any thread.
using Answer = std::function<void(Result<http::Response>)>;
template <class Work>
[[nodiscard]] http::Handler answering(const Services& services, Work work) {
  return [&services, work](http::Request request) -> Task<http::Response> {
    const SharedRequest shared = std::make_shared<http::Request>(std::move(request));
    auto job = [&services, shared, work](Answer answer) { work(services, shared, std::move(answer)); };
    const Deadline deadline{std::chrono::steady_clock::now() + services.patience};
    auto response = co_await services.pool.template run_to_answer<http::Response>(deadline, std::move(job));
    if (response) co_return *std::move(response);
    if (response.error().code() != Errc::deadline_exceeded) co_return refuse(*shared, response.error());
    co_return refuse(*shared, late());
  };
}

/// The same for one that only reads, and so waits for nobody who writes.
template <class Work>
[[nodiscard]] http::Handler reading(const Services& services, Work work) {
  return on_pool(services, services.readers, services.patience, std::move(work));
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
/// Which of a list's entries are wanted.
struct Paging {
  std::uint32_t limit;
  std::optional<std::string> cursor;  // an id: of the last entry of the page before
};
[[nodiscard]] Result<Paging> paging(const http::Request& request);
/// A query parameter that is an id, or nothing.
template <class Name>
[[nodiscard]] Result<std::optional<Name>> id_query(const http::Request& request, std::string_view name) {
  const auto text = request.query.find(name);
  if (!text) return std::optional<Name>{};
  auto id = Name::parse(*text);
  if (!id) return id.error().in(name);
  return std::optional<Name>{*std::move(id)};
}
/// "true" or "false", or nothing.
[[nodiscard]] Result<std::optional<bool>> flag_query(const http::Request& request, std::string_view name);

/// {name: entries, "next": cursor}: the page of `all` that is wanted. `id_of` gives an entry's cursor.
template <class Entry, class IdOf, class Show>
[[nodiscard]] Result<http::Response> page_of(const http::Request& request, std::string_view name,
                                             const std::vector<Entry>& all, IdOf id_of, Show show) {
  CLOISTER_TRY(page, paging(request));
  auto at = all.begin();
  if (page.cursor) {
    at = std::ranges::find_if(all, [&](const Entry& entry) { return id_of(entry) == *page.cursor; });
    if (at == all.end()) return Error{Errc::invalid_argument, "cursor: no entry of this list; begin again"};
    ++at;
  }
  json::Array entries;
  for (; at != all.end() && entries.size() < page.limit; ++at) entries.push_back(show(*at));
  json::Object out{{std::string{name}, std::move(entries)}};
  if (at != all.end()) out.emplace_back("next", std::string{id_of(*std::prev(at))});
  return http::json_response(std::move(out));
}

/// The answer with an entity tag of its own bytes, or 304 to whoever has them (RFC 9110 section 13.1.2).
[[nodiscard]] http::Response tagged(const http::Request& request, http::Response whole);
/// The same with a tag that is known before the answer is made.
[[nodiscard]] bool has_already(const http::Request& request, std::string_view tag);
[[nodiscard]] http::Response not_modified(std::string_view tag);

[[nodiscard]] inline TenantId tenant_of(const http::Request& request) {
  auto tenant = TenantId::parse(request.principal->tenant);
  CLOISTER_ASSERT(tenant.ok());  // the authenticator made it from a TenantId
  return *std::move(tenant);
}

/// The key broker of the asker's tenant; `not_found` where this server is none.
[[nodiscard]] inline Result<kbs::Broker*> broker_of(const Services& services, const http::Request& request) {
  if (services.guests != nullptr) return services.guests->find(tenant_of(request));
  return Error{Errc::not_found, "this server is no key broker: its configuration has no [key_broker]"};
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

void add_system_routes(Routes& routes, const Services& services);
void add_challenge_routes(Routes& routes, const Services& services);
void add_fleet_routes(Routes& routes, const Services& services);
void add_secret_routes(Routes& routes, const Services& services);
void add_derived_key_routes(Routes& routes, const Services& services);
void add_job_routes(Routes& routes, const Services& services);
void add_audit_routes(Routes& routes, const Services& services);
void add_token_routes(Routes& routes, const Services& services);
void add_attestation_routes(Routes& routes, const Services& services);
/// Resources of the key broker, as administrators keep them.
void add_resource_routes(Routes& routes, const Services& services);
/// Keys that stored values are sealed under.
void add_data_key_routes(Routes& routes, const Services& services);
void add_policy_routes(Routes& routes, const Services& services);
void add_revocation_routes(Routes& routes, const Services& services);
/// The protocol of Confidential Containers' guests, which is not of our making: outside the OpenAPI document, since what it
/// answers has other forms (docs/keybroker.md).
void add_kbs_routes(http::Router& router, const Services& services);

}  // namespace cloister::api
