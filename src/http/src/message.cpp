#include "cloister/http/message.hpp"

#include <algorithm>

namespace cloister::http {
namespace {

using Value = codec::json::Value;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// A media type's parameter without its quotes (RFC 9110 section 5.6.6), or nothing.
std::optional<std::string_view> parameter(std::string_view field, std::string_view name) {
  for (auto semicolon = field.find(';'); semicolon != std::string_view::npos; semicolon = field.find(';')) {
    field.remove_prefix(semicolon + 1);
    const auto one = field.substr(0, field.find(';'));
    const auto equals = one.find('=');
    if (equals == std::string_view::npos || !same_name(trimmed(one.substr(0, equals)), name)) continue;
    auto value = trimmed(one.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    return value;
  }
  return std::nullopt;
}

/// The type without parameters, in lower case.
std::string media_type(std::string_view field) {
  std::string out{field.substr(0, field.find(';'))};
  while (!out.empty() && out.back() == ' ') out.pop_back();
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

/// A sentence for the status, as RFC 9457 wants it: the same for every problem of one type.
std::string title(Errc code) {
  std::string out{to_string(code)};
  std::ranges::replace(out, '_', ' ');
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

std::uint64_t body_size(const Response& response) {
  return response.file ? response.file->length : response.body.size();
}

void keep_only(Response& response, const ByteRange& range) {
  if (response.file) {
    response.file->offset += range.offset;
    response.file->length = range.length;
    return;
  }
  const auto begin = response.body.begin() + static_cast<std::ptrdiff_t>(range.offset);
  response.body = Bytes(begin, begin + static_cast<std::ptrdiff_t>(range.length));
}

}  // namespace

std::string_view to_string(Method method) noexcept {
  switch (method) {
    case Method::get: return "GET";
    case Method::head: return "HEAD";
    case Method::post: return "POST";
    case Method::put: return "PUT";
    case Method::patch: return "PATCH";
    case Method::del: return "DELETE";
    case Method::options: return "OPTIONS";
  }
  return "GET";
}

void Headers::add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }

void Headers::set(std::string name, std::string value) {
  std::erase_if(fields_, [&](const Field& field) { return same_name(field.first, name); });
  add(std::move(name), std::move(value));
}

std::optional<std::string_view> Headers::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find_if(fields_, [&](const Field& field) { return same_name(field.first, name); });
  if (found == fields_.end()) return std::nullopt;
  return found->second;
}

bool Principal::has_role(std::string_view role) const noexcept {
  return std::ranges::find(roles, role) != roles.end();
}

BodyFile::~BodyFile() {
  std::error_code ignored;  // whoever moved the file away owns it now
  std::filesystem::remove(path_, ignored);
}

const std::string& Request::param(std::string_view name) const {
  const auto found = params.find(name);
  CLOISTER_ASSERT(found != params.end());
  return found->second;
}

Response json_response(const Value& value, int status) {
  return bytes_response("application/json", to_bytes(codec::json::write(value)), status);
}

Response bytes_response(std::string content_type, Bytes body, int status) {
  Response out;
  out.status = status;
  out.headers.set("Content-Type", std::move(content_type));
  out.body = std::move(body);
  return out;
}

Response file_response(std::string content_type, FileSlice file) {
  Response out;
  out.headers.set("Content-Type", std::move(content_type));
  out.file = std::move(file);
  return out;
}

Response no_content() {
  Response out;
  out.status = 204;
  return out;
}

Response problem(const Error& error, std::string_view request_id) {
  const auto status = http_status(error.code());
  const bool ours = status == 500;
  Value document{codec::json::Object{}};
  document.set("type", "urn:cloister:problem:" + std::string{to_string(error.code())})
      .set("title", title(error.code()))
      .set("status", status)
      .set("detail", ours ? std::string{"the server's log has more under this request id"} : error.detail())
      .set("code", to_string(error.code()))
      .set("request_id", request_id);
  auto out = json_response(document, status);
  out.headers.set("Content-Type", "application/problem+json");
  if (status == 401) out.headers.set("WWW-Authenticate", "Bearer");
  if (status == 429 || status == 503) out.headers.set("Retry-After", "1");
  out.cause = error;
  return out;
}

Result<Value> json_body(const Request& request, const codec::json::Limits& limits) {
  const auto field = request.headers.find("Content-Type");
  const auto type = field ? media_type(*field) : std::string{};
  if (type != "application/json" && !type.ends_with("+json")) {
    return Error{Errc::unsupported_media_type, "application/json expected"};
  }
  if (const auto charset = parameter(*field, "charset"); charset && !same_name(*charset, "utf-8")) {
    return Error{Errc::unsupported_media_type, "JSON is UTF-8 (RFC 8259 section 8.1)"};
  }
  return codec::json::parse(as_text(request.body), limits);
}

Response apply_range(const Request& request, Response whole) {
  if (whole.status != 200) return whole;
  whole.headers.set("Accept-Ranges", "bytes");
  const auto field = request.headers.find("Range");
  if (!field || request.method != Method::get) return whole;
  const auto condition = request.headers.find("If-Range");
  if (condition && condition != whole.headers.find("ETag")) return whole;
  const auto size = body_size(whole);
  const auto decision = decide_range(*field, size);
  switch (decision.kind) {
    case RangeKind::none: return whole;
    case RangeKind::unsatisfiable: {
      auto refused = problem(Error{Errc::range_not_satisfiable, "the range is outside the representation"},
                             request.request_id);
      refused.headers.set("Content-Range", "bytes */" + std::to_string(size));
      return refused;
    }
    case RangeKind::satisfiable: break;
  }
  const auto& range = decision.range;
  keep_only(whole, range);
  whole.status = 206;
  whole.headers.set("Content-Range", "bytes " + std::to_string(range.offset) + '-' +
                                         std::to_string(range.offset + range.length - 1) + '/' + std::to_string(size));
  return whole;
}

}  // namespace cloister::http
