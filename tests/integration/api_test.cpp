// Every route of the orchestrator over real services and a real connection: who may call it, what it refuses, and what
// it must never answer.
#include <gmock/gmock.h>

#include <fstream>
#include <future>
#include <map>
#include <set>

#include "cloister/api/api.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/http/client.hpp"
#include "cloister/storage/fleet.hpp"
#include "instance_link.hpp"

namespace cloister::test {
namespace {

namespace json = codec::json;
using http::Headers;
using http::Method;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kHost = session::kHostRole;
constexpr std::string_view kClient = session::kClientRole;
constexpr std::string_view kAdmin = session::kAdminRole;
constexpr std::string_view kMonitor = session::kMonitorRole;
constexpr std::chrono::seconds kTimeout{30};
const std::string kServerId = "srv-test";

/// An answer, and its body as JSON where it is JSON.
struct Reply {
  int status = 0;
  Headers headers;
  std::string text;
  json::Value body;

  [[nodiscard]] std::string string(std::string_view name) const {
    const auto* value = body.find(name);
    return value != nullptr && value->as_string() != nullptr ? *value->as_string() : std::string{};
  }
  [[nodiscard]] std::string code() const { return string("code"); }
  [[nodiscard]] std::size_t count(std::string_view name) const {
    const auto* value = body.find(name);
    return value != nullptr && value->as_array() != nullptr ? value->as_array()->size() : 9999;
  }
};

class Api : public testing::Test {
 protected:
  explicit Api(scheduler::JobService::Options jobs = World::tried_twice()) : world{jobs} {}
  void SetUp() override {
    io.start();
    strand = io.strand();
    fleet::Fleet::Options fleet_options;
    fleet_options.server_id = kServerId;
    fleet_options.keys = {&world.server_key};
    fleet_options.host_token = [this](const ValidatorId&) { return host_token(); };
    fleet = std::make_unique<fleet::Fleet>(
        fleet::Fleet::Services{*world.database, *world.registry, attestor, *world.broker, *world.jobs, dispatcher,
                               refusals, pool, clock, random, logger},
        std::move(fleet_options), strand);
    services.emplace(api::Services{*world.database, *world.blobs, *world.log, *world.registry, *world.broker,
                                   *world.jobs, dispatcher, *fleet, tokens, pool, clock, random, monitor, logger, kServerId, "0.0.0"});
    http::ServerOptions options;
    options.upload_directory = world.dir.path();
    options.authenticator = api::make_authenticator(*services);
    options.handlers = strand;
    options.metrics = [this](const http::RequestMetric& request) { monitor.observe(request); };
    monitor.serving();
    auto listening = http::Server::listen(io, std::move(options), api::make_router(*services), logger);
    ASSERT_TRUE(listening.ok());
    server = std::move(*listening);
    http::ClientOptions client_options;
    client_options.base_url = server->base_url();
    auto made = http::BlockingClient::make(std::move(client_options));
    ASSERT_TRUE(made.ok());
    http = std::move(*made);
    admin = token(kAdmin);
    client = token(kClient);
  }
  void TearDown() override {
    if (server) runtime::block_on(io, server->stop());
  }

  /// A token that the server issued and remembers.
  [[nodiscard]] std::string token(std::string_view role, const std::string& tenant = "default",
                                  std::chrono::seconds lifetime = std::chrono::hours{1}) {
    const auto out = api::issue_token(*world.database, *world.log, tokens, claims(role, tenant, lifetime), "tester");
    CLOISTER_ASSERT(out.ok());
    return *out;
  }
  /// As the server gives it to a host: not remembered.
  [[nodiscard]] std::string host_token() const { return tokens.issue(claims(kHost, "system", std::chrono::hours{24})); }
  [[nodiscard]] session::OperatorClaims claims(std::string_view role, const std::string& tenant,
                                               std::chrono::seconds lifetime) const {
    SystemRandom fresh;
    return {random_id("tok", fresh), "tester", *TenantId::parse(tenant), std::string{role}, clock.now(),
            clock.now() + lifetime};
  }

  Reply send(Method method, const std::string& path, const std::string& bearer, Headers headers = {}, Bytes body = {}) {
    if (!bearer.empty()) headers.set("Authorization", "Bearer " + bearer);
    auto answer = http->request(method, path, std::move(headers), std::move(body), kTimeout * 3);
    if (!answer) {
      ADD_FAILURE() << path << ": " << answer.error().text();
      return {};
    }
    Reply out{answer->status, answer->headers, std::string{as_text(answer->body)}, {}};
    if (auto parsed = json::parse(out.text)) out.body = std::move(*parsed);
    return out;
  }
  Reply get(const std::string& path, const std::string& bearer) { return send(Method::get, path, bearer); }
  Reply send_json(Method method, const std::string& path, const std::string& bearer, const std::string& text) {
    return send(method, path, bearer, {{"Content-Type", "application/json"}}, to_bytes(text));
  }
  Reply post(const std::string& path, const std::string& bearer, const json::Value& body) {
    return send_json(Method::post, path, bearer, json::write(body));
  }
  Reply submit(const World::ClientJob& job, const std::string& bearer) {
    return post("/api/v1/jobs", bearer, model::to_json(job.request));
  }
  [[nodiscard]] static std::string path_of(const World::ClientJob& job) { return "/api/v1/jobs/" + job.keys.job().str(); }

