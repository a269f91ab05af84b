#include <functional>
#include <variant>

#include "cloister/rcar/administration.hpp"
#include "cloister/rcar/refusal.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;
using rcar::RefusalKind;

constexpr std::string_view kCookie = "kbs-session-id";
constexpr std::string_view kPrefix = "/kbs/v0";
constexpr std::string_view kTenantPrefix = "/t/{tenant}/kbs/v0";  // of a guest that was given the URL https://…/t/TENANT

/// What guests and policies cannot cause.
bool own_fault(const Error& error) {
  return http_status(error.code()) >= 500 && error.code() != Errc::policy_evaluation_failed && error.code() != Errc::deadline_exceeded;
}

/// A refusal in the protocol's form. What is the server's own fault keeps its status and says nothing of it.
Response say_no(RefusalKind kind, int status, const Error& error) {
  const bool own = own_fault(error);
  Response out;
  out.status = own ? http_status(error.code()) : status;
  out.headers.set("Content-Type", "application/problem+json");
  if (out.status == 401) out.headers.set("WWW-Authenticate", "Bearer");
  if (out.status == 503) out.headers.set("Retry-After", "1");
  // Of evidence it is said which check failed.
  const auto words = kind == RefusalKind::attestation_error ? error.text() : error.detail();
  out.body = to_bytes(own ? rcar::write_refusal(RefusalKind::plugin_internal_error, to_string(error.code()))
                          : rcar::write_refusal(kind, words));
  out.cause = error;
  return out;
}

/// The value of our cookie, if there is one (RFC 6265 section 4.2).
std::optional<std::string> session_cookie(const Request& request) {
  const auto field = request.headers.find("Cookie");
  if (!field) return std::nullopt;
  auto rest = *field;
  while (!rest.empty()) {
    const auto end = std::min(rest.find(';'), rest.size());
    auto pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (pair.starts_with(' ')) pair.remove_prefix(1);
    if (pair.starts_with(kCookie) && pair.substr(kCookie.size()).starts_with('=')) {
      return std::string{pair.substr(kCookie.size() + 1)};
    }
  }
  return std::nullopt;
}

std::optional<std::string> bearer(const Request& request) {
  constexpr std::string_view kScheme = "Bearer ";
  const auto field = request.headers.find("Authorization");
  if (!field || !field->starts_with(kScheme)) return std::nullopt;
  return std::string{field->substr(kScheme.size())};
}

/// "/kbs/v0", or that of a tenant: guests send the cookie nowhere else.
std::string prefix_of(const Request& request) {
  const auto tenant = request.params.find("tenant");
  return tenant == request.params.end() ? std::string{kPrefix} : "/t/" + tenant->second + std::string{kPrefix};
}

void set_cookie(const Services& s, const Request& request, Response& response, std::string_view session,
                std::chrono::seconds lifetime) {
  auto value = std::string{kCookie} + '=' + std::string{session} + "; Path=" + prefix_of(request) +
               "; Max-Age=" + std::to_string(lifetime.count()) + "; HttpOnly; SameSite=Strict";
  if (s.secure_cookies) value += "; Secure";
  response.headers.set("Set-Cookie", std::move(value));
}

std::string_view text_of(const Request& request) { return as_text({request.body.data(), request.body.size()}); }

/// Of the tenant that the path names; strangers cannot tell whether there is one.
Result<kbs::Broker*> named_broker(const Services& s, const Request& request) {
  const auto named = request.params.find("tenant");
  if (named == request.params.end()) return &s.guests->main();
  const auto tenant = TenantId::parse(named->second);
  if (!tenant) return Error{Errc::not_found, "no tenant can have this name"};
  return s.guests->serving(*tenant);
}

/// `work(services, broker, request)` with the broker of the request.
template <class Work>
[[nodiscard]] auto with_broker(Work work) {
  return [work](const Services& s, const Request& request) -> Result<Response> {
    const auto broker = named_broker(s, request);
    if (!broker) return say_no(RefusalKind::invalid_request_path, 404, broker.error());
    return work(s, **broker, request);
  };
}

