#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;
using revocation::Kind;
using revocation::List;

bool of_the_server(const Request& request) { return request.principal->tenant == kServerTenant; }

struct Shown {
  List::Record record;
  bool everywhere;
};

json::Value to_json(const Shown& shown) {
  const auto& record = shown.record;
  json::Object out{{"id", record.id},
                   {"kind", record.kind},
                   {"value", record.value},
                   {"reason", record.reason},
                   {"by", record.by},
                   {"created", to_rfc3339(record.created)},
                   {"everywhere", shown.everywhere}};
  if (record.expires) out.emplace_back("expires", to_rfc3339(*record.expires));
  return out;
}

struct Wanted {
  revocation::Request what;
  bool everywhere = false;
};

Result<Wanted> read_wanted(const json::Value& body) {
  json::Fields fields{body, "revocation"};
  Wanted out;
  const auto kind = fields.string("kind");
  out.what.value = fields.string("value");
  out.what.reason = fields.string("reason");
  out.everywhere = fields.optional_boolean("everywhere").value_or(false);
  const auto lifetime = fields.optional_integer("lifetime_s", 1, std::int64_t{1} << 40);
  CLOISTER_CHECK(fields.finish());
  const auto known = revocation::kind_from_string(kind);
  if (!known) return Error{Errc::invalid_argument, "kind: session, token, measurement or chip expected"};
  out.what.kind = *known;
  if (lifetime) out.what.lifetime = std::chrono::seconds{*lifetime};
  return out;
}

/// Sessions and tokens are one tenant's; what belongs to none, the server's own administrators revoke for all.
Result<List*> list_for(const Services& s, const Request& request, Kind kind, bool everywhere) {
  if (!everywhere) {
    CLOISTER_TRY(broker, broker_of(s, request));
    return &broker->revocations().own();
  }
  if (!of_the_server(request)) {
    return Error{Errc::permission_denied, "everywhere: for administrators of the tenant " + std::string{kServerTenant} + " alone"};
  }
  if (kind != Kind::measurement && kind != Kind::chip) {
    return Error{Errc::invalid_argument, "everywhere: a measurement or a chip expected; sessions and tokens are one tenant's"};
  }
  return &s.revoked;
}

Result<Response> add(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request));
  CLOISTER_TRY(wanted, read_wanted(body));
  CLOISTER_TRY(list, list_for(s, request, wanted.what.kind, wanted.everywhere));
  CLOISTER_TRY(record, list->add(wanted.what, request.principal->subject, s.clock.now()));
  return http::json_response(to_json(Shown{record, wanted.everywhere}), 201);
}

/// Those of all tenants hold for this one's guests too, so its administrators see them.
Result<Response> list(const Services& s, const Request& request) {
  const auto now = s.clock.now();
  std::vector<Shown> all;
  CLOISTER_TRY(of_all, s.revoked.entries(now));
  for (auto& record : of_all) all.push_back({std::move(record), true});
  if (s.guests != nullptr) {
    CLOISTER_TRY(broker, broker_of(s, request));
    CLOISTER_TRY(own, broker->revocations().own().entries(now));
    for (auto& record : own) all.push_back({std::move(record), false});
  }
  return page_of(request, "revocations", all, [](const Shown& one) { return one.record.id; },
                 [](const Shown& one) { return to_json(one); });
}

Result<Response> lift(const Services& s, const Request& request) {
  const auto& id = request.param("id");
  if (!valid_id(id)) return Error{Errc::invalid_argument, "revocation id: an id expected"};
  const auto now = s.clock.now();
  auto done = of_the_server(request) ? s.revoked.lift(id, request.principal->subject, now) : Result<void>{Error{Errc::not_found, "no such revocation"}};
  if (!done && done.error().code() == Errc::not_found && s.guests != nullptr) {
    CLOISTER_TRY(broker, broker_of(s, request));
    done = broker->revocations().own().lift(id, request.principal->subject, now);
  }
  if (!done) return done.error();
  return http::no_content();
}

json::Array texts(const std::vector<std::string>& values) {
  json::Array out;
  for (const auto& value : values) out.emplace_back(value);
  return out;
}

json::Value to_json(const kbs::Handshakes::Session& session) {
  json::Object out{{"session", session.name},
                   {"tee", session.tee},
                   {"state", session.guest ? "attested" : "ended"},
                   {"expires", to_rfc3339(session.expires)},
                   {"revoked", session.revoked}};
  if (session.guest) {
    out.emplace_back("token", session.guest->token_id());
    out.emplace_back("measurements", texts(session.guest->subjects().measurements));
    out.emplace_back("chips", texts(session.guest->subjects().chips));
  }
  return out;
}

Result<Response> guests(const Services& s, const Request& request) {
  CLOISTER_TRY(limit, limit_query(request));
  CLOISTER_TRY(attested, flag_query(request, "attested"));
  CLOISTER_TRY(broker, broker_of(s, request));
  CLOISTER_TRY(sessions, broker->handshakes().sessions(limit, attested.value_or(false), s.clock.now()));
  json::Array out;
  for (const auto& one : sessions) out.push_back(to_json(one));
  return http::json_response(json::Object{{"guests", std::move(out)}});
}

}  // namespace

void add_revocation_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  routes.add(Method::get, "/api/v1/revocations", admin,
             Doc{"What is revoked of the tenant's guests: sessions, tokens, measurements, chips; newest first"}
                 .paged()
                 .answers(200, "RevocationList"),
             reading(services, list));
  routes.add(Method::post, "/api/v1/revocations", admin,
             Doc{"Revokes a session, a token, a measurement or a chip of the tenant's guests, at once; `everywhere`, of all "
                 "tenants', for the server's own administrators"}
                 .takes("NewRevocation")
                 .answers(201, "Revocation"),
             blocking(services, add));
  routes.add(Method::del, "/api/v1/revocations/{id}", admin, Doc{"Lifts a revocation, at once"}.answers(204), blocking(services, lift));
  routes.add(Method::get, "/api/v1/guests", admin,
             Doc{"Sessions of the tenant's guests with the key broker, youngest first, without what opens anything"}
                 .query("limit", "Limit", "How many at most")
                 .query("attested", "Flag", "Those alone that were attested, since strangers can begin any number")
                 .answers(200, "GuestList"),
             reading(services, guests));
}

}  // namespace cloister::api
