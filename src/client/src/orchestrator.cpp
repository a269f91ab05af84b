#include "cloister/client/orchestrator.hpp"

#include <algorithm>
#include <iterator>

#include "cloister/codec/text.hpp"
#include "cloister/protocol/launch.hpp"

namespace cloister::client {
namespace {

namespace json = codec::json;
using http::Method;

constexpr std::size_t kMaxAnswer = std::size_t{128} << 20;
constexpr std::chrono::seconds kPatience{30};
constexpr std::size_t kMaxEntries = 1'000'000;

Result<Orchestrator::JobView> parse_view(json::Value value, const JobId& asked) {
  auto* object = value.as_object();
  if (object == nullptr) return Error{Errc::malformed, "a job expected"};
  Orchestrator::JobView view;
  for (auto it = object->begin(); it != object->end(); ++it) {
    if (it->first != "missing_recipients") continue;
    const auto* list = it->second.as_array();
    if (list == nullptr) return Error{Errc::malformed, "missing_recipients: a list expected"};
    for (const auto& item : *list) {
      CLOISTER_TRY(id, InstanceId::parse(item.as_string() == nullptr ? "" : *item.as_string()));
      view.missing_recipients.push_back(std::move(id));
    }
    object->erase(it);
    break;
  }
  CLOISTER_TRY(job, model::parse_job(value));
  if (job.id != asked) return Error{Errc::malformed, "the server speaks of another job: " + job.id.str()};
  view.job = std::move(job);
  return view;
}

/// What the server says it registered must follow from what was sent: nobody reads a configuration by eye.
Result<void> check_registered(const model::ChallengeSpec& spec, const model::Version& version) {
  const auto differs = [](const std::string& what) {
    return Error{Errc::measurement_mismatch, "the server registered another version than was asked for: its " + what +
                                                 " does not follow from the specification; use neither it nor its reference value"};
  };
  if (!(version.spec == spec)) return differs("specification");
  if (version.id != protocol::version_id_of(spec)) return differs("name");
  CLOISTER_TRY(configuration, protocol::decode_configuration(version.configuration));
  if (configuration.version != version.id || configuration.image_digest != spec.image_digest || configuration.demand != spec.server_evidence) {
    return differs("configuration");
  }
  const bool follows = version.reference.image_digest == spec.image_digest &&
                       version.reference.configuration_digest == protocol::configuration_digest(version.configuration);
  if (!follows) return differs("reference value");
  return {};
}

/// The members of the list of that name, parsed.
template <class T>
Result<std::vector<T>> parse_list(const json::Value& value, std::string_view name, Result<T> (*parse)(const json::Value&)) {
  const auto* member = value.find(name);
  if (member == nullptr || member->as_array() == nullptr) {
    return Error{Errc::malformed, std::string{name} + ": a list expected"};
  }
  std::vector<T> out;
  for (const auto& item : *member->as_array()) {
    CLOISTER_TRY(parsed, parse(item));
    out.push_back(std::move(parsed));
  }
  return out;
}

/// Of a derived key, in the API.
Result<std::string> path_of(const ChallengeId& challenge, std::string_view purpose) {
  if (!model::valid_purpose(purpose)) return Error{Errc::invalid_argument, "purpose: an id of at most 40 characters expected"};
  return "/api/v1/derived-keys/" + challenge.str() + '/' + std::string{purpose};
}

/// Where the page after this one begins; takes it out of the answer.
Result<std::optional<std::string>> take_cursor(json::Value& answer) {
  auto* object = answer.as_object();
  if (object == nullptr) return Error{Errc::malformed, "a list expected"};
  const auto next = std::ranges::find(*object, "next", &json::Object::value_type::first);
  if (next == object->end()) return std::optional<std::string>{};
  const auto* text = next->second.as_string();
  if (text == nullptr || !valid_id(*text)) return Error{Errc::malformed, "next: the cursor of a page expected"};
  auto cursor = *text;
  object->erase(next);
  return std::optional{std::move(cursor)};
}

/// Adds a page's entries to what there is: both have their list first.
Result<void> append_page(json::Value& all, json::Value page) {
  auto* into = all.as_object();
  auto* from = page.as_object();
  const bool lists = into != nullptr && from != nullptr && !into->empty() && !from->empty() &&
                     into->front().first == from->front().first && into->front().second.as_array() != nullptr &&
                     from->front().second.as_array() != nullptr;
  if (!lists || from->front().second.as_array()->empty()) return Error{Errc::malformed, "a further page expected"};
  auto& entries = *into->front().second.as_array();
  auto& added = *from->front().second.as_array();
  if (entries.size() + added.size() > kMaxEntries) {
    return Error{Errc::limit_exceeded, "the list has more than " + std::to_string(kMaxEntries) + " entries"};
  }
  std::ranges::move(added, std::back_inserter(entries));
  return {};
}

}  // namespace

Result<Orchestrator> Orchestrator::connect(std::string base_url, std::optional<std::string> bearer,
                                           http::ClientTls tls) {
  http::ClientOptions options;
  options.base_url = std::move(base_url);
  options.bearer = std::move(bearer);
  options.tls = std::move(tls);
  CLOISTER_TRY(client, http::BlockingClient::make(std::move(options)));
  return Orchestrator{std::move(client)};
}

Result<json::Value> Orchestrator::call(Method method, std::string target, json::Value body,
                                       std::chrono::seconds patience, const IfMatch& if_match) {
  Bytes bytes;
  http::Headers headers;
  if (if_match) headers.set("If-Match", *if_match == "*" ? *if_match : '"' + *if_match + '"');
  if (!body.is_null()) {
    bytes = to_bytes(json::write(body));
    headers.set("Content-Type", "application/json");
  }
  CLOISTER_TRY(answer, client_->request(method, std::move(target), std::move(headers), std::move(bytes), patience, kMaxAnswer));
  CLOISTER_TRY(response, http::expect_success(std::move(answer)));
  if (response.body.empty()) return json::Value{};
  return json::parse(as_text(response.body), {.bytes = kMaxAnswer});
}

Result<Orchestrator::ShownServer> Orchestrator::show_server(ByteView nonce) {
  CLOISTER_TRY(answer, client_->request(Method::get, "/api/v1/attestation/self?nonce=" + codec::to_hex(nonce), {}, {}, kPatience,
                                        protocol::kMaxServerProof));
  CLOISTER_TRY(response, http::expect_success(std::move(answer)));
  CLOISTER_TRY(proof, protocol::parse_server_proof(as_text(response.body)));
  return ShownServer{std::move(proof), response.peer_key};
}

Result<void> Orchestrator::put_blob(const Digest32& digest, ByteView bytes) {
  http::Headers headers{{"Content-Type", "application/octet-stream"}};
  CLOISTER_TRY(answer, client_->request(Method::put, "/api/v1/blobs/" + codec::to_hex(digest), std::move(headers),
                                        to_bytes(bytes), std::chrono::minutes{10}));
  CLOISTER_TRY(response, http::expect_success(std::move(answer)));
  static_cast<void>(response);
  return {};
}

Result<model::Version> Orchestrator::register_version(const model::ChallengeSpec& spec) {
  CLOISTER_TRY(value, call(Method::post, "/api/v1/challenges", model::to_json(spec)));
  CLOISTER_TRY(version, model::parse_version(value));
  CLOISTER_CHECK(check_registered(spec, version));
  return version;
}

Result<std::uint64_t> Orchestrator::put_secret(std::string_view path, ByteView value) {
  http::Headers headers{{"Content-Type", "application/octet-stream"}};
  CLOISTER_TRY(answer, client_->request(Method::put, "/api/v1/secrets/" + std::string{path}, std::move(headers),
                                        to_bytes(value), kPatience));
  CLOISTER_TRY(response, http::expect_success(std::move(answer)));
  CLOISTER_TRY(body, json::parse(as_text(response.body)));
  const auto* version = body.find("version");
  if (version == nullptr || !version->as_uint()) return Error{Errc::malformed, "the secret's version expected"};
  return *version->as_uint();
}

Result<void> Orchestrator::remove_secret(std::string_view path) {
  CLOISTER_TRY(value, call(Method::del, "/api/v1/secrets/" + std::string{path}));
  static_cast<void>(value);
  return {};
}

Result<model::DerivedKeyVersion> Orchestrator::put_derived_key(const ChallengeId& challenge, std::string_view purpose,
                                                               std::uint64_t version,
                                                               const model::ReleaseConditions& conditions) {
  CLOISTER_TRY(key, path_of(challenge, purpose));
  CLOISTER_TRY(value, call(Method::put, key + "/versions/" + std::to_string(version), model::to_json(conditions)));
  return model::parse_derived_key_version(value);
}

Result<model::DerivedKey> Orchestrator::derived_key(const ChallengeId& challenge, std::string_view purpose) {
  CLOISTER_TRY(key, path_of(challenge, purpose));
  CLOISTER_TRY(value, call(Method::get, key));
  return model::parse_derived_key(value);
}

Result<void> Orchestrator::revoke_derived_key(const ChallengeId& challenge, std::string_view purpose, std::uint64_t version) {
  CLOISTER_TRY(key, path_of(challenge, purpose));
  CLOISTER_TRY(value, call(Method::del, key + "/versions/" + std::to_string(version)));
  static_cast<void>(value);
  return {};
}

Result<json::Value> Orchestrator::put_resource(const rcar::ResourcePath& path, ByteView value, const std::optional<std::string>& labels,
                                               bool existing) {
  auto target = "/api/v1/resources/" + path.str() + "?existing=" + (existing ? "true" : "false");
  if (labels) target += "&labels=" + http::percent_encode(*labels);
  http::Headers headers{{"Content-Type", "application/octet-stream"}};
  CLOISTER_TRY(answer, client_->request(Method::put, std::move(target), std::move(headers), to_bytes(value), kPatience));
  CLOISTER_TRY(response, http::expect_success(std::move(answer)));
  return json::parse(as_text(response.body));
}

Result<json::Value> Orchestrator::set_on_resource(const rcar::ResourcePath& path, std::string_view what, json::Value body) {
  return call(Method::put, "/api/v1/resources/" + path.str() + '/' + std::string{what}, std::move(body));
}

Result<json::Value> Orchestrator::act_on_resource(const rcar::ResourcePath& path, std::string_view act,
                                                  std::optional<std::uint64_t> version) {
  auto target = "/api/v1/resources/" + path.str() + '/' + std::string{act};
  if (version) target += "?version=" + std::to_string(*version);
  return call(Method::post, std::move(target));
}

Result<void> Orchestrator::delete_resource(const rcar::ResourcePath& path, std::optional<std::uint64_t> version) {
  auto target = "/api/v1/resources/" + path.str();
  if (version) target += "?version=" + std::to_string(*version);
  CLOISTER_TRY(value, call(Method::del, std::move(target)));
  static_cast<void>(value);
  return {};
}

Result<json::Value> Orchestrator::act_on_data_key(std::string_view act, const std::optional<TenantId>& tenant) {
  auto target = "/api/v1/data-key/" + std::string{act};
  if (tenant) target += "?tenant=" + tenant->str();
  return call(Method::post, std::move(target));
}

Result<model::Validator> Orchestrator::enrol(const ByteArray<32>& hotkey) {
  CLOISTER_TRY(value, call(Method::post, "/api/v1/validators", json::Object{{"hotkey", codec::to_hex(hotkey)}}));
  return model::parse_validator(value);
}

Result<model::Validator> Orchestrator::drain(const ValidatorId& validator) {
  CLOISTER_TRY(value, call(Method::post, "/api/v1/validators/" + validator.str() + "/drain"));
  return model::parse_validator(value);
}

Result<json::Value> Orchestrator::issue_token(std::string_view name, std::string_view role, std::chrono::seconds lifetime,
                                              const std::optional<std::string>& tenant) {
  json::Value body = json::Object{{"name", name}, {"role", role}, {"lifetime_s", std::int64_t{lifetime.count()}}};
  if (tenant) body.set("tenant", *tenant);
  return call(Method::post, "/api/v1/tokens", std::move(body));
}

Result<void> Orchestrator::revoke_token(std::string_view id) {
  if (!valid_id(id)) return Error{Errc::invalid_argument, "the id of a token expected, tok-…"};
  CLOISTER_TRY(value, call(Method::del, "/api/v1/tokens/" + std::string{id}));
  static_cast<void>(value);
  return {};
}

Result<json::Value> Orchestrator::revoke(const Revocation& what) {
  json::Value body = json::Object{{"kind", what.kind}, {"value", what.value}, {"reason", what.reason}};
  if (what.lifetime) body.set("lifetime_s", std::int64_t{what.lifetime->count()});
  if (what.everywhere) body.set("everywhere", true);
  return call(Method::post, "/api/v1/revocations", std::move(body));
}

Result<void> Orchestrator::lift_revocation(std::string_view id) {
  if (!valid_id(id)) return Error{Errc::invalid_argument, "the id of a revocation expected, rev-…"};
  CLOISTER_TRY(value, call(Method::del, "/api/v1/revocations/" + std::string{id}));
  static_cast<void>(value);
  return {};
}

Result<json::Value> Orchestrator::rotate_result_keys() { return call(Method::post, "/api/v1/attestation/keys/rotate"); }

Result<json::Value> Orchestrator::put(std::string_view path, json::Value body, const IfMatch& if_match) {
  return call(Method::put, "/api/v1/" + std::string{path}, std::move(body), kPatience, if_match);
}

Result<void> Orchestrator::remove(std::string_view path, const IfMatch& if_match) {
  CLOISTER_TRY(value, call(Method::del, "/api/v1/" + std::string{path}, {}, kPatience, if_match));
  static_cast<void>(value);
  return {};
}

Result<json::Value> Orchestrator::ask_policies(std::string_view how, json::Value question) {
  return call(Method::post, "/api/v1/policies/" + std::string{how}, std::move(question));
}

Result<json::Value> Orchestrator::get(std::string_view path) { return call(Method::get, "/api/v1/" + std::string{path}); }

Result<json::Value> Orchestrator::list(std::string_view what) {
  CLOISTER_TRY(all, get(what));
  const std::string more = std::string{what} + (what.find('?') == std::string_view::npos ? "?cursor=" : "&cursor=");
  CLOISTER_TRY(cursor, take_cursor(all));
  while (cursor) {
    CLOISTER_TRY(page, get(more + *cursor));
    CLOISTER_TRY(next, take_cursor(page));
    CLOISTER_CHECK(append_page(all, std::move(page)));
    cursor = std::move(next);
  }
  return all;
}

Result<model::Version> Orchestrator::version(const VersionId& id) {
  CLOISTER_TRY(value, call(Method::get, "/api/v1/versions/" + id.str()));
  return model::parse_version(value);
}

Result<std::vector<model::Version>> Orchestrator::versions(const ChallengeId& challenge) {
  CLOISTER_TRY(value, list("challenges/" + challenge.str() + "/versions"));
  return parse_list<model::Version>(value, "versions", model::parse_version);
}

Result<std::vector<model::Instance>> Orchestrator::ready_instances(const VersionId& version) {
  CLOISTER_TRY(value, list("versions/" + version.str() + "/instances?state=ready"));
  return parse_list<model::Instance>(value, "instances", model::parse_instance);
}

Result<model::Instance> Orchestrator::instance(const InstanceId& id) {
  CLOISTER_TRY(value, call(Method::get, "/api/v1/instances/" + id.str()));
  return model::parse_instance(value);
}

Result<Orchestrator::JobView> Orchestrator::submit(const model::JobRequest& request) {
  CLOISTER_TRY(value, call(Method::post, "/api/v1/jobs", model::to_json(request), std::chrono::minutes{5}));
  return parse_view(std::move(value), request.job);
}

Result<Orchestrator::JobView> Orchestrator::job(const JobId& id, std::chrono::seconds wait) {
  CLOISTER_TRY(value, call(Method::get, "/api/v1/jobs/" + id.str() + "?wait=" + std::to_string(wait.count()) + "s", {},
                           wait + kPatience));
  return parse_view(std::move(value), id);
}

Result<void> Orchestrator::add_recipients(const JobId& id, const std::vector<model::Recipient>& recipients) {
  json::Array list;
  for (const auto& recipient : recipients) list.push_back(model::to_json(recipient));
  CLOISTER_TRY(value, call(Method::put, "/api/v1/jobs/" + id.str() + "/recipients",
                           json::Object{{"recipients", std::move(list)}}));
  static_cast<void>(value);
  return {};
}

Result<model::Job> Orchestrator::cancel(const JobId& id) {
  CLOISTER_TRY(value, call(Method::post, "/api/v1/jobs/" + id.str() + "/cancel"));
  return model::parse_job(value);
}

Result<model::JobResult> Orchestrator::result(const JobId& id) {
  CLOISTER_TRY(value, call(Method::get, "/api/v1/jobs/" + id.str() + "/result"));
  return model::parse_job_result(value);
}

Result<receipt::Receipt> Orchestrator::receipt(const JobId& id) {
  CLOISTER_TRY(value, call(Method::get, "/api/v1/jobs/" + id.str() + "/receipt"));
  return receipt::parse_receipt(json::write(value));
}

}  // namespace cloister::client
