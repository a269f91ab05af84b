// Resources of the key broker: versions, deletion, values that are made here, labels, quotas; as guests get them under /kbs/v0
// and as administrators keep them under /api/v1.
#include "kbs_fixture.hpp"

namespace cloister::test {
namespace {

using testing::Not;

class KbsResources : public KeyBrokerTest {
 protected:
  void SetUp() override {
    KeyBrokerTest::SetUp();
    configure(playground());
  }
  struct Answer {
    int status = 0;
    std::string text;
    json::Value body;
    [[nodiscard]] std::string code() const {
      const auto* code = body.find("code");
      return code == nullptr || code->as_string() == nullptr ? std::string{} : *code->as_string();
    }
    [[nodiscard]] json::Value at(std::string_view name) const {
      const auto* value = body.find(name);
      return value == nullptr ? json::Value{"absent"} : *value;
    }
  };
  /// A JSON body goes as such, any other as bytes.
  Answer native(Method method, const std::string& target, std::string_view body = {}, std::string bearer = {}) {
    auto headers = as(bearer.empty() ? admin : bearer);
    if (body.starts_with('{')) headers.set("Content-Type", "application/json");
    const auto reply = send_to("/api/v1", method, target, std::move(headers), body);
    Answer out{reply.status, reply.text, {}};
    if (auto parsed = json::parse(out.text)) out.body = *std::move(parsed);
    return out;
  }
  [[nodiscard]] static std::string at(std::string_view resource, std::string_view rest = {}) {
    return "/resources/" + std::string{resource} + std::string{rest};
  }
  /// What a guest of sample evidence gets, or the code of its refusal.
  std::string value_of(std::string_view resource, std::optional<std::uint64_t> version = std::nullopt) {
    if (!visitor) visitor.emplace(guest(p256()));
    const auto value = visitor->fetch(path(resource), sample(), version);
    return value ? std::string{as_text(value->reveal())} : std::string{to_string(value.error().code())};
  }
  void set_policy(const std::string& rules) {
    kbs::RuleBook::NewPolicy policy{kbs::PolicyKind::resource, std::string{kbs::kDefaultResourcePolicy}, "",
                                    "package policy\nimport rego.v1\ndefault allow := false\n" + rules};
    ASSERT_TRUE(brokers->main().rules().set(std::move(policy), kbs::Seen::whatever(), "tester", world.clock.now()).ok());
  }
  [[nodiscard]] std::size_t leaves(std::string_view kind) const {
    std::size_t out = 0;
    const auto head = world.log->advance(world.clock.now()).value();
    for (std::uint64_t i = 0; i < head.head.tree_size; ++i) {
      out += merkle::decode_audit_leaf(world.log->leaf(i).value())->kind == kind ? 1 : 0;
    }
    return out;
  }
  std::optional<client::KeyBroker> visitor;
};

// --- versions --------------------------------------------------------------------------------------------------------

TEST_F(KbsResources, GuestsGetTheVersionThatTheyName) {
  const auto first = native(Method::put, at("a/b/c"), "one");
  EXPECT_EQ(first.status, 201) << first.text;
  EXPECT_EQ(first.text, R"({"path":"a/b/c","version":1})");
  EXPECT_EQ(native(Method::put, at("a/b/c"), "two").at("version"), json::Value{2});
  EXPECT_EQ(value_of("a/b/c"), "two");
  EXPECT_EQ(value_of("a/b/c", 1), "one");
  EXPECT_EQ(value_of("a/b/c", 2), "two");
  EXPECT_EQ(*leaf(kbs::kReleased, "a/b/c")->detail<std::uint64_t>("version"), 2U);
  EXPECT_EQ(value_of("a/b/c", 3), "not_found");
  EXPECT_EQ(*leaf(kbs::kRefused, "a/b/c")->detail<std::uint64_t>("version"), 3U);
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":1})").at("current"), json::Value{1});
  EXPECT_EQ(value_of("a/b/c"), "one");
  EXPECT_EQ(*leaf(kbs::kCurrentSet, "a/b/c")->detail<std::uint64_t>("before"), 2U);
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":2})").status, 200);
  EXPECT_EQ(value_of("a/b/c"), "two");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":3})").code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/none", "/current"), R"({"version":1})").code(), "not_found");
  const auto versions = native(Method::get, at("a/b/c", "/versions"));
  ASSERT_EQ(versions.status, 200) << versions.text;
  const auto all = versions.at("versions");
  ASSERT_EQ(all.as_array()->size(), 2U);
  const auto& newest = all.as_array()->front();
  EXPECT_EQ(*newest.find("version"), json::Value{2});
  EXPECT_EQ(*newest.find("current"), json::Value{true});
  EXPECT_EQ(*newest.find("size"), json::Value{3});
  EXPECT_EQ(native(Method::get, at("a/b/c", "/versions?limit=1")).at("next"), json::Value{"2"});
}

