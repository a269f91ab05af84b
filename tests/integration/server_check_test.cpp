// A client that demands the server's own evidence, against a server that may lie.
#include "cloister/client/server_check.hpp"

#include <gtest/gtest.h>

#include <mutex>

#include "cloister/codec/text.hpp"
#include "cloister/http/server.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/prover/prover.hpp"
#include "support/lab_td.hpp"
#include "support/support.hpp"

namespace cloister::test {
namespace {

using http::Method;

const UnixTime kNow = *from_civil(2026, 6, 1, 12, 0, 0);
const Bytes kNonce(32, 9);

class ServerCheck : public testing::Test {
 protected:
  ServerCheck() {
    const measure::TdFile file{"cloisterd", 0755, program};
    auto td = *platform.launch({}, {&file, 1});
    identity.server_id = "srv-example";
    identity.channel_keys = {ByteArray<32>{1}, ByteArray<32>{2}};
    identity.audit_key = ByteArray<32>{3};
    identity.configuration_digest = Digest32{5};
    trust.lab_roots = {*crypto::x509::parse_certificate(platform.root())};
    trust.server_keys = {ByteArray<32>{1}};
    trust.server_reference_values = {{td.mrtd(), {}, Digest32{5}}};
    prover::Machine machine;
    machine.open = [this, shared = std::make_shared<lab::tdx::Td>(std::move(td))]() -> Result<std::unique_ptr<device::TeeDevice>> {
      return std::unique_ptr<device::TeeDevice>{new LabTd{platform, shared}};
    };
    machine.collateral = [this](const evidence::Quote&) -> Result<std::string> {
      return evidence::write_quote_collateral(platform.collateral(kNow - std::chrono::hours{1}));
    };
    prover = *prover::Prover::open(std::move(machine), identity);
  }

  client::Orchestrator::ShownServer shown(const std::optional<Digest32>& tls_key, const std::optional<Digest32>& peer_key) {
    return {*prover->prove(kNonce, {}, tls_key), peer_key};
  }
  Result<client::VerifiedServer> verify(const client::Orchestrator::ShownServer& what) const {
    return client::verify_server(what, kNonce, trust, kNow);
  }

  SeededRandom random{3};
  lab::Platform platform = lab::Platform::create(crypto::Secret<32>{ByteArray<32>{7}}, kNow - std::chrono::hours{24});
  Bytes program = Bytes(5000, 0x11);
  protocol::ServerIdentity identity;
  policy::TrustFile trust;
  std::unique_ptr<prover::Prover> prover;
};

TEST_F(ServerCheck, HoldsTheEvidenceAgainstTheConnection) {
  const Digest32 key{4};
  const auto bound = verify(shown(key, key));
  ASSERT_TRUE(bound.ok()) << bound.error().text();
  EXPECT_TRUE(bound->connection_bound);
  EXPECT_EQ(verify(shown(key, Digest32{6})).error().code(), Errc::binding_mismatch);
  EXPECT_EQ(verify(shown({}, key)).error().code(), Errc::binding_mismatch);
  for (const auto& tls_key : {std::optional<Digest32>{}, std::optional{key}}) {
    const auto plain = verify(shown(tls_key, {}));
    ASSERT_TRUE(plain.ok()) << plain.error().text();
    EXPECT_FALSE(plain->connection_bound);
  }
}

TEST_F(ServerCheck, LeavesTheServersOwnKeysToItsInstances) {
  const auto server = verify(shown({}, {}));
  ASSERT_TRUE(server.ok()) << server.error().text();
  policy::TrustFile any;
  EXPECT_EQ(server->narrowed(any).server_keys, identity.channel_keys);
  any.server_keys = {ByteArray<32>{8}, ByteArray<32>{2}, ByteArray<32>{1}};
  EXPECT_EQ(server->narrowed(any).server_keys, (std::vector{ByteArray<32>{2}, ByteArray<32>{1}}));
}

/// The one route, and one that takes whatever is sent after it.
class ConnectAttested : public ServerCheck {
 protected:
  void SetUp() override {
    io.start();
    http::Router router;
    router.add(Method::get, "/api/v1/attestation/self", http::kPublic, [this](http::Request request) -> runtime::Task<http::Response> {
      const std::lock_guard lock{mutex};
      authorized.push_back(request.headers.find("Authorization").has_value());
      if (answer) co_return http::json_response(*codec::json::parse(*answer), status);
      const auto nonce = codec::from_hex(*request.query.find("nonce"));
      auto proof = prover->prove(*nonce, {}, {});
      if (replayed) proof = *replayed;
      co_return http::json_response(protocol::to_json(*proof));
    });
    router.add(Method::get, "/api/v1/version", http::kPublic, [this](http::Request request) -> runtime::Task<http::Response> {
      const std::lock_guard lock{mutex};
      authorized.push_back(request.headers.find("Authorization").has_value());
      co_return http::json_response(codec::json::Object{});
    });
    http::ServerOptions options;
    options.handlers = io.strand();
    auto listening = http::Server::listen(io, std::move(options), std::move(router), logger);
    ASSERT_TRUE(listening.ok()) << listening.error().text();
    server = std::move(*listening);
  }
  void TearDown() override { runtime::block_on(io, server->stop()); }

  Result<client::AttestedConnection> connect() {
    return client::connect_attested(server->base_url(), "secret", {}, trust, clock, random);
  }

  FakeClock clock{kNow};
  log::NullLogger logger;
  runtime::IoContext io;
  std::mutex mutex;
  std::vector<bool> authorized;  // whether a request brought the token, in their order
  std::optional<protocol::ServerProof> replayed;
  std::optional<std::string> answer;
  int status = 200;
  std::unique_ptr<http::Server> server;
};

TEST_F(ConnectAttested, SendsTheTokenToAServerThatProvedItself) {
  auto attested = connect();
  ASSERT_TRUE(attested.ok()) << attested.error().text();
  EXPECT_EQ(attested->server.server.identity(), identity);
  EXPECT_TRUE(attested->orchestrator.get("version").ok());
  EXPECT_EQ(authorized, (std::vector{false, true}));
}

TEST_F(ConnectAttested, RefusesWhatWasShownToAnother) {
  replayed = *prover->prove(kNonce, {}, {});
  EXPECT_EQ(connect().error().code(), Errc::nonce_invalid);
  EXPECT_EQ(authorized, (std::vector{false}));
}

TEST_F(ConnectAttested, RefusesAServerThatTheTrustFileDoesNotDescribe) {
  trust.server_reference_values[0].configuration_digest[0] ^= 1;
  EXPECT_EQ(connect().error().code(), Errc::measurement_mismatch);
  EXPECT_EQ(authorized, (std::vector{false}));
}

TEST_F(ConnectAttested, RefusesAServerWithoutATee) {
  answer = R"({"code":"not_found","detail":"this server does not run in a TEE"})";
  status = 404;
  EXPECT_EQ(connect().error().code(), Errc::not_found);
  EXPECT_EQ(authorized, (std::vector{false}));
}

TEST_F(ConnectAttested, RefusesAnswersThatAreNoEvidence) {
  answer = R"({"server_id":"srv-example","tee":null,"evidence":null})";
  EXPECT_FALSE(connect().ok());
  EXPECT_EQ(authorized, (std::vector{false}));
}

}  // namespace
}  // namespace cloister::test
