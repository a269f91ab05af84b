#include "cloister/crypto/curve25519.hpp"
#include "cloister/storage/fleet.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::string_view kValidatorEnrolled = "validator.enrolled";
constexpr std::string_view kValidatorDrained = "validator.drained";
constexpr std::string_view kValidatorResumed = "validator.resumed";

/// What a host agent may send and hold back at once, for all of its TDs.
constexpr http::WebSocketLimits kHostLimits{.max_message = 256U << 10,
                                            .max_queued_messages = 1024,
                                            .max_queued_bytes = 64U << 20,
                                            .max_unread_messages = 64,
                                            .idle_timeout = std::chrono::milliseconds{60'000}};

Result<void> note(const Services& s, storage::Transaction& transaction, const model::Validator& validator,
                  std::string_view kind, const Request& request) {
  merkle::AuditLeaf leaf;
  leaf.time = s.clock.now();
  leaf.kind = kind;
  leaf.subject = validator.id.str();
  leaf.details = {{"hotkey", to_bytes(ByteView{validator.hotkey})}, {"by", request.principal->subject}};
  return s.log.append(transaction, leaf);
}

Result<void> change_state(const Services& s, storage::Transaction& transaction, model::Validator& validator,
                          model::ValidatorState state, std::string_view kind, const Request& request) {
  CLOISTER_CHECK(storage::validators::set_state(transaction, validator.id, state));
  validator.state = state;
  return note(s, transaction, validator, kind, request);
}

struct Enrolled {
  model::Validator validator;
  int status = 200;
  bool resumed = false;
};

/// Enrolling a hotkey again finds it, and lets it in again when it was drained.
Result<Enrolled> enrol_hotkey(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "validator"};
  model::Validator validator;
  validator.hotkey = fields.hex_array<32>("hotkey");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_CHECK(crypto::check_ed25519_key(validator.hotkey));
  CLOISTER_TRY(transaction, s.database.write());
  if (auto present = storage::validators::by_hotkey(transaction, validator.hotkey)) {
    if (present->state != model::ValidatorState::draining) {
      CLOISTER_CHECK(transaction.commit());
      return Enrolled{*std::move(present)};
    }
    CLOISTER_CHECK(change_state(s, transaction, *present, model::ValidatorState::enrolled, kValidatorResumed, request));
    CLOISTER_CHECK(transaction.commit());
    return Enrolled{*std::move(present), 200, true};
  }
  validator.id = ValidatorId::make(s.random);
  validator.enrolled = s.clock.now();
  CLOISTER_CHECK(storage::validators::enrol(transaction, validator));
  CLOISTER_CHECK(note(s, transaction, validator, kValidatorEnrolled, request));
  CLOISTER_CHECK(transaction.commit());
  return Enrolled{std::move(validator), 201};
}

/// On the fleet's executor, as all handlers are.
Task<Response> enrol(const Services* s, Request request) {
  const SharedRequest shared = std::make_shared<Request>(std::move(request));
  auto work = [s, shared] { return enrol_hotkey(*s, *shared); };
  auto enrolled = co_await run_in_time(s->pool, s->patience, std::move(work));
  if (!enrolled) co_return refuse(*shared, enrolled.error());
  if (enrolled->resumed) co_await s->fleet.resume(enrolled->validator.id);
  co_return http::json_response(model::to_json(enrolled->validator), enrolled->status);
}

Task<Response> drain(const Services* s, Request request) {
  const SharedRequest shared = std::make_shared<Request>(std::move(request));
  auto work = [s, shared]() -> Result<model::Validator> {
    CLOISTER_TRY(id, id_param<ValidatorId>(*shared, "id"));
    CLOISTER_TRY(transaction, s->database.write());
    CLOISTER_TRY(validator, storage::validators::get(transaction, id));
    if (validator.state != model::ValidatorState::draining) {
      CLOISTER_CHECK(change_state(*s, transaction, validator, model::ValidatorState::draining, kValidatorDrained, *shared));
    }
    CLOISTER_CHECK(transaction.commit());
    return validator;
  };
  auto drained = co_await run_in_time(s->pool, s->patience, std::move(work));
  if (!drained) co_return refuse(*shared, drained.error());
  s->fleet.drain(drained->id);
  co_return http::json_response(model::to_json(*drained));
}

Result<Response> list_validators(const Services& s, const Request& request) {
  const auto text = request.query.find("state");
  const auto state = text ? model::validator_state_from(*text) : std::nullopt;
  if (text && !state) return Error{Errc::invalid_argument, "state: no such state of a validator"};
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(validators, storage::validators::list(snapshot));
  if (state) std::erase_if(validators, [&](const auto& validator) { return validator.state != *state; });
  return page_of(
      request, "validators", validators, [](const auto& validator) { return validator.id.str(); },
      [](const auto& validator) { return model::to_json(validator); });
}

Result<Response> get_validator(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<ValidatorId>(request, "id"));
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(validator, storage::validators::get(snapshot, id));
  return http::json_response(model::to_json(validator));
}