TEST_F(KbsResources, GuestsGetWhatWasReadBeforeItsDataKeyWasReplaced) {
  ASSERT_EQ(native(Method::put, at("a/b/c"), "one").status, 201);
  EXPECT_EQ(value_of("a/b/c"), "one");
  ASSERT_EQ(native(Method::post, "/data-key/rotate").status, 200);
  EXPECT_EQ(value_of("a/b/c"), "one");
  ASSERT_EQ(native(Method::post, "/data-key/reseal").status, 200);
  EXPECT_EQ(value_of("a/b/c"), "one");
  world.sealer->forget(*TenantId::parse("default"));
  EXPECT_EQ(value_of("a/b/c"), "one");
}

TEST_F(KbsResources, VersionsThatAreNoneAreNoPaths) {
  for (const auto* query : {"version=", "version=0", "version=01", "version=-1", "version=latest", "version=99999999999999999999"}) {
    const auto refused = get("default/key/1?" + std::string{query}, as("x"));
    EXPECT_EQ(refused.status, 404) << query;
    EXPECT_EQ(refused.kind(), "InvalidRequestPath") << query;
  }
  EXPECT_EQ(get("default/key/1?version=1&version=2", as("x")).status, 400);
  EXPECT_EQ(get("default/key/1?version=1").status, 401) << "a stranger learns nothing of versions";
  EXPECT_EQ(get("default/key/1?version=7").text, get("default/key/1?version=1").text);
}

