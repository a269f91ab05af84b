// Every route of the orchestrator over real services and a real connection: who may call it, what it refuses, and what
// it must never answer.
#include <gmock/gmock.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <regex>
#include <set>
#include <thread>

#include "cloister/api/api.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral_cache/source.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/http/client.hpp"
#include "cloister/protocol/server_proof.hpp"
#include "cloister/storage/fleet.hpp"
#include "cloister/token/verify.hpp"
#include "instance_link.hpp"
#include "support/disk.hpp"
#include "support/synthetic_snp.hpp"
#include "support/vendor_service.hpp"

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
const std::string kAnyVersion = R"({"any_version":true})";
const std::string kWholeConditions = R"({"versions":["ver-a"],"measurements":[
  {"image_digest":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}],
  "tcb":{"tdx_components":"00000400000000000000000000000000","sgx_components":"03030000000000000000000000000000",
  "pce_svn":13,"tcb_date":"2024-03-13T00:00:00Z"}})";

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

/// Another clock, ahead of which it is as far as a test says.
class AheadClock final : public Clock {
 public:
  explicit AheadClock(const Clock& base) : base_{base} {}
  [[nodiscard]] UnixTime now() const override { return base_.now(); }
  [[nodiscard]] SteadyTime steady() const override { return base_.steady() + ahead_.load(); }
  void advance(std::chrono::seconds span) { ahead_ = ahead_.load() + span; }

 private:
  const Clock& base_;
  std::atomic<std::chrono::seconds> ahead_{};
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
    result_keys = keyring::Keyring::open({*world.database, *world.sealer, *world.log, random}, std::chrono::minutes{5},
                                         world.clock.now()).value();
    revocations = std::make_unique<revocation::List>(revocation::List::Services{*world.database, *world.log, random}, std::nullopt);
    services.emplace(api::Services{*world.database, *world.blobs, *world.log, *world.registry, *world.broker,
                                   *world.jobs, dispatcher, *fleet, tokens, *result_keys, *revocations, pool, readers, clock, random, monitor, logger,
                                   world.anchors,
                                   [this](const evidence::Quote&) -> Result<evidence::QuoteCollateral> {
                                     return world.collateral;
                                   },
                                   kServerId, "0.0.0", request_patience});
    http::ServerOptions options;
    options.upload_directory = world.dir.path();
    options.authenticator = api::make_authenticator(*services);
    options.handlers = strand;
    options.metrics = [this](const http::RequestMetric& request) { monitor.observe(request); };
    monitor.serving();
    auto listening = http::Server::listen(io, std::move(options), api::make_router(*services), logger);
    ASSERT_TRUE(listening.ok());
    server = std::move(*listening);
    auto opened = kbs::Brokers::open(kbs::Services{*world.database, writes, *world.sealer, *world.log, refusals, *result_keys, world.anchors,
                                                   {nullptr, nullptr, false}, session_key, random, *revocations, guest_meters, guest_inputs},
                                     {.tenant = world.tenant, .server_id = kServerId, .build = "test",
                                      .reference_values = json::Object{{"none", 1}}});
    ASSERT_TRUE(opened.ok());
    brokers = *std::move(opened);
    services->guests = brokers.get();  // its own routes, which have other forms, are those of kbs_routes_test
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
    pool.stop();
    writes.stop();
    readers.stop();
    proofs.stop();
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
  /// A request whose body is announced and does not come.
  Reply announce(const std::string& method, const std::string& path, const std::string& bearer, std::uint64_t size) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{30, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(server->port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const auto text = method + ' ' + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bearer +
                      "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
    EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    std::string answer;
    char piece[4096];
    for (ssize_t got = 0; (got = ::recv(fd, piece, sizeof piece, 0)) > 0;) answer.append(piece, static_cast<std::size_t>(got));
    ::close(fd);
    Reply out;
    const auto end = answer.find("\r\n\r\n");
    if (end == std::string::npos) return out;
    out.status = std::atoi(answer.c_str() + 9);
    for (const auto* name : {"Content-Type", "X-Request-Id"}) {
      const auto at = answer.find(std::string{name} + ": ");
      if (at < end) out.headers.set(name, answer.substr(at + std::strlen(name) + 2, answer.find('\r', at) - at - std::strlen(name) - 2));
    }
    out.text = answer.substr(end + 4);
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
  Reply put_key(const std::string& version, const std::string& bearer, const std::string& conditions) {
    return send_json(Method::put, "/api/v1/derived-keys/" + version, bearer, conditions);
  }
  Reply submit(const World::ClientJob& job, const std::string& bearer) {
    return post("/api/v1/jobs", bearer, model::to_json(job.request));
  }
  [[nodiscard]] static std::string path_of(const World::ClientJob& job) { return "/api/v1/jobs/" + job.keys.job().str(); }

  World world;
  RealWaits clock{world.clock};
  storage::WriteQueue writes{*world.database, 64};
  SystemRandom random;
  crypto::Secret<32> session_key = crypto::Secret<32>::random(random);
  log::NullLogger logger;
  audit::Refusals refusals;
  AheadClock monitor_clock{clock};
  api::Monitor monitor{*world.database, monitor_clock, {"a taint"}};
  std::chrono::milliseconds request_patience{20'000};  // of a request with its work
  session::OperatorTokens tokens{crypto::Ed25519Key::generate(random), kServerId};
  runtime::IoContext io{1};
  runtime::BlockingPool pool{2, 64};
  runtime::BlockingPool readers{2, 64};
  runtime::BlockingPool proofs{1, 1};  // of the server's own evidence
  runtime::Executor strand;
  links::Attestor attestor{links::Attestor::Services{*world.sessions, pool, clock, logger},
                           [this](const evidence::Quote&) -> Result<evidence::QuoteCollateral> { return world.collateral; },
                           world.anchors, policy::Policy{}};
  scheduler::Dispatcher dispatcher{*world.jobs, pool, clock, logger};
  std::unique_ptr<fleet::Fleet> fleet;
  std::unique_ptr<keyring::Keyring> result_keys;
  std::unique_ptr<revocation::List> revocations;
  std::optional<api::Services> services;
  kbs::Meters guest_meters;
  rego::RecentInputs guest_inputs{1U << 20};
  std::unique_ptr<kbs::Brokers> brokers;
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
    {"GET /api/v1/openapi.json", kPublicRoute},
    {"GET /api/v1/attestation/self", kPublicRoute},
    {"POST /api/v1/attestation/verify", kOperators},
    {"POST /api/v1/attestation/keys/rotate", kAdmins},
    {"GET /.well-known/jwks.json", kPublicRoute},
    {"GET /api/v1/audit/consistency", kOperators},
    {"POST /api/v1/validators/{id}/drain", kAdmins},
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
    {"GET /api/v1/derived-keys", kAdmins},
    {"GET /api/v1/derived-keys/{challenge}/{purpose}", kAdmins},
    {"PUT /api/v1/derived-keys/{challenge}/{purpose}/versions/{version}", kAdmins},
    {"DELETE /api/v1/derived-keys/{challenge}/{purpose}/versions/{version}", kAdmins},
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
    {"GET /api/v1/audit/logs", kAdmins},
    {"GET /api/v1/audit/export", kAdmins},
    {"POST /api/v1/tokens", kAdmins},
    {"GET /api/v1/tokens", kAdmins},
    {"DELETE /api/v1/tokens/{id}", kAdmins},
    {"GET /api/v1/resources", kAdmins},
    {"PUT /api/v1/resources/{repository}/{type}/{tag}", kAdmins},
    {"GET /api/v1/resources/{repository}/{type}/{tag}", kAdmins},
    {"DELETE /api/v1/resources/{repository}/{type}/{tag}", kAdmins},
    {"GET /api/v1/resources/{repository}/{type}/{tag}/versions", kAdmins},
    {"PUT /api/v1/resources/{repository}/{type}/{tag}/generator", kAdmins},
    {"POST /api/v1/resources/{repository}/{type}/{tag}/rotate", kAdmins},
    {"PUT /api/v1/resources/{repository}/{type}/{tag}/current", kAdmins},
    {"PUT /api/v1/resources/{repository}/{type}/{tag}/labels", kAdmins},
    {"PUT /api/v1/resources/{repository}/{type}/{tag}/retention", kAdmins},
    {"POST /api/v1/resources/{repository}/{type}/{tag}/undelete", kAdmins},
    {"POST /api/v1/resources/{repository}/{type}/{tag}/purge", kAdmins},
    {"GET /api/v1/resource-usage", kAdmins},
    {"GET /api/v1/data-key", kAdmins},
    {"POST /api/v1/data-key/rotate", kAdmins},
    {"POST /api/v1/data-key/reseal", kAdmins},
    {"GET /api/v1/policies", kAdmins},
    {"GET /api/v1/policies/resource/{id}", kAdmins},
    {"PUT /api/v1/policies/resource/{id}", kAdmins},
    {"DELETE /api/v1/policies/resource/{id}", kAdmins},
    {"GET /api/v1/policies/attestation/{id}", kAdmins},
    {"PUT /api/v1/policies/attestation/{id}", kAdmins},
    {"DELETE /api/v1/policies/attestation/{id}", kAdmins},
    {"POST /api/v1/policies/explain", kAdmins},
    {"POST /api/v1/policies/try", kAdmins},
    {"GET /api/v1/reference-values", kAdmins},
    {"GET /api/v1/reference-values/{name...}", kAdmins},
    {"PUT /api/v1/reference-values/{name...}", kAdmins},
    {"DELETE /api/v1/reference-values/{name...}", kAdmins},
    {"GET /api/v1/revocations", kAdmins},
    {"POST /api/v1/revocations", kAdmins},
    {"DELETE /api/v1/revocations/{id}", kAdmins},
    {"GET /api/v1/guests", kAdmins},
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
      {"{id}", "none"},         {"{digest}", std::string(64, '0')}, {"{path...}", "none/here"}, {"{challenge}", "none"},
      {"{purpose}", "none"},    {"{version}", "1"},                 {"{repository}", "none"},   {"{type}", "is"},
      {"{tag}", "here"},         {"{name...}", "none"}};
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
  services->guests = nullptr;
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
  EXPECT_EQ(get("/api/v1/derived-keys/none/none", admin).code(), "not_found");
  EXPECT_EQ(send(Method::del, "/api/v1/derived-keys/none/none/versions/1", admin).code(), "not_found");
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
      {Method::post, "/api/v1/tokens", json::Object{{"name", "x"}, {"role", "client"}}},
      {Method::put, "/api/v1/resources/a/b/c/generator", json::Object{{"random", 32}}},
      {Method::put, "/api/v1/resources/a/b/c/labels", json::Object{{"labels", json::Object{}}}},
      {Method::put, "/api/v1/resources/a/b/c/retention", json::Object{{"keep", 2}}}};
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

TEST_F(Api, HealthEndsWhenTheLoopStandsStill) {
  const auto warned = [&] { return get("/status", admin).text.find(R"("code":"stalled")") != std::string::npos; };
  EXPECT_EQ(get("/health", "").status, 200);
  EXPECT_FALSE(warned());
  monitor_clock.advance(std::chrono::seconds{61});
  const auto reply = get("/health", "");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.string("detail"), "stalled");
  EXPECT_TRUE(warned());
  monitor.beat();
  EXPECT_EQ(get("/health", "").status, 200);
  EXPECT_FALSE(warned());
}

TEST_F(Api, ReadinessEndsBeforeTheDiskIsFull) {
  const auto bytes_free = [&] { return sample(get("/metrics", admin).text, "cloister_storage_free_bytes"); };
  EXPECT_EQ(get("/ready", "").status, 200);
  {
    const FreeSpace little{8U << 20};
    monitor_clock.advance(std::chrono::seconds{1});
    const auto reply = get("/ready", "");
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.string("detail"), "disk_almost_full");
    EXPECT_EQ(bytes_free(), 8U << 20);
  }
  const FreeSpace enough{64U << 20};
  monitor_clock.advance(std::chrono::seconds{1});
  EXPECT_EQ(get("/ready", "").status, 200);
  EXPECT_EQ(bytes_free(), 64U << 20);
}