/// The same for work that answers later.
template <class Work>
[[nodiscard]] auto with_broker_later(Work work) {
  return [work](const Services& s, const SharedRequest& request, Answer answer) {
    const auto broker = named_broker(s, *request);
    if (!broker) return answer(say_no(RefusalKind::invalid_request_path, 404, broker.error()));
    work(s, **broker, request, std::move(answer));
  };
}

/// The same where it waits for nothing: with the broker that is always there.
template <class Work>
[[nodiscard]] http::Handler at_once(const Services& services, Work work) {
  return [&services, work](Request request) -> Task<Response> {
    auto response = work(services, services.guests->main(), request);
    if (!response) co_return refuse(request, response.error());
    co_return *std::move(response);
  };
}

/// The same for administrators of its tenant alone; those of others learn nothing of it.
template <class Work>
[[nodiscard]] auto administering(Work work) {
  return with_broker([work](const Services& s, kbs::Broker& broker, const Request& request) -> Result<Response> {
    if (!s.protocol_administration) {
      return Error{Errc::permission_denied, "DenyAll authorization_mode is enabled: protocol_administration is off here"};
    }
    if (tenant_of(request) == broker.tenant()) return work(s, broker, request);
    return Error{Errc::permission_denied, "for administrators of this tenant alone"};
  });
}

Result<Response> open(const Services& s, kbs::Broker& broker, const Request& request) {
  const auto opened = broker.handshakes().begin(text_of(request), s.clock.now());
  if (!opened) {
    const bool understood = opened.error().code() == Errc::unsupported || opened.error().code() == Errc::evidence_unsupported;
    return say_no(understood ? RefusalKind::attestation_error : RefusalKind::serde_error, 401, opened.error());
  }
  auto response = http::bytes_response("application/json", to_bytes(opened->challenge));
  set_cookie(s, request, response, opened->session, opened->lifetime);
  return response;
}

void attest(const Services& s, kbs::Broker& broker, const SharedRequest& request, Answer answer) {
  auto done = [answer = std::move(answer)](Result<std::string> token) {
    if (!token) return answer(say_no(RefusalKind::attestation_error, 401, token.error()));
    answer(http::bytes_response("application/json", to_bytes(rcar::write_token(*token))));
  };
  broker.handshakes().attest(session_cookie(*request).value_or(""), text_of(*request), s.clock.now(), std::move(done));
}

Result<rcar::ResourcePath> path_of(const Request& request) {
  return rcar::ResourcePath::make(request.param("repository"), request.param("type"), request.param("tag"));
}

RefusalKind kind_of(Errc code, RefusalKind other) {
  if (code == Errc::permission_denied) return RefusalKind::policy_deny;
  return code == Errc::attestation_revoked ? RefusalKind::token_verifier_error : other;
}

/// An answer, or a reply that is one once it is recorded.
using Given = std::variant<Response, kbs::Unrecorded<std::string>>;

Response no_release(const Error& error) {
  if (error.code() == Errc::not_found) return say_no(RefusalKind::plugin_internal_error, 404, error);
  return say_no(kind_of(error.code(), RefusalKind::jwe_error), 401, error);
}

/// Whoever is not authorised learns nothing of which resources there are.
Given give(const Services& s, kbs::Broker& broker, const Request& request) {
  const auto now = s.clock.now();
  const auto path = path_of(request);
  if (!path) return say_no(RefusalKind::invalid_request_path, 404, path.error());
  const auto ask = kbs::Ask::make(*path, request.query.all());
  if (!ask) return say_no(RefusalKind::invalid_request_path, 404, ask.error());
  const auto guest = broker.gate().authenticate({session_cookie(request), bearer(request)}, now);
  if (!guest) {
    const bool none = guest.error().code() == Errc::unauthenticated;
    return say_no(none ? RefusalKind::token_not_found : RefusalKind::token_verifier_error, 401, guest.error());
  }
  auto decision = broker.gate().decide(*guest, *ask, now);
  if (!decision) return say_no(kind_of(decision.error().code(), RefusalKind::policy_engine_error), 401, decision.error());
  auto reply = broker.gate().release(*guest, *std::move(decision), now);
  if (!reply) return no_release(reply.error());
  return *std::move(reply);
}