TEST_F(KbsResources, PoliciesSeeTheWholeQuery) {
  ASSERT_EQ(native(Method::put, at("a/b/c"), "one").status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/c"), "two").status, 201);
  set_policy("allow if data.query == {\"version\": \"1\"}\nallow if data.query.purpose == \"boot\"\n");
  auto client = guest(p256());
  const auto token = client.attest(sample()).value();
  EXPECT_EQ(as_text(client.resource(path("a/b/c"), 1)->reveal()), "one");
  EXPECT_EQ(get("a/b/c", as(token)).kind(), "PolicyDeny");
  EXPECT_EQ(get("a/b/c?version=2", as(token)).kind(), "PolicyDeny");
  EXPECT_EQ(get("a/b/c?version=2&purpose=boot", as(token)).status, 200) << "names that mean nothing here are the policy's";
  EXPECT_EQ(*leaf(kbs::kReleased, "a/b/c")->detail<std::uint64_t>("version"), 2U);
  EXPECT_EQ(get("a/b/c?version=1&purpose=run", as(token)).kind(), "PolicyDeny");
}

TEST_F(KbsResources, RotationWithGivenBytesWantsAResource) {
  EXPECT_EQ(native(Method::put, at("a/b/c", "?existing=true"), "one").code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/c", "?existing=false"), "one").status, 201);
  EXPECT_EQ(native(Method::put, at("a/b/c", "?existing=true"), "two").at("version"), json::Value{2});
  EXPECT_EQ(native(Method::post, at("a/b/c", "/rotate")).code(), "conflict") << "nothing is made here";
  EXPECT_EQ(native(Method::post, at("a/b/none", "/rotate")).code(), "not_found");
}

TEST_F(KbsResources, RetentionLetsOldVersionsGo) {
  for (const auto* value : {"one", "two", "three", "four"}) ASSERT_EQ(native(Method::put, at("a/b/c"), value).status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":1})").status, 200);
  EXPECT_EQ(native(Method::put, at("a/b/c", "/retention"), R"({"keep":2})").at("keep"), json::Value{2});
  EXPECT_EQ(*leaf(kbs::kPurged, "a/b/c")->detail<std::string>("versions"), "2");
  EXPECT_EQ(value_of("a/b/c"), "one") << "the current one stays";
  EXPECT_EQ(value_of("a/b/c", 2), "not_found");
  EXPECT_EQ(value_of("a/b/c", 3), "three");
  ASSERT_EQ(native(Method::put, at("a/b/c"), "five").status, 201);
  EXPECT_EQ(*leaf(kbs::kPurged, "a/b/c")->detail<std::string>("versions"), "1,3");
  EXPECT_EQ(value_of("a/b/c", 4), "four");
  EXPECT_EQ(value_of("a/b/c"), "five");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/retention"), R"({"keep":null})").at("keep"), json::Value{});
  ASSERT_EQ(native(Method::put, at("a/b/c"), "six").status, 201);
  EXPECT_EQ(value_of("a/b/c", 4), "four");
  for (const auto* body : {R"({"keep":0})", R"({"keep":-1})", R"({"keep":10001})", R"({"keep":"2"})", R"({"keep":1.5})"}) {
    EXPECT_EQ(native(Method::put, at("a/b/c", "/retention"), body).code(), "invalid_argument") << body;
  }
  EXPECT_EQ(native(Method::put, at("a/b/c", "/retention"), "{}").code(), "missing_member");
  EXPECT_EQ(native(Method::put, at("a/b/none", "/retention"), R"({"keep":2})").code(), "not_found");
}

// --- deletion --------------------------------------------------------------------------------------------------------

TEST_F(KbsResources, WhatIsDeletedComesBackUntilItIsPurged) {
  ASSERT_EQ(native(Method::put, at("a/b/c", "?labels=env=prod"), "one").status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/c"), "two").status, 201);
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete")).code(), "conflict");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete?version=1")).code(), "conflict");
  EXPECT_EQ(native(Method::del, at("a/b/c", "?version=2")).status, 204);
  EXPECT_EQ(*leaf(kbs::kDeleted, "a/b/c")->detail<std::uint64_t>("version"), 2U);
  EXPECT_EQ(native(Method::del, at("a/b/c", "?version=2")).code(), "conflict");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":2})").code(), "conflict");
  EXPECT_EQ(value_of("a/b/c"), "not_found") << "no older version takes its place";
  EXPECT_EQ(value_of("a/b/c", 1), "one");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete?version=2")).status, 200);
  EXPECT_EQ(value_of("a/b/c"), "two");

  EXPECT_EQ(native(Method::del, at("a/b/c")).status, 204);
  EXPECT_EQ(native(Method::del, at("a/b/c")).code(), "conflict");
  EXPECT_EQ(native(Method::del, at("a/b/c", "?version=1")).code(), "conflict");
  EXPECT_EQ(value_of("a/b/c"), "not_found");
  EXPECT_EQ(value_of("a/b/c", 1), "not_found");
  EXPECT_THAT(native(Method::get, "/resources").text, Not(HasSubstr("a/b/c")));
  EXPECT_THAT(native(Method::get, "/resources?deleted=true").text, HasSubstr("a/b/c"));
  EXPECT_THAT(send(Method::get, "/resource", as(admin)).text, Not(HasSubstr("a/b/c")));
  EXPECT_THAT(native(Method::get, at("a/b/c", "/versions")).text, Not(HasSubstr("available")));
  // Nothing is done to it meanwhile, by no client.
  EXPECT_EQ(native(Method::put, at("a/b/c"), "three").code(), "conflict");
  EXPECT_EQ(send(Method::post, "/resource/a/b/c", as(admin), "three").status, 409);
  EXPECT_EQ(native(Method::put, at("a/b/c", "/generator"), R"({"random":32})").code(), "conflict");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/rotate")).code(), "conflict");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":1})").code(), "conflict");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/labels"), R"({"labels":{}})").code(), "conflict");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/retention"), R"({"keep":1})").code(), "conflict");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete?version=1")).code(), "conflict");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete")).status, 200);
  EXPECT_EQ(value_of("a/b/c"), "two");
  EXPECT_TRUE(leaf(kbs::kUndeleted, "a/b/c"));
}