  World world;
  RealWaits clock{world.clock};
  SystemRandom random;
  log::NullLogger logger;
  audit::Refusals refusals;
  api::Monitor monitor{*world.database, clock, {"a taint"}};
  session::OperatorTokens tokens{crypto::Ed25519Key::generate(random), kServerId};
  runtime::IoContext io{1};
  runtime::BlockingPool pool{2, 64};
  runtime::Executor strand;
  links::Attestor attestor{links::Attestor::Services{*world.sessions, pool, clock, logger},
                           [this](const evidence::Quote&) -> Result<evidence::QuoteCollateral> { return world.collateral; },
                           world.anchors, policy::Policy{}};
  scheduler::Dispatcher dispatcher{*world.jobs, pool, clock, logger};
  std::unique_ptr<fleet::Fleet> fleet;
  std::optional<api::Services> services;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::BlockingClient> http;
  std::string admin;
  std::string client;
};

// --- who may call what -----------------------------------------------------------------------------------------------

using Roles = std::set<std::string_view>;
const Roles kPublicRoute = {};
const Roles kAdmins = {kAdmin};
const Roles kMonitors = {kAdmin, kMonitor};
const Roles kOperators = {kAdmin, kClient};
const Roles kReaders = {kAdmin, kClient, kHost};

/// Every route, and who may call it. A route that is not here fails `EveryRouteIsInTheTable`.
const std::map<std::string, Roles> kRoutes = {
    {"GET /health", kPublicRoute},
    {"GET /ready", kPublicRoute},
    {"GET /version", kPublicRoute},
    {"GET /status", kMonitors},
    {"GET /metrics", kMonitors},
    {"WEBSOCKET /api/v1/host", kPublicRoute},  // proves its hotkey inside
    {"POST /api/v1/challenges", kAdmins},
    {"GET /api/v1/challenges", kOperators},
    {"GET /api/v1/challenges/{id}/versions", kOperators},
    {"GET /api/v1/versions/{id}", kOperators},
    {"GET /api/v1/versions/{id}/instances", kOperators},
    {"PUT /api/v1/blobs/{digest}", kAdmins},
    {"GET /api/v1/blobs/{digest}", kReaders},
    {"POST /api/v1/validators", kAdmins},
    {"GET /api/v1/validators", kAdmins},
    {"GET /api/v1/validators/{id}", kAdmins},
    {"GET /api/v1/instances", kOperators},
    {"GET /api/v1/instances/{id}", kOperators},
    {"PUT /api/v1/secrets/{path...}", kAdmins},
    {"GET /api/v1/secrets", kAdmins},
    {"DELETE /api/v1/secrets/{path...}", kAdmins},
    {"POST /api/v1/jobs", kOperators},
    {"GET /api/v1/jobs", kOperators},
    {"GET /api/v1/jobs/{id}", kOperators},
    {"PUT /api/v1/jobs/{id}/recipients", kOperators},
    {"POST /api/v1/jobs/{id}/cancel", kOperators},
    {"GET /api/v1/jobs/{id}/result", kOperators},
    {"GET /api/v1/jobs/{id}/receipt", kOperators},
    {"GET /api/v1/audit/head", kOperators},
    {"GET /api/v1/audit/leaves", kAdmins},
    {"GET /api/v1/audit/inclusion", kOperators},
    {"POST /api/v1/tokens", kAdmins},
    {"GET /api/v1/tokens", kAdmins},
    {"DELETE /api/v1/tokens/{id}", kAdmins},
};

struct Call {
  Method method;
  std::string path;
};

/// A request to a route, about things that do not exist.
Call call_of(const std::string& route) {
  static const std::map<std::string, Method> kMethods = {
      {"GET", Method::get}, {"POST", Method::post}, {"PUT", Method::put}, {"DELETE", Method::del}};
  const auto space = route.find(' ');
  auto path = route.substr(space + 1);
  const std::pair<std::string, std::string> values[] = {
      {"{id}", "none"}, {"{digest}", std::string(64, '0')}, {"{path...}", "none/here"}};
  for (const auto& [name, value] : values) {
    if (const auto at = path.find(name); at != std::string::npos) path.replace(at, name.size(), value);
  }
  return {kMethods.at(route.substr(0, space)), path};
}

/// The routes that ask for a token.
std::vector<std::pair<std::string, Roles>> guarded_routes() {
  std::vector<std::pair<std::string, Roles>> out;
  for (const auto& entry : kRoutes) {
    if (!entry.second.empty()) out.emplace_back(entry);
  }
  return out;
}

TEST_F(Api, EveryRouteIsInTheTable) {
  std::vector<std::string> known;
  for (const auto& [route, roles] : kRoutes) known.push_back(route);
  EXPECT_THAT(api::make_router(*services).describe(), testing::UnorderedElementsAreArray(known));
}

TEST_F(Api, PublicRoutesNeedNoToken) {
  EXPECT_EQ(get("/health", "").status, 200);
  EXPECT_EQ(get("/ready", "").status, 200);
  const auto version = get("/version", "");
  EXPECT_EQ(version.status, 200);
  EXPECT_EQ(version.string("server_id"), kServerId);
  EXPECT_EQ(get("/api/v1/host", "").code(), "unsupported");  // not a WebSocket
}

TEST_F(Api, EveryOtherRouteRefusesStrangers) {
  const session::OperatorTokens other_key{crypto::Ed25519Key::generate(random), kServerId};
  const session::OperatorTokens other_name{crypto::Ed25519Key::generate(random), "srv-other"};
  const auto admin_claims = claims(kAdmin, "default", std::chrono::hours{1});
  const auto expired = token(kAdmin, "default", std::chrono::seconds{60});
  const auto revoked = claims(kAdmin, "default", std::chrono::hours{1});
  const auto revoked_token = api::issue_token(*world.database, *world.log, tokens, revoked, "tester");
  ASSERT_TRUE(revoked_token.ok());
  ASSERT_EQ(send(Method::del, "/api/v1/tokens/" + revoked.id, admin).status, 204);
  world.clock.advance(std::chrono::seconds{61});
  const std::map<std::string, std::string> strangers = {
      {"no token", ""},
      {"no JWT", "x"},
      {"another key", other_key.issue(admin_claims)},
      {"another server", other_name.issue(admin_claims)},
      {"never remembered", tokens.issue(admin_claims)},
      {"expired", expired},
      {"revoked", *revoked_token},
      {"unknown role", tokens.issue(claims("root", "default", std::chrono::hours{1}))}};
  for (const auto& [route, roles] : guarded_routes()) {
    const auto [method, path] = call_of(route);
    for (const auto& [who, bearer] : strangers) {
      const auto reply = send(method, path, bearer);
      EXPECT_EQ(reply.status, 401) << route << ": " << who;
      EXPECT_EQ(reply.code(), "unauthenticated") << route << ": " << who;
    }
  }
}

TEST_F(Api, EveryRouteServesItsRolesAndNoOther) {
  const std::map<std::string_view, std::string> bearers = {{kAdmin, admin}, {kClient, client}, {kHost, host_token()}};
  for (const auto& [route, roles] : guarded_routes()) {
    const auto [method, path] = call_of(route);
    for (const auto& [role, bearer] : bearers) {
      const auto status = send(method, path, bearer).status;
      if (roles.contains(role)) {
        EXPECT_THAT(status, testing::AllOf(testing::Ne(0), testing::Ne(401), testing::Ne(403))) << route << ' ' << role;
      } else {
        EXPECT_EQ(status, 403) << route << ' ' << role;
      }
    }
  }
}

TEST_F(Api, HostTokenExpires) {
  const auto host = host_token();
  const auto blob = "/api/v1/blobs/" + codec::to_hex(world.version.spec.image_digest);
  EXPECT_EQ(get(blob, host).status, 200);
  world.clock.advance(std::chrono::hours{25});
  EXPECT_EQ(get(blob, host).status, 401);
}

// --- what is refused -------------------------------------------------------------------------------------------------

TEST_F(Api, UnknownIdsAreNotFound) {
  const std::string paths[] = {"challenges/none/versions", "versions/none",         "versions/none/instances",
                               "validators/none",          "instances/none",        "jobs/none",
                               "jobs/none/result",         "jobs/none/receipt",     "audit/inclusion?index=999999",
                               "blobs/" + std::string(64, '0')};
  for (const auto& path : paths) {
    const auto reply = get("/api/v1/" + path, admin);
    EXPECT_EQ(reply.status, 404) << path;
    EXPECT_EQ(reply.code(), "not_found") << path;
  }
  EXPECT_EQ(send(Method::post, "/api/v1/jobs/none/cancel", admin).code(), "not_found");
  EXPECT_EQ(send_json(Method::put, "/api/v1/jobs/none/recipients", admin, R"({"recipients":[]})").code(), "not_found");
  EXPECT_EQ(send(Method::del, "/api/v1/tokens/none", admin).code(), "not_found");
  EXPECT_EQ(send(Method::del, "/api/v1/secrets/none/here", admin).code(), "not_found");
}

TEST_F(Api, IdsAndQueriesThatCannotBeAreInvalid) {
  for (const auto* path : {"jobs/UPPER", "versions/a%20b", "instances/-x", "validators/%C3%A9", "challenges/_/versions",
                           "jobs?state=lost", "instances?state=asleep", "audit/leaves?limit=0", "audit/leaves?limit=1001",
                           "audit/leaves?first=x", "audit/inclusion?index=-1", "audit/inclusion?index=1x",
                           "audit/inclusion?index=99999999999999999999"}) {
    EXPECT_EQ(get(std::string{"/api/v1/"} + path, admin).code(), "invalid_argument") << path;
  }
  for (const auto& digest : {std::string(63, '0'), std::string(66, '0'), std::string(64, 'x')}) {
    EXPECT_EQ(get("/api/v1/blobs/" + digest, admin).status, 400) << digest;
  }
}

TEST_F(Api, JsonBodiesAreWholeKnownAndOfTheirType) {
  const auto job = world.seal({});
  const std::string hotkey(64, '5');
  struct Case {
    Method method;
    std::string path;
    json::Value body;  // what the route takes
  };
  const std::vector<Case> cases = {
      {Method::post, "/api/v1/challenges", model::to_json(world.version.spec)},
      {Method::post, "/api/v1/validators", json::Object{{"hotkey", hotkey}}},
      {Method::post, "/api/v1/jobs", model::to_json(job.request)},
      {Method::put, path_of(job) + "/recipients", json::Object{{"recipients", json::Array{}}}},
      {Method::post, "/api/v1/tokens", json::Object{{"name", "x"}, {"role", "client"}}}};
  for (const auto& [method, path, body] : cases) {
    const auto good = json::write(body);
    EXPECT_EQ(send(method, path, admin, {}, to_bytes(good)).code(), "unsupported_media_type") << path;
    EXPECT_EQ(send(method, path, admin, {{"Content-Type", "text/plain"}}, to_bytes(good)).status, 415) << path;
    EXPECT_EQ(send_json(method, path, admin, good.substr(0, good.size() - 1)).code(), "truncated") << path;
    EXPECT_EQ(send_json(method, path, admin, good + "x").code(), "trailing_bytes") << path;
    EXPECT_EQ(send_json(method, path, admin, "{]").code(), "malformed") << path;
    EXPECT_EQ(send_json(method, path, admin, "{}").code(), "missing_member") << path;
    EXPECT_EQ(send_json(method, path, admin, "[]").code(), "malformed") << path;
    EXPECT_EQ(send_json(method, path, admin, R"({"a":1,"a":1})").code(), "duplicate_member") << path;
    auto more = body;
    more.set("surprise", 1);
    EXPECT_EQ(send_json(method, path, admin, json::write(more)).code(), "unknown_member") << path;
    EXPECT_LT(send_json(method, path, admin, good).status, 300) << path;
  }
}

TEST_F(Api, BodiesBeyondTheLimitAreRefused) {
  const auto reply = send(Method::put, "/api/v1/secrets/example/large", admin, {}, Bytes((64U << 10) + 1));
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.code(), "limit_exceeded");
  EXPECT_EQ(send(Method::put, "/api/v1/secrets/example/large", admin, {}, Bytes(64U << 10)).status, 201);
  auto job = world.seal({});
  job.request.ciphertext.resize(world.version.spec.max_payload_bytes + 129);
  EXPECT_EQ(submit(job, client).code(), "limit_exceeded");
}

// --- what the routes do ----------------------------------------------------------------------------------------------

TEST_F(Api, ReadinessEndsWhenTheServerStops) {
  EXPECT_EQ(get("/ready", "").status, 200);
  monitor.stopping();
  const auto reply = get("/ready", "");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.code(), "unavailable");
  EXPECT_EQ(reply.string("detail"), "stopping");
  EXPECT_EQ(get("/health", "").status, 200);
}