/// The same, counted. A refusal has its cause.
void give_counted(const Services& s, kbs::Broker& broker, const SharedRequest& request, Answer answer) {
  auto counted = [&broker, answer = std::move(answer)](Response response) {
    const auto code = response.cause ? to_string(response.cause->code()) : "released";
    broker.meters().releases.with({broker.tenant().str(), code}).add();
    answer(std::move(response));
  };
  auto given = give(s, broker, *request);
  if (auto* response = std::get_if<Response>(&given)) return counted(std::move(*response));
  auto recorded = [counted = std::move(counted)](Result<std::string> reply) {
    counted(reply ? http::bytes_response("application/json", to_bytes(*reply)) : no_release(reply.error()));
  };
  std::get<kbs::Unrecorded<std::string>>(std::move(given)).record(broker.writes(), std::move(recorded));
}

Result<Response> put(const Services& s, kbs::Broker& broker, const Request& request) {
  const auto path = path_of(request);
  if (!path) return say_no(RefusalKind::invalid_request_path, 404, path.error());
  CLOISTER_TRY(version, broker.vault().put(*path, {request.body.data(), request.body.size()}, request.principal->subject, s.clock.now()));
  static_cast<void>(version);
  return Response{};
}

Result<Response> remove(const Services& s, kbs::Broker& broker, const Request& request) {
  const auto path = path_of(request);
  if (!path) return say_no(RefusalKind::invalid_request_path, 404, path.error());
  CLOISTER_CHECK(broker.vault().remove(*path, request.principal->subject, s.clock.now()));
  return Response{};
}

Result<Response> list(const Services&, kbs::Broker& broker, const Request&) {
  CLOISTER_TRY(resources, broker.vault().list());
  json::Array paths;
  for (const auto& one : resources) {
    if (!one.deleted) paths.emplace_back(one.path);
  }
  return http::json_response(std::move(paths));
}

/// What an administrator sent and could not be taken: said with its place.
Result<Response> concluded(const Result<void>& done, RefusalKind kind) {
  if (done) return Response{};
  return say_no(kind, http_status(done.error().code()), done.error());
}

/// The protocol has no word for what its client has seen.
Result<Response> set_policy(const Services& s, kbs::Broker& broker, const Request& request, kbs::RuleBook::NewPolicy policy) {
  const auto made = broker.rules().set(std::move(policy), kbs::Seen::whatever(), request.principal->subject, s.clock.now());
  if (made) return Response{};
  return say_no(RefusalKind::policy_engine_error, http_status(made.error().code()), made.error());
}

Result<Response> set_resource_policy(const Services& s, kbs::Broker& broker, const Request& request) {
  auto policy = rcar::parse_resource_policy(text_of(request));
  if (!policy) return say_no(RefusalKind::parse_policy_error, 400, policy.error());
  return set_policy(s, broker, request, {kbs::PolicyKind::resource, std::string{kbs::kDefaultResourcePolicy}, "", *std::move(policy)});
}

Result<Response> resource_policies(const Services&, kbs::Broker& broker, const Request&) {
  json::Array names;
  for (const auto& one : broker.rules().policies()) {
    if (one.kind == kbs::PolicyKind::resource) names.emplace_back(one.name);
  }
  return http::json_response(std::move(names));
}

Result<Response> set_attestation_policy(const Services& s, kbs::Broker& broker, const Request& request) {
  auto policy = rcar::parse_attestation_policy(text_of(request));
  if (!policy) return say_no(RefusalKind::parse_policy_error, 400, policy.error());
  return set_policy(s, broker, request, {kbs::PolicyKind::attestation, std::move(policy->id), "", std::move(policy->policy)});
}

