#include "cloister/rcar/init_data.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr std::string_view kBody = R"(version = "0.1.0"
algorithm = "sha384"
[data]
"aa.toml" = '''
[token_configs.kbs]
url = "http://127.0.0.1:8080"
retries = 3
when = 2026-06-01
'''
"cdh.toml" = "this is no TOML"
"policy.rego" = '''
package agent_policy
default CreateContainerRequest := false
policy_data := {
  "containers": [{"OCI": {"Process": {"Args": ["/run"]}}}]
}
'''
other = "x"
)";

Result<MeasuredInitData> read(std::string_view body) { return read_init_data({"toml", std::string{body}}); }
Errc refused(std::string_view body) { return read(body).error().code(); }

TEST(InitData, IsMeasuredWholeAndClaimedInParts) {
  const auto out = read(kBody).value();
  const auto digest = crypto::sha384(as_bytes(kBody));
  EXPECT_TRUE(same_bytes(out.digest, digest));
  EXPECT_EQ(*out.claims.find("aa.toml")->find("token_configs")->find("kbs")->find("url"), json::Value{"http://127.0.0.1:8080"});
  EXPECT_EQ(*out.claims.find("aa.toml")->find("token_configs")->find("kbs")->find("retries"), json::Value{3});
  EXPECT_EQ(*out.claims.find("aa.toml")->find("token_configs")->find("kbs")->find("when"), json::Value{"2026-06-01"});
  EXPECT_EQ(*out.claims.find("cdh.toml"), json::Value{"this is no TOML"});
  EXPECT_EQ(*out.claims.find("other"), json::Value{"x"});
  EXPECT_EQ(out.claims.find("policy.rego"), nullptr);
  EXPECT_EQ(json::write(*out.claims.find("agent_policy_claims")), R"({"containers":[{"OCI":{"Process":{"Args":["/run"]}}}]})");
}

TEST(InitData, NamesItsAlgorithm) {
  const auto with = [](std::string_view name) {
    return "version = \"0.1.0\"\nalgorithm = \"" + std::string{name} + "\"\n[data]\n";
  };
  EXPECT_EQ(read(with("sha256"))->digest.size(), 32U);
  EXPECT_EQ(read(with("sha512"))->digest.size(), 64U);
  for (const auto* name : {"SHA256", "sha1", "sm3", ""}) EXPECT_EQ(refused(with(name)), Errc::unsupported) << name;
}

TEST(InitData, KeepsAPolicyThatEndsOtherwise) {
  for (const std::string_view policy : {"package agent_policy", "policy_data := {\\\"a\\\": 1,}", "policy_data := {}\\nx := 1"}) {
    const auto out = read("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"policy.rego\" = \"" + std::string{policy} + "\"\n");
    ASSERT_TRUE(out.ok()) << out.error().text();
    EXPECT_NE(out->claims.find("policy.rego"), nullptr) << policy;
    EXPECT_EQ(out->claims.find("agent_policy_claims"), nullptr) << policy;
  }
}

TEST(InitData, RefusesWhatItIsNot) {
  EXPECT_EQ(read_init_data({"json", "{}"}).error().code(), Errc::unsupported);
  EXPECT_EQ(refused("version = "), Errc::malformed);
  EXPECT_EQ(refused(""), Errc::missing_member);
  EXPECT_EQ(refused("version = \"0.1.0\"\n[data]\n"), Errc::missing_member);
  EXPECT_EQ(refused("algorithm = \"sha256\"\n[data]\n"), Errc::missing_member);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\n"), Errc::missing_member);
  EXPECT_EQ(refused("version = 1\nalgorithm = \"sha256\"\n[data]\n"), Errc::missing_member);
  EXPECT_EQ(refused("version = \"0.2.0\"\nalgorithm = \"sha256\"\n[data]\n"), Errc::unsupported);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\nmore = 1\n[data]\n"), Errc::unsupported);
  EXPECT_EQ(refused("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\na = 1\n"), Errc::malformed);
  const auto error = read("version = \"0.1.0\"\nalgorithm sha256").error();
  EXPECT_NE(error.detail().find("line 2"), std::string::npos) << error.detail();
}

// Each dot nests a table; a document of nothing else would nest them deeper than a stack reaches.
TEST(InitData, BoundsItsNesting) {
  std::string deep = "a";
  for (int i = 0; i < 200'000; ++i) deep += ".a";
  EXPECT_EQ(refused(deep + " = 1"), Errc::limit_exceeded);
  EXPECT_EQ(refused("[" + deep + "]"), Errc::limit_exceeded);
  EXPECT_EQ(refused("x = \"\\\"\" # \"\n" + deep + " = 1"), Errc::limit_exceeded);
  EXPECT_EQ(refused("x = '\\'\n" + deep + " = 1"), Errc::limit_exceeded);
  EXPECT_EQ(refused("x = '''a'''\n" + deep + " = 1"), Errc::limit_exceeded);
  const std::string dots(5000, '.');
  for (const auto& text : {'"' + dots + '"', "'" + dots + "'", "'''\n" + dots + "'''", "\"\"\"\n" + dots + "\"\"\"", "\"\" # " + dots}) {
    EXPECT_TRUE(read("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\na = " + text + "\n").ok()) << text.substr(0, 5);
  }
  // What is nested in one of its texts is bounded alike, and stays a text then.
  const auto inner = read("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = \"" + deep + " = 1\"\n");
  ASSERT_TRUE(inner.ok());
  EXPECT_NE(inner->claims.find("aa.toml")->as_string(), nullptr);
}

TEST(Fitted, FillsARegister) {
  const Bytes digest{1, 2, 3};
  EXPECT_EQ(fitted(digest, 5), (Bytes{1, 2, 3, 0, 0}));
  EXPECT_EQ(fitted(digest, 2), (Bytes{1, 2}));
  EXPECT_EQ(fitted(digest, 3), digest);
}

}  // namespace
}  // namespace cloister::rcar