/// The number after `series`, a name with its labels; -1 when there is none.
double sample(const std::string& text, const std::string& series) {
  const auto at = text.find("\n" + series + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 2));
}

TEST_F(Api, StatusTellsWhatThereIsAndWhatIsMissing) {
  const auto warns = [&](const std::string& code) {
    return get("/status", admin).text.find("\"code\":\"" + code + "\"") != std::string::npos;
  };
  const auto set_validator = [&](model::ValidatorState state) {
    auto transaction = *world.database->write();
    ASSERT_TRUE(storage::validators::set_state(transaction, world.validator, state).ok());
    ASSERT_TRUE(transaction.commit().ok());
  };
  EXPECT_TRUE(warns("no_verified_validator"));
  set_validator(model::ValidatorState::verified);
  EXPECT_FALSE(warns("no_verified_validator"));
  set_validator(model::ValidatorState::lost);
  EXPECT_TRUE(warns("no_verified_validator"));
  EXPECT_TRUE(warns("tainted"));
  EXPECT_FALSE(warns("jobs_await_recipients"));
  ASSERT_EQ(submit(world.seal({}), client).status, 201);
  EXPECT_TRUE(warns("jobs_await_recipients"));
  EXPECT_FALSE(warns("not_ready"));
  monitor.stopping();
  EXPECT_TRUE(warns("not_ready"));
}