TEST_F(KbsResources, WhatIsPurgedIsGone) {
  for (const auto* value : {"one", "two", "three"}) ASSERT_EQ(native(Method::put, at("a/b/c", "?labels=env=prod"), value).status, 201);
  EXPECT_EQ(native(Method::post, at("a/b/c", "/purge")).code(), "conflict") << "not before it was deleted";
  EXPECT_EQ(native(Method::post, at("a/b/c", "/purge?version=2")).code(), "conflict");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/purge?version=9")).code(), "not_found");
  ASSERT_EQ(native(Method::del, at("a/b/c", "?version=3")).status, 204);
  const auto one = native(Method::post, at("a/b/c", "/purge?version=3"));
  EXPECT_EQ(one.text, R"({"path":"a/b/c","versions":[3],"log_emptied":true})");
  EXPECT_EQ(native(Method::get, at("a/b/c")).at("current"), json::Value{});
  EXPECT_EQ(value_of("a/b/c"), "not_found");
  for (const auto* act : {"/purge?version=3", "/undelete?version=3"}) EXPECT_EQ(native(Method::post, at("a/b/c", act)).code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":3})").code(), "not_found");
  EXPECT_EQ(native(Method::del, at("a/b/c", "?version=3")).code(), "not_found");
  ASSERT_EQ(native(Method::del, at("a/b/c")).status, 204);
  EXPECT_EQ(native(Method::post, at("a/b/c", "/purge")).at("versions"), (json::Value{json::Array{1, 2}}));
  EXPECT_EQ(*leaf(kbs::kPurged, "a/b/c")->detail<std::string>("versions"), "1-2");
  EXPECT_EQ(native(Method::get, at("a/b/c")).code(), "not_found");
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete")).code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/c"), "four").at("version"), json::Value{4}) << "no number is used twice";
  EXPECT_EQ(native(Method::get, at("a/b/c")).at("labels"), json::Value{json::Object{}});
  EXPECT_EQ(value_of("a/b/c", 2), "not_found");
}

TEST_F(KbsResources, ClientsOfTheProtocolDeleteForGood) {
  ASSERT_EQ(native(Method::put, at("a/b/c"), "one").status, 201);
  EXPECT_EQ(send(Method::del, "/resource/a/b/c", as(admin)).status, 200);
  EXPECT_EQ(native(Method::post, at("a/b/c", "/undelete")).code(), "not_found");
  EXPECT_EQ(*leaf(kbs::kRemoved, "a/b/c")->detail<std::string>("versions"), "1");
  // Also what was deleted before, which would take of the quota for ever.
  ASSERT_EQ(native(Method::put, at("a/b/c"), "two").status, 201);
  ASSERT_EQ(native(Method::del, at("a/b/c")).status, 204);
  EXPECT_EQ(send(Method::del, "/resource/a/b/c", as(admin)).status, 200);
  EXPECT_EQ(send(Method::del, "/resource/a/b/c", as(admin)).status, 404);
}

// --- values that are made here ---------------------------------------------------------------------------------------

TEST_F(KbsResources, TheFirstGuestThatMayHaveItMakesIt) {
  set_policy("allow if data.query.may == \"yes\"\n");
  const auto declared = native(Method::put, at("a/disk/key", "/generator"), R"({"random":48,"labels":{"kind":"disk"}})");
  EXPECT_EQ(declared.status, 201) << declared.text;
  EXPECT_EQ(declared.at("pending"), json::Value{true});
  EXPECT_EQ(declared.at("generator"), json::Value{"random/48"});
  EXPECT_EQ(declared.at("last"), json::Value{0});
  EXPECT_EQ(*leaf(kbs::kDeclared, "a/disk/key")->detail<std::string>("generator"), "random/48");
  auto client = guest(p256());
  const auto token = client.attest(sample()).value();
  // Who may not have it makes nothing, nor does who names a version.
  EXPECT_EQ(get("a/disk/key", as(token)).kind(), "PolicyDeny");
  EXPECT_EQ(get("a/disk/key?may=yes&version=1", as(token)).status, 404);
  EXPECT_EQ(native(Method::get, at("a/disk/key")).at("pending"), json::Value{true});
  EXPECT_EQ(leaves(kbs::kGenerated), 0U);
  set_policy("allow if true\n");
  const auto value = client.resource(path("a/disk/key"), token);
  ASSERT_TRUE(value.ok()) << value.error().text();
  EXPECT_EQ(value->size(), 48U);
  EXPECT_EQ(leaves(kbs::kGenerated), 1U);
  const auto made = leaf(kbs::kGenerated, "a/disk/key");
  EXPECT_EQ(*made->detail<std::string>("token"), *leaf(kbs::kReleased, "a/disk/key")->detail<std::string>("token"));
  EXPECT_EQ(*made->detail<std::uint64_t>("version"), 1U);
  EXPECT_EQ(native(Method::get, at("a/disk/key")).at("pending"), json::Value{false});
  EXPECT_THAT(native(Method::get, at("a/disk/key", "/versions")).text, HasSubstr(R"("generated":true)"));
  // The next one gets the same, also after a restart.
  configure(playground());
  const auto again = client.resource(path("a/disk/key"), token);
  EXPECT_TRUE(crypto::equal(again->reveal(), value->reveal()));
}

