#include "handlers.hpp"

#include "cloister/storage/access.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::int64_t kMaxLifetimeSeconds = 366 * 24 * 3600;
constexpr std::string_view kTokenIssued = "token.issued";
constexpr std::string_view kTokenRevoked = "token.revoked";

Result<Response> issue(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "token"};
  session::OperatorClaims claims;
  claims.subject = fields.string("name");
  claims.role = fields.string("role");
  const auto tenant = fields.optional_string("tenant");
  const auto lifetime = fields.optional_integer("lifetime_s", 60, kMaxLifetimeSeconds).value_or(24 * 3600);
  CLOISTER_CHECK(fields.finish());
  if (!valid_id(claims.subject)) return Error{Errc::invalid_argument, "name: an id expected"};
  if (!session::known_role(claims.role)) return Error{Errc::invalid_argument, "role: 'admin', 'client' or 'monitor' expected"};
  claims.id = random_id("tok", s.random);
  claims.tenant = tenant_of(request);
  if (tenant) {
    CLOISTER_TRY(other, TenantId::parse(*tenant));
    if (other != claims.tenant && claims.tenant.str() != kServerTenant) {
      return Error{Errc::permission_denied, "tenant: administrators of one issue tokens of their own"};
    }
    claims.tenant = std::move(other);
  }
  claims.issued = s.clock.now();
  claims.expires = claims.issued + std::chrono::seconds{lifetime};
  CLOISTER_TRY(token, issue_token(s.database, s.log, s.tokens, claims, request.principal->subject));
  return http::json_response(
      json::Object{{"id", claims.id}, {"token", token}, {"expires", to_rfc3339(claims.expires)}}, 201);
}

json::Value token_json(const storage::tokens::Record& token) {
  json::Object out{{"id", token.id},
                   {"name", token.name},
                   {"role", token.role},
                   {"tenant", token.tenant.str()},
                   {"created", to_rfc3339(token.created)},
                   {"revoked", token.revoked}};
  if (token.expires) out.emplace_back("expires", to_rfc3339(*token.expires));
  return out;
}

Result<Response> list(const Services& s, const Request& request) {
  CLOISTER_TRY(snapshot, s.database.read());
  CLOISTER_TRY(tokens, storage::tokens::list(snapshot, tenant_of(request)));
  CLOISTER_TRY(revoked, flag_query(request, "revoked"));
  if (revoked) std::erase_if(tokens, [&](const auto& token) { return token.revoked != *revoked; });
  return page_of(request, "tokens", tokens, [](const auto& token) { return token.id; }, token_json);
}

Result<void> revoke_token(const Services& s, const Request& request) {
  CLOISTER_TRY(transaction, s.database.write());
  CLOISTER_TRY(token, storage::tokens::get(transaction, request.param("id")));
  if (token.tenant != tenant_of(request)) return Error{Errc::not_found, "no such token"};
  CLOISTER_CHECK(storage::tokens::revoke(transaction, token.id));
  merkle::AuditLeaf leaf;
  leaf.time = s.clock.now();
  leaf.kind = kTokenRevoked;
  leaf.subject = token.id;
  leaf.details = {{"by", request.principal->subject}};
  CLOISTER_CHECK(s.log.append(transaction, leaf));
  return transaction.commit();
}

Result<Response> revoke(const Services& s, const Request& request) {
  if (!valid_id(request.param("id"))) return Error{Errc::invalid_argument, "token id: an id expected"};
  CLOISTER_CHECK(revoke_token(s, request));
  CLOISTER_CHECK(s.log.cover(s.clock.now()));
  return http::no_content();
}

}  // namespace

http::Authenticator make_authenticator(const Services& services) {
  return [&services](std::string bearer) -> Task<Result<http::Principal>> {
    auto work = [&services, bearer = std::move(bearer)]() -> Result<http::Principal> {
      CLOISTER_TRY(claims, services.tokens.verify(bearer, services.clock.now()));
      if (claims.role != session::kHostRole) {  // a host's token lives as long as its connection, and is not stored
        CLOISTER_TRY(snapshot, services.database.read());
        auto token = storage::tokens::get(snapshot, claims.id);
        if (!token) return Error{Errc::unauthenticated, "this token is not known"};
        if (token->revoked) return Error{Errc::unauthenticated, "this token was revoked"};
      }
      return http::Principal{claims.subject, claims.tenant.str(), {claims.role}, claims.id};
    };
    co_return co_await run_in_time(services.readers, services.patience, std::move(work));
  };
}

Result<std::string> issue_token(storage::Database& database, audit::Log& log, const session::OperatorTokens& tokens,
                                const session::OperatorClaims& claims, std::string_view by) {
  CLOISTER_TRY(transaction, database.write());
  storage::tokens::Record record;
  record.id = claims.id;
  record.role = claims.role;
  record.tenant = claims.tenant;
  record.name = claims.subject;
  record.created = claims.issued;
  record.expires = claims.expires;
  CLOISTER_CHECK(storage::tokens::add(transaction, record));
  merkle::AuditLeaf leaf;
  leaf.time = claims.issued;
  leaf.kind = kTokenIssued;
  leaf.subject = claims.id;
  leaf.details = {{"name", claims.subject}, {"role", claims.role}, {"tenant", claims.tenant.str()}, {"by", std::string{by}}};
  CLOISTER_CHECK(log.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return tokens.issue(claims);
}

void add_token_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  routes.add(Method::post, "/api/v1/tokens", admin,
             Doc{"Issues a token, of the caller's tenant unless the server's own says another; answered once, not kept"}
                 .takes("NewToken")
                 .answers(201, "IssuedToken"),
             blocking(services, issue));
  routes.add(Method::get, "/api/v1/tokens", admin,
             Doc{"The tenant's tokens, newest first"}
                 .query("revoked", "Flag", "Those alone that were, or were not, revoked")
                 .paged()
                 .answers(200, "TokenList"),
             reading(services, list));
  routes.add(Method::del, "/api/v1/tokens/{id}", admin, Doc{"Revokes a token, at once"}.answers(204),
             blocking(services, revoke));
}

}  // namespace cloister::api