TEST_F(Api, LeasesAreCountedByHowTheyEnd) {
  const auto count = [&](const std::string& outcome) {
    return sample(get("/metrics", admin).text,
                  "cloister_job_lease_duration_seconds_count{outcome=\"" + outcome + "\"}");
  };
  admin = token(kAdmin, "default", std::chrono::hours{24});
  const auto instance = world.ready();
  const auto leased = [&](const std::string& key) {
    auto job = world.seal({&instance}, key);
    job.request.deadline = std::chrono::minutes{10};
    EXPECT_EQ(submit(job, admin).status, 201);
    auto assigned = world.jobs->lease(instance.session, world.clock.now());
    EXPECT_TRUE(assigned.ok() && assigned->has_value());
    return **assigned;
  };
  for (const auto* outcome : {"failed", "lost", "cancelled", "expired"}) EXPECT_EQ(count(outcome), -1) << outcome;

  const auto failing = leased("failing");
  const protocol::AttemptFailed failed{failing.attempt, failing.fence, "input_commitment_mismatch"};
  EXPECT_TRUE(world.jobs->fail(instance.session, failed, world.clock.now()).ok());
  EXPECT_EQ(count("failed"), 1);

  const auto cancelled = leased("cancelled");
  EXPECT_EQ(send(Method::post, "/api/v1/jobs/" + cancelled.job.str() + "/cancel", admin).status, 200);
  EXPECT_EQ(count("cancelled"), 1);

  const auto expired = leased("expired");
  world.clock.set(world.clock.now() + std::chrono::minutes{11});  // the date alone: no lease ends
  EXPECT_TRUE(world.jobs->tick(world.clock.now()).ok());
  EXPECT_EQ(count("expired"), 1);
  EXPECT_EQ(count("lost"), -1);

  const auto lost = leased("lost");
  world.clock.advance(std::chrono::seconds{31});
  EXPECT_TRUE(world.jobs->tick(world.clock.now()).ok());
  EXPECT_EQ(count("lost"), 1);
  EXPECT_EQ(count("succeeded"), -1);
}

/// A disk that takes no commit.
class OnASlowDisk : public Api {
 protected:
  OnASlowDisk() { request_patience = storage::Database::kWriterPatience + std::chrono::seconds{2}; }
  /// Over a connection of its own.
  std::future<Reply> put_meanwhile(const std::string& path) {
    return std::async(std::launch::async, [this, path] {
      http::ClientOptions options;
      options.base_url = server->base_url();
      auto own = *http::BlockingClient::make(std::move(options));
      auto answer = own->request(Method::put, path, {{"Authorization", "Bearer " + admin}}, to_bytes("x"), kTimeout);
      if (!answer) return Reply{};
      Reply out{answer->status, answer->headers, std::string{as_text(answer->body)}, {}};
      if (auto parsed = json::parse(out.text)) out.body = std::move(*parsed);
      return out;
    });
  }
  bool eventually(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + kTimeout;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  std::size_t secrets(const std::string& prefix) {
    const auto text = get("/api/v1/secrets", admin).text;
    std::size_t found = 0;
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at + 1)) ++found;
    return found;
  }
};