TEST_F(KbsResources, TwoAtOnceGetTheSame) {
  ASSERT_EQ(native(Method::put, at("a/disk/key", "/generator"), R"({"random":32})").status, 201);
  std::vector<client::KeyBroker> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(guest(p256()));
    ASSERT_TRUE(clients.back().attest(sample()).ok());
  }
  std::vector<std::future<Result<crypto::SecretBytes>>> asked;
  for (auto& client : clients) asked.push_back(std::async(std::launch::async, [&client] { return client.resource(path("a/disk/key")); }));
  std::vector<Bytes> values;
  for (auto& one : asked) {
    auto value = one.get();
    ASSERT_TRUE(value.ok()) << value.error().text();
    values.push_back(to_bytes(value->reveal()));
  }
  for (const auto& value : values) EXPECT_EQ(value, values[0]);
  EXPECT_EQ(leaves(kbs::kGenerated), 1U);
  EXPECT_EQ(native(Method::get, at("a/disk/key")).at("last"), json::Value{1});
}

TEST_F(KbsResources, NoAdministratorPutsOrSeesAValueThatIsMadeHere) {
  ASSERT_EQ(native(Method::put, at("a/disk/key", "/generator"), R"({"random":32})").status, 201);
  EXPECT_EQ(native(Method::put, at("a/disk/key"), "known").code(), "conflict");
  EXPECT_EQ(send(Method::post, "/resource/a/disk/key", as(admin), "known").status, 409);
  EXPECT_EQ(native(Method::put, at("a/disk/key", "/generator"), R"({"random":16})").code(), "conflict");
  EXPECT_EQ(native(Method::put, at("default/key/1", "/generator"), R"({"random":16})").code(), "conflict") << "its value was put";
  const auto value = value_of("a/disk/key");
  ASSERT_EQ(value.size(), 32U);
  const auto rotated = native(Method::post, at("a/disk/key", "/rotate"));
  EXPECT_EQ(rotated.text, R"({"path":"a/disk/key","version":2})");
  EXPECT_EQ(*leaf(kbs::kGenerated, "a/disk/key")->detail<std::string>("by"), "tester");
  const auto newer = value_of("a/disk/key");
  EXPECT_NE(newer, value);
  EXPECT_EQ(value_of("a/disk/key", 1), value);
  EXPECT_EQ(get("a/disk/key", as(admin)).status, 401) << "an administrator is no guest";
  for (const auto* target : {"/resources", "/resources/a/disk/key", "/resources/a/disk/key/versions", "/resource-usage"}) {
    const auto answer = native(Method::get, target).text;
    for (const auto& secret : {value, newer}) {
      EXPECT_THAT(answer, Not(HasSubstr(secret)));
      EXPECT_THAT(answer, Not(HasSubstr(codec::to_hex(as_bytes(secret)))));
      EXPECT_THAT(answer, Not(HasSubstr(codec::to_base64(as_bytes(secret)))));
    }
  }
  const auto head = world.log->advance(world.clock.now()).value();
  for (std::uint64_t i = 0; i < head.head.tree_size; ++i) {
    const auto text = std::string{as_text(world.log->leaf(i).value())};
    EXPECT_THAT(text, Not(HasSubstr(value)));
    EXPECT_THAT(text, Not(HasSubstr(newer)));
  }
}

