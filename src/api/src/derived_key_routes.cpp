#include "handlers.hpp"

#include <algorithm>
#include <charconv>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::size_t kMaxConditions = 64 * 1024;
constexpr std::size_t kCursorSize = 32;  // hex digits

struct Which {
  ChallengeId challenge;
  std::string purpose;
};

Result<Which> which(const Request& request) {
  CLOISTER_TRY(challenge, id_param<ChallengeId>(request, "challenge"));
  const auto& purpose = request.param("purpose");
  if (!model::valid_purpose(purpose))
    return Error{Errc::invalid_argument, "purpose: an id of at most 40 characters expected"};
  return Which{std::move(challenge), std::string{purpose}};
}

Result<std::uint64_t> number(const Request& request) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62U;
  const auto& text = request.param("version");
  std::uint64_t out = 0;
  const auto* const end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, out);
  if (failure == std::errc{} && stopped == end && out >= 1 && out <= kMost && text.front() != '0') return out;
  return Error{Errc::invalid_argument, "version: a number from 1 on expected"};
}

/// Conditions say who gets a key: instances that were refused may have it now.
Result<Response> put_version(const Services& s, const Request& request) {
  CLOISTER_TRY(key, which(request));
  CLOISTER_TRY(version, number(request));
  CLOISTER_TRY(body, http::json_body(request));
  CLOISTER_TRY(conditions, model::parse_release_conditions(body));
  CLOISTER_TRY(put, s.broker.derived_keys().put(tenant_of(request), key.challenge, key.purpose, version, conditions,
                                                request.principal->subject, s.clock.now()));
  if (put.made) s.fleet.wake();
  return http::json_response(model::to_json(put.version), put.made ? 201 : 200);
}

Result<Response> list_keys(const Services& s, const Request& request) {
  CLOISTER_TRY(keys, s.broker.derived_keys().list(tenant_of(request)));
  // Two ids are no id, so that the hash of both is the cursor.
  const auto cursor = [](const model::DerivedKey& key) {
    return codec::to_hex(crypto::sha256(as_bytes(key.challenge.str() + '/' + key.purpose))).substr(0, kCursorSize);
  };
  return page_of(request, "derived-keys", keys, cursor, [](const model::DerivedKey& key) -> json::Value {
    const auto revoked =
        std::ranges::count_if(key.versions, [](const auto& version) { return version.revoked.has_value(); });
    return json::Object{{"challenge", key.challenge.str()},
                        {"purpose", key.purpose},
                        {"version", key.versions.back().version},
                        {"revoked", std::int64_t{revoked}},
                        {"created", to_rfc3339(key.versions.back().created)}};
  });
}

Result<Response> get_key(const Services& s, const Request& request) {
  CLOISTER_TRY(key, which(request));
  CLOISTER_TRY(found, s.broker.derived_keys().get(tenant_of(request), key.challenge, key.purpose));
  return http::json_response(model::to_json(found));
}

Result<Response> revoke_version(const Services& s, const Request& request) {
  CLOISTER_TRY(key, which(request));
  CLOISTER_TRY(version, number(request));
  CLOISTER_CHECK(s.broker.derived_keys().revoke(tenant_of(request), key.challenge, key.purpose, version,
                                                request.principal->subject, s.clock.now()));
  CLOISTER_CHECK(s.log.cover(s.clock.now()));
  return http::no_content();
}

}  // namespace

void add_derived_key_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  const std::string one = "/api/v1/derived-keys/{challenge}/{purpose}";
  http::RouteOptions conditions;
  conditions.max_body = kMaxConditions;
  routes.add(Method::get, "/api/v1/derived-keys", admin,
             Doc{"The tenant's derived keys, each with its newest version"}.paged().answers(200, "DerivedKeyList"),
             reading(services, list_keys));
  routes.add(Method::get, one, admin,
             Doc{"Every version of a derived key and its release conditions; never the key"}.answers(200, "DerivedKey"),
             reading(services, get_key));
  routes.add(Method::put, one + "/versions/{version}", admin,
             Doc{"Makes the next version of a derived key under these release conditions, which never change"}
                 .takes("ReleaseConditions")
                 .answers(201, "DerivedKeyVersion")
                 .answers(200, "DerivedKeyVersion"),
             blocking(services, put_version), conditions);
  routes.add(Method::del, one + "/versions/{version}", admin,
             Doc{"Revokes a version of a derived key: it is released to nobody any more"}.answers(204),
             blocking(services, revoke_version));
}

}  // namespace cloister::api
