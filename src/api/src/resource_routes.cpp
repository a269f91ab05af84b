#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "handlers.hpp"

namespace cloister::api {
namespace {

using http::Method;
using http::Request;
using http::Response;

constexpr std::size_t kCursorSize = 32;  // hex digits

Result<rcar::ResourcePath> path_of(const Request& request) {
  return rcar::ResourcePath::make(request.param("repository"), request.param("type"), request.param("tag"));
}

Result<kbs::Vault*> vault_of(const Services& s, const Request& request) {
  CLOISTER_TRY(broker, broker_of(s, request));
  return &broker->vault();
}

Result<std::optional<std::uint64_t>> version_query(const Request& request) {
  const auto text = request.query.find("version");
  if (!text) return std::optional<std::uint64_t>{};
  CLOISTER_TRY(version, kbs::parse_version(*text));
  return std::optional{version};
}

Result<std::optional<kbs::Labels>> labels_query(const Request& request, std::string_view name) {
  const auto text = request.query.find(name);
  if (!text) return std::optional<kbs::Labels>{};
  CLOISTER_TRY(labels, kbs::parse_labels(*text));
  return std::optional{std::move(labels)};
}

/// An object of texts.
Result<kbs::Labels> read_labels(const json::Value& value) {
  kbs::Labels out;
  for (const auto& [name, text] : *value.as_object()) {
    if (text.as_string() == nullptr) return Error{Errc::malformed, "label '" + name + "': a text expected"};
    out.emplace(name, *text.as_string());
  }
  CLOISTER_CHECK(kbs::check_labels(out));
  return out;
}

template <class T>
json::Value or_null(const std::optional<T>& value) {
  return value ? json::Value{*value} : json::Value{};
}
json::Value time_or_null(const std::optional<UnixTime>& time) { return time ? json::Value{to_rfc3339(*time)} : json::Value{}; }

json::Value to_json(const kbs::Vault::Info& info) {
  json::Object labels;
  for (const auto& [name, value] : info.labels) labels.emplace_back(name, value);
  return json::Object{{"path", info.path},
                      {"last", info.last},
                      {"current", or_null(info.current)},
                      {"created", to_rfc3339(info.created)},
                      {"deleted", time_or_null(info.deleted)},
                      {"labels", std::move(labels)},
                      {"generator", or_null(info.generator)},
                      {"pending", info.pending > 0},
                      {"keep", or_null(info.keep)}};
}

json::Value to_json(const kbs::Vault::Version& version, const kbs::Vault::Info& info) {
  const bool deleted = version.deleted || info.deleted;
  return json::Object{{"version", version.number},
                      {"state", version.purged ? "purged" : deleted ? "deleted" : "available"},
                      {"current", info.current == version.number},
                      {"created", to_rfc3339(version.created)},
                      {"deleted", time_or_null(version.deleted ? version.deleted : info.deleted)},
                      {"size", version.size},
                      {"generated", version.generated}};
}

Result<Response> shown(kbs::Vault& vault, const rcar::ResourcePath& path, int status = 200) {
  CLOISTER_TRY(info, vault.info(path));
  return http::json_response(to_json(info), status);
}

Result<Response> made(const rcar::ResourcePath& path, std::uint64_t version) {
  return http::json_response(json::Object{{"path", path.str()}, {"version", version}}, 201);
}

/// The value is the body, as it is, which is overwritten wherever it was. It is never answered, listed or logged.
Result<Response> put(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  kbs::Vault::Terms terms;
  CLOISTER_TRY(labels, labels_query(request, "labels"));
  CLOISTER_TRY(existing, flag_query(request, "existing"));
  terms.labels = std::move(labels);
  terms.existing = existing.value_or(false);
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_TRY(version, vault->put(path, request.body, request.principal->subject, s.clock.now(), terms));
  return made(path, version);
}

Result<Response> generate(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "generator"};
  const auto bytes = fields.integer("random", 0);
  const auto* const labels = fields.optional_object("labels");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(generator, kbs::Generator::random(static_cast<std::uint64_t>(bytes)));
  std::optional<kbs::Labels> wanted;
  if (labels != nullptr) {
    CLOISTER_TRY(read, read_labels(*labels));
    wanted = std::move(read);
  }
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_CHECK(vault->declare(path, generator, wanted, request.principal->subject, s.clock.now()));
  return shown(*vault, path, 201);
}

Result<Response> rotate(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_TRY(version, vault->rotate(path, request.principal->subject, s.clock.now()));
  return made(path, version);
}

Result<Response> list(const Services& s, const Request& request) {
  CLOISTER_TRY(wanted, labels_query(request, "label"));
  CLOISTER_TRY(deleted, flag_query(request, "deleted"));
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_TRY(resources, vault->list());
  std::erase_if(resources, [&](const kbs::Vault::Info& info) {
    return info.deleted.has_value() != deleted.value_or(false) || (wanted && !kbs::carries(info.labels, *wanted));
  });
  // A path is no id, so that its hash is the cursor.
  return page_of(
      request, "resources", resources,
      [](const kbs::Vault::Info& info) { return codec::to_hex(crypto::sha256(as_bytes(info.path))).substr(0, kCursorSize); },
      [](const kbs::Vault::Info& info) { return to_json(info); });
}

Result<Response> show(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(vault, vault_of(s, request));
  return shown(*vault, path);
}

Result<Response> versions(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(page, paging(request));
  static_cast<void>(page);
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_TRY(info, vault->info(path));
  CLOISTER_TRY(all, vault->versions(path));
  return page_of(
      request, "versions", all, [](const kbs::Vault::Version& version) { return std::to_string(version.number); },
      [&](const kbs::Vault::Version& version) { return to_json(version, info); });
}

Result<Response> set_current(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "current version"};
  const auto version = fields.integer("version", 1);
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_CHECK(vault->set_current(path, static_cast<std::uint64_t>(version), request.principal->subject, s.clock.now()));
  return shown(*vault, path);
}

