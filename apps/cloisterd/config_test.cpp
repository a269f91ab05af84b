#include "config.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "cloister/crypto/hash.hpp"
#include "inputs.hpp"
#include "support/support.hpp"

namespace cloister::server {
namespace {

constexpr std::string_view kLeast = R"(data = "d"
guest = "g"
collateral = "/c"
)";

TEST(Config, HasDefaultsAndResolvesPaths) {
  auto config = parse_config(kLeast, "/etc/cloister");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->data, "/etc/cloister/d");
  EXPECT_EQ(config->collateral, "/c");
  EXPECT_EQ(config->address, "127.0.0.1");
  EXPECT_FALSE(config->trust);
  EXPECT_FALSE(config->kms);
  EXPECT_FALSE(config->key_broker);
  const auto broker = parse_config(std::string{kLeast} + "[key_broker]\n", "/e").value().key_broker;
  ASSERT_TRUE(broker);
  EXPECT_EQ(broker->tenant, "default");
  EXPECT_FALSE(broker->sample_evidence);
  EXPECT_EQ(config->lease, std::chrono::seconds{30});
}

TEST(Config, ReadsEverySetting) {
  auto config = parse_config(std::string{kLeast} + R"(listen = "[::1]:0"
trust = "t"
kms = "pkcs11:token=t?module-path=/m.so&pin-source=file:/pin"
session_lifetime = "10m"
lease = "5s"
log_level = "debug"
[tls]
certificate = "c.pem"
key = "k.pem"
[key_broker]
tenant = "acme"
attestation_policy = "a.rego"
resource_policy = "r.rego"
reference_values = "v.json"
sample_evidence = true
protocol_administration = false
max_resources = 11
max_resource_bytes = "12MiB"
[tee]
device = "lab-socket"
socket = "tee.sock"
collateral = "tee.json"
[limits]
connections = 7
pending_requests = 8
requests_per_second_per_address = 9
requests_per_second_per_token = 10
requests_per_second_per_tenant = 7
)", "/e");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->address, "::1");
  EXPECT_EQ(config->port, 0);
  EXPECT_EQ(config->tls_key, "/e/k.pem");
  ASSERT_TRUE(config->kms);
  EXPECT_EQ(config->kms->token, "t");
  EXPECT_EQ(config->kms->pin_file, "/pin");
  EXPECT_EQ(config->session_lifetime, std::chrono::minutes{10});
  EXPECT_EQ(config->log_level, log::Level::debug);
  ASSERT_TRUE(config->key_broker);
  EXPECT_EQ(config->key_broker->tenant, "acme");
  EXPECT_EQ(config->key_broker->attestation_policy, "/e/a.rego");
  EXPECT_EQ(config->key_broker->resource_policy, "/e/r.rego");
  EXPECT_EQ(config->key_broker->reference_values, "/e/v.json");
  EXPECT_TRUE(config->key_broker->sample_evidence);
  EXPECT_FALSE(config->key_broker->protocol_administration);
  ASSERT_TRUE(config->tee);
  EXPECT_EQ(config->tee->device, device::DeviceKind::lab_socket);
  EXPECT_EQ(config->tee->socket, "/e/tee.sock");
  EXPECT_EQ(config->tee->collateral, "/e/tee.json");
  EXPECT_EQ(config->key_broker->max_resources, 11U);
  EXPECT_EQ(config->key_broker->max_resource_bytes, 12U << 20);
  EXPECT_EQ(config->limits.connections, 7U);
  EXPECT_EQ(config->limits.pending_requests, 8U);
  EXPECT_EQ(config->limits.requests_per_second_per_address, 9U);
  EXPECT_EQ(config->limits.requests_per_second_per_token, 10U);
  EXPECT_EQ(config->limits.requests_per_second_per_tenant, 7U);
}

TEST(Config, ReportsEveryMistakeAtOnce) {
  auto config = parse_config(R"(data = 3
listen = "nowhere"
lease = "1y"
log_level = "loud"
kms = "pkcs11:token=t?module-path=/m.so&pin-value=1234"
colour = "red"
[key_broker]
tenant = "A B"
sample_evidence = "no"
max_resources = 0
max_resource_bytes = "many"
policy = "x"
[tls]
certificate = "c"
[limits]
connections = 0
pending_requests = "many"
ties = 1
)", "/e");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code(), Errc::configuration_invalid);
  for (const auto* part : {"data: ", "guest: missing", "collateral: missing", "listen: ", "lease: ", "log_level: ", "kms: PKCS#11 URI: pin-value: ",
                           "colour: no such setting", "tls.key: missing", "limits.connections: ", "limits.pending_requests: ",
                           "limits.ties: no such setting", "key_broker.tenant: ", "key_broker.sample_evidence: ",
                           "key_broker.max_resources: ", "key_broker.max_resource_bytes: a number and KiB, MiB or GiB",
                           "key_broker.policy: no such setting"}) {
    EXPECT_NE(config.error().detail().find(part), std::string::npos) << part << " in\n" << config.error().detail();
  }
}