TEST_F(Api, MetricsFollowWhatHappens) {
  const auto value = [&](const std::string& series) { return sample(get("/metrics", token(kMonitor)).text, series); };
  EXPECT_EQ(get("/metrics", admin).headers.find("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(value("cloister_ready"), 1);
  EXPECT_EQ(value(R"(cloister_instances{state="ready"})"), 0);
  EXPECT_EQ(value(R"(cloister_jobs{state="queued"})"), 0);
  EXPECT_EQ(value("cloister_job_wait_duration_seconds_count"), -1);
  const auto instance = world.ready();
  EXPECT_EQ(value(R"(cloister_instances{state="ready"})"), 1);
  const auto job = world.seal({&instance});
  ASSERT_EQ(submit(job, client).status, 201);
  EXPECT_EQ(value(R"(cloister_jobs{state="queued"})"), 1);
  world.clock.advance(std::chrono::seconds{3});
  auto assigned = world.jobs->lease(instance.session, world.clock.now());
  ASSERT_TRUE(assigned.ok() && assigned->has_value());
  EXPECT_EQ(value(R"(cloister_jobs{state="leased"})"), 1);
  EXPECT_EQ(value("cloister_job_wait_duration_seconds_sum"), 3);
  world.clock.advance(std::chrono::seconds{4});
  ASSERT_TRUE(world.jobs->accept(instance.session, world.execute(instance, **assigned), world.clock.now()).ok());
  EXPECT_EQ(value(R"(cloister_jobs{state="leased"})"), 0);
  EXPECT_EQ(value(R"(cloister_job_lease_duration_seconds_sum{outcome="succeeded"})"), 4);
  EXPECT_EQ(value(R"(cloister_job_duration_seconds_sum{state="succeeded"})"), 7);
  EXPECT_GT(value("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(value(R"(cloister_database_size_bytes{file="database"})"), 4095);
  monitor.stopping();
  EXPECT_EQ(value("cloister_ready"), 0);
}

TEST_F(Api, RequestsAreCountedByPatternAndNeverByWhatAPeerMadeUp) {
  get("/api/v1/jobs/one", admin);
  get("/api/v1/jobs/two", admin);
  get("/secret-looking-path", admin);
  const auto text = get("/metrics", admin).text;
  EXPECT_EQ(sample(text, R"(http_request_duration_seconds_count{route="/api/v1/jobs/{id}",method="GET",status="404"})"), 2);
  EXPECT_EQ(sample(text, R"(http_request_duration_seconds_count{route="unmatched",method="GET",status="404"})"), 1);
  EXPECT_THAT(text, Not(HasSubstr("secret-looking-path")));
  monitor.observe({"unmatched", "BREW", 405, 0.1});
  const auto after = get("/metrics", admin).text;
  EXPECT_EQ(sample(after, R"(http_request_duration_seconds_count{route="unmatched",method="other",status="405"})"), 1);
  EXPECT_THAT(after, Not(HasSubstr("BREW")));
}

TEST_F(Api, MetricsNameNoIdsAndNoPaths) {
  const auto instance = world.ready();
  const auto job = world.complete(instance);
  get("/api/v1/secrets", admin);
  const auto text = get("/metrics", admin).text;
  for (const std::string& word : {job.keys.job().str(), instance.session.instance().str(), instance.session.id().str(),
                                  world.validator.str(), std::string{"example/salt"}, admin, std::string{"tester"}}) {
    EXPECT_THAT(text, Not(HasSubstr(word)));
  }
}

TEST_F(Api, BlobsAreTakenByDigestAndGivenInParts) {
  const auto bytes = to_bytes("0123456789");
  const auto path = "/api/v1/blobs/" + codec::to_hex(crypto::sha256(bytes));
  EXPECT_EQ(send(Method::put, path, admin, {}, to_bytes("0123456788")).code(), "digest_mismatch");
  EXPECT_EQ(get(path, client).status, 404);
  EXPECT_EQ(send(Method::put, path, admin, {}, bytes).status, 201);
  EXPECT_EQ(send(Method::put, path, admin, {}, bytes).status, 204);
  EXPECT_EQ(get(path, client).text, "0123456789");
  const auto head = send(Method::head, path, client);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.find("Content-Length"), "10");
  EXPECT_EQ(head.text, "");
  const auto part = send(Method::get, path, client, {{"Range", "bytes=2-4"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.text, "234");
  EXPECT_EQ(part.headers.find("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(send(Method::get, path, client, {{"Range", "bytes=10-"}}).code(), "range_not_satisfiable");
}

TEST_F(Api, BlobsAreSentAsTheyAreReadAndNotFromMemory) {
  // A hole of 64 GiB: nothing is on disk, and no memory holds it.
  constexpr std::uintmax_t kSize = std::uintmax_t{64} << 30;
  const auto path = world.blobs->path_of(Digest32{});
  std::filesystem::create_directories(path.parent_path());
  std::ofstream{path}.close();
  std::filesystem::resize_file(path, kSize);
  const auto target = "/api/v1/blobs/" + codec::to_hex(Digest32{});
  const auto part = send(Method::get, target, client, {{"Range", "bytes=-3"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.text, std::string(3, '\0'));
}

TEST_F(Api, BlobsHaveTheirDigestAsTag) {
  const auto bytes = to_bytes("0123456789");
  const auto hex = codec::to_hex(crypto::sha256(bytes));
  const auto path = "/api/v1/blobs/" + hex;
  ASSERT_EQ(send(Method::put, path, admin, {}, bytes).status, 201);
  const auto whole = get(path, client);
  EXPECT_EQ(whole.headers.find("ETag"), '"' + hex + '"');
  EXPECT_EQ(send(Method::get, path, client, {{"Range", "bytes=2-4"}, {"If-Range", '"' + hex + '"'}}).text, "234");
  EXPECT_EQ(send(Method::get, path, client, {{"Range", "bytes=2-4"}, {"If-Range", "\"other\""}}).text, "0123456789");
}

TEST_F(Api, SecretsAreNeverAnswered) {
  const std::string value = "the value of this secret";
  const auto put = send(Method::put, "/api/v1/secrets/example/key", admin, {}, to_bytes(value));
  EXPECT_EQ(put.status, 201);
  EXPECT_EQ(put.string("path"), "example/key");
  EXPECT_THAT(put.text, Not(HasSubstr(value)));
  const auto list = get("/api/v1/secrets", admin);
  EXPECT_THAT(list.text, HasSubstr("example/key"));
  EXPECT_THAT(list.text, Not(HasSubstr(value)));
  EXPECT_EQ(get("/api/v1/secrets/example/key", admin).code(), "method_not_allowed");
  const auto leaves = get("/api/v1/audit/leaves", admin);
  ASSERT_GT(leaves.count("leaves"), 0U);
  for (const auto& leaf : *leaves.body.find("leaves")->as_array()) {
    const auto raw = codec::from_base64(*leaf.as_string());
    ASSERT_TRUE(raw.ok());
    EXPECT_THAT(std::string{as_text(*raw)}, Not(HasSubstr(value)));
  }
}

TEST_F(Api, SecretsBelongToTheirTenant) {
  ASSERT_EQ(send(Method::put, "/api/v1/secrets/example/key", admin, {}, to_bytes("x")).status, 201);
  const auto stranger = token(kAdmin, "other");
  EXPECT_EQ(get("/api/v1/secrets", stranger).count("secrets"), 0U);
  EXPECT_EQ(send(Method::del, "/api/v1/secrets/example/key", stranger).status, 404);
  EXPECT_EQ(send(Method::del, "/api/v1/secrets/example/key", admin).status, 204);
  EXPECT_EQ(send(Method::del, "/api/v1/secrets/example/key", admin).status, 404);
  for (const auto* path : {"", "a//b", "a/b/c/d/e", "A"}) {
    EXPECT_EQ(send(Method::put, std::string{"/api/v1/secrets/"} + path, admin, {}, to_bytes("x")).status, 400) << path;
  }
}

TEST_F(Api, JobIsSubmittedOnceListedAndCancelled) {
  const auto instance = world.ready();
  const auto job = world.seal({&instance});
  const auto created = submit(job, client);
  EXPECT_EQ(created.status, 201);
  EXPECT_EQ(created.string("state"), "queued");
  EXPECT_EQ(submit(job, client).status, 200);
  EXPECT_EQ(get("/api/v1/jobs?state=queued", client).count("jobs"), 1U);
  EXPECT_EQ(get("/api/v1/jobs?state=leased", client).count("jobs"), 0U);
  EXPECT_EQ(send(Method::post, path_of(job) + "/cancel", client).string("state"), "cancelled");
  EXPECT_EQ(send(Method::post, path_of(job) + "/cancel", client).string("state"), "cancelled");
  EXPECT_EQ(get(path_of(job) + "?wait=60s", client).string("state"), "cancelled");
  EXPECT_EQ(get(path_of(job) + "/result", client).code(), "not_found");
  EXPECT_EQ(get(path_of(job) + "/receipt", client).code(), "not_found");
}

TEST_F(Api, CancelledJobLeavesItsInstanceAtOnce) {
  const auto instance = world.ready();
  const auto first = world.seal({&instance}, "one");
  const auto second = world.seal({&instance}, "two");
  ASSERT_EQ(submit(first, client).status, 201);
  ASSERT_EQ(submit(second, client).status, 201);
  InstanceLink td{world, io, strand, [&](std::shared_ptr<links::TdLink> link) {
                    return dispatcher.serve(std::move(link), instance.session, 1);
                  }};
  const auto assigned = td.expect<protocol::AssignJob>();
  ASSERT_EQ(assigned.job, first.keys.job());
  EXPECT_EQ(send(Method::post, path_of(first) + "/cancel", client).string("state"), "cancelled");
  EXPECT_EQ(td.expect<protocol::CancelJob>().attempt, assigned.attempt);
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, second.keys.job());
}

TEST_F(Api, JobsAreListedInPages) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    const auto job = world.seal({}, "job-" + std::to_string(i));
    ASSERT_EQ(submit(job, client).status, 201);
    ids.insert(ids.begin(), job.keys.job().str());  // newest first
  }
  std::vector<std::string> listed;
  std::vector<std::size_t> sizes;
  std::string cursor;
  do {
    const auto page = get("/api/v1/jobs?state=awaiting_rewrap&limit=2" + cursor, client);
    ASSERT_EQ(page.status, 200);
    sizes.push_back(page.count("jobs"));
    for (const auto& job : *page.body.find("jobs")->as_array()) listed.push_back(*job.find("id")->as_string());
    cursor = page.string("next").empty() ? "" : "&cursor=" + page.string("next");
  } while (!cursor.empty());
  EXPECT_EQ(listed, ids);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 2, 1}));
  EXPECT_EQ(get("/api/v1/jobs", client).body.find("next"), nullptr);
  for (const auto* query : {"limit=0", "limit=1001", "limit=x", "limit=-1", "cursor=x", "cursor=-1", "cursor="}) {
    EXPECT_EQ(get(std::string{"/api/v1/jobs?"} + query, client).code(), "invalid_argument") << query;
  }
}

TEST_F(Api, PayloadBeyondTheVersionsLimitIsRefusedWithTheLimit) {
  auto job = world.seal({});
  job.request.ciphertext.resize(world.version.spec.max_payload_bytes + 1000);
  const auto refused = submit(job, client);
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(refused.code(), "limit_exceeded");
  EXPECT_EQ(refused.string("detail"), "a payload of at most 4194304 bytes expected");
}

/// A queue that is full after one job of a tenant, and two of all.
class FullQueue : public Api {
 protected:
  FullQueue() : Api{options()} {}
  static scheduler::JobService::Options options() {
    scheduler::JobService::Options few;
    few.max_jobs_of_tenant = 1;
    few.max_jobs = 2;
    return few;
  }
};

TEST_F(FullQueue, RefusesMoreAndSaysWhenToComeAgain) {
  const auto first = world.seal({}, "one");
  ASSERT_EQ(submit(first, client).status, 201);
  const auto of_tenant = submit(world.seal({}, "two"), client);
  EXPECT_EQ(of_tenant.status, 429);
  EXPECT_EQ(of_tenant.code(), "rate_limited");
  EXPECT_TRUE(of_tenant.headers.find("Retry-After"));
  ASSERT_EQ(submit(world.seal({}, "two"), token(kClient, "second")).status, 201);
  const auto of_all = submit(world.seal({}, "three"), token(kClient, "third"));
  EXPECT_EQ(of_all.status, 503);
  EXPECT_EQ(of_all.code(), "overloaded");
  EXPECT_TRUE(of_all.headers.find("Retry-After"));
  EXPECT_EQ(submit(first, client).status, 200);
}

TEST_F(Api, SameKeyForAnotherJobIsAConflict) {
  auto job = world.seal({});
  ASSERT_EQ(submit(job, client).status, 201);
  job.request.input_commitment[0] ^= 1;
  EXPECT_EQ(submit(job, client).code(), "idempotency_conflict");
}

TEST_F(Api, JobsOfAnotherTenantDoNotExist) {
  const auto instance = world.ready();
  const auto job = world.complete(instance);
  ASSERT_EQ(get(path_of(job), client).string("state"), "succeeded");
  for (const auto& stranger : {token(kClient, "other"), token(kAdmin, "other")}) {
    EXPECT_EQ(get("/api/v1/jobs", stranger).count("jobs"), 0U);
    for (const auto* part : {"", "?wait=60s", "/result", "/receipt"}) {
      EXPECT_EQ(get(path_of(job) + part, stranger).code(), "not_found") << part;
    }
    EXPECT_EQ(send(Method::post, path_of(job) + "/cancel", stranger).code(), "not_found");
    EXPECT_EQ(send_json(Method::put, path_of(job) + "/recipients", stranger, R"({"recipients":[]})").code(),
              "not_found");
  }
}

TEST_F(Api, WaitIsFromNothingToAMinute) {
  const auto job = world.seal({});
  ASSERT_EQ(submit(job, client).status, 201);
  for (const auto* wait : {"", "s", "1", "-1s", "+1s", "61s", "1m", "1ss", "1%20s", "99999999999999999999s",
                           "4294967297s", "18446744073709551617s"}) {
    EXPECT_EQ(get(path_of(job) + "?wait=" + wait, client).code(), "invalid_argument") << wait;
  }
  EXPECT_EQ(get(path_of(job) + "?wait=0s", client).string("state"), "awaiting_rewrap");
  EXPECT_EQ(get(path_of(job) + "?wait=1s", client).string("state"), "awaiting_rewrap");
}

TEST_F(Api, WaitEndsWithTheJob) {
  const auto instance = world.ready();
  const auto job = world.seal({&instance});
  ASSERT_EQ(submit(job, client).status, 201);
  auto waiting = std::async(std::launch::async, [&] { return get(path_of(job) + "?wait=60s", client); });
  ASSERT_EQ(send(Method::post, path_of(job) + "/cancel", client).status, 200);
  EXPECT_EQ(waiting.get().string("state"), "cancelled");
}

TEST_F(Api, RecipientsAreNamedAndAdded) {
  const auto instance = world.ready();
  const auto sealed = world.seal({&instance});
  auto job = world.seal({});
  ASSERT_EQ(submit(job, client).status, 201);
  const auto waiting = get(path_of(job) + "?wait=60s", client);
  EXPECT_EQ(waiting.string("state"), "awaiting_rewrap");
  ASSERT_EQ(waiting.count("missing_recipients"), 1U);
  EXPECT_EQ(*waiting.body.find("missing_recipients")->as_array()->front().as_string(),
            instance.session.instance().str());
  const auto put = [&](json::Array list) {
    return send_json(Method::put, path_of(job) + "/recipients", client,
                     json::write(json::Object{{"recipients", std::move(list)}}));
  };
  auto stranger = sealed.request.recipients.front();
  stranger.instance = *InstanceId::parse("ins-none");
  EXPECT_EQ(put({model::to_json(stranger)}).code(), "invalid_argument");
  EXPECT_EQ(put(json::Array(65, model::to_json(stranger))).code(), "limit_exceeded");
  EXPECT_EQ(put({model::to_json(sealed.request.recipients.front())}).string("state"), "queued");
  EXPECT_EQ(get(path_of(job), client).count("missing_recipients"), 0U);
}

TEST_F(Api, ReceiptOfACompletedJobHolds) {
  const auto instance = world.ready();
  const auto job = world.complete(instance);
  const auto result = get(path_of(job) + "/result", client);
  ASSERT_EQ(result.status, 200);
  EXPECT_TRUE(model::parse_job_result(result.body).ok());
  const auto answer = get(path_of(job) + "/receipt", client);
  ASSERT_EQ(answer.status, 200);
  const auto receipt = receipt::parse_receipt(answer.text);
  ASSERT_TRUE(receipt.ok()) << receipt.error().text();
  EXPECT_EQ(receipt->job.id, job.keys.job());
  const auto checked = receipt::check(*receipt, world.trust(), {std::nullopt, world.clock.now()});
  EXPECT_TRUE(checked.ok()) << checked.error().text();
}

TEST_F(Api, InstancesShowTheirEvidenceByVersion) {
  const auto instance = world.ready();
  const auto of_version = "/api/v1/versions/" + world.version.id.str() + "/instances";
  const auto list = get(of_version + "?state=ready", client);
  ASSERT_EQ(list.count("instances"), 1U);
  EXPECT_THAT(list.text, HasSubstr("evidence"));
  EXPECT_EQ(get(of_version + "?state=starting", client).count("instances"), 0U);
  EXPECT_EQ(get("/api/v1/instances/" + instance.session.instance().str(), client).string("state"), "ready");
}

TEST_F(Api, ChallengeIsRegisteredOnce) {
  const auto again = post("/api/v1/challenges", admin, model::to_json(world.version.spec));
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(again.string("id"), world.version.id.str());
  EXPECT_EQ(get("/api/v1/challenges", client).count("challenges"), 1U);
  EXPECT_EQ(get("/api/v1/challenges/example/versions", client).count("versions"), 1U);
  auto spec = world.version.spec;
  spec.image_digest = {};
  EXPECT_EQ(post("/api/v1/challenges", admin, model::to_json(spec)).code(), "not_found");
}

TEST_F(Api, ValidatorIsEnrolledOnce) {
  const json::Value body = json::Object{{"hotkey", std::string(64, 'a')}};
  const auto first = post("/api/v1/validators", admin, body);
  EXPECT_EQ(first.status, 201);
  const auto second = post("/api/v1/validators", admin, body);
  EXPECT_EQ(second.status, 200);
  EXPECT_NE(first.string("id"), "");
  EXPECT_EQ(second.string("id"), first.string("id"));
  EXPECT_EQ(get("/api/v1/validators", admin).count("validators"), 2U);  // with the world's own
  EXPECT_EQ(get("/api/v1/validators/" + first.string("id"), admin).string("hotkey"), std::string(64, 'a'));
  EXPECT_EQ(post("/api/v1/validators", admin, json::Object{{"hotkey", "aa"}}).code(), "malformed");
}

TEST_F(Api, TokensAreIssuedListedAndRevoked) {
  const auto issued =
      post("/api/v1/tokens", admin, json::Object{{"name", "ci"}, {"role", "client"}, {"lifetime_s", 60}});
  ASSERT_EQ(issued.status, 201);
  const auto bearer = issued.string("token");
  EXPECT_EQ(get("/api/v1/jobs", bearer).status, 200);
  EXPECT_EQ(get("/api/v1/tokens", bearer).status, 403);
  const auto list = get("/api/v1/tokens", admin);
  EXPECT_THAT(list.text, HasSubstr(issued.string("id")));
  EXPECT_THAT(list.text, Not(HasSubstr(bearer)));

  const auto stranger = token(kAdmin, "other");
  EXPECT_THAT(get("/api/v1/tokens", stranger).text, Not(HasSubstr(issued.string("id"))));
  EXPECT_EQ(send(Method::del, "/api/v1/tokens/" + issued.string("id"), stranger).status, 404);
  EXPECT_EQ(get("/api/v1/jobs", bearer).status, 200);
  EXPECT_EQ(send(Method::del, "/api/v1/tokens/" + issued.string("id"), admin).status, 204);
  EXPECT_EQ(get("/api/v1/jobs", bearer).status, 401);
}

TEST_F(Api, TokensAreForOperatorsAndALimitedTime) {
  const auto issue = [&](const json::Value& body) { return post("/api/v1/tokens", admin, body).code(); };
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "host"}}), "invalid_argument");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "root"}}), "invalid_argument");
  EXPECT_EQ(issue(json::Object{{"name", "X y"}, {"role", "client"}}), "invalid_argument");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "client"}, {"lifetime_s", 59}}), "malformed");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "client"}, {"lifetime_s", 366 * 24 * 3600 + 1}}), "malformed");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "client"}, {"tenant", "other"}}), "unknown_member");
}

