#include "cloister/codec/text.hpp"
#include "handlers.hpp"

#include <fstream>

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::size_t kCopyStep = 1U << 20;
constexpr std::string_view kBytes = "application/octet-stream";

Result<Response> register_version(const Services& s, const Request& request) {
  CLOISTER_TRY(body, http::json_body(request));
  CLOISTER_TRY(spec, model::parse_challenge_spec(body));
  CLOISTER_TRY(version, s.registry.add(tenant_of(request), spec, request.principal->subject, s.clock.now()));
  s.fleet.wake();
  return http::json_response(model::to_json(version), 201);
}

Result<Response> list_challenges(const Services& s, const Request& request) {
  CLOISTER_TRY(challenges, s.registry.list());
  const auto show = [](const storage::challenges::Challenge& challenge) -> json::Value {
    return json::Object{{"id", challenge.id.str()},
                        {"tenant", challenge.tenant.str()},
                        {"created", to_rfc3339(challenge.created)}};
  };
  return page_of(request, "challenges", challenges, [](const auto& challenge) { return challenge.id.str(); }, show);
}

Result<Response> list_versions(const Services& s, const Request& request) {
  CLOISTER_TRY(challenge, id_param<ChallengeId>(request, "id"));
  CLOISTER_TRY(active, flag_query(request, "active"));
  CLOISTER_TRY(versions, s.registry.versions(challenge));
  // A challenge comes into being with its first version.
  if (versions.empty()) return Error{Errc::not_found, "no such challenge"};
  if (active) std::erase_if(versions, [&](const auto& stored) { return stored.version.active != *active; });
  return page_of(
      request, "versions", versions, [](const auto& stored) { return stored.version.id.str(); },
      [](const auto& stored) { return model::to_json(stored.version); });
}

Result<Response> get_version(const Services& s, const Request& request) {
  CLOISTER_TRY(id, id_param<VersionId>(request, "id"));
  CLOISTER_TRY(version, s.registry.version(id));
  return tagged(request, http::json_response(model::to_json(version.version)));
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
  const auto tag = codec::to_hex(digest);
  if (has_already(request, tag)) return not_modified(tag);
  // Whoever wants a blob knows its digest, and finds out what a failing disk has changed.
  auto response = http::file_response(std::string{kBytes}, {s.blobs.path_of(digest), 0, *size});
  response.headers.set("ETag", '"' + tag + '"');
  return http::apply_range(request, std::move(response));
}

}  // namespace

void add_challenge_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  const auto client = operators();
  const auto readers = http::require(
      {std::string{session::kAdminRole}, std::string{session::kClientRole}, std::string{session::kHostRole}});
  routes.add(Method::post, "/api/v1/challenges", admin,
             Doc{"Registers a version of a challenge, whose image's blobs are here already"}
                 .takes("ChallengeSpec")
                 .answers(201, "Version"),
             blocking(services, register_version));
  routes.add(Method::get, "/api/v1/challenges", client, Doc{"All challenges, by id"}.paged().answers(200, "ChallengeList"),
             reading(services, list_challenges));
  routes.add(Method::get, "/api/v1/challenges/{id}/versions", client,
             Doc{"A challenge's versions, newest first"}
                 .query("active", "Flag", "Those alone that are, or are not, kept running")
                 .paged()
                 .answers(200, "VersionList"),
             reading(services, list_versions));
  routes.add(Method::get, "/api/v1/versions/{id}", client,
             Doc{"A version; with ETag"}.answers(200, "Version").answers(304), reading(services, get_version));
  routes.add(Method::put, "/api/v1/blobs/{digest}", admin,
             Doc{"Stores a blob of an image"}.takes_bytes().answers(201, "Blob").answers(204),
             on_pool(services, services.pool, 2 * services.patience, put_blob), http::blob_route());
  routes.add(Method::get, "/api/v1/blobs/{digest}", readers,
             Doc{"A blob, or a range of it; with ETag"}.with_head().answers_as(200, kBytes).answers_as(206, kBytes).answers(304),
             reading(services, get_blob));
}

}  // namespace cloister::api