TEST_F(OnASlowDisk, WritesAreRefusedInTimeReadsAreServedAndNothingIsLost) {
  const auto monitoring = token(kMonitor);
  const auto queued = [&] { return sample(get("/metrics", monitoring).text, "cloister_work_queue_length"); };
  const auto job = world.seal({}, "before");
  ASSERT_EQ(submit(job, client).status, 201);
  ASSERT_EQ(send(Method::put, "/api/v1/secrets/before", admin, {}, to_bytes("x")).status, 201);
  ASSERT_EQ(get("/ready", "").status, 200);
  EXPECT_EQ(queued(), 0);

  std::vector<std::future<Reply>> puts;
  {
    const SlowDisk disk;
    // The first has begun before the second comes, which would else share its commit.
    puts.push_back(put_meanwhile("/api/v1/secrets/slow/s0"));
    SlowDisk::wait_until_held();
    for (int i = 1; i < 6; ++i) puts.push_back(put_meanwhile("/api/v1/secrets/slow/s" + std::to_string(i)));
    EXPECT_TRUE(eventually([&] { return queued() > 0; })) << "two threads are held, and the rest waits";
    EXPECT_EQ(get("/health", "").status, 200);
    EXPECT_EQ(get(path_of(job), client).status, 200);
    EXPECT_EQ(get("/api/v1/secrets", admin).status, 200);
    for (auto& put : puts) {
      const auto reply = put.get();
      EXPECT_EQ(reply.status, 503) << reply.text;
      EXPECT_EQ(reply.code(), "storage_failure");
      EXPECT_TRUE(reply.headers.find("Retry-After"));
    }
    const auto ready = get("/ready", "");
    EXPECT_EQ(ready.status, 503);
    EXPECT_EQ(ready.string("detail"), "storage_slow");
    const auto metrics = get("/metrics", monitoring);
    EXPECT_EQ(sample(metrics.text, "cloister_ready"), 0);
    EXPECT_GE(sample(metrics.text, R"(cloister_jobs{state="awaiting_rewrap"})"), 1) << "the database can be read";
    EXPECT_THAT(get("/status", monitoring).text, HasSubstr("storage_slow"));
    EXPECT_EQ(secrets("slow/"), 0U);
  }
  // It mends itself. The one write that had begun is there now, whole; those that had not never come.
  EXPECT_TRUE(eventually([&] { return get("/ready", "").status == 200; }));
  EXPECT_EQ(secrets("slow/"), 1U);
  EXPECT_EQ(secrets("before"), 1U);
  EXPECT_EQ(submit(job, client).status, 200) << "the same job";
  EXPECT_EQ(send(Method::put, "/api/v1/secrets/slow/after", admin, {}, to_bytes("x")).status, 201);
  EXPECT_EQ(secrets("slow/"), 2U);
  EXPECT_EQ(queued(), 0);
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

TEST_F(Api, DerivedKeysAreMadeRaisedShownAndRevoked) {
  const auto first = put_key("example/disk/versions/1", admin, kWholeConditions);
  ASSERT_EQ(first.status, 201) << first.text;
  EXPECT_EQ(*first.body.find("conditions"), *json::parse(kWholeConditions));
  EXPECT_EQ(put_key("example/disk/versions/1", admin, kWholeConditions).text, first.text) << "a retry";
  EXPECT_EQ(put_key("example/disk/versions/1", admin, kWholeConditions).status, 200);
  const auto changed = put_key("example/disk/versions/1", admin, kAnyVersion);
  EXPECT_EQ(changed.code(), "conflict");
  EXPECT_THAT(changed.string("detail"), HasSubstr("the next version is 2"));
  EXPECT_EQ(put_key("example/disk/versions/3", admin, kWholeConditions).code(), "conflict");
  EXPECT_EQ(put_key("example/disk/versions/2", admin, kAnyVersion).code(), "conflict") << "a lower floor";
  EXPECT_EQ(put_key("example/disk/versions/2", admin, "{}").code(), "invalid_argument") << "nobody is allowed";
  ASSERT_EQ(put_key("example/disk/versions/2", admin, kWholeConditions).status, 201);
  ASSERT_EQ(put_key("example/backup/versions/1", admin, kAnyVersion).status, 201);
  ASSERT_EQ(put_key("other/disk/versions/1", admin, kAnyVersion).status, 201) << "also before the challenge is registered";
  EXPECT_EQ(send(Method::del, "/api/v1/derived-keys/example/disk/versions/1", admin).status, 204);
  EXPECT_EQ(send(Method::del, "/api/v1/derived-keys/example/disk/versions/1", admin).status, 204);
  EXPECT_EQ(send(Method::del, "/api/v1/derived-keys/example/disk/versions/3", admin).code(), "not_found");
  const auto shown = get("/api/v1/derived-keys/example/disk", admin);
  ASSERT_EQ(shown.count("versions"), 2U);
  const auto& versions = *shown.body.find("versions")->as_array();
  EXPECT_NE(versions[0].find("revoked"), nullptr);
  EXPECT_EQ(versions[1].find("revoked"), nullptr);
  const auto list = get("/api/v1/derived-keys", admin);
  ASSERT_EQ(list.count("derived-keys"), 3U);
  const auto& disk = list.body.find("derived-keys")->as_array()->at(1);
  EXPECT_EQ(*disk.find("purpose")->as_string(), "disk");
  EXPECT_EQ(disk.find("version")->as_int(), 2);
  EXPECT_EQ(disk.find("revoked")->as_int(), 1);
}

TEST_F(Api, DerivedKeysBelongToTheirTenant) {
  ASSERT_EQ(put_key("example/disk/versions/1", admin, kAnyVersion).status, 201);
  const auto stranger = token(kAdmin, "other");
  EXPECT_EQ(get("/api/v1/derived-keys", stranger).count("derived-keys"), 0U);
  EXPECT_EQ(get("/api/v1/derived-keys/example/disk", stranger).status, 404);
  EXPECT_EQ(send(Method::del, "/api/v1/derived-keys/example/disk/versions/1", stranger).status, 404);
  EXPECT_EQ(put_key("example/disk/versions/2", stranger, kAnyVersion).code(), "conflict") << "theirs begin at 1";
  EXPECT_EQ(put_key("example/disk/versions/1", stranger, kAnyVersion).status, 201);
  EXPECT_EQ(get("/api/v1/derived-keys/example/disk", admin).count("versions"), 1U);
}

TEST_F(Api, DataKeysRotateWhileValuesAreGiven) {
  ASSERT_EQ(send(Method::put, "/api/v1/secrets/example/key", admin, {}, to_bytes("x")).status, 201);
  ASSERT_EQ(send(Method::put, "/api/v1/resources/a/b/c", admin, {}, to_bytes("y")).status, 201);
  const auto before = get("/api/v1/data-key", admin);
  EXPECT_EQ(before.string("tenant"), "default");
  EXPECT_EQ(*before.body.find("remaining"), json::Value{0});
  const auto rotated = send(Method::post, "/api/v1/data-key/rotate", admin);
  ASSERT_EQ(rotated.status, 200) << rotated.text;
  EXPECT_NE(rotated.string("key"), before.string("key"));
  EXPECT_EQ(*rotated.body.find("older"), json::Value{1});
  EXPECT_NE(*rotated.body.find("remaining"), json::Value{0});
  const auto done = send(Method::post, "/api/v1/data-key/reseal", admin);
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(*done.body.find("resealed"), *rotated.body.find("remaining"));
  EXPECT_EQ(*done.body.find("retired"), json::Value{1});
  EXPECT_EQ(*done.body.find("older"), json::Value{0});
  // Each administrator rotates the key of the own tenant; those of the server all of them, and the server's own.
  const auto other = token(kAdmin, "other");
  EXPECT_EQ(send(Method::post, "/api/v1/data-key/rotate", other).code(), "not_found");
  ASSERT_EQ(send(Method::put, "/api/v1/secrets/example/key", other, {}, to_bytes("x")).status, 201);
  EXPECT_EQ(send(Method::post, "/api/v1/data-key/rotate", other).string("tenant"), "other");
  for (const auto* tenant : {"default", "system"}) {
    EXPECT_EQ(get(std::string{"/api/v1/data-key?tenant="} + tenant, other).code(), "permission_denied");
    for (const auto* act : {"rotate", "reseal"}) {
      EXPECT_EQ(send(Method::post, std::string{"/api/v1/data-key/"} + act + "?tenant=" + tenant, other).code(), "permission_denied");
    }
  }
  EXPECT_EQ(send(Method::post, "/api/v1/data-key/rotate?tenant=other", admin).string("tenant"), "other");
  const auto keys = get("/.well-known/jwks.json", "").text;
  EXPECT_EQ(send(Method::post, "/api/v1/data-key/rotate?tenant=system", admin).status, 200);
  EXPECT_EQ(*send(Method::post, "/api/v1/data-key/reseal?tenant=system", admin).body.find("retired"), json::Value{1});
  EXPECT_EQ(get("/.well-known/jwks.json", "").text, keys);
}

TEST_F(Api, ResourcesNeedAKeyBroker) {
  services->guests = nullptr;
  for (const auto& reply : {get("/api/v1/resources", admin), get("/api/v1/resources/a/b/c", admin), get("/api/v1/resource-usage", admin),
                            send(Method::put, "/api/v1/resources/a/b/c", admin, {}, to_bytes("x"))}) {
    EXPECT_EQ(reply.code(), "not_found");
    EXPECT_THAT(reply.text, HasSubstr("[key_broker]"));
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
  // Anybody could sign in its name.
  EXPECT_EQ(post("/api/v1/validators", admin, json::Object{{"hotkey", std::string(64, '0')}}).code(), "key_invalid");
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

TEST_F(Api, TokensGoOnWhenTheClockJumps) {
  const auto lasting = token(kClient, "default", std::chrono::hours{24});
  const auto start = world.clock.now();
  world.clock.set(start - std::chrono::hours{1});
  EXPECT_EQ(get("/api/v1/jobs", client).status, 200) << "made an hour from now";
  EXPECT_EQ(get("/api/v1/jobs", lasting).status, 200);
  world.clock.set(start + std::chrono::hours{1});
  EXPECT_EQ(get("/api/v1/jobs", lasting).status, 200);
  EXPECT_EQ(get("/api/v1/jobs", client).code(), "unauthenticated") << "it was for an hour";
  world.clock.set(start);
  EXPECT_EQ(get("/api/v1/jobs", client).status, 200);
}

TEST_F(Api, TokensAreForOperatorsAndALimitedTime) {
  const auto issue = [&](const json::Value& body) { return post("/api/v1/tokens", admin, body).code(); };
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "host"}}), "invalid_argument");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "root"}}), "invalid_argument");
  EXPECT_EQ(issue(json::Object{{"name", "X y"}, {"role", "client"}}), "invalid_argument");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "client"}, {"lifetime_s", 59}}), "malformed");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "client"}, {"lifetime_s", 366 * 24 * 3600 + 1}}), "malformed");
  EXPECT_EQ(issue(json::Object{{"name", "x"}, {"role", "client"}, {"tenant", "No Tenant"}}), "invalid_argument");
}

