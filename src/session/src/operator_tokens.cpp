#include "cloister/session/operator_tokens.hpp"

#include "cloister/codec/json.hpp"
#include "cloister/crypto/jose.hpp"

namespace cloister::session {
namespace {

namespace json = codec::json;

constexpr std::string_view kKeyId = "operator";
constexpr std::string_view kType = "JWT";

std::int64_t seconds(UnixTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

UnixTime from_seconds(std::int64_t count) { return UnixTime{std::chrono::seconds{count}}; }

Error refused(std::string why) { return Error{Errc::unauthenticated, std::move(why)}; }

}  // namespace

bool known_role(std::string_view role) noexcept {
  return role == kAdminRole || role == kClientRole || role == kMonitorRole;
}

std::string OperatorTokens::issue(const OperatorClaims& claims) const {
  const json::Value payload = json::Object{{"iss", server_id_},
                                           {"aud", server_id_},
                                           {"sub", claims.subject},
                                           {"jti", claims.id},
                                           {"tenant", claims.tenant.str()},
                                           {"role", claims.role},
                                           {"iat", seconds(claims.issued)},
                                           {"exp", seconds(claims.expires)}};
  return crypto::jose::sign_ed25519(key_, kKeyId, kType, payload);
}

Result<OperatorClaims> OperatorTokens::verify(std::string_view token, UnixTime now) const {
  auto payload = crypto::jose::verify_ed25519(token, key_.public_key(), kType);
  if (!payload) return refused("Cannot verify token with any of the issuers: it is none of this server's");
  json::Fields fields{*payload, "token"};
  const auto issuer = fields.string("iss");
  const auto audience = fields.string("aud");
  OperatorClaims claims;
  claims.subject = fields.string("sub");
  claims.id = fields.string("jti");
  auto tenant = TenantId::parse(fields.string("tenant"));
  claims.role = fields.string("role");
  constexpr std::int64_t kMaxSeconds = 253'402'300'799;  // the end of year 9999
  claims.issued = from_seconds(fields.integer("iat", 0, kMaxSeconds));
  claims.expires = from_seconds(fields.integer("exp", 0, kMaxSeconds));
  if (!fields.finish() || !tenant || (!known_role(claims.role) && claims.role != kHostRole)) return refused("the token's claims are not understood");
  if (issuer != server_id_ || audience != server_id_) return refused("the token is for another server");
  // `iat` is not compared with the clock: nobody but this server signs its tokens, and it makes none for later. One from
  // the future means that the clock went back, which must lock nobody out.
  if (now >= claims.expires) return refused("the token expired at " + to_rfc3339(claims.expires));
  claims.tenant = *std::move(tenant);
  return claims;
}

}  // namespace cloister::session
