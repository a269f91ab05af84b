#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "cloister/api/api.hpp"
#include "cloister/client/key_broker.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/kbs/broker.hpp"
#include "cloister/rcar/administration.hpp"
#include "cloister/rcar/init_data.hpp"
#include "cloister/rcar/refusal.hpp"
#include "cloister/token/verify.hpp"
#include "world.hpp"

/// The key broker of Confidential Containers' guests over real services and a real connection.
namespace cloister::test {

namespace json = codec::json;
using crypto::DhCurve;
using crypto::jose::DecryptionKey;
using http::Headers;
using http::Method;
using testing::HasSubstr;

inline const std::string kServerId = "srv-test";
constexpr std::chrono::seconds kTimeout{30};
constexpr std::string_view kAllowAll = "package policy\nallow = true";
constexpr std::string_view kSecret = "the disk's key";

struct Reply {
  int status = 0;
  Headers headers;
  std::string text;
  [[nodiscard]] std::string kind() const {
    const auto refusal = rcar::parse_refusal(text);
    return refusal ? refusal->kind : "no refusal: " + text;
  }
  [[nodiscard]] std::string detail() const {
    const auto refusal = rcar::parse_refusal(text);
    return refusal ? refusal->detail : std::string{};
  }
};

inline DecryptionKey p256() { return DecryptionKey{crypto::DhPrivateKey::generate(DhCurve::p256)}; }

/// One key of each kind that guests may have.
inline std::vector<DecryptionKey> every_kind() {
  std::vector<DecryptionKey> out;
  for (const auto curve : {DhCurve::p256, DhCurve::p384, DhCurve::p521}) out.emplace_back(crypto::DhPrivateKey::generate(curve));
  out.emplace_back(crypto::RsaOaepKey::generate());
  return out;
}

class KeyBrokerTest : public testing::Test {
 protected:
  void SetUp() override {
    io.start();
    strand = io.strand();
    fleet::Fleet::Options fleet_options;
    fleet_options.server_id = kServerId;
    fleet_options.keys = {&world.server_key};
    fleet_options.host_token = [](const ValidatorId&) { return std::string{}; };
    fleet = std::make_unique<fleet::Fleet>(
        fleet::Fleet::Services{*world.database, *world.registry, attestor, *world.broker, *world.jobs, dispatcher, refusals, pool,
                               world.clock, random, logger},
        std::move(fleet_options), strand);
    keys = keyring::Keyring::open({*world.database, *world.sealer, *world.log, random}, std::chrono::minutes{5}, world.clock.now()).value();
    revoked = std::make_unique<revocation::List>(revocation::List::Services{*world.database, *world.log, random}, std::nullopt);
    services.emplace(api::Services{*world.database, *world.blobs, *world.log, *world.registry, *world.broker, *world.jobs,
                                   dispatcher, *fleet, tokens, *keys, *revoked, pool, readers, world.clock, random, monitor, logger,
                                   world.anchors,
                                   [this](const evidence::Quote&) -> Result<evidence::QuoteCollateral> { return world.collateral; },
                                   kServerId, "0.0.0"});
    services->patience = patience;
    configure(options());
    http::ServerOptions server_options;
    server_options.authenticator = api::make_authenticator(*services);
    server_options.handlers = strand;
    server_options.group_of = api::make_group_of(*services);
    server_options.clock = &world.clock;
    server_options.limits.requests_per_group = requests_per_tenant;
    auto listening = http::Server::listen(io, std::move(server_options), api::make_router(*services), logger);
    ASSERT_TRUE(listening.ok());
    server = std::move(*listening);
    http::ClientOptions client_options;
    client_options.base_url = server->base_url();
    http = http::BlockingClient::make(std::move(client_options)).value();
    admin = operator_token(session::kAdminRole, "default");
    store("default/key/1", kSecret);
  }
  void TearDown() override {
    if (server) runtime::block_on(io, server->stop());
    pool.stop();
    readers.stop();
    writes.stop();
  }