TEST_F(Api, TokensOfOtherTenantsAreTheServersToIssue) {
  const json::Value wanted = json::Object{{"name", "x"}, {"role", "admin"}, {"tenant", "other"}};
  const auto issued = post("/api/v1/tokens", admin, wanted);
  ASSERT_EQ(issued.status, 201) << issued.text;
  const auto other = issued.string("token");
  EXPECT_THAT(get("/api/v1/tokens", admin).text, Not(HasSubstr(issued.string("id"))));
  EXPECT_THAT(get("/api/v1/tokens", other).text, HasSubstr(issued.string("id")));
  EXPECT_EQ(post("/api/v1/tokens", other, wanted).status, 201);  // of its own
  EXPECT_EQ(post("/api/v1/tokens", other, json::Object{{"name", "x"}, {"role", "client"}, {"tenant", "third"}}).code(),
            "permission_denied");
  EXPECT_EQ(post("/api/v1/tokens", other, json::Object{{"name", "x"}, {"role", "admin"}, {"tenant", "default"}}).code(),
            "permission_denied");
  EXPECT_EQ(send(Method::del, "/api/v1/tokens/" + issued.string("id"), admin).code(), "not_found");
  EXPECT_EQ(send(Method::del, "/api/v1/tokens/" + issued.string("id"), other).status, 204);
  EXPECT_EQ(get("/api/v1/tokens", other).status, 401);
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

TEST_F(Api, AuditHeadsContinueEachOther) {
  const auto older = get("/api/v1/audit/head", client);
  (void)token(kClient);
  const auto newer = get("/api/v1/audit/head", client);
  const auto size = [](const Reply& head) { return head.body.find("size")->as_uint().value_or(0); };
  ASSERT_LT(size(older), size(newer));
  const auto answer = get("/api/v1/audit/consistency?first=" + std::to_string(size(older)), client);
  ASSERT_EQ(answer.status, 200);
  merkle::ConsistencyProof proof;
  proof.first_size = size(older);
  proof.second_size = size(newer);
  for (const auto& hash : *answer.body.find("path")->as_array()) {
    proof.path.push_back(*codec::array_from_hex<32>(*hash.as_string()));
  }
  const auto root = [](const Reply& head) { return *codec::array_from_hex<32>(head.string("root")); };
  EXPECT_TRUE(merkle::verify_consistency(proof, root(older), root(newer)).ok());
  EXPECT_FALSE(merkle::verify_consistency(proof, root(newer), root(older)).ok());
  EXPECT_EQ(get("/api/v1/audit/consistency", client).code(), "invalid_argument");
  const auto beyond = "?first=1&second=" + std::to_string(size(newer) + 1000);
  EXPECT_GE(get("/api/v1/audit/consistency" + beyond, client).status, 400);
}

TEST_F(Api, AuditLogIsExportedInPagesThatAreOneFile) {
  const auto early = get("/api/v1/audit/head", client);
  const std::string large(9'000, 'x');
  for (int i = 0; i < 150; ++i) {
    auto transaction = *world.database->write();
    ASSERT_TRUE(world.log->append(transaction, {world.clock.now(), "test.act", "s", {{"large", large}}}).ok());
    ASSERT_TRUE(transaction.commit().ok());
  }
  merkle::ExportCheck check{{world.log->key()}, {{"early", merkle::read_kept_head(as_bytes(early.text)).value()}}};
  std::string query;
  int pages = 0;
  for (;;) {
    const auto page = get("/api/v1/audit/export" + query, admin);
    ASSERT_EQ(page.status, 200) << page.text;
    EXPECT_LT(page.text.size(), std::size_t{2} << 20);
    if (pages++ == 0) check.feed(json::write(*page.body.find("header")) + '\n');
    for (const auto& entry : *page.body.find("entries")->as_array()) check.feed(json::write(entry) + '\n');
    const auto* next = page.body.find("next");
    if (next == nullptr) break;
    query = "?from=" + json::write(*next) + "&to=" + json::write(*page.body.find("to"));
  }
  const auto& finding = check.finish();
  EXPECT_FALSE(finding) << (finding ? finding->detail : "");
  EXPECT_EQ(check.head(), world.log->head());
  EXPECT_GT(pages, 1);
  const auto logs = get("/api/v1/audit/logs", admin);
  ASSERT_EQ(logs.count("logs"), 1U);
  EXPECT_EQ(*logs.body.find("logs")->as_array()->front().find("id")->as_string(), world.log->id());
  EXPECT_EQ(get("/api/v1/audit/export?log=log-none", admin).code(), "not_found");
  EXPECT_EQ(get("/api/v1/audit/export?log=No%20id", admin).code(), "invalid_argument");
  EXPECT_EQ(get("/api/v1/audit/export?from=999999", admin).code(), "invalid_argument");
  EXPECT_EQ(get("/api/v1/audit/export?to=999999", admin).code(), "not_found");
  EXPECT_EQ(get("/api/v1/audit/export", token(kAdmin, "other")).code(), "permission_denied");
  EXPECT_EQ(get("/api/v1/audit/logs", token(kAdmin, "other")).code(), "permission_denied");
}

TEST_F(Api, EvidenceThatIsJudgedIsInTheAuditLog) {
  const auto td = world.launch();
  const auto shown = world.attest(td, world.new_instance());
  json::Object body{{"evidence", codec::to_base64(shown.evidence)},
                    {"report_data", codec::to_hex(protocol::report_data(shown.preimage))},
                    {"token", true}};
  ASSERT_NE(post("/api/v1/attestation/verify", client, body).string("token"), "");
  const auto subject = codec::to_hex(crypto::sha256(as_bytes(codec::to_base64(shown.evidence))));
  const auto newest = [&] {
    return merkle::decode_audit_leaf(world.log->leaf(world.log->find("evidence.appraised", subject).value()).value()).value();
  };
  EXPECT_EQ(*newest().detail<std::string>("verdict"), "accepted");
  EXPECT_EQ(*newest().detail<std::string>("by"), "tester");
  EXPECT_EQ(*newest().detail<std::string>("tenant"), "default");
  EXPECT_EQ(*newest().detail<std::uint64_t>("token"), 1U);
  EXPECT_EQ(*newest().detail<std::uint64_t>("lab"), 1U);
  EXPECT_EQ(newest().detail<Bytes>("policy")->size(), 32U);
  body[1].second = std::string(128, '0');
  ASSERT_EQ(post("/api/v1/attestation/verify", client, body).string("verdict"), "rejected");
  EXPECT_EQ(*newest().detail<std::string>("verdict"), "rejected");
  EXPECT_EQ(*newest().detail<std::string>("code"), "report_data_mismatch");
  EXPECT_EQ(*newest().detail<std::uint64_t>("token"), 0U);
}

TEST_F(Api, NothingIsGivenThatTheAuditLogDoesNotTake) {
  const auto td = world.launch();
  const auto shown = world.attest(td, world.new_instance());
  const json::Value evidence = json::Object{{"evidence", codec::to_base64(shown.evidence)},
                                            {"report_data", codec::to_hex(protocol::report_data(shown.preimage))},
                                            {"token", true}};
  const auto issued = post("/api/v1/tokens", admin, json::Object{{"name", "x"}, {"role", "client"}});
  const auto before = get("/api/v1/tokens", admin).count("tokens");
  const auto key = result_keys->current()->key_id;
  auto transaction = *world.database->write();
  ASSERT_TRUE(transaction.run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
  ASSERT_TRUE(transaction.commit().ok());
  const auto hotkey = codec::to_hex(crypto::Ed25519Key::generate(random).public_key());
  for (const auto& reply : {post("/api/v1/attestation/verify", client, evidence),
                            post("/api/v1/tokens", admin, json::Object{{"name", "x"}, {"role", "client"}}),
                            send(Method::del, "/api/v1/tokens/" + issued.string("id"), admin),
                            post("/api/v1/attestation/keys/rotate", admin, json::Object{}),
                            post("/api/v1/validators", admin, json::Object{{"hotkey", hotkey}}),
                            send(Method::post, "/api/v1/validators/" + world.validator.str() + "/drain", admin),
                            send(Method::put, "/api/v1/secrets/example/key", admin, {}, to_bytes("x")),
                            send(Method::del, "/api/v1/secrets/example/salt", admin)}) {
    EXPECT_EQ(reply.status, 503) << reply.text;
    EXPECT_EQ(reply.code(), "storage_failure") << reply.text;
    EXPECT_EQ(reply.string("token"), "");
  }
  EXPECT_EQ(get("/api/v1/tokens", admin).count("tokens"), before);
  EXPECT_EQ(get("/api/v1/jobs", issued.string("token")).status, 200) << "not revoked";
  EXPECT_EQ(result_keys->current()->key_id, key);
  EXPECT_EQ(get("/api/v1/validators/" + world.validator.str(), admin).string("state"), "enrolled");
  EXPECT_EQ(get("/api/v1/secrets", admin).count("secrets"), 1U);
}

// --- attestation -----------------------------------------------------------------------------------------------------

TEST_F(Api, EvidenceIsJudgedAsTheCommandLineDoes) {
  const auto td = world.launch();
  const auto shown = world.attest(td, world.new_instance());
  const auto evidence = codec::to_base64(shown.evidence);
  const auto report_data = codec::to_hex(protocol::report_data(shown.preimage));
  const auto verify = [&](json::Object more) {
    json::Object body{{"evidence", evidence}};
    for (auto& member : more) body.push_back(std::move(member));
    return post("/api/v1/attestation/verify", client, std::move(body));
  };
  const auto accepted = verify({});
  ASSERT_EQ(accepted.status, 200) << accepted.text;
  EXPECT_EQ(accepted.string("verdict"), "accepted") << accepted.text;
  EXPECT_EQ(accepted.string("tee"), "tdx");
  EXPECT_EQ(*accepted.body.find("lab"), json::Value{true});
  EXPECT_EQ(*accepted.body.find("bound"), json::Value{false});
  EXPECT_EQ(*verify({{"report_data", report_data}}).body.find("bound"), json::Value{true});
  const auto error_of = [](const Reply& reply) {
    const auto* error = reply.body.find("error");
    const auto* code = error != nullptr ? error->find("code") : nullptr;
    return code != nullptr && code->as_string() != nullptr ? *code->as_string() : std::string{};
  };
  EXPECT_EQ(error_of(verify({{"nonce", "00"}})), "report_data_mismatch");
  EXPECT_EQ(error_of(verify({{"tee", "sgx"}})), "evidence_unsupported");
  EXPECT_EQ(error_of(verify({{"at", "2001-01-01T00:00:00Z"}})), "pck_certificate_not_yet_valid");
  const auto own = json::parse(evidence::write_quote_collateral(world.collateral));
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(verify({{"collateral", *own}}).string("verdict"), "accepted");
  auto damaged = shown.evidence;
  damaged[200] ^= 1;
  const auto rejected = post("/api/v1/attestation/verify", client, json::Object{{"evidence", codec::to_base64(damaged)}});
  EXPECT_EQ(rejected.status, 200);
  EXPECT_EQ(rejected.string("verdict"), "rejected");
  EXPECT_EQ(error_of(rejected), "quote_signature_invalid");
  EXPECT_EQ(error_of(post("/api/v1/attestation/verify", client, json::Object{{"evidence", "none"}})), "evidence_malformed");
}

TEST_F(Api, SnpReportsAreJudgedWithTheCertificatesThatAreGiven) {
  const auto built = test::SyntheticSnp{}.build();
  json::Array certificates;
  for (const auto& certificate : built.endorsements.certificates) certificates.emplace_back(codec::to_base64(certificate->der));
  json::Object body{{"evidence", codec::to_base64(built.report)}, {"tee", "snp"}, {"at", "2026-01-20T00:00:00Z"}};
  const auto code = [&] {
    const auto reply = post("/api/v1/attestation/verify", client, body);
    const auto* error = reply.body.find("error");
    const auto* name = error == nullptr ? nullptr : error->find("code");
    return name == nullptr || name->as_string() == nullptr ? reply.text : *name->as_string();
  };
  EXPECT_EQ(code(), "collateral_missing");
  body.emplace_back("certificates", std::move(certificates));
  EXPECT_EQ(code(), "root_untrusted");  // by this server's own anchors
  body.emplace_back("crls", json::Array{json::Value{7}});
  EXPECT_EQ(post("/api/v1/attestation/verify", client, body).code(), "invalid_argument");
  body.back().second = json::Array{codec::to_base64(built.endorsements.crls[0].der)};
  EXPECT_EQ(code(), "root_untrusted");
  body[3].second = json::Array{json::Value{"none"}};
  EXPECT_EQ(post("/api/v1/attestation/verify", client, body).status, 400);
}

/// As the server finds it: in a cache, which asks a service over HTTP.
TEST_F(Api, SnpReportsWithoutCertificatesAreJudgedWithThoseOfTheService) {
  test::VendorService kds;
  const auto chip = test::milan_chip();
  const auto built = chip.build();
  for (auto& document : test::documents_of(built.endorsements)) kds.documents.put(std::move(document));
  world.anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  const auto store = collateral::Store::open(world.dir.path() / "collateral").value();
  collateral_cache::HttpTransport transport{{}};
  test::FakeClock then{test::SyntheticSnp::now()};
  collateral_cache::CacheOptions cached;
  cached.endpoints = {collateral::parse_endpoint(collateral::Endpoint::Kind::kds, kds.url()).value()};
  collateral_cache::Cache cache{*store, &transport, then, logger, cached};
  services->endorsements = [&](const evidence::SnpReport& report, const evidence::SnpEndorsements& known) {
    return collateral_cache::CachedCollateral{cache}.find(report, known);
  };
  services->fetches = true;
  const auto verify = [&](const Bytes& report, json::Object more = {}) {
    json::Object body{{"evidence", codec::to_base64(report)}, {"tee", "snp"}, {"at", "2026-01-20T00:00:00Z"}};
    for (auto& member : more) body.push_back(std::move(member));
    return post("/api/v1/attestation/verify", client, std::move(body));
  };
  // What no certificate would mend, and a whole set, make nobody ask.
  auto impossible = chip;
  ++impossible.body.committed_tcb[0];
  const auto refused = verify(impossible.build().report);
  EXPECT_EQ(refused.string("verdict"), "rejected");
  EXPECT_NE(refused.text.find("tcb_order_invalid"), std::string::npos) << refused.text;
  json::Array certificates;
  for (const auto& one : built.endorsements.certificates) certificates.emplace_back(codec::to_base64(one->der));
  EXPECT_EQ(verify(built.report, {{"certificates", certificates},
                                  {"crls", json::Array{codec::to_base64(built.endorsements.crls[0].der)}}})
                .string("verdict"),
            "accepted");
  EXPECT_EQ(kds.requests(), 0);

  const auto first = verify(built.report);
  EXPECT_EQ(first.string("verdict"), "accepted") << first.text;
  EXPECT_EQ(kds.requests(), 3);
  EXPECT_EQ(verify(built.report).string("verdict"), "accepted");
  EXPECT_EQ(kds.requests(), 3);
  auto forged = built.report;
  forged[0x90] ^= 1;
  EXPECT_NE(verify(forged).text.find("report_signature_invalid"), std::string::npos);
  EXPECT_EQ(kds.requests(), 3);
  // A list that comes with the evidence, which may be an old one, does not keep the newest away.
  auto revoking = chip;
  revoking.crl->revoked.push_back(chip.authority.serial);
  revoking.crl->this_update += std::chrono::hours{24};
  for (auto& document : test::documents_of(revoking.build().endorsements)) {
    if (!std::holds_alternative<collateral::AmdCrlKey>(document.key)) continue;
    ASSERT_TRUE(cache.put(std::move(document), "test").ok());
  }
  auto extended = built.report;
  const auto table = evidence::encode_snp_certificate_table(built.endorsements);
  extended.insert(extended.end(), table.begin(), table.end());
  EXPECT_NE(verify(extended).text.find("ca_certificate_revoked"), std::string::npos);
}

TEST_F(Api, ForgedQuotesMakeNobodyFetch) {
  const auto shown = world.attest(world.launch(), world.new_instance());
  std::atomic<int> asked = 0;
  services->collateral = [&](const evidence::Quote&) -> Result<evidence::QuoteCollateral> {
    ++asked;
    return world.collateral;
  };
  services->fetches = true;
  const auto verify = [&](const Bytes& quote) {
    return post("/api/v1/attestation/verify", client, json::Object{{"evidence", codec::to_base64(quote)}});
  };
  auto forged = shown.evidence;
  forged[200] ^= 1;
  const auto rejected = verify(forged);
  EXPECT_EQ(rejected.string("verdict"), "rejected");
  EXPECT_NE(rejected.text.find("quote_signature_invalid"), std::string::npos);
  EXPECT_NE(rejected.text.find("mrtd"), std::string::npos);  // what it says of itself is shown all the same
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(verify(shown.evidence).string("verdict"), "accepted");
  EXPECT_EQ(asked, 1);
}

TEST_F(Api, TokensOfAcceptedEvidenceAreVerifiedByThePublishedKeys) {
  const auto td = world.launch();
  const auto shown = world.attest(td, world.new_instance());
  const auto report_data = codec::to_hex(protocol::report_data(shown.preimage));
  const json::Object wanted{{"evidence", codec::to_base64(shown.evidence)}, {"report_data", report_data}, {"token", true}};
  const auto with = [&](json::Object more) {
    more.insert(more.begin(), wanted.begin(), wanted.end());
    return post("/api/v1/attestation/verify", client, std::move(more));
  };
  const auto published = [&] { return crypto::jose::parse_jwks(get("/.well-known/jwks.json", "").text).value(); };
  token::Expected expected;
  expected.keys = published();
  expected.at = clock.now();
  expected.issuer = kServerId;
  expected.audience = "relying-party";
  expected.worst = token::Tier::warning;  // no measurements were demanded
  expected.allow_lab = true;
  const auto answer = with({{"audience", "relying-party"}});
  ASSERT_EQ(answer.status, 200) << answer.text;
  const auto verified = token::verify(answer.string("token"), expected);
  ASSERT_TRUE(verified.ok()) << verified.error().text();
  EXPECT_TRUE(verified->lab());
  EXPECT_EQ(verified->kind(), token::Kind::ear);

  // After a rotation both the old token and a new one are verified by what is published.
  const auto rotated = send(Method::post, "/api/v1/attestation/keys/rotate", admin);
  ASSERT_EQ(rotated.status, 200) << rotated.text;
  EXPECT_EQ(rotated.string("key_id"), expected.keys[1].key_id);
  expected.keys = published();
  EXPECT_EQ(expected.keys.size(), 3U);
  EXPECT_TRUE(token::verify(answer.string("token"), expected).ok());
  const auto second = token::verify(with({{"audience", "relying-party"}}).string("token"), expected);
  ASSERT_TRUE(second.ok()) << second.error().text();
  EXPECT_EQ(second->key_id(), rotated.string("key_id"));

  // Whatever is not accepted has none, and nobody gets one who did not ask.
  auto other = wanted;
  other[1] = {"nonce", "00"};
  const auto refused = post("/api/v1/attestation/verify", client, json::Value{other});
  EXPECT_EQ(refused.string("verdict"), "rejected");
  EXPECT_TRUE(refused.body.find("token")->is_null());
  auto plain = wanted;
  plain.pop_back();
  EXPECT_EQ(post("/api/v1/attestation/verify", client, json::Value{plain}).body.find("token"), nullptr);
}

TEST_F(Api, PublishedKeysHaveAnETag) {
  const auto first = get("/.well-known/jwks.json", "");
  EXPECT_EQ(first.headers.find("Content-Type"), "application/jwk-set+json");
  const auto tag = std::string{first.headers.find("ETag").value_or("")};
  EXPECT_EQ(send(Method::get, "/.well-known/jwks.json", "", {{"If-None-Match", tag}}).status, 304);
  ASSERT_EQ(send(Method::post, "/api/v1/attestation/keys/rotate", admin).status, 200);
  EXPECT_EQ(send(Method::get, "/.well-known/jwks.json", "", {{"If-None-Match", tag}}).status, 200);
}

TEST_F(Api, TermsOfAVerificationThatCannotBeAreRefused) {
  const auto code = [&](json::Object more) {
    json::Object body{{"evidence", "00"}};
    for (auto& member : more) body.push_back(std::move(member));
    return post("/api/v1/attestation/verify", client, std::move(body)).code();
  };
  EXPECT_EQ(code({{"tee", "cca"}}), "invalid_argument");
  EXPECT_EQ(code({{"at", "yesterday"}}), "malformed");
  EXPECT_EQ(code({{"nonce", "0"}}), "malformed");
  EXPECT_EQ(code({{"nonce", std::string(130, '0')}}), "invalid_argument");
  EXPECT_EQ(code({{"report_data", "00"}}), "malformed");
  EXPECT_EQ(code({{"report_data", std::string(128, '0')}, {"nonce", "00"}}), "invalid_argument");
  EXPECT_EQ(code({{"token", true}}), "invalid_argument");
  EXPECT_EQ(code({{"token", true}, {"nonce", "00"}, {"at", "2026-01-01T00:00:00Z"}}), "invalid_argument");
  EXPECT_EQ(code({{"audience", "a"}}), "invalid_argument");
  EXPECT_EQ(code({{"token", true}, {"nonce", "00"}, {"audience", ""}}), "invalid_argument");
  EXPECT_EQ(code({{"token", true}, {"nonce", "00"}, {"audience", std::string(257, 'a')}}), "invalid_argument");
  EXPECT_EQ(code({{"policy", json::Object{{"version", 2}}}}), "policy_invalid");
  EXPECT_EQ(code({{"collateral", json::Object{}}}), "collateral_malformed");
}

TEST_F(Api, AServerWithoutATeeShowsNoEvidence) {
  for (const auto* query : {"", "?nonce=00112233445566778899aabbccddeeff"}) {
    const auto self = get(std::string{"/api/v1/attestation/self"} + query, "");
    EXPECT_EQ(self.status, 404);
    EXPECT_EQ(self.code(), "not_found");
    EXPECT_NE(self.string("detail").find("[tee]"), std::string::npos) << self.text;
  }
}

/// What the prover of a test was asked, and answers.
struct Asked {
  std::mutex mutex;
  std::vector<Bytes> nonces;
  Result<protocol::ServerProof> answer = protocol::ServerProof{Bytes{1}, Bytes{2}, Bytes{3}, R"({"version":3})"};
  std::promise<void> begun;      // of a prover that waits
  std::shared_future<void> go;   // until then
};

TEST_F(Api, AServerInATeeShowsItsEvidenceOverTheNonceThatItIsGiven) {
  Asked asked;
  services->proofs = &proofs;
  services->prove = [&](ByteView nonce) {
    const std::lock_guard lock{asked.mutex};
    asked.nonces.push_back(to_bytes(nonce));
    return asked.answer;
  };
  const auto self = get("/api/v1/attestation/self?nonce=00112233445566778899aabbccddeeff", "");
  ASSERT_EQ(self.status, 200) << self.text;
  EXPECT_EQ(*protocol::parse_server_proof(self.text), *asked.answer);
  EXPECT_EQ(self.headers.find("Cache-Control"), "no-store");
  EXPECT_EQ(asked.nonces, std::vector<Bytes>{*codec::from_hex("00112233445566778899aabbccddeeff")});

  for (const auto& nonce : {std::string{}, std::string(30, '0'), std::string(130, '0'), std::string(33, '0'), std::string(32, 'g')}) {
    const auto refused = get("/api/v1/attestation/self?nonce=" + nonce, "");
    EXPECT_EQ(refused.code(), "invalid_argument") << nonce;
  }
  EXPECT_EQ(get("/api/v1/attestation/self", "").code(), "invalid_argument");
  EXPECT_EQ(asked.nonces.size(), 1U);

  for (const auto& [code, status] : {std::pair{Errc::conflict, 409}, std::pair{Errc::unavailable, 503}, std::pair{Errc::tee_failure, 500}}) {
    asked.answer = Error{code, "broken"};
    const auto broken = get("/api/v1/attestation/self?nonce=" + std::string(32, '0'), "");
    EXPECT_EQ(broken.status, status) << broken.text;
    EXPECT_EQ(broken.code(), to_string(code));
  }
}

TEST_F(Api, EvidenceOfTheServerIsMadeOneAtATimeAndAFewWait) {
  Asked asked;
  std::promise<void> go;
  asked.go = go.get_future().share();
  std::atomic<int> calls = 0;
  services->proofs = &proofs;
  services->prove = [&](ByteView) {
    if (++calls == 1) asked.begun.set_value();
    asked.go.wait();
    return asked.answer;
  };
  const std::string path = "/api/v1/attestation/self?nonce=" + std::string(32, '0');
  std::vector<std::future<Reply>> waiting;
  waiting.push_back(std::async(std::launch::async, [&] { return get(path, ""); }));
  asked.begun.get_future().wait();
  waiting.push_back(std::async(std::launch::async, [&] { return get(path, ""); }));
  while (proofs.queued() < 1) std::this_thread::yield();
  const auto refused = get(path, "");  // one is made, one waits
  EXPECT_EQ(refused.status, 503) << refused.text;
  EXPECT_EQ(refused.code(), "overloaded");
  EXPECT_EQ(refused.headers.find("Retry-After"), "1");
  EXPECT_EQ(calls, 1);
  go.set_value();
  for (auto& reply : waiting) EXPECT_EQ(reply.get().status, 200);
}

// --- lists -----------------------------------------------------------------------------------------------------------

TEST_F(Api, ListsComeInPages) {
  for (int i = 0; i < 4; ++i) (void)world.new_instance();
  for (int i = 0; i < 4; ++i) {
    const auto n = std::to_string(i);
    ASSERT_EQ(send(Method::put, "/api/v1/secrets/example/" + n, admin, {}, to_bytes("x")).status, 201);
    ASSERT_EQ(put_key("example/p" + n + "/versions/1", admin, kAnyVersion).status, 201);
    ASSERT_EQ(post("/api/v1/validators", admin, json::Object{{"hotkey", std::string(63, '7') + n}}).status, 201);
    ASSERT_EQ(submit(world.seal({}, "job-" + n), client).status, 201);
    (void)token(kClient);
  }
  for (const auto* name : {"instances", "secrets", "derived-keys", "validators", "jobs", "tokens"}) {
    const auto path = "/api/v1/" + std::string{name};
    const auto all = get(path, admin);
    const auto* whole = all.body.find(name);
    ASSERT_TRUE(whole != nullptr && whole->as_array() != nullptr) << all.text;
    ASSERT_GE(whole->as_array()->size(), 4U) << name;
    EXPECT_EQ(all.string("next"), "") << name;
    json::Array joined;
    std::string cursor;
    do {
      const auto page = get(path + "?limit=3" + (cursor.empty() ? "" : "&cursor=" + cursor), admin);
      ASSERT_EQ(page.status, 200) << page.text;
      EXPECT_LE(page.count(name), 3U);
      for (const auto& entry : *page.body.find(name)->as_array()) joined.push_back(entry);
      cursor = page.string("next");
    } while (!cursor.empty());
    EXPECT_EQ(json::Value{joined}, *whole) << name;
    for (const auto* query : {"limit=0", "limit=1001", "limit=x", "limit=", "cursor=", "cursor=No%20Cursor", "cursor=none"}) {
      EXPECT_EQ(get(path + '?' + query, admin).code(), "invalid_argument") << name << ' ' << query;
    }
  }
}

TEST_F(Api, ListsAreFiltered) {
  const auto ready_one = world.ready();
  (void)world.new_instance();
  const auto count = [&](const std::string& query, std::string_view name) { return get("/api/v1/" + query, admin).count(name); };
  const auto version = world.version.id.str();
  const auto validator = world.validator.str();
  EXPECT_EQ(count("instances", "instances"), 2U);
  EXPECT_EQ(count("instances?state=ready", "instances"), 1U);
  EXPECT_EQ(count("instances?version=" + version + "&validator=" + validator, "instances"), 2U);
  EXPECT_EQ(count("instances?version=none", "instances"), 0U);
  EXPECT_EQ(count("instances?validator=none", "instances"), 0U);
  EXPECT_EQ(count("validators?state=enrolled", "validators"), 1U);
  EXPECT_EQ(count("validators?state=lost", "validators"), 0U);
  ASSERT_EQ(submit(world.seal({}), client).status, 201);
  EXPECT_EQ(get("/api/v1/jobs?version=" + version, client).count("jobs"), 1U);
  EXPECT_EQ(get("/api/v1/jobs?version=none", client).count("jobs"), 0U);
  EXPECT_EQ(count("challenges/example/versions?active=true", "versions"), 1U);
  EXPECT_EQ(count("challenges/example/versions?active=false", "versions"), 0U);
  EXPECT_EQ(count("tokens?revoked=true", "tokens"), 0U);
  EXPECT_EQ(count("tokens?revoked=false", "tokens"), 2U);
}

TEST_F(Api, WhoHasAnAnswerAlreadyGetsNoOther) {
  const auto digest = codec::to_hex(world.version.spec.image_digest);
  for (const auto& path : {"/api/v1/versions/" + world.version.id.str(), "/api/v1/blobs/" + digest,
                           std::string{"/api/v1/openapi.json"}}) {
    const auto first = get(path, client);
    ASSERT_EQ(first.status, 200) << path;
    const std::string tag{first.headers.find("ETag").value_or("")};
    ASSERT_GT(tag.size(), 2U) << path;
    const auto again = send(Method::get, path, client, {{"If-None-Match", tag}});
    EXPECT_EQ(again.status, 304) << path;
    EXPECT_EQ(again.text, "") << path;
    EXPECT_EQ(again.headers.find("ETag"), tag) << path;
    EXPECT_EQ(send(Method::get, path, client, {{"If-None-Match", "\"other\", " + tag}}).status, 304) << path;
    EXPECT_EQ(send(Method::get, path, client, {{"If-None-Match", "\"other\""}}).status, 200) << path;
  }
}

TEST_F(Api, ValidatorIsDrainedAndLetInAgain) {
  const auto path = "/api/v1/validators/" + world.validator.str();
  EXPECT_EQ(send(Method::post, path + "/drain", admin).string("state"), "draining");
  EXPECT_EQ(send(Method::post, path + "/drain", admin).string("state"), "draining");
  EXPECT_EQ(get(path, admin).string("state"), "draining");
  const json::Value hotkey = json::Object{{"hotkey", get(path, admin).string("hotkey")}};
  const auto again = post("/api/v1/validators", admin, hotkey);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.string("state"), "enrolled");
  EXPECT_EQ(send(Method::post, "/api/v1/validators/none/drain", admin).code(), "not_found");
  const auto leaves = get("/api/v1/audit/leaves", admin);
  std::string all;
  for (const auto& leaf : *leaves.body.find("leaves")->as_array()) {
    all += std::string{as_text(*codec::from_base64(*leaf.as_string()))};
  }
  EXPECT_THAT(all, HasSubstr("validator.drained"));
  EXPECT_THAT(all, HasSubstr("validator.resumed"));
}

// --- the document ----------------------------------------------------------------------------------------------------

/// One operation of the OpenAPI document.
struct Operation {
  std::string method;  // "GET"
  std::string path;    // with {name}
  json::Value value;

  [[nodiscard]] std::string name() const { return method + ' ' + path; }
  [[nodiscard]] Roles roles() const {
    Roles out;
    for (const auto& choice : *value.find("security")->as_array()) {
      out.insert(*choice.find("token")->as_array()->front().as_string());
    }
    return out;
  }
  /// "application/json" of its body; empty when it takes none.
  [[nodiscard]] std::string body_type() const {
    const auto* body = value.find("requestBody");
    return body == nullptr ? "" : body->find("content")->as_object()->front().first;
  }
  /// Names of schemas of its parameters that are in `where`.
  [[nodiscard]] std::map<std::string, std::string> parameters(std::string_view where) const {
    std::map<std::string, std::string> out;
    const auto* list = value.find("parameters");
    if (list == nullptr) return out;
    for (const auto& parameter : *list->as_array()) {
      if (*parameter.find("in")->as_string() != where) continue;
      const auto& reference = *parameter.find("schema")->find("$ref")->as_string();
      out[*parameter.find("name")->as_string()] = reference.substr(reference.rfind('/') + 1);
    }
    return out;
  }
  [[nodiscard]] bool is_websocket() const { return value.find("responses")->find("101") != nullptr; }
  [[nodiscard]] Method verb() const {
    static const std::map<std::string, Method> kVerbs = {{"GET", Method::get},   {"HEAD", Method::head},
                                                         {"POST", Method::post}, {"PUT", Method::put},
                                                         {"DELETE", Method::del}};
    return kVerbs.at(method);
  }
};

std::vector<Operation> operations_of(const json::Value& document) {
  std::vector<Operation> out;
  for (const auto& [path, item] : *document.find("paths")->as_object()) {
    for (const auto& [method, value] : *item.as_object()) {
      std::string upper{method};
      std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(c - 32); });
      out.push_back({upper, path, value});
    }
  }
  return out;
}

