#include "route_table.hpp"

#include <algorithm>
#include <charconv>

#include "cloister/codec/text.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using http::Method;
using Kind = Field::Kind;
using Values = std::map<std::string, json::Value, std::less<>>;

constexpr int kTooLarge = 413;  // the server's own
constexpr int kUnprocessable = 422;

std::int64_t characters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

/// The form of a refusal that FastAPI has: what is wrong, and where.
json::Value problem(std::string_view type, json::Array where, std::string message) {
  return json::Object{{"type", type}, {"loc", std::move(where)}, {"msg", std::move(message)}};
}

/// What hex or base64 stand for, where that is as many bytes.
std::optional<Bytes> bytes_in(std::string_view text, std::size_t count) {
  const auto out = text.size() == 2 * count ? codec::from_hex(text) : codec::from_base64(text);
  return out && out->size() == count ? std::optional{*out} : std::nullopt;
}

struct Wrong {
  std::string_view type;
  std::string message;
};

std::optional<Wrong> check_text(const Field& field, const std::string& text) {
  if (field.kind == Kind::hex) {
    const auto bytes = codec::from_hex(text);
    if (bytes && static_cast<std::int64_t>(bytes->size()) == field.min) return std::nullopt;
    return Wrong{"string_pattern_mismatch", std::to_string(2 * field.min) + " hex digits expected"};
  }
  if (field.kind == Kind::bytes) {
    if (bytes_in(text, static_cast<std::size_t>(field.min))) return std::nullopt;
    return Wrong{"string_pattern_mismatch", std::to_string(field.min) + " bytes as hex or base64 expected"};
  }
  if (!field.choices.empty()) {
    if (std::ranges::find(field.choices, text) != field.choices.end()) return std::nullopt;
    std::string all;
    for (const auto one : field.choices) all += (all.empty() ? "'" : ", '") + std::string{one} + '\'';
    return Wrong{"literal_error", "one of " + all + " expected"};
  }
  const auto length = characters(text);
  if (length < field.min)
    return Wrong{"string_too_short", "at least " + std::to_string(field.min) + " characters expected"};
  if (length > field.max)
    return Wrong{"string_too_long", "at most " + std::to_string(field.max) + " characters expected"};
  return std::nullopt;
}

std::optional<Wrong> check(const Field& field, const json::Value& value) {
  switch (field.kind) {
    case Kind::text:
    case Kind::hex:
    case Kind::bytes:
    case Kind::base64: {
      const auto* text = value.as_string();
      return text == nullptr ? Wrong{"string_type", "a string expected"} : check_text(field, *text);
    }
    case Kind::integer: {
      const auto number = value.as_int();
      if (!number) return Wrong{"int_type", "an integer expected"};
      if (*number < field.min)
        return Wrong{"greater_than_equal", "at least " + std::to_string(field.min) + " expected"};
      if (*number > field.max) return Wrong{"less_than_equal", "at most " + std::to_string(field.max) + " expected"};
      return std::nullopt;
    }
    case Kind::number:
      return value.as_double() ? std::nullopt : std::optional{Wrong{"float_type", "a number expected"}};
    case Kind::boolean:
      return value.as_bool() != nullptr ? std::nullopt : std::optional{Wrong{"bool_type", "true or false expected"}};
    case Kind::object:
      return value.as_object() != nullptr ? std::nullopt : std::optional{Wrong{"dict_type", "an object expected"}};
    case Kind::array:
      return value.as_array() != nullptr ? std::nullopt : std::optional{Wrong{"list_type", "a list expected"}};
    case Kind::any:
      return std::nullopt;
  }
  return std::nullopt;
}

/// What was given by name, against the fields.
class Checker {
 public:
  Checker(const std::vector<Field>& fields, std::string_view where) : fields_{fields}, where_{where} {}

  void unknown(std::string_view name) {
    if (std::ranges::find(fields_, name, &Field::name) == fields_.end()) {
      problems_.push_back(
          problem("extra_forbidden", json::Array{where_, std::string{name.substr(0, 64)}}, "no such field"));
    }
  }
  void take(const Field& field, const json::Value* value) {
    if (value == nullptr || (value->is_null() && !field.required)) {
      if (field.required)
        problems_.push_back(problem("missing", json::Array{where_, field.name}, "field required"));
      else if (!field.fallback.is_null())
        values_.emplace(field.name, field.fallback);
      return;
    }
    if (auto wrong = check(field, *value)) {
      problems_.push_back(problem(wrong->type, json::Array{where_, field.name}, std::move(wrong->message)));
      return;
    }
    values_.emplace(field.name, *value);
  }
  [[nodiscard]] json::Array& problems() { return problems_; }
  [[nodiscard]] Values take_values() { return std::move(values_); }