  /// That the world's TDs are affirmed by the built-in policies, and nothing else is taken.
  [[nodiscard]] kbs::Options options() const {
    const auto list = [](ByteView digest) { return json::Array{codec::to_hex(digest)}; };
    return {.tenant = world.tenant,
            .server_id = kServerId,
            .build = "cloisterd test",
            .reference_values = json::Object{{"mr_td", list(world.version.reference.mrtd)},
                                             {"rtmr_1", list(Digest48{})},
                                             {"rtmr_2", list(Digest48{})}}};
  }
  /// A broker with a resource policy that allows everything, and sample evidence.
  [[nodiscard]] kbs::Options playground() const {
    auto out = options();
    out.allow_sample = true;
    out.resource_policy = kbs::ResourcePolicy::compile("allow.rego", std::string{kAllowAll}).value();
    return out;
  }
  /// Between requests only.
  void configure(kbs::Options with) {
    ASSERT_TRUE(revoked->load().ok());
    auto opened = kbs::Brokers::open(
        kbs::Services{*world.database, writes, guests_sealer ? *guests_sealer : *world.sealer, *world.log, refusals, *keys, world.anchors,
                              {[this](const evidence::Quote&) {
                                 return verdict::shared(evidence::parse_documents(world.collateral));
                               },
                               nullptr, false},
                              session_key, random, *revoked, meters, inputs},
        std::move(with));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    brokers = *std::move(opened);
    services->guests = brokers.get();
  }

  [[nodiscard]] std::string operator_token(std::string_view role, const std::string& tenant) {
    SystemRandom fresh;
    const session::OperatorClaims claims{random_id("tok", fresh), "tester", *TenantId::parse(tenant), std::string{role},
                                         world.clock.now(), world.clock.now() + std::chrono::hours{1}};
    return api::issue_token(*world.database, *world.log, tokens, claims, "tester").value();
  }
  void store(std::string_view path, std::string_view value) {
    ASSERT_TRUE(vault().put(rcar::ResourcePath::parse(path).value(), as_bytes(value), "tester", world.clock.now()).ok());
  }

  [[nodiscard]] kbs::Vault& vault() { return brokers->main().vault(); }
  [[nodiscard]] kbs::Handshakes& handshakes() { return brokers->main().handshakes(); }
  /// What becomes of an attestation, without HTTP.
  Result<std::string> attest_here(std::string_view cookie, std::string_view message) {
    std::promise<Result<std::string>> told;
    handshakes().attest(cookie.substr(cookie.find('=') + 1), message, world.clock.now(),
                        [&](Result<std::string> token) { told.set_value(std::move(token)); });
    return told.get_future().get();
  }
  /// What may be told once it is recorded.
  template <class T>
  Result<T> recorded(kbs::Unrecorded<T> what) {
    std::promise<Result<T>> told;
    std::move(what).record(brokers->main().writes(), [&](Result<T> out) { told.set_value(std::move(out)); });
    return told.get_future().get();
  }

  Reply send(Method method, const std::string& path, Headers headers = {}, std::string_view body = {}) {
    return send_to("/kbs/v0", method, path, std::move(headers), body);
  }
  Reply send_to(const std::string& prefix, Method method, const std::string& path, Headers headers = {}, std::string_view body = {}) {
    auto answer = http->request(method, prefix + path, std::move(headers), to_bytes(body), kTimeout);
    if (!answer) {
      ADD_FAILURE() << path << ": " << answer.error().text();
      return {};
    }
    return {answer->status, answer->headers, std::string{as_text(answer->body)}};
  }
  Reply get(const std::string& path, Headers headers = {}) { return send(Method::get, "/resource/" + path, std::move(headers)); }
  static Headers as(std::string_view bearer) { return {{"Authorization", "Bearer " + std::string{bearer}}}; }
  static Headers with_cookie(std::string_view cookie) { return {{"Cookie", std::string{cookie}}}; }

  client::KeyBroker guest(DecryptionKey key) { return client::KeyBroker::connect(server->base_url(), std::move(key)).value(); }