TEST(Config, SizesHaveUnitsAndALimit) {
  const auto bytes = [](const std::string& text) {
    const auto config = parse_config(std::string{kLeast} + "[key_broker]\nmax_resource_bytes = \"" + text + "\"\n", "/e");
    return config ? config->key_broker->max_resource_bytes : 0;
  };
  EXPECT_EQ(bytes("64KiB"), 64U << 10);
  EXPECT_EQ(bytes("1024GiB"), std::uint64_t{1} << 40);
  for (const auto* text : {"64", "64KB", "KiB", "-1MiB", "0MiB", "1025GiB", "18446744073709551615GiB", "1 MiB", "1MiBx"}) {
    EXPECT_EQ(bytes(text), 0U) << text;
  }
}

constexpr std::string_view kServices = R"(data = "d"
guest = "g"
[collateral_services]
folder = "cache"
)";

TEST(Config, TakesServicesOfCollateralInsteadOfFiles) {
  auto least = parse_config(kServices, "/e");
  ASSERT_TRUE(least) << least.error().text();
  EXPECT_TRUE(least->collateral.empty());
  EXPECT_EQ(least->collateral_services->folder, "/e/cache");
  EXPECT_TRUE(least->collateral_services->services.empty());
  auto all = parse_config(std::string{kServices} + "services = [\"https://a\", \"http://b:8081/sgx/certification/v3/\"]\nca = \"ca.pem\"\n", "/e");
  ASSERT_TRUE(all) << all.error().text();
  EXPECT_EQ(all->collateral_services->services.size(), 2U);
  EXPECT_EQ(all->collateral_services->ca, "/e/ca.pem");
  EXPECT_TRUE(all->collateral_services->kds_services.empty());
  auto amd = parse_config(std::string{kServices} + "kds_services = [\"https://k\"]\n", "/e");
  ASSERT_TRUE(amd) << amd.error().text();
  EXPECT_EQ(amd->collateral_services->kds_services, std::vector<std::string>{"https://k"});
}

TEST(Config, RefusesWrongServicesOfCollateral) {
  const auto refused = [](const std::string& text) {
    auto config = parse_config(text, "/e");
    return config ? std::string{"none"} : config.error().detail();
  };
  const std::string base{kServices};
  EXPECT_NE(refused("collateral = \"c\"\n" + base).find("collateral: either"), std::string::npos);
  EXPECT_NE(refused(base + "services = \"https://a\"").find("collateral_services.services: a list"), std::string::npos);
  EXPECT_NE(refused(base + "services = []").find("collateral_services.services: a list"), std::string::npos);
  EXPECT_NE(refused(base + "services = [1]").find("collateral_services.services: a list"), std::string::npos);
  EXPECT_NE(refused(base + "services = [\"a\"]").find("collateral_services.services: \"a\""), std::string::npos);
  EXPECT_NE(refused(base + "kds_services = [\"a\"]").find("collateral_services.kds_services: \"a\""), std::string::npos);
  EXPECT_NE(refused(base + "grace = \"1h\"").find("collateral_services.grace: no such setting"), std::string::npos);
  EXPECT_NE(refused("data = \"d\"\nguest = \"g\"\n[collateral_services]\n").find("collateral_services.folder: missing"), std::string::npos);
}