 private:
  const std::vector<Field>& fields_;
  std::string_view where_;
  json::Array problems_;
  Values values_;
};

/// A query parameter as the field's kind has it; text where it is none.
json::Value query_value(const Field& field, std::string_view text) {
  if (field.kind == Kind::boolean && (text == "true" || text == "false")) return text == "true";
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (field.kind == Kind::integer && failure == std::errc{} && end == text.data() + text.size()) return number;
  return text;
}

http::Response unprocessable(json::Array problems) {
  return http::json_response(json::Object{{"detail", std::move(problems)}}, kUnprocessable);
}

bool takes_body(const Route& route) { return route.method == Method::post && !route.in_query; }

/// Without its port.
std::string_view host_of(std::string_view field) {
  const auto end = field.starts_with('[') ? field.find(']') + 1 : std::min(field.find(':'), field.size());
  return field.substr(0, end);
}

/// Another's page, also one whose name was made to lead here.
bool from_elsewhere(const http::Request& request, const std::vector<std::string>& allowed) {
  const auto named = host_of(request.headers.find("Host").value_or(""));
  if (named != "127.0.0.1" && named != "localhost" && named != "[::1]") return true;
  const auto origin = request.headers.find("Origin");
  if (!origin || std::ranges::find(allowed, *origin) != allowed.end()) return false;
  const auto host = origin->find("://");
  return host == std::string_view::npos || request.headers.find("Host") != origin->substr(host + 3);
}

json::Value schema_of(const Field& field) {
  json::Object out;
  if (!field.what.empty()) out.emplace_back("description", field.what);
  const auto bounds = [&](std::string_view least, std::string_view most) {
    out.emplace_back(std::string{least}, field.min);
    out.emplace_back(std::string{most}, field.max);
  };
  switch (field.kind) {
    case Kind::text:
      out.emplace_back("type", "string");
      if (!field.choices.empty()) {
        json::Array choices;
        for (const auto one : field.choices) choices.emplace_back(one);
        out.emplace_back("enum", std::move(choices));
      } else if (field.max > 0) {
        bounds("minLength", "maxLength");
      }
      break;
    case Kind::hex:
      out.emplace_back("type", "string");
      out.emplace_back("pattern", "^[0-9a-fA-F]{" + std::to_string(2 * field.min) + "}$");
      break;
    case Kind::bytes: {
      const auto base64_size = (field.min + 2) / 3 * 4;
      out.emplace_back("type", "string");
      out.emplace_back(
          "anyOf",
          json::Array{
              json::Object{{"pattern", "^[0-9a-fA-F]{" + std::to_string(2 * field.min) + "}$"}},
              json::Object{{"contentEncoding", "base64"}, {"minLength", base64_size}, {"maxLength", base64_size}}});
      break;
    }
    case Kind::base64:
      out.emplace_back("type", "string");
      out.emplace_back("contentEncoding", "base64");
      break;
    case Kind::integer:
      out.emplace_back("type", "integer");
      bounds("minimum", "maximum");
      break;
    case Kind::number:
      out.emplace_back("type", "number");
      break;
    case Kind::boolean:
      out.emplace_back("type", "boolean");
      break;
    case Kind::object:
      out.emplace_back("type", "object");
      break;
    case Kind::array:
      out.emplace_back("type", "array");
      break;
    case Kind::any:
      break;
  }
  if (!field.fallback.is_null()) out.emplace_back("default", field.fallback);
  return out;
}