TEST_F(KbsResources, ADeletedOneIsNotMadeAndAPurgedOneNotAnew) {
  ASSERT_EQ(native(Method::put, at("a/disk/key", "/generator"), R"({"random":32})").status, 201);
  ASSERT_EQ(native(Method::del, at("a/disk/key")).status, 204);
  EXPECT_EQ(value_of("a/disk/key"), "not_found");
  ASSERT_EQ(native(Method::post, at("a/disk/key", "/undelete")).status, 200);
  ASSERT_EQ(value_of("a/disk/key").size(), 32U);
  // Once made and purged, no other value takes its place until an administrator says so.
  ASSERT_EQ(native(Method::del, at("a/disk/key", "?version=1")).status, 204);
  ASSERT_EQ(native(Method::post, at("a/disk/key", "/purge?version=1")).status, 200);
  EXPECT_EQ(value_of("a/disk/key"), "not_found");
  EXPECT_EQ(leaves(kbs::kGenerated), 1U);
  EXPECT_EQ(native(Method::post, at("a/disk/key", "/rotate")).at("version"), json::Value{2});
  EXPECT_EQ(value_of("a/disk/key").size(), 32U);
}

TEST_F(KbsResources, GeneratorsHaveLimits) {
  for (const auto* body : {R"({"random":15})", R"({"random":4097})"}) {
    EXPECT_EQ(native(Method::put, at("a/b/c", "/generator"), body).code(), "invalid_argument") << body;
  }
  for (const auto* body : {R"({"random":-1})", R"({"random":"32"})", R"({"random":32,"labels":[]})", R"({"random":32,"labels":{"a":1}})"}) {
    EXPECT_EQ(native(Method::put, at("a/b/c", "/generator"), body).status, 400) << body;
  }
  EXPECT_EQ(native(Method::get, at("a/b/c")).code(), "not_found");
}

// --- labels ----------------------------------------------------------------------------------------------------------

