#include "routes.hpp"

#include <algorithm>
#include <map>

#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kBytes = "application/octet-stream";

constexpr std::string_view kDescription =
    "Orchestrates confidential workloads. Refusals are problems (RFC 9457) whose `code` is stable. A client sends "
    "`Authorization: Bearer`; the roles that a route asks for are in its `security`, any one of them is enough, and "
    "with `x-tenant` the token has to be of that tenant. GET is answered for HEAD too. A request with a query parameter "
    "that the route does not have is refused.";

json::Value reference(std::string_view kind, std::string_view name) {
  return json::Object{{"$ref", "#/components/" + std::string{kind} + '/' + std::string{name}}};
}
json::Value schema(std::string_view name) { return reference("schemas", name); }

json::Value content(std::string_view type, json::Value of) {
  return json::Object{{std::string{type}, json::Object{{"schema", std::move(of)}}}};
}
/// In OpenAPI 3.1 what is no JSON has no schema.
json::Value opaque_content(std::string_view type) { return json::Object{{std::string{type}, json::Object{}}}; }

std::vector<std::string> segments_of(std::string_view pattern) {
  std::vector<std::string> out;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);
    const auto end = std::min(pattern.find('/'), pattern.size());
    out.emplace_back(pattern.substr(0, end));
    pattern.remove_prefix(end);
  }
  return out;
}

/// "id" of "{id}", "path" of "{path...}"; empty for a literal.
std::string parameter_of(std::string_view segment) {
  if (!segment.starts_with('{')) return {};
  segment.remove_prefix(1);
  segment.remove_suffix(segment.ends_with("...}") ? 4 : 1);
  return std::string{segment};
}

/// The pattern as OpenAPI writes it.
std::string path_of(std::string_view pattern) {
  std::string out;
  for (const auto& segment : segments_of(pattern)) {
    const auto name = parameter_of(segment);
    out += '/' + (name.empty() ? segment : '{' + name + '}');
  }
  return out;
}

/// "get_jobs_id_receipt".
std::string operation_id(std::string_view method, std::string_view pattern) {
  std::string out{method};
  for (const auto& segment : segments_of(pattern)) {
    const auto name = parameter_of(segment);
    if (segment == "api" || segment == "v1") continue;
    out += '_' + (name.empty() ? segment : name);
  }
  std::ranges::replace(out, '.', '_');
  return out;
}

std::string tag_of(std::string_view pattern) {
  const auto segments = segments_of(pattern);
  return segments.size() > 2 && segments[0] == "api" ? segments[2] : "system";
}

std::string_view path_schema(std::string_view name) {
  if (name == "digest") return "Sha256";
  if (name == "path") return "SecretPath";
  if (name == "purpose") return "Purpose";
  if (name == "version") return "KeyVersion";
  if (name == "repository" || name == "type" || name == "tag") return "ResourceName";
  if (name == "name") return "ReferenceName";
  return "Id";
}

std::string lower(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

json::Value security_of(const http::AuthPolicy& policy) {
  json::Array out;
  if (policy.is_public()) return out;
  for (const auto& role : policy.roles()) out.emplace_back(json::Object{{"token", json::Array{role}}});
  return out;
}

std::string meaning_of(int status) {
  switch (status) {
    case 101: return "Switches to the WebSocket protocol";
    case 200: return "As it is";
    case 201: return "Made";
    case 204: return "Done; there is nothing to say";
    case 206: return "The part that Range asked for";
    case 304: return "As the client has it already";
    default: return "See the summary";
  }
}

Result<void> of_the_server(const http::Request& request) {
  if (request.principal && request.principal->tenant == kServerTenant) return {};
  return Error{Errc::permission_denied, "for administrators of the tenant " + std::string{kServerTenant} + " alone"};
}

Result<void> known_queries(const http::Request& request, const std::vector<std::string>& names) {
  for (const auto& [name, value] : request.query.all()) {
    if (std::ranges::find(names, name) == names.end()) {
      return Error{Errc::invalid_argument, "no such query parameter: " + name};
    }
  }
  return {};
}

}  // namespace

Doc Doc::query(std::string_view name, std::string_view schema, std::string_view what) && {
  query_.push_back({std::string{name}, std::string{schema}, std::string{what}});
  return std::move(*this);
}

Doc Doc::paged() && {
  return std::move(*this)
      .query("limit", "Limit", "How many at most")
      .query("cursor", "Cursor", "`next` of the page before");
}

Doc Doc::takes(std::string_view schema) && {
  body_ = schema;
  return std::move(*this);
}

Doc Doc::takes_bytes() && {
  body_bytes_ = true;
  return std::move(*this);
}

Doc Doc::answers(int status, std::string_view schema) && {
  answers_.push_back({status, std::string{schema}, std::string{kJson}});
  return std::move(*this);
}