json::Value schema_of(const std::vector<Field>& fields, bool closed) {
  json::Object properties;
  json::Array required;
  for (const auto& field : fields) {
    properties.emplace_back(std::string{field.name}, schema_of(field));
    if (field.required) required.emplace_back(field.name);
  }
  json::Object out{{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) out.emplace_back("required", std::move(required));
  if (closed) out.emplace_back("additionalProperties", false);
  return out;
}

/// The names in braces.
std::vector<std::string> parameters_of(std::string_view pattern) {
  std::vector<std::string> out;
  for (auto at = pattern.find('{'); at != std::string_view::npos; at = pattern.find('{', at + 1)) {
    out.emplace_back(pattern.substr(at + 1, pattern.find('}', at) - at - 1));
  }
  return out;
}

std::string operation_id(const Route& route) {
  std::string out;
  for (const char c : std::string{to_string(route.method)} + route.pattern) {
    if (c >= 'A' && c <= 'Z')
      out += static_cast<char>(c + 32);
    else if ((c >= 'a' && c <= 'z') || c == '_')
      out += c;
    else if (!out.ends_with('_'))
      out += '_';
  }
  while (out.ends_with('_')) out.pop_back();
  return out;
}

json::Value operation_of(const Route& route) {
  json::Array parameters;
  for (const auto& name : parameters_of(route.pattern)) {
    parameters.emplace_back(
        json::Object{{"name", name}, {"in", "path"}, {"required", true}, {"schema", json::Object{{"type", "string"}}}});
  }
  json::Object out{{"summary", route.summary}, {"operationId", operation_id(route)}, {"tags", json::Array{route.tag}}};
  if (takes_body(route)) {
    out.emplace_back(
        "requestBody",
        json::Object{
            {"required", true},
            {"x-max-bytes", std::uint64_t{kMaxBody}},
            {"content", json::Object{{"application/json", json::Object{{"schema", schema_of(route.takes, true)}}}}}});
  } else {
    for (const auto& field : route.takes) {
      parameters.emplace_back(json::Object{
          {"name", field.name}, {"in", "query"}, {"required", field.required}, {"schema", schema_of(field)}});
    }
  }
  if (!parameters.empty()) out.emplace_back("parameters", std::move(parameters));
  json::Object responses;
  json::Object good{{"description", "As the summary says"}};
  if (!route.answers.empty()) {
    good.emplace_back("content",
                      json::Object{{"application/json", json::Object{{"schema", schema_of(route.answers, false)}}}});
  }
  responses.emplace_back("200", std::move(good));
  for (const int status : statuses_of(route)) {
    const bool servers = status == kTooLarge;
    responses.emplace_back(std::to_string(status), json::Object{{"$ref", std::string{"#/components/responses/"} +
                                                                             (servers ? "Problem" : "Refusal")}});
  }
  responses.emplace_back("default", json::Object{{"$ref", "#/components/responses/Problem"}});
  out.emplace_back("responses", std::move(responses));
  return out;
}

}  // namespace

Field text(std::string_view name, std::string_view what, std::int64_t max, std::int64_t min) {
  return {.name = name, .kind = Kind::text, .what = what, .required = true, .min = min, .max = max};
}
Field hex(std::string_view name, std::string_view what, std::int64_t bytes) {
  return {.name = name, .kind = Kind::hex, .what = what, .required = true, .min = bytes, .max = bytes};
}
Field bytes(std::string_view name, std::string_view what, std::int64_t count) {
  return {.name = name, .kind = Kind::bytes, .what = what, .required = true, .min = count, .max = count};
}
Field base64(std::string_view name, std::string_view what) {
  return {.name = name, .kind = Kind::base64, .what = what, .required = true, .min = 0, .max = kMaxBody};
}
Field integer(std::string_view name, std::string_view what, std::int64_t min, std::int64_t max) {
  return {.name = name, .kind = Kind::integer, .what = what, .required = true, .min = min, .max = max};
}
Field boolean(std::string_view name, std::string_view what) {
  return {.name = name, .kind = Kind::boolean, .what = what};
}
Field object(std::string_view name, std::string_view what) {
  return {.name = name, .kind = Kind::object, .what = what};
}
Field array(std::string_view name, std::string_view what) { return {.name = name, .kind = Kind::array, .what = what}; }
Field any(std::string_view name, std::string_view what) { return {.name = name, .kind = Kind::any, .what = what}; }
Field choice(std::string_view name, std::string_view what, std::vector<std::string_view> choices) {
  return {.name = name,
          .kind = Kind::text,
          .what = what,
          .required = true,
          .min = 0,
          .max = 0,
          .choices = std::move(choices)};
}

const json::Value& Input::value(std::string_view name) const {
  const auto found = values_.find(name);
  CLOISTER_ASSERT(found != values_.end());
  return found->second;
}
const std::string& Input::text(std::string_view name) const {
  const auto* out = value(name).as_string();
  CLOISTER_ASSERT(out != nullptr);
  return *out;
}
std::optional<std::string> Input::optional_text(std::string_view name) const {
  return values_.contains(name) ? std::optional{text(name)} : std::nullopt;
}
const json::Value* Input::optional_value(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}
std::uint64_t Input::number(std::string_view name) const {
  const auto out = value(name).as_uint();
  CLOISTER_ASSERT(out.has_value());
  return *out;
}
bool Input::flag(std::string_view name) const { return values_.contains(name) && *value(name).as_bool(); }
std::optional<Bytes> Input::decoded(std::string_view name, std::size_t size) const {
  const auto given = optional_text(name);
  return given ? bytes_in(*given, size) : std::nullopt;
}

std::set<int> statuses_of(const Route& route) {
  std::set<int> out{route.refusals.begin(), route.refusals.end()};
  out.insert(kTooLarge);
  // A page of another origin, and a field that is not the route's: the table refuses them of every route. What the lab
  // should never say is a 500.
  if (route.run) out.insert({http_status(Errc::permission_denied), kUnprocessable, http_status(Errc::internal)});
  return out;
}

