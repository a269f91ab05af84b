#include "cloister/kbs/resource_policy.hpp"

#include <gtest/gtest.h>

namespace cloister::kbs {
namespace {

namespace json = codec::json;

rcar::ResourcePath path(std::string_view text = "default/key/1") { return rcar::ResourcePath::parse(text).value(); }

json::Value token(std::string_view cpu, std::string_view more = "") {
  return json::parse(R"({"submods":{"cpu0":)" + std::string{cpu} + std::string{more} + "}}").value();
}

bool builtin(const json::Value& claims) { return ResourcePolicy::builtin().allows(claims, path()).value(); }

bool allowed(std::string text, std::string_view resource = "default/key/1") {
  const auto policy = ResourcePolicy::compile("p.rego", std::move(text));
  EXPECT_TRUE(policy.ok()) << policy.error().text();
  return policy->allows(token(R"({"ear.status":"affirming"})"), path(resource)).value();
}

constexpr std::string_view kAffirmed = R"({"ear.status":"affirming","ear.veraison.annotated-evidence":{"tdx":{}}})";

TEST(BuiltinResourcePolicy, WantsEveryAttesterAffirmed) {
  EXPECT_TRUE(builtin(token(kAffirmed)));
  EXPECT_FALSE(builtin(token(R"({"ear.status":"warning"})")));
  EXPECT_FALSE(builtin(token(R"({"ear.status":"contraindicated"})")));
  EXPECT_FALSE(builtin(token(R"({"ear.status":"none"})")));
  EXPECT_FALSE(builtin(token("{}")));
  EXPECT_FALSE(builtin(token(kAffirmed, R"(,"gpu0":{"ear.status":"warning"})")));
  EXPECT_FALSE(builtin(token(kAffirmed, R"(,"gpu0":{})")));
  EXPECT_TRUE(builtin(token(kAffirmed, R"(,"gpu0":{"ear.status":"affirming"})")));
  EXPECT_FALSE(builtin(json::parse(R"({"submods":{}})").value()));
  EXPECT_FALSE(builtin(json::parse("{}").value()));
}

TEST(BuiltinResourcePolicy, TakesNoSampleEvidence) {
  EXPECT_FALSE(builtin(token(R"({"ear.status":"affirming","ear.veraison.annotated-evidence":{"sample":{"svn":"1"}}})")));
  EXPECT_FALSE(builtin(token(kAffirmed, R"(,"gpu0":{"ear.status":"affirming","ear.veraison.annotated-evidence":{"sampledevice":{}}})")));
  auto claims = token(kAffirmed);
  EXPECT_FALSE(builtin(claims.set("cloister.sample", true)));
}

TEST(ResourcePolicy, IsOfTheFormThatTrusteeHas) {
  EXPECT_TRUE(allowed("package policy\nallow = true"));
  EXPECT_TRUE(allowed("package policy\nimport rego.v1\ndefault allow := false\nallow if data.plugin == \"resource\""));
  EXPECT_TRUE(allowed("package policy\nallow if { data[\"resource-path\"] == [\"default\", \"key\", \"1\"] }"));
  EXPECT_FALSE(allowed("package policy\nallow if { data[\"resource-path\"][0] == \"default\" }", "other/key/1"));
  EXPECT_TRUE(allowed("package policy\nallow if { input[\"submods\"][\"cpu0\"][\"ear.status\"] == \"affirming\" }"));
  EXPECT_TRUE(allowed("package policy\nallow if { count(data.query) == 0 }"));
}

TEST(ResourcePolicy, AllowsOnlyByTrue) {
  EXPECT_FALSE(allowed("package policy\nallow := \"yes\""));
  EXPECT_FALSE(allowed("package policy\nallow := 1"));
  EXPECT_FALSE(allowed("package policy\nallow := false"));
  EXPECT_FALSE(allowed("package policy\nother := true"));
  EXPECT_FALSE(allowed("package elsewhere\nallow := true"));
}

TEST(ResourcePolicy, SaysWhereItDoesNotCompile) {
  const auto refused = ResourcePolicy::compile("p.rego", "package policy\nallow if {");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::policy_invalid);
  EXPECT_NE(refused.error().detail().find("p.rego:2"), std::string::npos) << refused.error().detail();
}

TEST(ResourcePolicy, ThatDisagreesWithItselfAllowsNothing) {
  const auto policy = ResourcePolicy::compile("p.rego", "package policy\nallow := true if input.submods\nallow := false if input.submods");
  ASSERT_TRUE(policy.ok()) << policy.error().text();
  EXPECT_EQ(policy->allows(token("{}"), path()).error().code(), Errc::policy_evaluation_failed);
}

TEST(ResourcePolicyTest, SeesTheQueryAndTheLabels) {
  const auto policy = ResourcePolicy::compile("p.rego", R"(package policy
import rego.v1
default allow := false
allow if { data.query.version == "2"; data.labels.env == "dev" }
allow if { data.query == {}; data.labels == {} })").value();
  const auto allows = [&](json::Object query, json::Object labels) {
    return policy.allows(token("{}"), path(), std::move(query), std::move(labels)).value();
  };
  EXPECT_TRUE(allows({{"version", "2"}}, {{"env", "dev"}, {"team", "a"}}));
  EXPECT_FALSE(allows({{"version", "1"}}, {{"env", "dev"}}));
  EXPECT_FALSE(allows({{"version", "2"}}, {{"env", "prod"}}));
  EXPECT_FALSE(allows({{"version", "2"}}, {}));
  EXPECT_TRUE(allows({}, {}));
}

}  // namespace
}  // namespace cloister::kbs