std::string filled(std::string path, const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values) {
    if (const auto at = path.find('{' + name + '}'); at != std::string::npos) path.replace(at, name.size() + 2, value);
  }
  return path;
}

/// Whether a value is as a schema of the document says; what is not is added to `why`.
class Fit {
 public:
  explicit Fit(const json::Value& document) : schemas_{*document.find("components")->find("schemas")} {}

  void check(const json::Value& value, const json::Value& schema, const std::string& place) {
    if (const auto* reference = schema.find("$ref")) {
      const auto name = reference->as_string()->substr(reference->as_string()->rfind('/') + 1);
      return check(value, *schemas_.find(name), place);
    }
    if (const auto* type = schema.find("type"); type != nullptr && !is_of(value, *type)) {
      return wrong(place, "is no " + json::write(*type) + ": " + json::write(value));
    }
    check_text(value, schema, place);
    check_number(value, schema, place);
    if (value.as_object() != nullptr) check_members(value, schema, place);
    if (const auto* items = schema.find("items"); items != nullptr && value.as_array() != nullptr) {
      for (const auto& item : *value.as_array()) check(item, *items, place + "[]");
    }
  }
  std::string why;

 private:
  void wrong(const std::string& place, const std::string& what) { why += place + ' ' + what + '\n'; }

