#include "cloister/codec/text.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;
using kbs::PolicyKind;
using kbs::Seen;

constexpr std::size_t kMaxPolicyBody = 1U << 20;   // a policy of 256 KiB as a text of JSON
constexpr std::size_t kMaxQuestion = 4U << 20;     // with evidence
constexpr std::size_t kMaxValueBody = 512U << 10;
constexpr std::size_t kMaxReferenceName = 256;
constexpr std::string_view kAttestationKind = "attestation";
constexpr std::string_view kResourceKind = "resource";

json::Value error_of(const std::optional<Error>& error) {
  if (!error) return {};
  return json::Object{{"code", to_string(error->code())}, {"detail", error->detail()}};
}

json::Value show(const kbs::PolicyView& policy) {
  const auto* origin = policy.set ? "administrator" : policy.built_in ? "built-in" : "configuration";
  return json::Object{{"kind", to_string(policy.kind)},
                      {"name", policy.name},
                      {"scope", policy.scope},
                      {"digest", codec::to_hex(policy.digest)},
                      {"etag", policy.tag},
                      {"origin", origin},
                      {"changed", policy.set ? json::Value{to_rfc3339(*policy.set)} : json::Value{}}};
}

Response with_tag(Response response, std::string_view tag) {
  response.headers.set("ETag", '"' + std::string{tag} + '"');
  return response;
}

/// What If-Match says that the asker has seen (RFC 9110 section 13.1.1): one entity tag, or "*" for whatever there is.
Result<Seen> seen_by(const Request& request, Seen otherwise) {
  const auto field = request.headers.find("If-Match");
  if (!field) return otherwise;
  if (*field == "*") return Seen::some();
  const bool quoted = field->size() > 2 && field->front() == '"' && field->back() == '"';
  const auto tag = quoted ? field->substr(1, field->size() - 2) : std::string_view{};
  if (quoted && tag.find('"') == std::string_view::npos) return Seen::tagged(std::string{tag});
  return Error{Errc::invalid_argument, "If-Match: one entity tag in quotes, or *, expected"};
}

Result<Response> list(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  json::Array policies;
  for (const auto& one : broker->rules().policies()) policies.push_back(show(one));
  return http::json_response(json::Object{{"policies", std::move(policies)}});
}

template <PolicyKind kind>
Result<Response> get(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  if (!valid_id(request.param("id"))) return Error{Errc::invalid_argument, "policy: a name of [a-z0-9_.-] expected"};
  CLOISTER_TRY(policy, broker->rules().policy(kind, request.param("id")));
  if (has_already(request, policy.tag)) return not_modified(policy.tag);
  auto out = show(policy);
  return with_tag(http::json_response(out.set("text", policy.text)), policy.tag);
}

template <PolicyKind kind>
Result<Response> put(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  CLOISTER_TRY(body, http::json_body(request, {.bytes = kMaxPolicyBody}));
  json::Fields fields{body, "policy"};
  kbs::RuleBook::NewPolicy policy{kind, request.param("id"), {}, fields.string("text")};
  if constexpr (kind == PolicyKind::resource) policy.scope = fields.optional_string("scope").value_or("");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(seen, seen_by(request, Seen::unset()));
  CLOISTER_TRY(made, broker->rules().set(std::move(policy), seen, request.principal->subject, s.clock.now()));
  return with_tag(http::json_response(show(made)), made.tag);
}

template <PolicyKind kind>
Result<Response> remove(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  if (!valid_id(request.param("id"))) return Error{Errc::invalid_argument, "policy: a name of [a-z0-9_.-] expected"};
  CLOISTER_TRY(seen, seen_by(request, Seen::whatever()));
  CLOISTER_CHECK(broker->rules().remove(kind, request.param("id"), seen, request.principal->subject, s.clock.now()));
  return http::no_content();
}

// --- questions -------------------------------------------------------------------------------------------------------

json::Value show(const kbs::PolicyRef& policy) {
  return json::Object{{"name", policy.name}, {"digest", codec::to_hex(policy.digest)}};
}

json::Value show(const rego::Rule& rule) {
  return json::Object{{"rule", rule.name}, {"line", std::uint64_t{rule.line}}, {"default", rule.is_default}};
}

json::Value show(const std::optional<std::vector<rego::Rule>>& rules) {
  if (!rules) return {};
  json::Array out;
  for (const auto& rule : *rules) out.push_back(show(rule));
  return out;
}

json::Value show(const std::vector<rego::Condition>& unmet) {
  json::Array out;
  for (const auto& one : unmet) {
    out.emplace_back(json::Object{{"rule", one.rule},
                                  {"line", std::uint64_t{one.line}},
                                  {"column", std::uint64_t{one.column}},
                                  {"condition", one.text}});
  }
  return out;
}

