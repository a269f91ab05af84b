#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/token/ear.hpp"
#include "support/support.hpp"

namespace cloister::cli {
namespace {

namespace json = codec::json;

constexpr std::int64_t kNow = 1'780'000'000;

struct Ran {
  int code;
  std::string out;
  std::string err;

  [[nodiscard]] json::Value object() const {
    const auto value = json::parse(out);
    EXPECT_TRUE(value.ok()) << out << err;
    return value ? *value : json::Value{};
  }
  [[nodiscard]] std::string error() const {
    const auto value = object();
    const auto* found = value.find("error");
    return found == nullptr || found->is_null() ? "" : *found->find("code")->as_string();
  }
};

class TokenVerifyCommand : public testing::Test {
 protected:
  TokenVerifyCommand() {
    write("token", signed_ear() + "\n");
    const crypto::jose::Jwk jwk{key_.public_key(), crypto::jose::Algorithm::es256, "key-1"};
    write("jwks", json::write(to_json(std::vector{jwk})));
    write("key", json::write(to_json(jwk)));
  }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream{folder_.path() / name, std::ios::binary} << text;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  [[nodiscard]] std::string signed_ear(std::string_view status = "affirming", bool lab = false) const {
    const json::Object claims{
        {"eat_profile", token::kEarProfile}, {"iss", "srv-a"}, {"aud", "us"}, {"eat_nonce", "0102"},
        {"iat", kNow}, {"exp", kNow + 300}, {"cloister.lab", lab},
        {"ear.verifier-id", json::Object{{"developer", "d"}, {"build", "b"}}},
        {"submods", json::Object{{"cpu0", json::Object{{"ear.status", status}}}}}};
    return crypto::jose::sign_es256(key_, "key-1", "JWT", json::Value{claims});
  }

  [[nodiscard]] Ran run(std::vector<std::string> more) const {
    std::vector<std::string> all{"token", "verify", path("token")};
    all.insert(all.end(), more.begin(), more.end());
    const test::FakeClock clock{UnixTime{std::chrono::seconds{kNow + 1}}};
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli::run(std::move(all), out, err, clock);
    return {code, out.str(), err.str()};
  }
  /// With the key set and --json.
  [[nodiscard]] Ran verify(std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--jwks", path("jwks"), "--json"});
    return run(std::move(more));
  }

  /// A leaf of this key under a root, whose PEM is written to "root.pem"; and another root of that name, to "foreign.pem".
  [[nodiscard]] json::Array certified() const {
    namespace x509 = crypto::x509;
    const auto begin = UnixTime{std::chrono::seconds{kNow - 100}};
    const auto name = x509::encode_name({"root", "", "", "", ""});
    const auto root_of = [&](const crypto::EcPrivateKey& key) {
      const x509::CertificateSpec spec{.serial = {1}, .issuer = name, .subject = name, .not_before = begin,
                                       .not_after = begin + std::chrono::hours{1}, .key = key.public_key(), .is_ca = true,
                                       .key_usage = 0x0400};
      return x509::issue_certificate(spec, key);
    };
    const auto root_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
    const auto root = root_of(root_key);
    write("root.pem", codec::to_pem("CERTIFICATE", root));
    write("foreign.pem", codec::to_pem("CERTIFICATE", root_of(crypto::EcPrivateKey::generate(crypto::Curve::p384))));
    const x509::CertificateSpec leaf{.serial = {2}, .issuer = name, .subject = x509::encode_name({"leaf", "", "", "", ""}),
                                     .not_before = begin, .not_after = begin + std::chrono::hours{1}, .key = key_.public_key()};
    return {codec::to_base64(x509::issue_certificate(leaf, root_key)), codec::to_base64(root)};
  }
  /// The token, with a header of the test's own.
  void write_with_header(const json::Value& header) const {
    const auto token = signed_ear();
    const auto payload = token.substr(token.find('.') + 1, token.rfind('.') - token.find('.') - 1);
    const auto text = codec::to_base64url(as_bytes(json::write(header))) + "." + payload;
    write("token", text + "." + codec::to_base64url(key_.sign(as_bytes(text))));
  }