TEST_F(Api, AuditHeadCoversWhatItProves) {
  const auto head = get("/api/v1/audit/head", client);
  ASSERT_EQ(head.status, 200);
  EXPECT_EQ(head.string("key"), codec::to_hex(world.log->key()));
  const auto size = head.body.find("size")->as_uint().value_or(0);
  ASSERT_GT(size, 1U);
  const auto proof = get("/api/v1/audit/inclusion?index=1&size=" + std::to_string(size), client);
  ASSERT_EQ(proof.status, 200);
  const auto leaves = get("/api/v1/audit/leaves?first=1&limit=1", admin);
  ASSERT_EQ(leaves.count("leaves"), 1U);
  merkle::InclusionProof shown;
  shown.leaf_index = 1;
  shown.tree_size = size;
  for (const auto& hash : *proof.body.find("path")->as_array()) {
    shown.path.push_back(*codec::array_from_hex<32>(*hash.as_string()));
  }
  const auto leaf = codec::from_base64(*leaves.body.find("leaves")->as_array()->front().as_string());
  const auto root = codec::array_from_hex<32>(head.string("root"));
  ASSERT_TRUE(leaf.ok() && root.ok());
  EXPECT_TRUE(merkle::verify_inclusion(shown, merkle::leaf_hash(*leaf), *root).ok());
  EXPECT_EQ(get("/api/v1/audit/inclusion?index=1&size=" + std::to_string(size + 1000), client).code(), "not_found");
}

}  // namespace
}  // namespace cloister::test
