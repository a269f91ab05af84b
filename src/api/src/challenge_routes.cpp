#include "cloister/codec/text.hpp"
#include "handlers.hpp"

#include <fstream>

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::size_t kCopyStep = 1U << 20;

json::Value versions_json(const std::vector<storage::challenges::StoredVersion>& versions) {
  json::Array list;
  for (const auto& stored : versions) list.push_back(model::to_json(stored.version));
  return json::Object{{"versions", std::move(list)}};
}

Result<Response> register_version(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request));
  CLOISTER_TRY(spec, model::parse_challenge_spec(body));
  CLOISTER_TRY(version, s.registry.add(tenant_of(request), spec, request.principal->subject, s.clock.now()));
  s.fleet.wake();
  return http::json_response(model::to_json(version), 201);
}

Result<Response> list_challenges(const Services& s, const Request&) {
  CLOISTER_TRY(challenges, s.registry.list());
  json::Array list;
  for (const auto& challenge : challenges) {
    list.emplace_back(json::Object{{"id", challenge.id.str()},
                                   {"tenant", challenge.tenant.str()},
                                   {"created", to_rfc3339(challenge.created)}});
  }
  return http::json_response(json::Object{{"challenges", std::move(list)}});
}

Result<Response> list_versions(const Services& s, const Request& request) {
  CLOISTER_TRY(challenge, id_param<ChallengeId>(request, "id"));
  CLOISTER_TRY(versions, s.registry.versions(challenge));
  // A challenge comes into being with its first version.
  if (versions.empty()) return Error{Errc::not_found, "no such challenge"};
  return http::json_response(versions_json(versions));
}

Result<Response> get_version(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<VersionId>(request, "id"));
  CLOISTER_TRY(version, s.registry.version(id));
  return http::json_response(model::to_json(version.version));
}

Result<Digest32> blob_param(const Request& request) { return codec::array_from_hex<32>(request.param("digest")); }

Result<Response> put_blob(const Services& s, const Request& request) {
  CLOISTER_TRY(digest, blob_param(request));
  CLOISTER_TRY(present, s.blobs.size(digest));
  if (present) return http::no_content();
  CLOISTER_TRY(writer, s.blobs.begin(digest));
  std::ifstream in(request.body_file->path(), std::ios::binary);
  Bytes part(kCopyStep);
  while (in) {
    in.read(reinterpret_cast<char*>(part.data()), static_cast<std::streamsize>(part.size()));  // char of an istream
    CLOISTER_CHECK(writer.append(ByteView{part}.first(static_cast<std::size_t>(in.gcount()))));
  }
  if (in.bad()) return Error{Errc::io_error, "the uploaded blob could not be read"};
  CLOISTER_CHECK(writer.commit());
  return http::json_response(json::Object{{"digest", model::digest_text(digest)}}, 201);
}

Result<Response> get_blob(const Services& s, const Request& request) {
  CLOISTER_TRY(digest, blob_param(request));
  CLOISTER_TRY(size, s.blobs.size(digest));
  if (!size) return Error{Errc::not_found, "no such blob"};
  // Whoever wants a blob knows its digest, and finds out what a failing disk has changed.
  auto response = http::file_response("application/octet-stream", {s.blobs.path_of(digest), 0, *size});
  response.headers.set("ETag", '"' + codec::to_hex(digest) + '"');
  return http::apply_range(request, std::move(response));
}

}  // namespace

void add_challenge_routes(http::Router& router, const Services& services) {
  const auto admin = administrators();
  const auto client = operators();
  const auto readers = http::require(
      {std::string{session::kAdminRole}, std::string{session::kClientRole}, std::string{session::kHostRole}});
  router.add(Method::post, "/api/v1/challenges", admin, blocking(services, register_version));
  router.add(Method::get, "/api/v1/challenges", client, blocking(services, list_challenges));
  router.add(Method::get, "/api/v1/challenges/{id}/versions", client, blocking(services, list_versions));
  router.add(Method::get, "/api/v1/versions/{id}", client, blocking(services, get_version));
  router.add(Method::put, "/api/v1/blobs/{digest}", admin, blocking(services, put_blob), http::blob_route());
  router.add(Method::get, "/api/v1/blobs/{digest}", readers, blocking(services, get_blob));
}

}  // namespace cloister::api