TEST(Config, WantsACertificateBeyondLoopback) {
  for (const auto* address : {"0.0.0.0:1", "[::]:1", "192.0.2.1:1"}) {
    auto config = parse_config(std::string{kLeast} + "listen = \"" + address + "\"", "/e");
    ASSERT_FALSE(config) << address;
    EXPECT_NE(config.error().detail().find("[tls]"), std::string::npos) << config.error().detail();
    EXPECT_TRUE(parse_config(std::string{kLeast} + "listen = \"" + address + "\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"", "/e"));
  }
  for (const auto* address : {"127.0.0.2:1", "[::1]:1"}) {
    EXPECT_TRUE(parse_config(std::string{kLeast} + "listen = \"" + address + "\"", "/e")) << address;
  }
}

TEST(Config, RefusesTeesThatItCannotBeIn) {
  const auto refused = [](const std::string& tee) {
    auto config = parse_config(std::string{kLeast} + "[tee]\n" + tee, "/e");
    return config ? std::string{"none"} : config.error().detail();
  };
  EXPECT_NE(refused("").find("tee.device: missing"), std::string::npos);
  EXPECT_NE(refused("device = \"sgx\"").find("tee.device: "), std::string::npos);
  EXPECT_NE(refused("device = \"sev-guest\"").find("SEV-SNP has not"), std::string::npos);
  EXPECT_NE(refused("device = \"lab-socket\"").find("tee.socket: "), std::string::npos);
  EXPECT_NE(refused("device = \"tdx-guest\"\nsocket = \"s\"").find("tee.socket: "), std::string::npos);
  EXPECT_NE(refused("device = \"tdx-guest\"\nnonce = \"s\"").find("tee.nonce: no such setting"), std::string::npos);
  EXPECT_EQ(refused("device = \"tdx-guest\""), "none");
  EXPECT_EQ(refused("device = \"configfs-tsm\""), "none");
}

TEST(Config, KnowsItsOwnDigest) {
  const auto digest = [](const std::string& text) { return parse_config(text, "/e").value().digest; };
  EXPECT_EQ(digest(std::string{kLeast}), crypto::sha256(as_bytes(kLeast)));
  EXPECT_NE(digest(std::string{kLeast} + "# a comment\n"), digest(std::string{kLeast}));
}

/// What is measured changes with every file that decides what the server does, and with nothing else.
TEST(Inputs, AreMeasuredEachUnderItsName) {
  const Digest32 one{1};
  Inputs least;
  least.config = one;
  std::set<Digest32> digests{least.configuration_digest()};
  const auto differs = [&](auto change) {
    auto other = least;
    change(other);
    return digests.insert(other.configuration_digest()).second;
  };
  EXPECT_TRUE(differs([](Inputs& i) { i.config[0] ^= 2; }));
  EXPECT_TRUE(differs([](Inputs& i) { i.guest_mrtd[0] ^= 1; }));
  EXPECT_TRUE(differs([](Inputs& i) { i.trust = ""; }));
  EXPECT_TRUE(differs([](Inputs& i) { i.trust = "x"; }));
  EXPECT_TRUE(differs([](Inputs& i) { i.attestation_policy = "x"; }));
  EXPECT_TRUE(differs([](Inputs& i) { i.resource_policy = "x"; }));
  EXPECT_TRUE(differs([](Inputs& i) { i.reference_values = "x"; }));
  EXPECT_FALSE(differs([](Inputs&) {}));
}

TEST(Config, NamesEveryFileThatCannotBeRead) {
  const test::TempDir dir;
  const auto file = dir.path() / "cloisterd.toml";
  EXPECT_NE(load_config(file).error().detail().find("No such file"), std::string::npos);
  std::ofstream{file} << kLeast << "colour = 1\ntrust = \"cloisterd.toml\"\n";
  const auto detail = load_config(file).error().detail();
  for (const auto* part : {"cloisterd.toml: guest: cannot read", "cloisterd.toml: collateral: cannot read /c: No such file",
                           "cloisterd.toml: colour: no such setting"}) {
    EXPECT_NE(detail.find(part), std::string::npos) << part << " in\n" << detail;
  }
  EXPECT_EQ(detail.find("trust"), std::string::npos) << detail;
}

TEST(Config, NamesThePlaceOfASyntaxError) {
  auto config = parse_config("data = \n", "/e");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().detail().find("line 1"), std::string::npos);
}

TEST(Config, IsBoundedBeforeItIsParsed) {
  std::string deep = "a";
  for (int i = 0; i < 100'000; ++i) deep += ".a";
  const auto config = parse_config("data = 'd'\n" + deep + " = 1\n", "/e");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().detail().find("line 2: at most 64 levels"), std::string::npos) << config.error().detail();
  for (const auto* text : {"[=1\n", "[[=\n", "data = [}\n"}) {
    const auto other = parse_config(text, "/e");
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().detail().find("line 1"), std::string::npos) << other.error().detail();
  }
}

TEST(Duration, NeedsAUnit) {
  EXPECT_EQ(*parse_duration("250ms"), std::chrono::milliseconds{250});
  for (const auto* text : {"", "5", "s", "-1s", "0s", "1 s", "99999999999h"}) EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace cloister::server