  [[nodiscard]] Bytes quote(const Digest48& data) const {
    const auto report = td.machine.tdg_mr_report(rcar::padded(data));
    CLOISTER_ASSERT(report.has_value());
    return world.platform.quote(*report).value();
  }
  /// As the TDX attester of the guest components writes it.
  [[nodiscard]] client::GuestEvidence tdx() const {
    client::GuestEvidence out;
    out.tee = rcar::Tee::tdx;
    out.primary = [this](const Digest48& data) -> Result<std::string> {
      return json::write(json::Object{{"cc_eventlog", nullptr}, {"quote", codec::to_base64(quote(data))}});
    };
    return out;
  }
  [[nodiscard]] static client::GuestEvidence sample() {
    client::GuestEvidence out;
    out.primary = [](const Digest48& data) -> Result<std::string> {
      return json::write(json::Object{{"svn", "1"}, {"report_data", codec::to_base64(data)}});
    };
    return out;
  }

  /// A handshake by hand, for what the client does not do.
  struct Handshake {
    std::string cookie;
    std::string nonce;
  };
  Handshake open(rcar::Tee tee = rcar::Tee::tdx) {
    const auto reply = send(Method::post, "/auth", {}, rcar::write(rcar::Request{"0.4.0", tee}));
    EXPECT_EQ(reply.status, 200) << reply.text;
    const std::string cookie{reply.headers.find("Set-Cookie").value_or("")};
    return {cookie.substr(0, cookie.find(';')), rcar::parse_challenge(reply.text).value().nonce_text()};
  }
  [[nodiscard]] std::string tdx_message(const std::string& nonce, const DecryptionKey& key) const {
    const auto data = rcar::primary_report_data(nonce, key.public_key(), "").value();
    return rcar::write(rcar::Attestation{std::nullopt, nonce, key.public_key(), tdx().primary(data).value(), ""});
  }
  Reply attest(const std::string& cookie, std::string_view message) {
    return send(Method::post, "/attest", with_cookie(cookie), message);
  }
  /// The newest audit leaf of that kind about that subject.
  [[nodiscard]] std::optional<merkle::AuditLeaf> leaf(std::string_view kind, std::string_view subject) const {
    const auto index = world.log->find(kind, subject);
    if (!index) return std::nullopt;
    return merkle::decode_audit_leaf(world.log->leaf(*index).value()).value();
  }

  // To be set before `SetUp`.
  std::uint32_t requests_per_tenant = 0;
  std::chrono::milliseconds patience{20'000};
  World world;
  World::Td td = world.launch();
  storage::WriteQueue writes{*world.database, 64};
  SystemRandom random;
  crypto::Secret<32> session_key = crypto::Secret<32>::random(random);
  log::NullLogger logger;
  audit::Refusals refusals;
  api::Monitor monitor{*world.database, world.clock, {}};
  session::OperatorTokens tokens{crypto::Ed25519Key::generate(random), kServerId};
  runtime::IoContext io{1};
  runtime::BlockingPool pool{2, 64};
  runtime::BlockingPool readers{2, 64};
  runtime::Executor strand;
  links::Attestor attestor{links::Attestor::Services{*world.sessions, pool, world.clock, logger},
                           [this](const evidence::Quote&) -> Result<evidence::QuoteCollateral> { return world.collateral; },
                           world.anchors, policy::Policy{}};
  scheduler::Dispatcher dispatcher{*world.jobs, pool, world.clock, logger};
  std::unique_ptr<fleet::Fleet> fleet;
  std::unique_ptr<keyring::Keyring> keys;
  std::unique_ptr<revocation::List> revoked;
  std::unique_ptr<storage::Sealer> guests_sealer;  // instead of the world's, from the next `configure` on
  kbs::Meters meters;
  rego::RecentInputs inputs{1U << 20};
  std::optional<api::Services> services;
  std::unique_ptr<kbs::Brokers> brokers;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::BlockingClient> http;
  std::string admin;
};

inline rcar::ResourcePath path(std::string_view text) { return rcar::ResourcePath::parse(text).value(); }

}  // namespace cloister::test