Result<Response> set_labels(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "labels"};
  const auto& given = fields.object("labels");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(labels, read_labels(given));
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_CHECK(vault->set_labels(path, labels, request.principal->subject, s.clock.now()));
  return shown(*vault, path);
}

Result<Response> set_retention(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(body, http::json_body(request));
  json::Fields fields{body, "retention"};
  std::optional<std::uint32_t> keep;
  const auto& given = fields.any("keep");  // null: all
  CLOISTER_CHECK(fields.finish());
  if (!given.is_null()) {
    const auto number = given.as_uint();
    if (!number || *number == 0 || *number > kbs::Vault::kMaxKeep) {
      return Error{Errc::invalid_argument, "keep: 1 to " + std::to_string(kbs::Vault::kMaxKeep) + ", or null for all, expected"};
    }
    keep = static_cast<std::uint32_t>(*number);
  }
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_CHECK(vault->set_retention(path, keep, request.principal->subject, s.clock.now()));
  return shown(*vault, path);
}

Result<Response> remove(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(version, version_query(request));
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_CHECK(vault->mark_deleted(path, version, request.principal->subject, s.clock.now()));
  return http::no_content();
}

Result<Response> undelete(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(version, version_query(request));
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_CHECK(vault->undelete(path, version, request.principal->subject, s.clock.now()));
  return shown(*vault, path);
}

Result<Response> purge(const Services& s, const Request& request) {
  CLOISTER_TRY(path, path_of(request));
  CLOISTER_TRY(version, version_query(request));
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_TRY(purged, vault->purge(path, version, request.principal->subject, s.clock.now()));
  json::Array numbers;
  for (const auto number : purged.versions) numbers.emplace_back(number);
  return http::json_response(
      json::Object{{"path", path.str()}, {"versions", std::move(numbers)}, {"log_emptied", purged.log_emptied}});
}