http::Response refusal(const Error& error) {
  const auto status = error.code() == Errc::invalid_argument ? kUnprocessable : http_status(error.code());
  auto out = http::json_response(
      json::Object{{"detail", status == 500 ? std::string{"internal error"} : error.detail()}}, status);
  out.cause = error;
  return out;
}

Result<void> RouteTable::admit(const http::Request& request) const {
  if (!from_elsewhere(request, allowed_origins_)) return {};
  return Error{Errc::permission_denied,
               "Origin, Host: pages of other origins may not use this server; see --allow-origin"};
}

http::Response RouteTable::answer(const Route& route, const http::Request& request) const {
  if (const auto admitted = admit(request); !admitted) return refusal(admitted.error());
  json::Value body{json::Object{}};
  Values values;
  if (takes_body(route)) {
    auto parsed = http::json_body(request, {.bytes = kMaxBody, .depth = 32, .values = 100'000});
    if (!parsed) return unprocessable({problem("json_invalid", json::Array{"body"}, parsed.error().detail())});
    body = *std::move(parsed);
    if (body.as_object() == nullptr)
      return unprocessable({problem("dict_type", json::Array{"body"}, "an object expected")});
  }
  const bool in_body = takes_body(route);
  const std::vector<Field> none;
  Checker of_body{in_body ? route.takes : none, "body"};
  Checker of_query{in_body ? none : route.takes, "query"};
  for (const auto& [name, value] : *body.as_object()) of_body.unknown(name);
  for (const auto& [name, value] : request.query.all()) of_query.unknown(name);
  for (const auto& field : route.takes) {
    if (in_body) {
      of_body.take(field, body.find(field.name));
    } else if (const auto given = request.query.find(field.name)) {
      const auto value = query_value(field, *given);
      of_query.take(field, &value);
    } else {
      of_query.take(field, nullptr);
    }
  }
  auto problems = std::move(of_body.problems());
  for (auto& one : of_query.problems()) problems.push_back(std::move(one));
  if (!problems.empty()) return unprocessable(std::move(problems));
  values = in_body ? of_body.take_values() : of_query.take_values();
  for (const auto& [name, value] : request.params) values.emplace(name, value);
  auto result = route.run(Input{std::move(values)});
  if (!result) return refusal(result.error());
  return http::json_response(*result);
}

void RouteTable::fill(http::Router& router) const {
  http::RouteOptions options;
  options.max_body = kMaxBody;
  for (const auto& route : routes_) {
    router.add(
        route.method, route.pattern, http::kPublic,
        [this, &route](http::Request request) -> runtime::Task<http::Response> { co_return answer(route, request); },
        options);
  }
}

json::Value RouteTable::openapi() const {
  std::map<std::string, json::Object> paths;
  for (const auto* list : {&routes_, &others_}) {
    for (const auto& route : *list) {
      std::string method;
      for (const char c : to_string(route.method)) method += static_cast<char>(c + 32);
      paths[route.pattern].emplace_back(method, operation_of(route));
    }
  }
  json::Object sorted;
  for (auto& [path, operations] : paths) sorted.emplace_back(path, std::move(operations));
  const json::Value refused = json::Object{
      {"description", "Why not: a sentence, or for each wrong field what is wrong and where"},
      {"content",
       json::Object{
           {"application/json",
            json::Object{
                {"schema",
                 json::Object{{"type", "object"},
                              {"required", json::Array{"detail"}},
                              {"properties",
                               json::Object{{"detail", json::Object{{"type", json::Array{"string", "array"}}}}}}}}}}}}};
  const auto text_of = [](std::string_view what) { return json::Object{{"type", "string"}, {"description", what}}; };
  const json::Value problem = json::Object{
      {"description",
       "What the server itself refuses (RFC 9457): a request that is no HTTP, too large or too late, a server that is "
       "busy"},
      {"content",
       json::Object{
           {"application/problem+json",
            json::Object{{"schema", json::Object{{"type", "object"},
                                                 {"required", json::Array{"status", "detail", "code"}},
                                                 {"properties",
                                                  json::Object{{"status", json::Object{{"type", "integer"}}},
                                                               {"detail", text_of("Why not")},
                                                               {"code", text_of("Stable name of the error")}}}}}}}}}};
  return json::Object{
      {"openapi", "3.1.0"},
      {"info", json::Object{{"title", "Cloister lab"},
                            {"version", "1"},
                            {"description",
                             "LAB ONLY - NOT HARDWARE. Simulated enclaves and VMs that speak the real formats."}}},
      {"paths", std::move(sorted)},
      {"components", json::Object{{"responses", json::Object{{"Refusal", refused}, {"Problem", problem}}}}}};
}

}  // namespace cloister::lab_service