Doc Doc::answers_as(int status, std::string_view media_type) && {
  answers_.push_back({status, {}, std::string{media_type}});
  return std::move(*this);
}

Doc Doc::answers(int status) && {
  answers_.push_back({status, {}, {}});
  return std::move(*this);
}

Doc Doc::with_head() && {
  head_ = true;
  return std::move(*this);
}

Doc Doc::of_the_server() && {
  of_the_server_ = true;
  return std::move(*this);
}

Routes& Routes::add(Method method, std::string pattern, http::AuthPolicy policy, Doc doc, http::Handler handler,
                    http::RouteOptions options) {
  std::vector<std::string> names;
  for (const auto& parameter : doc.query_) names.push_back(parameter.name);
  router_.add(method, pattern, policy,
              [names = std::move(names), handler = std::move(handler),
               server = doc.of_the_server_](http::Request request) -> Task<http::Response> {
                auto allowed = server ? of_the_server(request) : Result<void>{};
                if (allowed) allowed = known_queries(request, names);
                if (!allowed) co_return refuse(request, allowed.error());
                co_return co_await handler(std::move(request));
              },
              options);
  entries_.push_back({method, std::move(pattern), std::move(policy), std::move(doc), options.max_body, false});
  return *this;
}

Routes& Routes::add_websocket(std::string pattern, http::AuthPolicy policy, http::WebSocketLimits limits, Doc doc,
                              http::WebSocketHandler handler) {
  router_.add_websocket(pattern, policy, limits, std::move(handler));
  entries_.push_back({Method::get, std::move(pattern), std::move(policy), std::move(doc), 0, true});
  return *this;
}

json::Value Routes::operation(const Entry& entry, std::string_view method) {
  json::Array parameters;
  for (const auto& segment : segments_of(entry.pattern)) {
    const auto name = parameter_of(segment);
    if (name.empty()) continue;
    parameters.emplace_back(
        json::Object{{"name", name}, {"in", "path"}, {"required", true}, {"schema", schema(path_schema(name))}});
  }
  for (const auto& query : entry.doc.query_) {
    parameters.emplace_back(json::Object{
        {"name", query.name}, {"in", "query"}, {"description", query.what}, {"schema", schema(query.schema)}});
  }
  json::Object out{{"summary", entry.doc.summary_},
                   {"operationId", operation_id(method, entry.pattern)},
                   {"tags", json::Array{tag_of(entry.pattern)}},
                   {"security", security_of(entry.policy)}};
  if (entry.doc.of_the_server_) out.emplace_back("x-tenant", kServerTenant);
  if (!parameters.empty()) out.emplace_back("parameters", std::move(parameters));
  if (!entry.doc.body_.empty() || entry.doc.body_bytes_) {
    out.emplace_back("requestBody",
                     json::Object{{"required", true},
                                  {"x-max-bytes", static_cast<std::uint64_t>(entry.max_body)},
                                  {"content", entry.doc.body_bytes_ ? opaque_content(kBytes)
                                                                    : content(kJson, schema(entry.doc.body_))}});
  }
  json::Object responses;
  for (const auto& answer : entry.doc.answers_) {
    json::Object response{{"description", meaning_of(answer.status)}};
    if (method != "head" && !answer.media_type.empty()) {
      response.emplace_back("content", answer.schema.empty() ? opaque_content(answer.media_type)
                                                             : content(answer.media_type, schema(answer.schema)));
    }
    responses.emplace_back(std::to_string(answer.status), std::move(response));
  }
  responses.emplace_back("default", reference("responses", "Problem"));
  out.emplace_back("responses", std::move(responses));
  return out;
}

json::Value Routes::document() const {
  std::map<std::string, json::Object> paths;
  for (const auto& entry : entries_) {
    auto& operations = paths[path_of(entry.pattern)];
    const auto method = lower(to_string(entry.method));
    operations.emplace_back(method, operation(entry, method));
    if (entry.doc.head_) operations.emplace_back("head", operation(entry, "head"));
  }
  json::Object sorted;
  for (auto& [path, operations] : paths) sorted.emplace_back(path, std::move(operations));
  const json::Value problem = json::Object{{"description", "A refusal (RFC 9457)"},
                                           {"content", content("application/problem+json", schema("Problem"))}};
  return json::Object{
      {"openapi", "3.1.0"},
      {"info", json::Object{{"title", "Cloister"}, {"version", "1"}, {"description", kDescription}}},
      {"paths", std::move(sorted)},
      {"components",
       json::Object{{"securitySchemes", json::Object{{"token", json::Object{{"type", "http"},
                                                                            {"scheme", "bearer"},
                                                                            {"bearerFormat", "JWT"}}}}},
                    {"responses", json::Object{{"Problem", problem}}},
                    {"schemas", schemas()}}}};
}

}  // namespace cloister::api