TEST_F(KbsResources, LabelsAreListedByAndSeenByPolicies) {
  ASSERT_EQ(native(Method::put, at("a/b/1", "?labels=env=prod,team=a"), "one").status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/2", "?labels=env=dev,team=a"), "two").status, 201);
  const auto listed = [this](const std::string& selector) {
    std::string out;
    const auto resources = native(Method::get, "/resources?label=" + selector).at("resources");
    for (const auto& one : *resources.as_array()) out += *one.find("path")->as_string() + ' ';
    return out;
  };
  EXPECT_EQ(listed("team=a"), "a/b/1 a/b/2 ");
  EXPECT_EQ(listed("team=a,env=dev"), "a/b/2 ");
  EXPECT_EQ(listed("env=test"), "");
  EXPECT_EQ(native(Method::get, "/resources?label=env").code(), "invalid_argument");
  set_policy("allow if data.labels.env == \"dev\"\n");
  EXPECT_EQ(value_of("a/b/2"), "two");
  EXPECT_EQ(value_of("a/b/1"), "unauthenticated");
  EXPECT_EQ(value_of("default/key/1"), "unauthenticated") << "without labels";
  EXPECT_EQ(value_of("a/b/none"), "unauthenticated") << "one that is missing has none either";
  const auto changed = native(Method::put, at("a/b/1", "/labels"), R"({"labels":{"env":"dev"}})");
  EXPECT_EQ(changed.at("labels"), (json::Value{json::Object{{"env", "dev"}}})) << changed.text;
  EXPECT_EQ(value_of("a/b/1"), "one");
  EXPECT_NE(*leaf(kbs::kLabelled, "a/b/1")->detail<Bytes>("labels"), *leaf(kbs::kLabelled, "a/b/1")->detail<Bytes>("before"));
  ASSERT_EQ(native(Method::put, at("a/b/1"), "more").status, 201);
  EXPECT_EQ(value_of("a/b/1"), "more") << "a new version leaves them";
  ASSERT_EQ(native(Method::del, at("a/b/1")).status, 204);
  EXPECT_EQ(value_of("a/b/1"), "unauthenticated") << "of a deleted one policies see none";
}

TEST_F(KbsResources, LabelsAreSeenFromTheFirstOneOnAndAfterARestart) {
  set_policy("allow if data.labels == {}\nallow if data.labels.env == \"dev\"\n");
  EXPECT_EQ(value_of("default/key/1"), kSecret) << "when nothing has any";
  ASSERT_EQ(native(Method::put, at("default/key/1", "/labels"), R"({"labels":{"env":"prod"}})").status, 200);
  EXPECT_EQ(value_of("default/key/1"), "unauthenticated");
  configure(playground());
  EXPECT_EQ(value_of("default/key/1"), "unauthenticated");
  ASSERT_EQ(native(Method::put, at("a/b/c", "?labels=env=dev"), "one").status, 201);
  EXPECT_EQ(value_of("a/b/c"), "one");
}

TEST_F(KbsResources, LabelsAreWhatKubernetesTakes) {
  for (const auto* body : {R"({"labels":{"-a":"b"}})", R"({"labels":{"a":"b c"}})", R"({"labels":{"A.org/x":"b"}})"}) {
    EXPECT_EQ(native(Method::put, at("default/key/1", "/labels"), body).code(), "invalid_argument") << body;
  }
  EXPECT_EQ(native(Method::put, at("default/key/1", "/labels"), R"({"labels":{"a":1}})").code(), "malformed");
  EXPECT_EQ(native(Method::put, at("default/key/1", "?labels=a"), "x").code(), "invalid_argument");
  EXPECT_EQ(native(Method::put, at("a/b/none", "/labels"), R"({"labels":{}})").code(), "not_found");
  json::Object many;
  for (int i = 0; i < 65; ++i) many.emplace_back("n" + std::to_string(i), "");
  EXPECT_EQ(native(Method::put, at("default/key/1", "/labels"), json::write(json::Object{{"labels", std::move(many)}})).code(), "limit_exceeded");
  EXPECT_EQ(native(Method::get, at("default/key/1")).at("last"), json::Value{1}) << "nothing was put";
}

// --- limits and tenants ----------------------------------------------------------------------------------------------

TEST_F(KbsResources, TenantsHaveQuotas) {
  auto options = playground();
  options.max_resources = 3;  // of which default/key/1 is one
  options.max_resource_bytes = 200 + 3 * storage::Resources::kVersionBytes;
  configure(std::move(options));
  ASSERT_EQ(native(Method::put, at("a/b/1"), std::string(50, 'x')).status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/2", "/generator"), R"({"random":100})").status, 201);
  const auto third = native(Method::put, at("a/b/3"), "x");
  EXPECT_EQ(third.status, 413);
  EXPECT_EQ(third.code(), "limit_exceeded");
  EXPECT_THAT(third.text, HasSubstr("3 resources"));
  EXPECT_EQ(send(Method::post, "/resource/a/b/3", as(admin), "x").status, 413);
  EXPECT_EQ(native(Method::put, at("a/b/3", "/generator"), R"({"random":16})").code(), "limit_exceeded");
  // What a first use will make is counted before, so that no guest meets the quota.
  EXPECT_EQ(native(Method::get, "/resource-usage").text, R"({"count":3,"bytes":548,"max_count":3,"max_bytes":584})");
  EXPECT_EQ(native(Method::put, at("a/b/1"), std::string(37, 'x')).code(), "limit_exceeded");
  EXPECT_EQ(native(Method::get, at("a/b/1")).at("last"), json::Value{1});
  EXPECT_EQ(value_of("a/b/2").size(), 100U);
  EXPECT_EQ(native(Method::get, "/resource-usage").at("bytes"), json::Value{548});
  EXPECT_EQ(native(Method::post, at("a/b/2", "/rotate")).code(), "limit_exceeded");
  // What is deleted counts until it is purged; what retention lets go does not.
  ASSERT_EQ(native(Method::del, at("a/b/2")).status, 204);
  EXPECT_EQ(native(Method::put, at("a/b/1"), std::string(37, 'x')).code(), "limit_exceeded");
  ASSERT_EQ(native(Method::post, at("a/b/2", "/purge")).status, 200);
  ASSERT_EQ(native(Method::put, at("a/b/1", "/retention"), R"({"keep":1})").status, 200);
  EXPECT_EQ(native(Method::put, at("a/b/1"), std::string(314, 'x')).status, 201) << "186 and what the third version would take";
  EXPECT_EQ(native(Method::get, "/resource-usage").at("bytes"), json::Value{584});
  EXPECT_EQ(native(Method::put, at("a/b/4"), "").code(), "limit_exceeded") << "versions of nothing take something too";
  // Each tenant has its own.
  const auto acme = operator_token(session::kAdminRole, "acme");
  EXPECT_EQ(native(Method::put, at("a/b/4"), std::string(456, 'x'), acme).status, 201);
}

TEST_F(KbsResources, BelongToTheirTenant) {
  ASSERT_EQ(native(Method::put, at("a/b/c", "?labels=env=prod"), "one").status, 201);
  const auto acme = operator_token(session::kAdminRole, "acme");
  EXPECT_EQ(native(Method::get, "/resources", {}, acme).at("resources"), json::Value{json::Array{}});
  for (const auto* target : {"", "/versions"}) EXPECT_EQ(native(Method::get, at("a/b/c", target), {}, acme).code(), "not_found");
  for (const auto* target : {"/rotate", "/undelete", "/purge", "/purge?version=1"}) {
    EXPECT_EQ(native(Method::post, at("a/b/c", target), {}, acme).code(), "not_found") << target;
  }
  EXPECT_EQ(native(Method::del, at("a/b/c"), {}, acme).code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/c", "/current"), R"({"version":1})", acme).code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/c", "?existing=true"), "x", acme).code(), "not_found");
  EXPECT_EQ(native(Method::put, at("a/b/c"), "acme's", acme).at("version"), json::Value{1});
  EXPECT_EQ(value_of("a/b/c"), "one");
  for (const auto role : {session::kClientRole, session::kMonitorRole}) {
    const auto other = operator_token(role, "default");
    EXPECT_EQ(native(Method::get, "/resources", {}, other).status, 403) << role;
    EXPECT_EQ(native(Method::put, at("a/b/c"), "x", other).status, 403) << role;
  }
}