Result<Response> set_reference_values(const Services& s, kbs::Broker& broker, const Request& request) {
  const auto values = rcar::parse_reference_values(text_of(request));
  if (!values) return say_no(RefusalKind::rvps_error, 400, values.error());
  return concluded(broker.rules().set_reference_values(*values, request.principal->subject, s.clock.now()), RefusalKind::rvps_error);
}

Result<Response> reference_value(const Services&, kbs::Broker& broker, const Request& request) {
  const auto value = broker.rules().reference_value(request.param("id"));
  if (!value) return say_no(RefusalKind::rvps_error, 404, value.error());
  return http::json_response(*value);
}

Result<Response> no_plugin(const Services&, const Request&) {
  return say_no(RefusalKind::plugin_not_found, 404, Error{Errc::not_found, "no such path"});
}

/// Where the public server has it, for probes.
Task<Response> healthz(const Services& s, Request request) {
  if (!s.monitor.alive()) co_return refuse(request, Error{Errc::unavailable, "stalled"});
  const json::Value body = json::Object{{"status", "ok"}};
  co_return http::json_response(body);
}

constexpr std::string_view kAuth = "/auth";
constexpr std::string_view kAttest = "/attest";
constexpr std::string_view kResource = "/resource/{repository}/{type}/{tag}";

}  // namespace

bool counts_its_refusals(std::string_view method, std::string_view pattern) {
  for (const auto prefix : {kPrefix, kTenantPrefix}) {
    if (!pattern.starts_with(prefix)) continue;
    const auto path = pattern.substr(prefix.size());
    if (path == kAuth || path == kAttest || (path == kResource && method == to_string(Method::get))) return true;
  }
  return false;
}

void add_kbs_routes(http::Router& router, const Services& services) {
  const auto admin = administrators();
  http::RouteOptions small;
  small.max_body = rcar::kMaxRequestSize;
  http::RouteOptions large;
  large.max_body = rcar::kMaxAttestationSize;
  http::RouteOptions policy;
  policy.max_body = rcar::kMaxPolicyMessage;
  http::RouteOptions act;  // a release is one, and whoever asks for it takes it
  act.head = false;
  router.add(Method::get, "/healthz", http::kPublic, [&services](Request request) { return healthz(services, std::move(request)); });
  for (const auto prefix : {kPrefix, kTenantPrefix}) {
    const auto at = [&](std::string_view path) { return std::string{prefix} + std::string{path}; };
    const auto resource = at(kResource);
    router.add(Method::post, at(kAuth), http::kPublic, prefix == kPrefix ? at_once(services, open) : blocking(services, with_broker(open)), small);
    router.add(Method::post, at(kAttest), http::kPublic, answering(services, with_broker_later(attest)), large);
    router.add(Method::get, resource, http::kPublic, answering(services, with_broker_later(give_counted)), act);  // its credentials are the guest's
    router.add(Method::post, resource, admin, blocking(services, administering(put)), large);
    router.add(Method::del, resource, admin, blocking(services, administering(remove)));
    router.add(Method::get, at("/resource"), admin, reading(services, administering(list)));
    router.add(Method::post, at("/resource-policy"), admin, blocking(services, administering(set_resource_policy)), policy);
    router.add(Method::get, at("/resource-policy"), admin, reading(services, administering(resource_policies)));
    router.add(Method::post, at("/attestation-policy"), admin, blocking(services, administering(set_attestation_policy)), policy);
    router.add(Method::post, at("/reference-value"), admin, blocking(services, administering(set_reference_values)), policy);
    router.add(Method::get, at("/reference-value/{id}"), admin, reading(services, administering(reference_value)));
    router.add(Method::get, at("/{rest...}"), http::kPublic, reading(services, no_plugin), act);
    router.add(Method::post, at("/{rest...}"), http::kPublic, reading(services, no_plugin), small);
  }
}

}  // namespace cloister::api
