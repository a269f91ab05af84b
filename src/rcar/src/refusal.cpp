#include "cloister/rcar/refusal.hpp"

#include "cloister/codec/json.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr std::string_view kPrefix = "https://github.com/confidential-containers/kbs/errors/";
constexpr json::Limits kLimits{.bytes = 64U << 10, .depth = 16, .values = 1024};

}  // namespace

std::string_view to_string(RefusalKind kind) noexcept {
  switch (kind) {
    case RefusalKind::attestation_error: return "AttestationError";
    case RefusalKind::invalid_request_path: return "InvalidRequestPath";
    case RefusalKind::jwe_error: return "JweError";
    case RefusalKind::parse_policy_error: return "ParsePolicyError";
    case RefusalKind::plugin_internal_error: return "PluginInternalError";
    case RefusalKind::plugin_not_found: return "PluginNotFound";
    case RefusalKind::policy_deny: return "PolicyDeny";
    case RefusalKind::policy_engine_error: return "PolicyEngineError";
    case RefusalKind::rvps_error: return "RvpsError";
    case RefusalKind::serde_error: return "SerdeError";
    case RefusalKind::token_not_found: return "TokenNotFound";
    case RefusalKind::token_verifier_error: return "TokenVerifierError";
  }
  return "";
}

std::string write_refusal(RefusalKind kind, std::string_view detail) {
  return json::write(json::Object{{"type", std::string{kPrefix}.append(to_string(kind))}, {"detail", detail}});
}

Result<Refusal> parse_refusal(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("refusal");
  json::Fields fields{*value, "refusal"};
  const auto type = fields.string("type");
  Refusal out;
  out.detail = fields.string("detail");
  CLOISTER_CHECK(fields.finish_lenient());
  out.kind = type.substr(type.rfind('/') + 1);  // npos + 1 is 0: the whole of it
  return out;
}

}  // namespace cloister::rcar