TEST_F(KbsResources, NothingIsDoneThatTheLogDoesNotTake) {
  ASSERT_EQ(native(Method::put, at("a/b/c"), "one").status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/c"), "two").status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/g", "/generator"), R"({"random":32})").status, 201);
  ASSERT_EQ(native(Method::put, at("a/b/d"), "x").status, 201);
  ASSERT_EQ(native(Method::del, at("a/b/d")).status, 204);
  auto client = guest(p256());
  const auto token = client.attest(sample()).value();
  const auto state = [this] {
    return native(Method::get, "/resources").text + native(Method::get, "/resources?deleted=true").text +
           native(Method::get, at("a/b/c", "/versions")).text;
  };
  const auto before = state();
  {
    auto transaction = world.database->write();
    ASSERT_TRUE(transaction->run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
    ASSERT_TRUE(transaction->commit().ok());
  }
  const std::tuple<Method, std::string, std::string> acts[] = {
      {Method::put, at("a/b/c"), "three"},
      {Method::put, at("a/b/n"), "new"},
      {Method::put, at("a/b/n", "/generator"), R"({"random":32})"},
      {Method::post, at("a/b/g", "/rotate"), ""},
      {Method::put, at("a/b/c", "/current"), R"({"version":1})"},
      {Method::put, at("a/b/c", "/labels"), R"({"labels":{"a":"b"}})"},
      {Method::put, at("a/b/c", "/retention"), R"({"keep":1})"},
      {Method::del, at("a/b/c"), ""},
      {Method::del, at("a/b/c", "?version=1"), ""},
      {Method::post, at("a/b/d", "/undelete"), ""},
      {Method::post, at("a/b/d", "/purge"), ""}};
  for (const auto& [method, target, body] : acts) EXPECT_GE(native(method, target, body).status, 500) << target;
  EXPECT_GE(send(Method::del, "/resource/a/b/c", as(admin)).status, 500);
  EXPECT_GE(get("a/b/g", as(token)).status, 500) << "no first use";
  EXPECT_EQ(state(), before);
}

}  // namespace
}  // namespace cloister::test