  static bool is_of(const json::Value& value, const json::Value& type) {
    if (const auto* types = type.as_array()) {
      return std::ranges::any_of(*types, [&](const auto& one) { return is_of(value, one); });
    }
    const auto& name = *type.as_string();
    if (name == "null") return value.is_null();
    if (name == "string") return value.as_string() != nullptr;
    if (name == "integer") return value.as_int().has_value() || value.as_uint().has_value();
    if (name == "boolean") return value.as_bool() != nullptr;
    if (name == "array") return value.as_array() != nullptr;
    return name == "object" && value.as_object() != nullptr;
  }
  void check_text(const json::Value& value, const json::Value& schema, const std::string& place) {
    if (value.as_string() == nullptr) return;
    if (const auto* choices = schema.find("enum")) {
      if (std::ranges::find(*choices->as_array(), value) == choices->as_array()->end()) {
        wrong(place, "is none of " + json::write(*choices) + ": " + *value.as_string());
      }
    }
    const auto* pattern = schema.find("pattern");
    if (pattern != nullptr && !std::regex_search(*value.as_string(), std::regex{*pattern->as_string()})) {
      wrong(place, "does not match " + *pattern->as_string() + ": " + *value.as_string());
    }
  }
  void check_number(const json::Value& value, const json::Value& schema, const std::string& place) {
    const auto number = value.as_int();
    if (!number) return;
    const auto* least = schema.find("minimum");
    const auto* most = schema.find("maximum");
    if (least != nullptr && *number < *least->as_int()) wrong(place, "is too small");
    if (most != nullptr && *number > *most->as_int()) wrong(place, "is too large");
  }
  void check_members(const json::Value& value, const json::Value& schema, const std::string& place) {
    if (const auto* required = schema.find("required")) {
      for (const auto& name : *required->as_array()) {
        if (value.find(*name.as_string()) == nullptr) wrong(place, "lacks " + *name.as_string());
      }
    }
    const auto* properties = schema.find("properties");
    if (properties == nullptr) return;
    for (const auto& [name, member] : *value.as_object()) {
      const auto* property = properties->find(name);
      if (property == nullptr) wrong(place, "has a member that the document does not tell of: " + name);
      else check(member, *property, place + '.' + name);
    }
  }