/// A page of the instances that the filter leaves; one more is read, to know whether there is another.
Result<Response> instances_json(const Services& s, const Request& request, storage::instances::Filter filter) {
  CLOISTER_TRY(page, paging(request));
  CLOISTER_TRY(snapshot, s.database.read());
  if (page.cursor) {
    CLOISTER_TRY(after, InstanceId::parse(*page.cursor));
    if (!storage::instances::get(snapshot, after)) {
      return Error{Errc::invalid_argument, "cursor: no entry of this list; begin again"};
    }
    filter.after = std::move(after);
  }
  filter.limit = page.limit + 1;
  CLOISTER_TRY(instances, storage::instances::list(snapshot, filter));
  const bool more = instances.size() > page.limit;
  if (more) instances.pop_back();
  json::Array list;
  for (const auto& instance : instances) list.push_back(model::to_json(instance, filter.with_evidence));
  json::Object out{{"instances", std::move(list)}};
  if (more) out.emplace_back("next", instances.back().id.str());
  return http::json_response(std::move(out));
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
  CLOISTER_TRY(version, id_query<VersionId>(request, "version"));
  CLOISTER_TRY(validator, id_query<ValidatorId>(request, "validator"));
  storage::instances::Filter filter;
  filter.state = state;
  filter.version = std::move(version);
  filter.validator = std::move(validator);
  return instances_json(s, request, std::move(filter));
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
  return instances_json(s, request, std::move(filter));
}

}  // namespace

void add_fleet_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  const auto client = operators();
  routes.add(Method::post, "/api/v1/validators", admin,
             Doc{"Lets a host's hotkey in; enrolling it again finds it, and ends its draining"}
                 .takes("NewValidator")
                 .of_the_server()
                 .answers(201, "Validator")
                 .answers(200, "Validator"),
             [&services](Request request) { return enrol(&services, std::move(request)); });
  routes.add(Method::get, "/api/v1/validators", admin,
             Doc{"All validators, by id"}
                 .query("state", "ValidatorState", "Those alone")
                 .paged()
                 .of_the_server()
                 .answers(200, "ValidatorList"),
             reading(services, list_validators));
  routes.add(Method::get, "/api/v1/validators/{id}", admin, Doc{"A validator"}.of_the_server().answers(200, "Validator"),
             reading(services, get_validator));
  routes.add(Method::post, "/api/v1/validators/{id}/drain", admin,
             Doc{"Starts nothing more on a validator, and what runs there elsewhere; its instances go on until it leaves"}
                 .of_the_server()
                 .answers(200, "Validator"),
             [&services](Request request) { return drain(&services, std::move(request)); });
  routes.add(Method::get, "/api/v1/instances", client,
             Doc{"Instances, oldest first, without their evidence"}
                 .query("state", "InstanceState", "Those alone")
                 .query("version", "Id", "Those of this version alone")
                 .query("validator", "Id", "Those on this validator alone")
                 .paged()
                 .answers(200, "InstanceList"),
             reading(services, list_instances));
  routes.add(Method::get, "/api/v1/instances/{id}", client, Doc{"An instance and its evidence"}.answers(200, "Instance"),
             reading(services, get_instance));
  routes.add(Method::get, "/api/v1/versions/{id}/instances", client,
             Doc{"A version's instances with their evidence, oldest first"}
                 .query("state", "InstanceState", "Those alone")
                 .paged()
                 .answers(200, "InstanceList"),
             reading(services, version_instances));
  // Public, because the hotkey is proved inside.
  routes.add_websocket("/api/v1/host", http::kPublic, kHostLimits,
                       Doc{"A host agent's connection, on which it proves its hotkey"}.answers(101),
                       [&services](http::Request, std::shared_ptr<http::WebSocket> socket) {
                         return services.fleet.serve_host(std::move(socket));
                       });
}

}  // namespace cloister::api