json::Value show(const kbs::Advisor::Judgement& judgement) {
  json::Array claims;
  for (const auto& claim : judgement.appraisal.claims) {
    claims.emplace_back(json::Object{{"name", claim.name},
                                     {"value", int{claim.value}},
                                     {"tier", to_string(appraisal::tier_of(claim.value))},
                                     {"rule", claim.rule ? show(*claim.rule) : json::Value{}}});
  }
  json::Array reasons;
  for (const auto& reason : judgement.appraisal.reasons) {
    reasons.emplace_back(json::Object{{"code", to_string(reason.code)}, {"detail", reason.detail}});
  }
  return json::Object{{"policy", show(judgement.policy)},
                      {"status", to_string(judgement.appraisal.status)},
                      {"accepted", judgement.appraisal.accepted},
                      {"trust_claims", std::move(claims)},
                      {"reasons", std::move(reasons)},
                      {"unmet", show(judgement.appraisal.unmet)}};
}

json::Value show(const kbs::Advisor::ResourceAdvice& advice) {
  auto policy = show(advice.policy);
  return json::Object{{"kind", kResourceKind},
                      {"allowed", advice.allowed},
                      {"policy", policy.set("scope", advice.scope)},
                      {"error", error_of(advice.failure)},
                      {"token_error", error_of(advice.token)},
                      {"rules", show(advice.why.rules)},
                      {"unmet", show(advice.why.unmet)}};
}

json::Value show(const kbs::Advisor::AttestationAdvice& advice) {
  json::Array judgements;
  for (const auto& one : advice.judgements) judgements.push_back(show(one));
  return json::Object{{"kind", kAttestationKind},
                      {"evidence_error", error_of(advice.evidence)},
                      {"token_error", error_of(advice.token)},
                      {"judgements", std::move(judgements)}};
}

struct Question {
  std::string kind;
  std::optional<std::string> name;
  std::optional<rcar::ResourcePath> path;
  std::optional<std::string> text;
  kbs::Advisor::About about;
};

enum class Asks { of_what_holds, of_a_text };

Result<Question> read_question(const Request& request, Asks asks) {
  CLOISTER_TRY(body, http::json_body(request, {.bytes = kMaxQuestion}));
  json::Fields fields{body, "question"};
  Question out;
  out.kind = fields.string("kind");
  const auto path = fields.optional_string("path");
  if (asks == Asks::of_a_text) out.text = fields.string("text");
  else out.name = fields.optional_string("name");
  if (const auto* claims = fields.optional_object("claims")) out.about.claims = *claims;
  out.about.token = fields.optional_string("token");
  auto evidence = fields.optional_string("evidence");
  const auto tee = fields.optional_string("tee");
  CLOISTER_CHECK(fields.finish());
  if (out.kind != kResourceKind && out.kind != kAttestationKind) {
    return Error{Errc::invalid_argument, "kind: resource or attestation expected"};
  }
  if (tee.has_value() != evidence.has_value() || (tee && *tee != "sgx" && *tee != "snp" && *tee != "tdx")) {
    return Error{Errc::invalid_argument, "tee: sgx, snp or tdx expected beside evidence"};
  }
  if (evidence) out.about.evidence = kbs::Advisor::Evidence{*std::move(evidence), *tee};
  if (path.has_value() != (out.kind == kResourceKind)) {
    return Error{Errc::invalid_argument, "path: that of a resource expected where the kind is resource, and nowhere else"};
  }
  if (path) {
    CLOISTER_TRY(read, rcar::ResourcePath::parse(*path));
    out.path = std::move(read);
    if (out.name) return Error{Errc::invalid_argument, "name: the path says which resource policy decides"};
  }
  return out;
}

/// An answer, whatever the policy says; refused is what cannot be asked.
template <Asks asks>
Result<Response> answer(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  CLOISTER_TRY(question, read_question(request, asks));
  const auto& advisor = broker->advisor();
  if (question.path) {
    CLOISTER_TRY(advice, advisor.resource(question.about, *question.path, question.text, s.clock.now()));
    return http::json_response(show(advice));
  }
  CLOISTER_TRY(advice, advisor.attestation(question.about, question.name, question.text, s.clock.now()));
  return http::json_response(show(advice));
}

// --- reference values ------------------------------------------------------------------------------------------------

Result<std::string> reference_name(const Request& request) {
  auto name = request.param("name");
  if (!name.empty() && name.size() <= kMaxReferenceName) return name;
  return Error{Errc::invalid_argument, "reference value: a name of 1 to 256 bytes expected"};
}