  const json::Value& schemas_;
};

class ApiDocument : public Api {
 protected:
  void SetUp() override {
    Api::SetUp();
    document = get("/api/v1/openapi.json", "").body;
    services->proofs = &proofs;
    services->prove = [](ByteView) { return protocol::ServerProof{Bytes{1}, Bytes{2}, Bytes{3}, R"({"version":3})"}; };
    ASSERT_NE(document.find("paths"), nullptr);
    operations = operations_of(document);
    ASSERT_GT(operations.size(), 30U);
  }

  /// A refusal as every client may rely on it.
  void expect_problem(const Reply& reply, const std::string& what) {
    EXPECT_EQ(reply.headers.find("Content-Type"), "application/problem+json") << what;
    Fit fit{document};
    fit.check(reply.body, *document.find("components")->find("schemas")->find("Problem"), what);
    EXPECT_EQ(fit.why, "");
    EXPECT_TRUE(errc_from_string(reply.code()).has_value()) << what << ": " << reply.code();
    const auto* status = reply.body.find("status");
    EXPECT_EQ(status != nullptr ? status->as_int() : std::nullopt, reply.status) << what;
    EXPECT_EQ(reply.string("request_id"), reply.headers.find("X-Request-Id")) << what;
  }
  /// A path of the operation about things that are not there.
  [[nodiscard]] static std::string absent(const Operation& operation) {
    return filled(operation.path, kAbsent);
  }
  static inline const std::map<std::string, std::string> kAbsent = {{"id", "none"}, {"digest", std::string(64, '0')},
                                                                    {"path", "none/here"}, {"challenge", "none"},
                                                                    {"purpose", "none"}, {"version", "1"},
                                                                    {"repository", "none"}, {"type", "is"}, {"tag", "here"},
                                                                    {"name", "none"}};
  /// A path of the operation about what the world has, as far as it has it.
  [[nodiscard]] std::string present(const Operation& operation) const {
    const auto& tag = *operation.value.find("tags")->as_array()->front().as_string();
    const std::map<std::string, std::string> ids = {
        {"challenges", "example"}, {"versions", world.version.id.str()}, {"validators", world.validator.str()}};
    return ids.contains(tag) ? filled(operation.path, {{"id", ids.at(tag)}}) : absent(operation);
  }
  /// A request of some body with which the route's own checks begin.
  Reply call(const Operation& operation, const std::string& path, const std::string& bearer) {
    if (operation.body_type() == "application/json") return send_json(operation.verb(), path, bearer, "{}");
    return send(operation.verb(), path, bearer);
  }
  [[nodiscard]] std::string bearer_of(std::string_view role, const std::string& tenant = "default") {
    return role == kHost ? host_token() : token(role, tenant);
  }
  /// Of a role that may.
  [[nodiscard]] std::string right(const Operation& operation) {
    return operation.roles().empty() ? "" : operation.roles().contains(kAdmin) ? admin : bearer_of(*operation.roles().begin());
  }

  json::Value document;
  std::vector<Operation> operations;
};

TEST_F(ApiDocument, IsTheCommittedOne) {
  const auto file = std::filesystem::path{std::getenv("CLOISTER_SOURCE_DIR")} / "docs" / "openapi.json";
  const auto served = get("/api/v1/openapi.json", "").text;
  if (std::getenv("CLOISTER_WRITE_DOCS") != nullptr) std::ofstream{file} << served;
  EXPECT_EQ(read_text(file), served) << "run this test with CLOISTER_WRITE_DOCS=1 and look at what it changes";
}

TEST_F(ApiDocument, TellsOfEveryRouteAndItsRoles) {
  std::map<std::string, Roles> told;
  for (const auto& operation : operations) {
    if (operation.method == "HEAD") continue;  // of a GET route
    told[(operation.is_websocket() ? "WEBSOCKET" : operation.method) + ' ' + operation.path] = operation.roles();
  }
  std::map<std::string, Roles> known;
  for (const auto& [route, roles] : kRoutes) {
    auto name = route;
    if (const auto at = name.find("...}"); at != std::string::npos) name.erase(at, 3);
    known[name] = roles;
  }
  EXPECT_EQ(told, known);
}

TEST_F(ApiDocument, NamesEverySchemaThatItRefersTo) {
  const auto text = json::write(document);
  const std::string prefix = "#/components/schemas/";
  for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at + 1)) {
    const auto begin = at + prefix.size();
    const auto name = text.substr(begin, text.find('"', begin) - begin);
    EXPECT_NE(document.find("components")->find("schemas")->find(name), nullptr) << name;
  }
  std::set<std::string> ids;
  for (const auto& operation : operations) EXPECT_TRUE(ids.insert(*operation.value.find("operationId")->as_string()).second);
}

const std::string kSelf = "/api/v1/attestation/self";
const std::string kSomeNonce = "?nonce=00112233445566778899aabbccddeeff";

TEST_F(ApiDocument, EveryOperationAsksForItsRights) {
  for (const auto& operation : operations) {
    if (operation.is_websocket()) continue;
    auto path = absent(operation);
    if (path == kSelf) path += kSomeNonce;
    const auto nobody = call(operation, path, "");
    if (operation.roles().empty()) {
      EXPECT_LT(nobody.status, 400) << operation.name();
      continue;
    }
    EXPECT_EQ(nobody.status, 401) << operation.name();
    for (const auto role : {kAdmin, kClient, kMonitor, kHost}) {
      const auto reply = call(operation, path, bearer_of(role));
      if (!operation.roles().contains(role)) {
        EXPECT_EQ(reply.status, 403) << operation.name() << ' ' << role;
        if (operation.method != "HEAD") expect_problem(reply, operation.name());
      } else {
        EXPECT_THAT(reply.status, testing::AllOf(testing::Ne(0), testing::Ne(401), testing::Ne(403)))
            << operation.name() << ' ' << role;
      }
    }
  }
}