Result<Response> usage(const Services& s, const Request& request) {
  CLOISTER_TRY(vault, vault_of(s, request));
  CLOISTER_TRY(used, vault->usage());
  return http::json_response(json::Object{{"count", used.resources},
                                          {"bytes", used.bytes},
                                          {"max_count", vault->max_resources()},
                                          {"max_bytes", vault->max_bytes()}});
}

}  // namespace

void add_resource_routes(Routes& routes, const Services& services) {
  const auto admin = administrators();
  http::RouteOptions value;
  value.max_body = storage::Resources::kMaxValue;
  const std::string resource = "/api/v1/resources/{repository}/{type}/{tag}";
  constexpr std::string_view kWhich = "Which version; without it the resource with all of them";
  routes.add(Method::get, "/api/v1/resources", admin,
             Doc{"The tenant's resources by path, without their values, which no route answers to an administrator"}
                 .query("label", "LabelSelector", "Only those that carry each of these labels")
                 .query("deleted", "Flag", "true: those that are deleted, and nothing else")
                 .paged()
                 .answers(200, "ResourceList"),
             reading(services, list));
  routes.add(Method::put, resource, admin,
             Doc{"A new version of a resource, the current one from now on: the body, as it is"}
                 .query("labels", "LabelSelector", "Labels, in the place of those that it has")
                 .query("existing", "Flag", "true: not_found rather than a new resource")
                 .takes_bytes()
                 .answers(201, "NewResourceVersion"),
             blocking(services, put), value);
  routes.add(Method::get, resource, admin, Doc{"A resource, without its values"}.answers(200, "Resource"), reading(services, show));
  routes.add(Method::del, resource, admin,
             Doc{"Deletes a version or a resource: guests do not get it until it is undeleted"}
                 .query("version", "ResourceVersionNumber", kWhich)
                 .answers(204),
             blocking(services, remove));
  routes.add(Method::get, resource + "/versions", admin,
             Doc{"Every version that there ever was, newest first, without values"}.paged().answers(200, "ResourceVersionList"),
             reading(services, versions));
  routes.add(Method::put, resource + "/generator", admin,
             Doc{"A resource whose value is made when the first guest asks for it that may have it, and that nobody else sees"}
                 .takes("ResourceGenerator")
                 .answers(201, "Resource"),
             blocking(services, generate));
  routes.add(Method::post, resource + "/rotate", admin,
             Doc{"A new version of a resource with a generator, made now"}.answers(201, "NewResourceVersion"), blocking(services, rotate));
  routes.add(Method::put, resource + "/current", admin,
             Doc{"Which version guests get that name none"}.takes("CurrentVersion").answers(200, "Resource"),
             blocking(services, set_current));
  routes.add(Method::put, resource + "/labels", admin,
             Doc{"Sets all labels of a resource, which the resource policy sees"}.takes("Labels").answers(200, "Resource"),
             blocking(services, set_labels));
  routes.add(Method::put, resource + "/retention", admin,
             Doc{"How many of the newest versions stay; the others are purged, now and by every new version"}
                 .takes("Retention")
                 .answers(200, "Resource"),
             blocking(services, set_retention));
  routes.add(Method::post, resource + "/undelete", admin,
             Doc{"Gives back what was deleted and not purged"}.query("version", "ResourceVersionNumber", kWhich).answers(200, "Resource"),
             blocking(services, undelete));
  routes.add(Method::post, resource + "/purge", admin,
             Doc{"Erases what was deleted, for good"}.query("version", "ResourceVersionNumber", kWhich).answers(200, "PurgedResource"),
             blocking(services, purge));
  routes.add(Method::get, "/api/v1/resource-usage", admin,
             Doc{"What the tenant's resources take of its quota; deleted ones count until they are purged"}.answers(200, "ResourceUsage"),
             reading(services, usage));
}

}  // namespace cloister::api
