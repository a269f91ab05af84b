#include "cloister/storage/fleet.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::string_view kValidatorEnrolled = "validator.enrolled";

/// What a host agent may send and hold back at once, for all of its TDs.
constexpr http::WebSocketLimits kHostLimits{.max_message = 256U << 10,
                                            .max_queued_messages = 1024,
                                            .max_queued_bytes = 64U << 20,
                                            .max_unread_messages = 64,
                                            .idle_timeout = std::chrono::milliseconds{60'000}};

Result<Response> enrol(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "validator"};
  model::Validator validator;
  validator.hotkey = fields.hex_array<32>("hotkey");
  CLOISTER_CHECK(fields.finish());
  validator.id = ValidatorId::make(s.random);
  validator.enrolled = s.clock.now();
  CLOISTER_TRY(transaction, s.database.write());
  // Enrolling a hotkey again finds it.
  if (auto present = storage::validators::by_hotkey(transaction, validator.hotkey)) {
    return http::json_response(model::to_json(*present));
  }
  CLOISTER_CHECK(storage::validators::enrol(transaction, validator));
  merkle::AuditLeaf leaf;
  leaf.time = validator.enrolled;
  leaf.kind = kValidatorEnrolled;
  leaf.subject = validator.id.str();
  leaf.details = {{"hotkey", to_bytes(ByteView{validator.hotkey})}, {"by", request.principal->subject}};
  CLOISTER_TRY(index, s.log.append(transaction, leaf));
  static_cast<void>(index);
  CLOISTER_CHECK(transaction.commit());
  return http::json_response(model::to_json(validator), 201);
}

Result<Response> list_validators(const Services& s, const Request&) {
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(validators, storage::validators::list(snapshot));
  json::Array list;
  for (const auto& validator : validators) list.push_back(model::to_json(validator));
  return http::json_response(json::Object{{"validators", std::move(list)}});
}

Result<Response> get_validator(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<ValidatorId>(request, "id"));
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(validator, storage::validators::get(snapshot, id));
  return http::json_response(model::to_json(validator));
}

Result<Response> instances_json(const Services& s, const storage::instances::Filter& filter) {
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(instances, storage::instances::list(snapshot, filter));
  json::Array list;
  for (const auto& instance : instances) list.push_back(model::to_json(instance, filter.with_evidence));
  return http::json_response(json::Object{{"instances", std::move(list)}});
}

Result<std::optional<model::InstanceState>> state_query(const Request& request) {
  const auto text = request.query.find("state");
  if (!text) return std::optional<model::InstanceState>{};
  const auto state = model::instance_state_from(*text);
  if (!state) return Error{Errc::invalid_argument, "state: no such state of an instance"};
  return state;
}

Result<Response> list_instances(const Services& s, const Request& request) {
  CLOISTER_TRY(state, state_query(request));
  storage::instances::Filter filter;
  filter.state = state;
  return instances_json(s, filter);
}

Result<Response> get_instance(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<InstanceId>(request, "id"));
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(instance, storage::instances::get(snapshot, id));
  return http::json_response(model::to_json(instance, true));
}

/// With their evidence, so that a client can verify each itself before it seals anything to it.
Result<Response> version_instances(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<VersionId>(request, "id"));
  CLOISTER_TRY(state, state_query(request));
  CLOISTER_TRY(version, s.registry.version(id));
  storage::instances::Filter filter;
  filter.version = version.version.id;
  filter.state = state;
  filter.with_evidence = true;
  return instances_json(s, filter);
}

}  // namespace

void add_fleet_routes(http::Router& router, const Services& services) {
  const auto admin = administrators();
  const auto client = operators();
  router.add(Method::post, "/api/v1/validators", admin, blocking(services, enrol));
  router.add(Method::get, "/api/v1/validators", admin, blocking(services, list_validators));
  router.add(Method::get, "/api/v1/validators/{id}", admin, blocking(services, get_validator));
  router.add(Method::get, "/api/v1/instances", client, blocking(services, list_instances));
  router.add(Method::get, "/api/v1/instances/{id}", client, blocking(services, get_instance));
  router.add(Method::get, "/api/v1/versions/{id}/instances", client, blocking(services, version_instances));
  // Public, because the hotkey is proved inside.
  router.add_websocket("/api/v1/host", http::kPublic, kHostLimits,
                       [&services](http::Request, std::shared_ptr<http::WebSocket> socket) {
                         return services.fleet.serve_host(std::move(socket));
                       });
}

}  // namespace cloister::api
