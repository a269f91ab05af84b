// Policies and reference values of the key broker: which one decides, what tokens say of further ones, who changes them, and
// what an administrator is told.
#include <filesystem>
#include <fstream>

#include "cli.hpp"
#include "kbs_fixture.hpp"

namespace cloister::test {
namespace {

constexpr std::string_view kDenyAll = "package policy\nallow = false";
constexpr std::string_view kAffirm = "package policy\ntrust_claims := {\"hardware\": 2, \"executables\": 3}";
constexpr std::string_view kDoubt = "package policy\ntrust_claims := {\"hardware\": 97}";
/// Within every bound that is looked at when it is compiled.
constexpr std::string_view kLoops =
    "package policy\nallow if { some i in numbers.range(1, 100000); some k in numbers.range(1, 100000); i * k == -1 }";
constexpr std::string_view kGrows = R"(package policy
k := concat("", ["0123456789" | numbers.range(1, 10000)[_]])
allow if { count([x | some i in numbers.range(1, 50000); x := concat("", [k, sprintf("%d", [i])])]) == 50000 }
)";

class KeyBrokerPolicies : public KeyBrokerTest {
 protected:
  struct Answer {
    int status = 0;
    Headers headers;
    std::string text;
    json::Value body;
    [[nodiscard]] std::string tag() const {
      const std::string quoted{headers.find("ETag").value_or("\"\"")};
      return quoted.substr(1, quoted.size() - 2);
    }
    [[nodiscard]] std::string string(std::string_view name) const {
      const auto* value = body.find(name);
      return value != nullptr && value->as_string() != nullptr ? *value->as_string() : std::string{};
    }
    [[nodiscard]] std::string code() const { return string("code"); }
    [[nodiscard]] std::string detail() const { return string("detail"); }
  };
  Answer api(Method method, const std::string& path, const json::Value& body = {}, Headers headers = {}, std::string bearer = {}) {
    headers.set("Authorization", "Bearer " + (bearer.empty() ? admin : bearer));
    if (!body.is_null()) headers.set("Content-Type", "application/json");
    const auto reply = send_to("/api/v1", method, path, std::move(headers), body.is_null() ? "" : json::write(body));
    auto parsed = json::parse(reply.text);
    return {reply.status, reply.headers, reply.text, parsed ? *parsed : json::Value{}};
  }
  static Headers matching(const std::string& tag) { return {{"If-Match", tag == "*" ? tag : '"' + tag + '"'}}; }
  Answer put_resource(const std::string& name, std::string_view scope, std::string_view text, Headers headers = {}) {
    const json::Value body = json::Object{{"text", text}, {"scope", scope}};
    return api(Method::put, "/policies/resource/" + name, body, std::move(headers));
  }
  Answer put_attestation(const std::string& name, std::string_view text, Headers headers = {}) {
    return api(Method::put, "/policies/attestation/" + name, json::Object{{"text", text}}, std::move(headers));
  }
  Answer ask(const std::string& how, json::Object question) {
    return api(Method::post, "/policies/" + how, json::Value{std::move(question)});
  }
  /// The claims of a token.
  static json::Value claims_of(const std::string& token) {
    const auto begin = token.find('.') + 1;
    const auto payload = codec::from_base64url(token.substr(begin, token.rfind('.') - begin)).value();
    return json::parse(as_text(payload)).value();
  }
  static json::Value further_in(const json::Value& claims, std::string_view submodule = "cpu0") {
    const auto* found = claims.find("submods")->find(submodule)->find(token::kPoliciesClaim);
    return found == nullptr ? json::Value{} : *found;
  }
  static std::string status_of(const json::Value& claims, std::string_view policy, std::string_view submodule = "cpu0") {
    const auto further = further_in(claims, submodule);
    const auto* said = further.find(policy);
    return said == nullptr ? "absent" : *said->find("status")->as_string();
  }
  int fetched(const std::string& token, const std::string& what) { return get(what, as(token)).status; }
};

// --- resource policies by scope --------------------------------------------------------------------------------------

TEST_F(KeyBrokerPolicies, TheLongestScopeDecides) {
  for (const auto* one : {"default/key/2", "default/cert/1", "other/key/1", "defaults/key/1"}) store(one, "x");
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  ASSERT_EQ(send(Method::post, "/resource-policy", as(admin), rcar::write_resource_policy(kAllowAll)).status, 200);
  ASSERT_EQ(put_resource("repo", "default", kDenyAll).status, 200);
  ASSERT_EQ(put_resource("keys", "default/key", kAllowAll).status, 200);
  ASSERT_EQ(put_resource("first", "default/key/1", kDenyAll).status, 200);
  EXPECT_EQ(fetched(token, "default/key/1"), 401);   // "first"
  EXPECT_EQ(fetched(token, "default/key/2"), 200);   // "keys"
  EXPECT_EQ(fetched(token, "default/cert/1"), 401);  // "repo"
  EXPECT_EQ(fetched(token, "other/key/1"), 200);     // "default"
  EXPECT_EQ(fetched(token, "defaults/key/1"), 200);  // segments are whole
  EXPECT_EQ(*leaf(kbs::kRefused, "default/key/1")->detail<std::string>("policy_name"), "first");
  EXPECT_EQ(*leaf(kbs::kReleased, "default/key/2")->detail<std::string>("policy_name"), "keys");
  EXPECT_EQ(*leaf(kbs::kReleased, "default/key/2")->detail<Bytes>("policy"), to_bytes(crypto::sha256(as_bytes(kAllowAll))));
  EXPECT_EQ(send(Method::get, "/resource-policy", as(admin)).text, R"(["default","first","keys","repo"])");

  configure(options());  // a restart
  EXPECT_EQ(fetched(token, "default/key/1"), 401);
  EXPECT_EQ(fetched(token, "default/key/2"), 200);
  ASSERT_EQ(api(Method::del, "/policies/resource/first").status, 204);
  EXPECT_EQ(fetched(token, "default/key/1"), 200);  // "keys" again
}

TEST_F(KeyBrokerPolicies, ScopesAreWholeAndNobodyElses) {
  for (const auto* scope : {"", "/", "a/", "/a", "a//b", "a/b/c/d", ".a", "a/..", "a b", "a/b/"}) {
    EXPECT_EQ(put_resource("one", scope, kAllowAll).code(), "invalid_argument") << scope;
  }
  EXPECT_EQ(put_resource("default", "a", kAllowAll).code(), "invalid_argument");
  ASSERT_EQ(put_resource("one", "a/b", kAllowAll).status, 200);
  const auto tie = put_resource("two", "a/b", kAllowAll);
  EXPECT_EQ(tie.status, 409);
  EXPECT_THAT(tie.detail(), HasSubstr("that of the policy one"));
  ASSERT_EQ(put_resource("two", "a", kAllowAll).status, 200);
  const auto tag = api(Method::get, "/policies/resource/two").tag();
  EXPECT_EQ(put_resource("two", "a/b", kAllowAll, matching(tag)).status, 409);  // nor by moving there
  EXPECT_EQ(put_resource("two", "c", kAllowAll, matching(tag)).status, 200);
  EXPECT_EQ(api(Method::get, "/policies/resource/two").string("scope"), "c");
}

TEST_F(KeyBrokerPolicies, NamesAreIdsAndBounded) {
  EXPECT_EQ(put_resource("UPPER", "a", kAllowAll).code(), "invalid_argument");
  EXPECT_EQ(put_attestation("a%20b", kAffirm).code(), "invalid_argument");
  for (const auto* reserved : {"default", "default_switch", "default_"}) {
    EXPECT_EQ(put_attestation(reserved, kAffirm).code(), "not_found") << reserved;
  }
  EXPECT_EQ(api(Method::put, "/policies/attestation/one", json::Object{{"text", kAffirm}, {"scope", "a"}}).code(), "unknown_member");
  for (std::size_t i = 0; i < kbs::RuleBook::kMaxAttestationPolicies; ++i) {
    EXPECT_EQ(put_attestation("p" + std::to_string(i), kAffirm).status, 200);
  }
  EXPECT_EQ(put_attestation("p8", kAffirm).code(), "limit_exceeded");
  EXPECT_EQ(put_attestation("default_cpu", kAffirm).status, 200);  // is there in any case
  for (std::size_t i = 0; i < kbs::RuleBook::kMaxResourcePolicies; ++i) {
    ASSERT_EQ(put_resource("r" + std::to_string(i), "a/" + std::to_string(i), kAllowAll).status, 200);
  }
  EXPECT_EQ(put_resource("r64", "a/64", kAllowAll).code(), "limit_exceeded");
  EXPECT_EQ(put_resource("default", "", kAllowAll).status, 200);
}

TEST_F(KeyBrokerPolicies, TextsAreBoundedTogether) {
  std::string lines = "package policy\nallow = true\n";
  while (lines.size() < 250'000) lines += "# 0123456789012345678901234567890123456789012345678901234567890123456789\n";
  const auto half = lines.substr(0, lines.find("#", lines.size() / 2));
  EXPECT_EQ(put_resource("large", "z", lines + lines).code(), "limit_exceeded");  // alone
  ASSERT_EQ(put_resource("one", "a", half).status, 200);
  ASSERT_EQ(put_attestation("two", half).status, 200);
  const auto more = put_resource("three", "c", half);
  EXPECT_EQ(more.code(), "limit_exceeded");
  EXPECT_THAT(more.detail(), HasSubstr("256 KiB"));
  EXPECT_EQ(put_attestation("three", half).code(), "limit_exceeded");
  EXPECT_EQ(put_resource("small", "c", kAllowAll).status, 200);
  ASSERT_EQ(api(Method::del, "/policies/attestation/two").status, 204);
  EXPECT_EQ(put_resource("three", "d", half).status, 200);
}

// --- attestation policies by name ------------------------------------------------------------------------------------

TEST_F(KeyBrokerPolicies, TokensSayWhatEachNamedPolicySays) {
  ASSERT_EQ(put_attestation("strict", kDoubt).status, 200);
  const rcar::AttestationPolicy lax{"lax", std::string{kAffirm}};
  ASSERT_EQ(send(Method::post, "/attestation-policy", as(admin), rcar::write_attestation_policy(lax)).status, 200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto claims = claims_of(token);
  const auto further = further_in(claims);
  ASSERT_EQ(further.as_object()->size(), 2U);
  EXPECT_EQ(status_of(claims, "strict"), "contraindicated");
  EXPECT_EQ(status_of(claims, "lax"), "affirming");
  EXPECT_EQ(further.find("strict")->find("trustworthiness-vector")->find("hardware")->as_int(), 97);
  EXPECT_EQ(*further.find("lax")->find("policy")->as_string(), codec::to_hex(crypto::sha256(as_bytes(kAffirm))));
  EXPECT_EQ(further.find("lax")->find("error"), nullptr);
  // What Trustee's clients read stays that of default_cpu.
  const auto& cpu = *claims.find("submods")->find("cpu0");
  EXPECT_EQ(*cpu.find("ear.status")->as_string(), "affirming");
  EXPECT_EQ(*cpu.find("ear.appraisal-policy-id")->as_string(), "default");
  const auto attested = leaf(kbs::kAttested, *claims.find("jti")->as_string());
  ASSERT_TRUE(attested);
  EXPECT_EQ(*attested->detail<std::string>("policies"), "lax affirming, strict contraindicated");

  // A resource policy demands one of them.
  const auto demands = [](std::string_view name) {
    return "package policy\nallow if input.submods.cpu0[\"cloister.policies\"]." + std::string{name} + ".status == \"affirming\"";
  };
  ASSERT_EQ(put_resource("by-strict", "default/key", demands("strict")).status, 200);
  EXPECT_EQ(fetched(token, "default/key/1"), 401);
  ASSERT_EQ(put_resource("by-strict", "default/key", demands("lax"), matching("*")).status, 200);
  EXPECT_EQ(fetched(token, "default/key/1"), 200);
  ASSERT_EQ(put_resource("by-strict", "default/key", demands("none"), matching("*")).status, 200);
  EXPECT_EQ(fetched(token, "default/key/1"), 401);
}

TEST_F(KeyBrokerPolicies, WithoutNamedPoliciesTokensAreAsTheyWere) {
  auto client = guest(p256());
  const auto claims = claims_of(client.attest(tdx()).value());
  EXPECT_TRUE(further_in(claims).is_null());
  EXPECT_EQ(leaf(kbs::kAttested, *claims.find("jti")->as_string())->detail<std::string>("policies"), nullptr);
}

TEST_F(KeyBrokerPolicies, ANamedPolicyThatFailsIsContraindicatedAndStopsNobody) {
  ASSERT_EQ(put_attestation("undefined", "package policy\nother := 1").status, 200);
  ASSERT_EQ(put_attestation("disagrees", "package policy\ntrust_claims := {\"hardware\": 2}\ntrust_claims := {\"hardware\": 3}").status, 200);
  ASSERT_EQ(put_attestation("sound", kAffirm).status, 200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto claims = claims_of(token);
  for (const auto* failed : {"undefined", "disagrees"}) {
    EXPECT_EQ(status_of(claims, failed), "contraindicated") << failed;
    EXPECT_EQ(*further_in(claims).find(failed)->find("error")->as_string(), "policy_evaluation_failed") << failed;
  }
  EXPECT_EQ(status_of(claims, "sound"), "affirming");
  EXPECT_EQ(fetched(token, "default/key/1"), 200);
  // A rule that excludes, which an absent status would pass.
  ASSERT_EQ(put_resource("excludes", "default",
                         "package policy\nallow if not input.submods.cpu0[\"cloister.policies\"].undefined.status == \"contraindicated\"")
                .status,
            200);
  EXPECT_EQ(fetched(token, "default/key/1"), 401);
}

TEST_F(KeyBrokerPolicies, NamedPoliciesShareOneDeadline) {
  // A few milliseconds by itself, and more steps than are taken before the clock is looked at.
  constexpr std::string_view kWorks = R"(package policy
trust_claims := {"hardware": 2} if count([1 | some i in numbers.range(1, 3000); i > 0]) == 3000
)";
  const std::string loops = std::string{kLoops} + "\ntrust_claims := {\"hardware\": 2} if allow\n";
  ASSERT_EQ(put_attestation("a", loops).status, 200);
  ASSERT_EQ(put_attestation("z", kWorks).status, 200);
  auto client = guest(p256());
  const auto exhausted = further_in(claims_of(client.attest(tdx()).value()));
  for (const auto* name : {"a", "z"}) {
    ASSERT_NE(exhausted.find(name), nullptr);
    ASSERT_NE(exhausted.find(name)->find("error"), nullptr) << name;
    EXPECT_EQ(*exhausted.find(name)->find("error")->as_string(), "deadline_exceeded") << name;
  }
  ASSERT_EQ(api(Method::del, "/policies/attestation/a").status, 204);
  EXPECT_EQ(status_of(claims_of(client.attest(tdx()).value()), "z"), "affirming");
}

TEST_F(KeyBrokerPolicies, NamesThatEndInGpuJudgeDevices) {
  configure(playground());
  ASSERT_EQ(put_attestation("strict_gpu", kDoubt).status, 200);
  ASSERT_EQ(put_attestation("strict", kAffirm).status, 200);
  ASSERT_EQ(put_attestation("default_cpu", kAffirm).status, 200);
  ASSERT_EQ(put_attestation("default_gpu", kAffirm).status, 200);
  auto client = guest(p256());
  auto evidence = sample();
  evidence.additional = [](const Digest48& data) -> Result<std::string> {
    return json::write(json::Object{{"sampledevice", json::Object{{"svn", "2"}, {"report_data", codec::to_base64(data)}}}});
  };
  const auto claims = claims_of(client.attest(evidence).value());
  EXPECT_EQ(status_of(claims, "strict", "cpu0"), "affirming");
  EXPECT_EQ(status_of(claims, "strict_gpu", "cpu0"), "absent");
  EXPECT_EQ(status_of(claims, "strict_gpu", "gpu0"), "contraindicated");
  EXPECT_EQ(status_of(claims, "strict", "gpu0"), "absent");
}

TEST_F(KeyBrokerPolicies, NoExtensionPassesItselfOffAsANamedPolicy) {
  const std::string forges = std::string{kAffirm} +
                             "\nextensions := [{\"name\": \"cloister.policies\", \"key\": 1, \"value\": {\"strict\": {\"status\": \"affirming\"}}}]";
  ASSERT_EQ(put_attestation("default_cpu", forges).status, 200);
  auto client = guest(p256());
  EXPECT_TRUE(further_in(claims_of(client.attest(tdx()).value())).is_null());
}

// --- administration --------------------------------------------------------------------------------------------------

TEST_F(KeyBrokerPolicies, AreListedShownAndRemoved) {
  const auto before = api(Method::get, "/policies");
  ASSERT_EQ(before.body.find("policies")->as_array()->size(), 3U);
  for (const auto& one : *before.body.find("policies")->as_array()) {
    EXPECT_EQ(*one.find("origin")->as_string(), "built-in");
    EXPECT_TRUE(one.find("changed")->is_null());
    EXPECT_EQ(one.find("text"), nullptr);
  }
  const auto made = put_resource("keys", "default/key", kAllowAll);
  ASSERT_EQ(made.status, 200);
  EXPECT_EQ(made.string("digest"), codec::to_hex(crypto::sha256(as_bytes(kAllowAll))));
  EXPECT_EQ(made.string("etag"), made.tag());
  const auto shown = api(Method::get, "/policies/resource/keys");
  EXPECT_EQ(shown.string("text"), kAllowAll);
  EXPECT_EQ(shown.string("scope"), "default/key");
  EXPECT_EQ(shown.string("origin"), "administrator");
  EXPECT_EQ(shown.string("changed"), to_rfc3339(world.clock.now()));
  EXPECT_EQ(shown.tag(), made.tag());
  EXPECT_EQ(api(Method::get, "/policies/resource/keys", {}, {{"If-None-Match", '"' + shown.tag() + '"'}}).status, 304);
  EXPECT_EQ(api(Method::get, "/policies/attestation/keys").code(), "not_found");

  // A default one is removed to what it was before.
  const auto built_in = api(Method::get, "/policies/attestation/default_cpu");
  ASSERT_EQ(put_attestation("default_cpu", kDoubt).status, 200);
  ASSERT_EQ(api(Method::del, "/policies/attestation/default_cpu").status, 204);
  EXPECT_EQ(api(Method::get, "/policies/attestation/default_cpu").text, built_in.text);
  EXPECT_EQ(api(Method::del, "/policies/attestation/default_cpu").code(), "not_found");
  EXPECT_EQ(api(Method::del, "/policies/resource/none").code(), "not_found");
  configure(playground());
  EXPECT_EQ(api(Method::get, "/policies/resource/default").string("origin"), "configuration");
  EXPECT_EQ(api(Method::get, "/policies/attestation/default_cpu").string("origin"), "built-in");

  ASSERT_EQ(api(Method::del, "/policies/resource/keys").status, 204);
  const auto changed = leaf(kbs::kPolicyChanged, "resource/keys");
  const auto removed = leaf(kbs::kPolicyRemoved, "resource/keys");
  ASSERT_TRUE(changed && removed);
  EXPECT_EQ(*changed->detail<std::string>("scope"), "default/key");
  EXPECT_EQ(*changed->detail<std::string>("by"), "tester");
  EXPECT_EQ(*removed->detail<Bytes>("policy"), *changed->detail<Bytes>("policy"));
  EXPECT_TRUE(leaf(kbs::kPolicyRemoved, "attestation/default_cpu"));
}

// Whoever keeps a head from now on proves what changed.
TEST_F(KeyBrokerPolicies, ChangesAreUnderASignedHeadWhenTheyAreAnswered) {
  const auto covered = [&](std::string_view kind, std::string_view subject) {
    return world.log->find(kind, subject).value() < world.log->head().head.tree_size;
  };
  ASSERT_EQ(put_resource("keys", "default/key", kAllowAll).status, 200);
  EXPECT_TRUE(covered(kbs::kPolicyChanged, "resource/keys"));
  ASSERT_EQ(api(Method::del, "/policies/resource/keys").status, 204);
  EXPECT_TRUE(covered(kbs::kPolicyRemoved, "resource/keys"));
  ASSERT_EQ(api(Method::put, "/reference-values/svn", json::Object{{"value", 1}}).status, 200);
  EXPECT_TRUE(covered(kbs::kReferenceChanged, "svn"));
  ASSERT_EQ(api(Method::del, "/reference-values/svn").status, 204);
  EXPECT_TRUE(covered(kbs::kReferenceRemoved, "svn"));
}

TEST_F(KeyBrokerPolicies, NobodyOverwritesWhatTheyHaveNotSeen) {
  const auto first = put_resource("keys", "default/key", kAllowAll);
  ASSERT_EQ(first.status, 200);
  const auto blind = put_resource("keys", "default/key", kDenyAll);
  EXPECT_EQ(blind.status, 409);
  EXPECT_THAT(blind.detail(), HasSubstr(first.tag()));
  const auto second = put_resource("keys", "default/key", kDenyAll, matching(first.tag()));
  ASSERT_EQ(second.status, 200);
  EXPECT_NE(second.tag(), first.tag());
  EXPECT_EQ(put_resource("keys", "default/key", kAllowAll, matching(first.tag())).code(), "conflict");
  EXPECT_EQ(api(Method::del, "/policies/resource/keys", {}, matching(first.tag())).code(), "conflict");
  EXPECT_EQ(api(Method::get, "/policies/resource/keys").string("text"), kDenyAll);
  const auto moved = put_resource("keys", "default/cert", kDenyAll, matching(second.tag()));
  EXPECT_NE(moved.tag(), second.tag());  // another scope is another policy
  EXPECT_EQ(put_resource("keys", "default/key", kAllowAll, matching("*")).status, 200);
  EXPECT_EQ(put_resource("none", "none", kAllowAll, matching("*")).code(), "conflict");  // there is nothing to be replaced
  EXPECT_EQ(put_resource("none", "none", kAllowAll, matching(first.tag())).code(), "conflict");
  for (const auto* bad : {"", "x", "\"", "\"\"", "W/\"x\"", "\"a\", \"b\""}) {
    EXPECT_EQ(put_resource("none", "none", kAllowAll, {{"If-Match", bad}}).code(), "invalid_argument") << bad;
  }
  // What is built in was set by nobody: it may be replaced, and by whoever has seen it.
  const auto built_in = api(Method::get, "/policies/attestation/default_gpu").tag();
  EXPECT_EQ(put_attestation("default_gpu", kAffirm, matching(built_in)).status, 200);
  EXPECT_EQ(put_attestation("default_gpu", kAffirm).code(), "conflict");
}

TEST_F(KeyBrokerPolicies, WhatDoesNotCompileIsRefusedWithItsPlace) {
  const std::string broken = "package policy\n\nallow if {\n  input.a ==\n}\n";
  for (const auto& refused : {put_resource("keys", "default", broken), put_attestation("strict", broken),
                              ask("try", {{"kind", "resource"}, {"path", "a/b/c"}, {"text", broken}, {"claims", json::Object{}}}),
                              ask("try", {{"kind", "attestation"}, {"text", broken}, {"claims", json::Object{}}})}) {
    EXPECT_EQ(refused.status, 400);
    EXPECT_EQ(refused.code(), "policy_invalid");
    EXPECT_THAT(refused.detail(), HasSubstr(":5:1: ")) << refused.detail();
  }
  EXPECT_EQ(api(Method::get, "/policies").body.find("policies")->as_array()->size(), 3U);
}

TEST_F(KeyBrokerPolicies, TimeAndMemoryOfWhatIsSetAreBounded) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  ASSERT_EQ(put_resource("loops", "default/loops", kLoops).status, 200);
  ASSERT_EQ(put_resource("grows", "default/grows", kGrows).status, 200);
  rego::set_memory_limit(64U << 20);
  const auto grown = get("default/grows/1", as(token));
  rego::set_memory_limit(256U << 20);
  EXPECT_EQ(grown.status, 401);
  EXPECT_EQ(grown.kind(), "PolicyEngineError");
  EXPECT_EQ(get("default/loops/1", as(token)).kind(), "PolicyEngineError");
  EXPECT_EQ(*leaf(kbs::kRefused, "default/loops/1")->detail<std::string>("code"), "deadline_exceeded");
  const auto code = *leaf(kbs::kRefused, "default/grows/1")->detail<std::string>("code");
  EXPECT_TRUE(code == "limit_exceeded" || code == "deadline_exceeded") << code;  // whichever a slow machine meets first
  EXPECT_EQ(fetched(token, "default/key/1"), 200);  // others go on
}

TEST_F(KeyBrokerPolicies, BelongToTheirTenant) {
  const auto acme = operator_token(session::kAdminRole, "acme");
  ASSERT_EQ(put_resource("keys", "default", kDenyAll).status, 200);
  EXPECT_EQ(api(Method::get, "/policies/resource/keys", {}, {}, acme).code(), "not_found");
  EXPECT_EQ(api(Method::get, "/policies", {}, {}, acme).body.find("policies")->as_array()->size(), 3U);
  const json::Value theirs = json::Object{{"text", kAllowAll}, {"scope", "default"}};
  EXPECT_EQ(api(Method::put, "/policies/resource/keys", theirs, {}, acme).status, 200);
  EXPECT_EQ(api(Method::get, "/policies/resource/keys").string("text"), kDenyAll);
  EXPECT_EQ(api(Method::put, "/reference-values/theirs", json::Object{{"value", 1}}, {}, acme).status, 200);
  EXPECT_EQ(api(Method::get, "/reference-values/theirs").code(), "not_found");
  EXPECT_EQ(api(Method::del, "/policies/resource/keys", {}, {}, acme).status, 204);
  EXPECT_EQ(api(Method::get, "/policies/resource/keys").status, 200);
  EXPECT_EQ(*leaf(kbs::kPolicyRemoved, "resource/keys")->detail<std::string>("tenant"), "acme");
}

TEST_F(KeyBrokerPolicies, AreNowhereWithoutAKeyBroker) {
  services->guests = nullptr;
  EXPECT_EQ(api(Method::get, "/policies").code(), "not_found");
  EXPECT_THAT(api(Method::get, "/reference-values").detail(), HasSubstr("[key_broker]"));
  services->guests = brokers.get();
}

// --- reference values ------------------------------------------------------------------------------------------------

TEST_F(KeyBrokerPolicies, ReferenceValuesAreListedSetAndRemoved) {
  EXPECT_EQ(api(Method::get, "/reference-values").body.find("reference_values")->as_array()->size(), 3U);
  const auto made = api(Method::put, "/reference-values/min_snp/Milan", json::Object{{"value", json::Array{1, 2}}});
  ASSERT_EQ(made.status, 200);
  EXPECT_EQ(api(Method::get, "/reference-values/min_snp/Milan").text, made.text);
  EXPECT_EQ(api(Method::get, "/reference-values/min_snp/Milan", {}, {{"If-None-Match", '"' + made.tag() + '"'}}).status, 304);
  EXPECT_EQ(send(Method::get, "/reference-value/mr_td", as(admin)).status, 200);
  const json::Value other = json::Object{{"value", json::Array{3}}};
  EXPECT_EQ(api(Method::put, "/reference-values/min_snp/Milan", other).code(), "conflict");
  EXPECT_EQ(api(Method::put, "/reference-values/min_snp/Milan", other, matching(std::string(32, '0'))).code(), "conflict");
  EXPECT_EQ(api(Method::put, "/reference-values/min_snp/Milan", other, matching(made.tag())).status, 200);
  EXPECT_EQ(api(Method::del, "/reference-values/min_snp/Milan", {}, matching(made.tag())).code(), "conflict");
  EXPECT_EQ(api(Method::del, "/reference-values/min_snp/Milan").status, 204);
  EXPECT_EQ(api(Method::del, "/reference-values/min_snp/Milan").code(), "not_found");
  EXPECT_EQ(api(Method::get, "/reference-values/min_snp/Milan").code(), "not_found");
  EXPECT_EQ(api(Method::put, "/reference-values/" + std::string(257, 'a'), other).code(), "invalid_argument");
  EXPECT_EQ(*leaf(kbs::kReferenceChanged, "min_snp/Milan")->detail<std::string>("by"), "tester");
  EXPECT_TRUE(leaf(kbs::kReferenceRemoved, "min_snp/Milan"));

  // A value that is removed is known no more, also after a restart and in the place of one that is configured.
  auto client = guest(p256());
  ASSERT_TRUE(client.fetch(path("default/key/1"), tdx()).ok());
  ASSERT_EQ(api(Method::del, "/reference-values/mr_td").status, 204);
  configure(options());
  const auto claims = claims_of(guest(p256()).attest(tdx()).value());
  EXPECT_EQ(*claims.find("submods")->find("cpu0")->find("ear.status")->as_string(), "warning");
}

TEST_F(KeyBrokerPolicies, ReferenceValuesAreBounded) {
  const json::Value many = json::Object{{"value", json::Array(40'000, json::Value{0})}};
  int taken = 0;
  while (taken < 10 && api(Method::put, "/reference-values/z" + std::to_string(taken), many).status == 200) ++taken;
  EXPECT_GT(taken, 0);
  EXPECT_LT(taken, 10);
  EXPECT_EQ(api(Method::put, "/reference-values/z9", many).code(), "limit_exceeded");
  EXPECT_EQ(api(Method::get, "/reference-values/z9").code(), "not_found");
}

// --- what administrators ask -----------------------------------------------------------------------------------------

TEST_F(KeyBrokerPolicies, ExplainSaysWhichRuleRefused) {
  constexpr std::string_view kRules = R"(package policy
import rego.v1
default allow := false
allow if {
  data["resource-path"][0] == "default"
  every attester in input.submods { attester["ear.status"] == "affirming" }
  input.submods.cpu0["ear.veraison.annotated-evidence"].tdx.lab == false
}
)";
  ASSERT_EQ(put_resource("keys", "default/key", kRules).status, 200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  EXPECT_EQ(fetched(token, "default/key/1"), 401);
  const auto answer = ask("explain", {{"kind", "resource"}, {"path", "default/key/1"}, {"token", token}});
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(*answer.body.find("allowed"), json::Value{false});
  EXPECT_EQ(*answer.body.find("policy")->find("name")->as_string(), "keys");
  EXPECT_EQ(*answer.body.find("policy")->find("scope")->as_string(), "default/key");
  EXPECT_EQ(*answer.body.find("policy")->find("digest")->as_string(), codec::to_hex(crypto::sha256(as_bytes(kRules))));
  EXPECT_TRUE(answer.body.find("error")->is_null());
  EXPECT_TRUE(answer.body.find("token_error")->is_null());
  EXPECT_EQ(json::write(*answer.body.find("rules")), R"([{"rule":"allow","line":3,"default":true}])");
  ASSERT_EQ(answer.body.find("unmet")->as_array()->size(), 1U);
  const auto& unmet = answer.body.find("unmet")->as_array()->front();
  EXPECT_EQ(unmet.find("line")->as_int(), 7);
  EXPECT_THAT(*unmet.find("condition")->as_string(), HasSubstr("tdx.lab == false"));

  // Where the default policy decides, and allows.
  const auto other = ask("explain", {{"kind", "resource"}, {"path", "default/cert/1"}, {"token", token}});
  EXPECT_EQ(*other.body.find("policy")->find("name")->as_string(), "default");
  EXPECT_EQ(*other.body.find("allowed"), json::Value{true});
  EXPECT_THAT(json::write(*other.body.find("rules")), HasSubstr(R"("rule":"allow")"));

  // Of claims alone, and of a token that has ended.
  const auto claims = ask("explain", {{"kind", "resource"}, {"path", "default/key/1"}, {"claims", json::Object{}}});
  EXPECT_THAT(json::write(*claims.body.find("unmet")), HasSubstr("every attester in input.submods"));
  world.clock.advance(std::chrono::minutes{6});
  const auto late = ask("explain", {{"kind", "resource"}, {"path", "default/key/1"}, {"token", token}});
  EXPECT_EQ(late.status, 200);
  EXPECT_EQ(*late.body.find("token_error")->find("code")->as_string(), "token_expired");
  EXPECT_EQ(late.body.find("unmet")->as_array()->size(), 1U);
}

TEST_F(KeyBrokerPolicies, ExplainTellsOfAttestation) {
  ASSERT_EQ(put_attestation("strict", "package policy\nimport rego.v1\ndefault hardware := 97\n"
                                      "hardware := 2 if input.tdx.tcb_status == \"Never\"\ntrust_claims := {\"hardware\": hardware}")
                .status,
            200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto evidence = tdx().primary(Digest48{}).value();
  for (json::Object about : {json::Object{{"token", token}}, json::Object{{"evidence", evidence}, {"tee", "tdx"}}}) {
    about.emplace_back("kind", "attestation");
    const auto answer = ask("explain", about);
    ASSERT_EQ(answer.status, 200) << answer.text;
    const auto& judgements = *answer.body.find("judgements")->as_array();
    ASSERT_EQ(judgements.size(), 2U) << answer.text;
    EXPECT_EQ(*judgements[0].find("policy")->find("name")->as_string(), "default_cpu");
    EXPECT_EQ(*judgements[0].find("status")->as_string(), "affirming");
    EXPECT_EQ(*judgements[1].find("policy")->find("name")->as_string(), "strict");
    EXPECT_EQ(*judgements[1].find("status")->as_string(), "contraindicated");
    EXPECT_EQ(*judgements[1].find("accepted"), json::Value{false});
    const auto& claim = judgements[1].find("trust_claims")->as_array()->front();
    EXPECT_EQ(claim.find("rule")->find("line")->as_int(), 3);
    EXPECT_EQ(*claim.find("tier")->as_string(), "contraindicated");
    EXPECT_THAT(json::write(*judgements[1].find("unmet")), HasSubstr("tcb_status"));
  }
  const auto named = ask("explain", {{"kind", "attestation"}, {"name", "strict"}, {"claims", json::Object{}}});
  EXPECT_EQ(named.body.find("judgements")->as_array()->size(), 1U);
  EXPECT_EQ(ask("explain", {{"kind", "attestation"}, {"name", "none"}, {"claims", json::Object{}}}).code(), "not_found");

  // Evidence that is not authentic is judged by no policy.
  auto broken = quote(Digest48{});
  broken[200] ^= 1U;
  const auto forged = json::write(json::Object{{"cc_eventlog", nullptr}, {"quote", codec::to_base64(broken)}});
  const auto refused = ask("explain", {{"kind", "attestation"}, {"evidence", forged}, {"tee", "tdx"}});
  EXPECT_EQ(refused.body.find("judgements")->as_array()->size(), 0U);
  EXPECT_EQ(*refused.body.find("evidence_error")->find("code")->as_string(), "quote_signature_invalid");
}

TEST_F(KeyBrokerPolicies, ATrialChangesNothing) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto tried = ask("try", {{"kind", "resource"}, {"path", "default/key/1"}, {"text", kDenyAll}, {"token", token}});
  EXPECT_EQ(*tried.body.find("allowed"), json::Value{false}) << tried.text;
  EXPECT_EQ(*tried.body.find("policy")->find("digest")->as_string(), codec::to_hex(crypto::sha256(as_bytes(kDenyAll))));
  EXPECT_EQ(fetched(token, "default/key/1"), 200);
  const auto judged = ask("try", {{"kind", "attestation"}, {"text", kDoubt}, {"token", token}});
  EXPECT_EQ(*judged.body.find("judgements")->as_array()->front().find("status")->as_string(), "contraindicated");
  EXPECT_EQ(api(Method::get, "/policies").body.find("policies")->as_array()->size(), 3U);

  // As bounded as what is set.
  const auto loops = ask("try", {{"kind", "resource"}, {"path", "a/b/c"}, {"text", kLoops}, {"claims", json::Object{}}});
  EXPECT_EQ(*loops.body.find("allowed"), json::Value{false});
  EXPECT_EQ(*loops.body.find("error")->find("code")->as_string(), "deadline_exceeded");
  rego::set_memory_limit(64U << 20);
  const auto grows = ask("try", {{"kind", "resource"}, {"path", "a/b/c"}, {"text", kGrows}, {"claims", json::Object{}}});
  rego::set_memory_limit(256U << 20);
  EXPECT_EQ(*grows.body.find("allowed"), json::Value{false});
  EXPECT_FALSE(grows.body.find("error")->is_null());
  const auto large = std::string{"package policy\nallow = true\n"} + std::string(300'000, '\n');
  EXPECT_EQ(ask("try", {{"kind", "resource"}, {"path", "a/b/c"}, {"text", large}, {"claims", json::Object{}}}).code(), "limit_exceeded");
}

TEST_F(KeyBrokerPolicies, QuestionsThatCannotBeAskedAreRefused) {
  const json::Value none = json::Object{};
  const std::vector<json::Object> bad = {
      {{"kind", "device"}, {"claims", none}},
      {{"kind", "resource"}, {"claims", none}},                                               // of which?
      {{"kind", "resource"}, {"path", "a/b"}, {"claims", none}},
      {{"kind", "resource"}, {"path", "a/b/c"}},                                              // about what?
      {{"kind", "resource"}, {"path", "a/b/c"}, {"claims", none}, {"token", "x"}},
      {{"kind", "resource"}, {"path", "a/b/c"}, {"name", "default"}, {"claims", none}},
      {{"kind", "resource"}, {"path", "a/b/c"}, {"evidence", "00"}, {"tee", "tdx"}},
      {{"kind", "attestation"}, {"path", "a/b/c"}, {"claims", none}},
      {{"kind", "attestation"}},
      {{"kind", "attestation"}, {"claims", none}, {"evidence", "00"}, {"tee", "tdx"}},
      {{"kind", "attestation"}, {"evidence", "00"}},
      {{"kind", "attestation"}, {"tee", "tdx"}, {"claims", none}},
      {{"kind", "attestation"}, {"evidence", "00"}, {"tee", "sample"}}};
  for (const auto& question : bad) EXPECT_EQ(ask("explain", question).code(), "invalid_argument") << json::write(question);
  EXPECT_EQ(ask("explain", {{"kind", "resource"}, {"path", "a/b/c"}, {"token", "x"}}).status, 400);
  EXPECT_EQ(ask("explain", {{"kind", "attestation"}, {"claims", none}, {"text", "x"}}).code(), "unknown_member");
  EXPECT_EQ(ask("try", {{"kind", "attestation"}, {"claims", none}, {"text", kAffirm}, {"name", "x"}}).code(), "unknown_member");
}

// --- the command line ------------------------------------------------------------------------------------------------

TEST_F(KeyBrokerPolicies, TheCommandLineDoesAllOfIt) {
  const TempDir files;
  const auto file = [&files](const std::string& name, std::string_view text) {
    const auto path = files.path() / name;
    std::ofstream{path} << text;
    return path.string();
  };
  const auto token_file = file("admin", admin);
  std::string said;
  std::string complained;
  const auto cli = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--server", server->base_url(), "--token-file", token_file});
    std::ostringstream out;
    std::ostringstream err;
    const auto code = cli::run(std::move(words), out, err, world.clock);
    said = out.str();
    complained = err.str();
    return code;
  };
  auto client = guest(p256());
  const auto guest_token = file("guest", client.attest(tdx()).value());
  const auto deny = file("deny.rego", "package policy\ndefault allow := false\nallow if input.never\n");
  const auto allow = file("allow.rego", kAllowAll);

  EXPECT_EQ(cli({"policy", "try", "--file", deny, "--path", "default/key/1", "--guest-token", guest_token}), cli::kRejected) << complained;
  EXPECT_THAT(said, HasSubstr("denied by try"));
  EXPECT_THAT(said, HasSubstr("not met: input.never (allow, line 3:10)"));
  EXPECT_EQ(cli({"policy", "set", "resource/keys", "--scope", "default/key", "--file", deny}), cli::kOk) << complained;
  EXPECT_EQ(cli({"policy", "set", "resource/keys", "--scope", "default/key", "--file", allow}), cli::kFailed);
  EXPECT_THAT(complained, HasSubstr("--if-match ETAG"));
  EXPECT_EQ(cli({"policy", "explain", "--path", "default/key/1", "--guest-token", guest_token}), cli::kRejected) << complained;
  EXPECT_THAT(said, HasSubstr("denied by keys, scope default/key, SHA-256 "));
  EXPECT_EQ(cli({"policy", "set", "resource/keys", "--scope", "default/key", "--file", allow, "--force"}), cli::kOk) << complained;
  EXPECT_EQ(cli({"policy", "set", "resource/more", "--scope", "more", "--file", allow, "--force"}), cli::kOk) << complained;
  EXPECT_EQ(cli({"policy", "explain", "--path", "default/key/1", "--guest-token", guest_token, "--json"}), cli::kOk) << complained;
  EXPECT_EQ(*json::parse(said).value().find("allowed"), json::Value{true});
  EXPECT_EQ(cli({"policy", "list"}), cli::kOk);
  EXPECT_THAT(said, HasSubstr("default/key"));
  EXPECT_EQ(cli({"policy", "list", "--json"}), cli::kOk);
  EXPECT_EQ(json::parse(said).value().find("policies")->as_array()->size(), 5U);
  EXPECT_EQ(cli({"policy", "show", "resource/keys"}), cli::kOk);
  EXPECT_EQ(said, std::string{kAllowAll} + '\n');
  EXPECT_EQ(cli({"policy", "remove", "resource/keys", "--if-match", std::string(32, '0')}), cli::kFailed);
  EXPECT_EQ(cli({"policy", "remove", "resource/keys"}), cli::kOk);
  EXPECT_EQ(cli({"policy", "show", "resource/keys"}), cli::kFailed);
  EXPECT_EQ(cli({"policy", "show", "keys"}), cli::kFailed);
  EXPECT_THAT(complained, HasSubstr("resource/NAME or attestation/NAME"));

  const auto doubt = file("doubt.rego", kDoubt);
  EXPECT_EQ(cli({"policy", "set", "attestation/strict", "--file", doubt}), cli::kOk) << complained;
  EXPECT_EQ(cli({"policy", "set", "attestation/strict", "--file", doubt, "--scope", "a"}), cli::kFailed);
  const auto evidence = file("evidence", tdx().primary(Digest48{}).value());
  EXPECT_EQ(cli({"policy", "explain", "--evidence", evidence, "--tee", "tdx"}), cli::kRejected) << complained;
  EXPECT_THAT(said, HasSubstr("affirming by default_cpu"));
  EXPECT_THAT(said, HasSubstr("contraindicated by strict"));
  EXPECT_THAT(said, HasSubstr("hardware is 97 (contraindicated), by trust_claims at strict:2"));
  EXPECT_EQ(cli({"policy", "explain", "--name", "default_cpu", "--guest-token", guest_token}), cli::kOk) << complained;
  EXPECT_EQ(cli({"policy", "explain", "--name", "default_cpu"}), cli::kFailed);
  const auto broken = file("broken.rego", "package policy\nallow if {\n");
  EXPECT_EQ(cli({"policy", "set", "resource/keys", "--scope", "a", "--file", broken}), cli::kFailed);
  EXPECT_THAT(complained, HasSubstr("policy_invalid: keys:3:1"));

  EXPECT_EQ(cli({"reference-value", "set", "min svn/1", "[1, 2]"}), cli::kOk) << complained;
  EXPECT_EQ(cli({"reference-value", "set", "min svn/1", "[3]"}), cli::kFailed);
  EXPECT_EQ(cli({"reference-value", "set", "min svn/1", "[3]", "--force"}), cli::kOk) << complained;
  EXPECT_EQ(cli({"reference-value", "set", "min svn/1", "[3"}), cli::kFailed);
  EXPECT_EQ(cli({"reference-value", "set", "min svn/1"}), cli::kFailed);
  EXPECT_EQ(cli({"reference-value", "show", "min svn/1"}), cli::kOk) << complained;
  EXPECT_EQ(said, "[3]\n");
  EXPECT_EQ(cli({"reference-value", "list"}), cli::kOk);
  EXPECT_THAT(said, HasSubstr("min svn/1"));
  EXPECT_EQ(cli({"reference-value", "remove", "min svn/1"}), cli::kOk) << complained;
  EXPECT_EQ(cli({"reference-value", "show", "min svn/1"}), cli::kFailed);
}

}  // namespace
}  // namespace cloister::test