json::Value show_value(std::string_view name, const json::Value& value) {
  return json::Object{{"name", name}, {"value", value}, {"etag", kbs::RuleBook::tag_of(value)}};
}

Result<Response> list_values(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  const auto values = broker->rules().reference_values();
  json::Array out;
  for (const auto& [name, value] : *values.as_object()) out.push_back(show_value(name, value));
  return tagged(request, http::json_response(json::Object{{"reference_values", std::move(out)}}));
}

Result<Response> get_value(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  CLOISTER_TRY(name, reference_name(request));
  CLOISTER_TRY(value, broker->rules().reference_value(name));
  const auto tag = kbs::RuleBook::tag_of(value);
  if (has_already(request, tag)) return not_modified(tag);
  return with_tag(http::json_response(show_value(name, value)), tag);
}

Result<Response> put_value(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  CLOISTER_TRY(name, reference_name(request));
  CLOISTER_TRY(body, http::json_body(request, {.bytes = kMaxValueBody}));
  json::Fields fields{body, "reference value"};
  const auto value = fields.any("value");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(seen, seen_by(request, Seen::unset()));
  CLOISTER_CHECK(broker->rules().set_reference_value(name, value, seen, request.principal->subject, s.clock.now()));
  return with_tag(http::json_response(show_value(name, value)), kbs::RuleBook::tag_of(value));
}

Result<Response> remove_value(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  CLOISTER_TRY(name, reference_name(request));
  CLOISTER_TRY(seen, seen_by(request, Seen::whatever()));
  CLOISTER_CHECK(broker->rules().remove_reference_value(name, seen, request.principal->subject, s.clock.now()));
  return http::no_content();
}

template <PolicyKind kind>
void add_policies(Routes& routes, const Services& services, std::string_view upload) {
  const auto admin = administrators();
  const auto path = "/api/v1/policies/" + std::string{to_string(kind)} + "/{id}";
  const auto name = std::string{to_string(kind)} + " policy of the key broker";
  http::RouteOptions options;
  options.max_body = kMaxPolicyBody;
  routes.add(Method::get, path, admin,
             Doc{"One " + name + " with its text and ETag"}.answers(200, "PolicyText").answers(304), reading(services, get<kind>));
  routes.add(Method::put, path, admin,
             Doc{"Sets a " + name + "; with If-Match in the place of one that was set before"}.takes(upload).answers(200, "Policy"),
             blocking(services, put<kind>), options);
  routes.add(Method::del, path, admin,
             Doc{"Removes a " + name + ", with If-Match only that one; default ones become what is configured, or built in, again"}
                 .answers(204),
             blocking(services, remove<kind>));
}

}  // namespace

void add_policy_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  http::RouteOptions question;
  question.max_body = kMaxQuestion;
  http::RouteOptions value;
  value.max_body = kMaxValueBody;
  routes.add(Method::get, "/api/v1/policies", admin,
             Doc{"The key broker's policies, without their texts"}.answers(200, "PolicyList"), reading(services, list));
  add_policies<PolicyKind::resource>(routes, services, "NewResourcePolicy");
  add_policies<PolicyKind::attestation>(routes, services, "NewAttestationPolicy");
  routes.add(Method::post, "/api/v1/policies/explain", admin,
             Doc{"What the policies of the key broker say of claims, a token or evidence, and why"}
                 .takes("PolicyQuestion")
                 .answers(200, "PolicyAnswer"),
             blocking(services, answer<Asks::of_what_holds>), question);
  routes.add(Method::post, "/api/v1/policies/try", admin,
             Doc{"The same of a policy that is not set"}.takes("PolicyTrial").answers(200, "PolicyAnswer"),
             blocking(services, answer<Asks::of_a_text>), question);
  routes.add(Method::get, "/api/v1/reference-values", admin,
             Doc{"The reference values of the key broker, with ETag"}.answers(200, "ReferenceValueList").answers(304),
             reading(services, list_values));
  const std::string one = "/api/v1/reference-values/{name...}";
  routes.add(Method::get, one, admin, Doc{"A reference value, with ETag"}.answers(200, "ReferenceValueEntry").answers(304),
             reading(services, get_value));
  routes.add(Method::put, one, admin,
             Doc{"Sets a reference value; with If-Match in the place of one that there is"}
                 .takes("NewReferenceValue")
                 .answers(200, "ReferenceValueEntry"),
             blocking(services, put_value), value);
  routes.add(Method::del, one, admin, Doc{"Removes a reference value, with If-Match only that one"}.answers(204),
             blocking(services, remove_value));
}

}  // namespace cloister::api