TEST_F(ApiDocument, EveryOperationKeepsTenantsApart) {
  const auto instance = world.ready();
  const auto job = world.complete(instance);
  ASSERT_EQ(send(Method::put, "/api/v1/secrets/example/key", admin, {}, to_bytes("x")).status, 201);
  ASSERT_EQ(put_key("example/disk/versions/1", admin, kAnyVersion).status, 201);
  ASSERT_EQ(send(Method::put, "/api/v1/resources/example/key/1", admin, {}, to_bytes("x")).status, 201);
  const auto issued = post("/api/v1/tokens", admin, json::Object{{"name", "ci"}, {"role", "client"}});
  const std::map<std::string, std::map<std::string, std::string>> own = {
      {"jobs", {{"id", job.keys.job().str()}}}, {"secrets", {{"path", "example/key"}}}, {"tokens", {{"id", issued.string("id")}}},
      {"resources", {{"repository", "example"}, {"type", "key"}, {"tag", "1"}}},
      {"derived-keys", {{"challenge", "example"}, {"purpose", "disk"}, {"version", "1"}}}};
  std::size_t of_the_server = 0;
  std::size_t tried = 0;
  for (const auto& operation : operations) {
    const auto& tag = *operation.value.find("tags")->as_array()->front().as_string();
    if (operation.value.find("x-tenant") != nullptr) {
      const auto refused = call(operation, absent(operation), bearer_of(kAdmin, "other"));
      EXPECT_EQ(refused.code(), "permission_denied") << operation.name();
      ++of_the_server;
    }
    if (!own.contains(tag) || operation.method == "PUT" || operation.path == "/api/v1/tokens") continue;
    const auto stranger = bearer_of(operation.roles().contains(kClient) ? kClient : kAdmin, "other");
    if (operation.parameters("path").empty()) {
      if (operation.method == "GET") {
        EXPECT_EQ(get(operation.path, stranger).count(tag), 0U) << operation.name();
        ++tried;
      }
      continue;
    }
    const auto reply = call(operation, filled(operation.path, own.at(tag)), stranger);
    EXPECT_EQ(reply.code(), "not_found") << operation.name();
    ++tried;
  }
  EXPECT_GE(tried, 8U);
  EXPECT_EQ(of_the_server, 10U);
  EXPECT_EQ(get("/api/v1/jobs/" + job.keys.job().str(), client).string("state"), "succeeded");
  EXPECT_EQ(get("/api/v1/secrets", admin).count("secrets"), 2U);  // with the world's own
}

TEST_F(ApiDocument, WrongMethodsAreRefused) {
  std::map<std::string, std::set<std::string>> allowed;
  for (const auto& operation : operations) {
    allowed[operation.path].insert(operation.method);
    if (operation.method == "GET" && !operation.is_websocket()) allowed[operation.path].insert("HEAD");
  }
  const std::map<std::string, Method> verbs = {{"GET", Method::get},    {"POST", Method::post},  {"PUT", Method::put},
                                               {"PATCH", Method::patch}, {"DELETE", Method::del}, {"OPTIONS", Method::options}};
  for (const auto& operation : operations) {
    for (const auto& [name, verb] : verbs) {
      if (allowed.at(operation.path).contains(name)) continue;
      const auto reply = send(verb, absent(operation), admin);
      EXPECT_EQ(reply.status, 405) << name << ' ' << operation.path;
      EXPECT_THAT(std::string{reply.headers.find("Allow").value_or("")}, HasSubstr(*allowed.at(operation.path).begin()));
      expect_problem(reply, name + ' ' + operation.path);
    }
  }
}

TEST_F(ApiDocument, BadParametersAreRefused) {
  const std::map<std::string, std::vector<std::string>> bad_paths = {
      {"Id", {"UPPER", "a%20b", "-x", "%C3%A9", std::string(65, 'a')}},
      {"Sha256", {std::string(63, '0'), std::string(64, 'x'), std::string(66, '0')}},
      {"SecretPath", {"", "a//b", "a/b/c/d/e", "A"}},
      {"Purpose", {"UPPER", "a%20b", "-x", std::string(41, 'a')}},
      {"KeyVersion", {"0", "01", "-1", "x", "1x", "99999999999999999999"}},
      {"ResourceName", {".hidden", "a%20b", "%C3%A9", "a~b", std::string(254, 'a')}},
      {"ReferenceName", {"", std::string(257, 'a'), "a/../b", "%0A"}}};
  const std::map<std::string, std::vector<std::string>> bad_queries = {
      {"Id", {"", "UPPER", "-x"}},          {"Limit", {"", "0", "1001", "x", "-1", "1.5"}},
      {"Cursor", {"", "UPPER", "%20"}},     {"Index", {"", "x", "-1", "1x", "99999999999999999999"}},
      {"Wait", {"", "s", "61s", "1m"}},     {"Flag", {"", "yes", "TRUE"}},
      {"JobState", {"", "lost", "QUEUED"}}, {"InstanceState", {"", "asleep"}},
      {"ValidatorState", {"", "asleep"}},   {"Nonce", {"", std::string(30, '0'), std::string(130, '0'), std::string(32, 'x')}},
      {"ResourceVersionNumber", {"", "0", "01", "-1", "x"}},
      {"LabelSelector", {"env", "=x", "-a=b", "a=b,"}}};
  for (const auto& operation : operations) {
    if (operation.is_websocket() || operation.method == "HEAD") continue;
    const auto bearer = right(operation);
    for (const auto& [name, schema] : operation.parameters("path")) {
      for (const auto& value : bad_paths.at(schema)) {
        auto values = kAbsent;
        values[name] = value;
        const auto reply = call(operation, filled(operation.path, values), bearer);
        EXPECT_EQ(reply.status, 400) << operation.name() << ' ' << value;
        expect_problem(reply, operation.name() + ' ' + value);
      }
    }
    for (const auto& [name, schema] : operation.parameters("query")) {
      for (const auto& value : bad_queries.at(schema)) {
        const auto reply = call(operation, present(operation) + '?' + name + '=' + value, bearer);
        EXPECT_EQ(reply.code(), "invalid_argument") << operation.name() << ' ' << name << '=' << value;
        expect_problem(reply, operation.name());
      }
      const auto twice = call(operation, absent(operation) + '?' + name + "=1&" + name + "=1", bearer);
      EXPECT_EQ(twice.status, 400) << operation.name() << ' ' << name;
    }
    const auto unknown = call(operation, absent(operation) + "?surprise=1", bearer);
    EXPECT_EQ(unknown.code(), "invalid_argument") << operation.name();
    EXPECT_THAT(unknown.string("detail"), HasSubstr("surprise")) << operation.name();
  }
}

TEST_F(ApiDocument, BadBodiesAreRefused) {
  for (const auto& operation : operations) {
    if (operation.body_type().empty()) continue;
    const auto bearer = right(operation);
    const auto path = absent(operation);
    const auto limit = operation.value.find("requestBody")->find("x-max-bytes")->as_uint();
    ASSERT_TRUE(limit.has_value());
    const auto oversize = announce(operation.method, path, bearer, *limit + 1);
    EXPECT_EQ(oversize.status, 413) << operation.name();
    EXPECT_EQ(oversize.code(), "limit_exceeded") << operation.name();
    expect_problem(oversize, operation.name());
    if (operation.body_type() != "application/json") continue;
    const std::pair<std::string, std::set<std::string>> bodies[] = {
        {"", {"truncated"}},
        {"{", {"truncated"}},
        {"{}}", {"trailing_bytes"}},
        {"{]", {"malformed"}},
        {"\xff", {"malformed"}},
        {"[]", {"malformed"}},
        {"\"text\"", {"malformed"}},
        {R"({"a":1,"a":1})", {"duplicate_member"}},
        {R"({"surprise":1})", {"unknown_member", "missing_member"}},
        {std::string(200, '['), {"limit_exceeded"}}};
    for (const auto& [body, codes] : bodies) {
      const auto reply = send_json(operation.verb(), path, bearer, body);
      EXPECT_TRUE(codes.contains(reply.code())) << operation.name() << ' ' << body << ": " << reply.text;
      expect_problem(reply, operation.name() + ' ' + body);
    }
    for (const auto* type : {"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}) {
      Headers headers;
      if (*type != '\0') headers.set("Content-Type", type);
      const auto reply = send(operation.verb(), path, bearer, headers, to_bytes("{}"));
      EXPECT_EQ(reply.status, 415) << operation.name() << ' ' << type;
      expect_problem(reply, operation.name());
    }
  }
}

TEST_F(ApiDocument, AnswersAreAsItSays) {
  const auto instance = world.ready();
  const auto job = world.complete(instance);
  ASSERT_EQ(put_key("example/disk/versions/1", admin, kWholeConditions).status, 201);
  ASSERT_EQ(put_key("example/disk/versions/2", admin, kWholeConditions).status, 201);
  ASSERT_EQ(send(Method::del, "/api/v1/derived-keys/example/disk/versions/1", admin).status, 204);
  const std::map<std::string, std::string> ids = {{"challenges", "example"},
                                                  {"versions", world.version.id.str()},
                                                  {"validators", world.validator.str()},
                                                  {"instances", instance.session.instance().str()},
                                                  {"jobs", job.keys.job().str()},
                                                  {"policies", "default"}};
  ASSERT_EQ(get("/api/v1/audit/head", client).status, 200);  // so that there is one
  ASSERT_EQ(send(Method::put, "/api/v1/resources/example/key/1?labels=env=prod", admin, {}, to_bytes("x")).status, 201);
  std::size_t checked = 0;
  for (const auto& operation : operations) {
    const auto* answer = operation.value.find("responses")->find("200");
    if (operation.method != "GET" || answer == nullptr || answer->find("content") == nullptr) continue;
    const auto* json_answer = answer->find("content")->find("application/json");
    if (json_answer == nullptr) continue;
    const auto& tag = *operation.value.find("tags")->as_array()->front().as_string();
    auto path = ids.contains(tag) ? filled(operation.path, {{"id", ids.at(tag)}})
                                  : filled(operation.path, {{"challenge", "example"}, {"purpose", "disk"},
                                                            {"repository", "example"}, {"type", "key"}, {"tag", "1"}});
    if (path == "/api/v1/audit/consistency") path += "?first=1";
    if (path == kSelf) path += kSomeNonce;
    if (path == "/api/v1/policies/attestation/default") path += "_cpu";
    if (path == "/api/v1/reference-values/{name}") path = "/api/v1/reference-values/none";
    const auto reply = get(path, right(operation));
    ASSERT_EQ(reply.status, 200) << operation.name() << ": " << reply.text;
    Fit fit{document};
    fit.check(reply.body, *json_answer->find("schema"), operation.name());
    EXPECT_EQ(fit.why, "");
    ++checked;
  }
  EXPECT_GT(checked, 18U);
}

}  // namespace
}  // namespace cloister::test
