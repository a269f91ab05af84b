#include "cloister/rcar/administration.hpp"

#include "cloister/codec/text.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr json::Limits kLimits{.bytes = kMaxPolicyMessage, .depth = 4, .values = 64};
constexpr json::Limits kPayloadLimits{.bytes = kMaxPolicyMessage, .depth = 16, .values = 50'000};
constexpr std::string_view kMessageVersion = "0.1.0";
constexpr std::string_view kSample = "sample";

Result<std::string> policy_text(const std::string& encoded) {
  auto bytes = codec::from_base64url(encoded);
  if (!bytes) return Error{Errc::malformed, "policy: base64url without padding expected: " + bytes.error().detail()};
  if (!codec::is_utf8(*bytes)) return Error{Errc::malformed, "policy: not UTF-8"};
  return std::string{as_text(*bytes)};
}

}  // namespace

Result<std::string> parse_resource_policy(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("policy");
  json::Fields fields{*value, "policy"};
  const auto encoded = fields.string("policy");
  CLOISTER_CHECK(fields.finish_lenient());
  return policy_text(encoded);
}

std::string write_resource_policy(std::string_view policy) {
  return json::write(json::Object{{"policy", codec::to_base64url(as_bytes(policy))}});
}

Result<AttestationPolicy> parse_attestation_policy(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("policy");
  json::Fields fields{*value, "policy"};
  AttestationPolicy out;
  out.id = fields.string("policy_id");
  const auto encoded = fields.string("policy");
  CLOISTER_CHECK(fields.finish_lenient());
  CLOISTER_TRY(policy, policy_text(encoded));
  out.policy = std::move(policy);
  return out;
}

std::string write_attestation_policy(const AttestationPolicy& policy) {
  return json::write(json::Object{
      {"type", "rego"}, {"policy_id", policy.id}, {"policy", codec::to_base64url(as_bytes(policy.policy))}});
}

Result<json::Value> parse_reference_values(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("reference values");
  json::Fields fields{*value, "reference values"};
  const auto version = fields.string("version");
  const auto type = fields.string("type");
  const auto payload = fields.base64("payload");
  CLOISTER_CHECK(fields.finish_lenient());
  if (version != kMessageVersion) return Error{Errc::unsupported, "reference values: version 0.1.0 expected, got " + version};
  if (type != kSample) return Error{Errc::unsupported, "reference values: type sample expected, got " + type};
  auto values = json::parse(as_text(payload), kPayloadLimits);
  if (!values) return values.error().in("reference values: payload");
  if (values->as_object() == nullptr) return Error{Errc::malformed, "reference values: payload: an object expected"};
  return values;
}

std::string write_reference_values(const json::Value& values) {
  return json::write(json::Object{
      {"version", kMessageVersion}, {"type", kSample}, {"payload", codec::to_base64(as_bytes(json::write(values)))}});
}

}  // namespace cloister::rcar