  test::TempDir folder_;
  crypto::EcPrivateKey key_ = crypto::EcPrivateKey::generate(crypto::Curve::p256);
};

TEST_F(TokenVerifyCommand, AcceptsWhatHolds) {
  const auto ran = verify({"--issuer", "srv-a", "--audience", "us", "--nonce", "0102"});
  EXPECT_EQ(ran.code, kOk) << ran.out << ran.err;
  EXPECT_EQ(*ran.object().find("verdict"), json::Value{"accepted"});
  EXPECT_EQ(*ran.object().find("kind"), json::Value{"ear"});
  EXPECT_TRUE(ran.object().find("error")->is_null());
  EXPECT_EQ(run({"--key", path("key")}).code, kOk);
}

TEST_F(TokenVerifyCommand, PrintsItForPeople) {
  const auto ran = run({"--key", path("key")});
  EXPECT_TRUE(ran.out.starts_with("accepted: ear\n")) << ran.out;
  EXPECT_NE(ran.out.find("srv-a"), std::string::npos);
  const auto refused = run({"--key", path("key"), "--issuer", "srv-b"});
  EXPECT_EQ(refused.code, kRejected);
  EXPECT_TRUE(refused.out.starts_with("rejected\nbecause: token_issuer_mismatch")) << refused.out;
}

TEST_F(TokenVerifyCommand, RejectsWhatDoesNot) {
  const auto expect = [](const Ran& ran, std::string_view error) {
    EXPECT_EQ(ran.code, kRejected) << ran.err;
    EXPECT_EQ(ran.error(), error);
    EXPECT_EQ(*ran.object().find("verdict"), json::Value{"rejected"});
  };
  expect(verify({"--issuer", "srv-b"}), "token_issuer_mismatch");
  expect(verify({"--audience", "them"}), "token_audience_mismatch");
  expect(verify({"--nonce", "03"}), "token_nonce_mismatch");
  expect(verify({"--at", "2030-01-01T00:00:00Z"}), "token_expired");
  expect(verify({"--at", "2020-01-01T00:00:00Z"}), "token_not_yet_valid");
  write("token", signed_ear("warning"));
  expect(verify(), "token_status_not_accepted");
  EXPECT_EQ(verify({"--accept", "warning"}).code, kOk);
  write("token", signed_ear("affirming", true));
  expect(verify(), "token_of_lab");
  EXPECT_EQ(verify({"--lab"}).code, kOk);
  write("token", "nothing");
  expect(verify(), "malformed");
  write("token", std::string(2U << 20, 'a'));
  expect(verify(), "limit_exceeded");
}

TEST_F(TokenVerifyCommand, TrustsTheChainOfAHeaderUnderAGivenRoot) {
  write_with_header(json::Object{{"alg", "ES256"}, {"x5c", certified()}});
  const auto accepted = run({"--root", path("root.pem"), "--json"});
  EXPECT_EQ(accepted.code, kOk) << accepted.out << accepted.err;
  EXPECT_EQ(run({"--root", path("foreign.pem"), "--root", path("root.pem")}).code, kOk);
  const auto foreign = run({"--root", path("foreign.pem"), "--json"});
  EXPECT_EQ(foreign.code, kRejected);
  EXPECT_EQ(foreign.error(), "root_untrusted");
  const auto later = run({"--root", path("root.pem"), "--json", "--at", "2027-01-01T00:00:00Z"});
  EXPECT_EQ(later.error(), "token_key_unknown");  // no certificate is valid any more
}

TEST_F(TokenVerifyCommand, TrustsTheChainOfAKeySetUnderAGivenRoot) {
  auto key = to_json(crypto::jose::Jwk{key_.public_key(), crypto::jose::Algorithm::es256, "key-1"});
  key.set("x5c", certified());
  write("certified", json::write(json::Object{{"keys", json::Array{key}}}));
  EXPECT_EQ(run({"--jwks", path("certified"), "--root", path("root.pem")}).code, kOk);
  EXPECT_EQ(run({"--jwks", path("certified")}).code, kOk);  // whoever gives a set alone trusts it
  const auto foreign = run({"--jwks", path("certified"), "--root", path("foreign.pem"), "--json"});
  EXPECT_EQ(foreign.code, kRejected);
  EXPECT_EQ(foreign.error(), "root_untrusted");
}

TEST_F(TokenVerifyCommand, FailsWhereARootCannotBeRead) {
  for (const auto* file : {"absent", "token", "jwks"}) {
    const auto ran = run({"--root", path(file)});
    EXPECT_EQ(ran.code, kFailed) << file;
    EXPECT_FALSE(ran.err.empty());
  }
}

TEST_F(TokenVerifyCommand, FailsWhereItCannotBeginAtAll) {
  const auto expect_failed = [](const Ran& ran) {
    EXPECT_EQ(ran.code, kFailed);
    EXPECT_TRUE(ran.out.empty());
    EXPECT_FALSE(ran.err.empty());
  };
  expect_failed(run({}));
  expect_failed(verify({"--at", "yesterday"}));
  expect_failed(verify({"--accept", "anything"}));
  expect_failed(run({"--jwks", path("absent")}));
  expect_failed(run({"--jwks", path("token")}));
  std::filesystem::remove(path("token"));
  expect_failed(verify());
}

}  // namespace
}  // namespace cloister::cli
