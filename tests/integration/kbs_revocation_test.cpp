// What is revoked of guests, and what else must not open anything, through the routes of the key broker: revocations, faults,
// limits and metrics.
#include "kbs_fixture.hpp"

namespace cloister::test {
namespace {

using testing::Not;

/// What a token says.
json::Value payload_of(std::string_view token) {
  const auto first = token.find('.');
  return json::parse(as_text(codec::from_base64url(token.substr(first + 1, token.rfind('.') - first - 1)).value())).value();
}
std::string id_of(std::string_view token) { return *payload_of(token).find("jti")->as_string(); }

class GuestsTest : public KeyBrokerTest {
 protected:
  Reply api(Method method, const std::string& path, std::string_view token, const json::Value& body = {}) {
    auto headers = as(token);
    if (!body.is_null()) headers.set("Content-Type", "application/json");
    return send_to("/api/v1", method, path, std::move(headers), body.is_null() ? std::string{} : json::write(body));
  }
  static json::Value entry(std::string_view kind, std::string_view value) {
    return json::Object{{"kind", kind}, {"value", value}, {"reason", "the owner lost it"}};
  }
  /// Its id.
  std::string revoke(std::string_view kind, std::string_view value) {
    const auto made = api(Method::post, "/revocations", admin, entry(kind, value));
    EXPECT_EQ(made.status, 201) << made.text;
    return *json::parse(made.text)->find("id")->as_string();
  }
  void lift(const std::string& id) { EXPECT_EQ(api(Method::del, "/revocations/" + id, admin).status, 204); }
  json::Array guests(std::string_view token = {}) {
    const auto listed = api(Method::get, "/guests", token.empty() ? std::string_view{admin} : token);
    EXPECT_EQ(listed.status, 200) << listed.text;
    return *json::parse(listed.text)->find("guests")->as_array();
  }
  [[nodiscard]] kbs::Gate& gate() { return brokers->main().gate(); }
  /// Refused at a resource, in the words that everybody gets.
  void expect_revoked(const Reply& reply) {
    EXPECT_EQ(reply.status, 401);
    EXPECT_EQ(reply.kind(), "TokenVerifierError") << reply.text;
    EXPECT_EQ(reply.detail(), "what this guest is, or what it was given, was revoked");
  }
  void expect_refused_at_attestation(const Result<std::string>& token) {
    ASSERT_FALSE(token.ok());
    EXPECT_THAT(token.error().detail(), HasSubstr("attestation_revoked"));
    EXPECT_THAT(token.error().detail(), Not(HasSubstr("owner")));
  }
  /// The table is not where it was.
  void take_away(storage::Sql rename) {
    auto transaction = world.database->write();
    ASSERT_TRUE(transaction->run(rename).ok());
    ASSERT_TRUE(transaction->commit().ok());
  }
};

// --- revocation ------------------------------------------------------------------------------------------------------

TEST_F(GuestsTest, ARevokedTokenOpensNothing) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  ASSERT_EQ(get("default/key/1", as(token)).status, 200);  // verified, and known from now on
  const auto id = revoke("token", id_of(token));
  expect_revoked(get("default/key/1", as(token)));
  expect_revoked(get("default/key/none", as(token)));
  const auto refused = leaf(kbs::kRefused, "default/key/1");
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused->detail<std::string>("code"), "attestation_revoked");
  EXPECT_EQ(*refused->detail<std::string>("token"), id_of(token));
  EXPECT_TRUE(leaf(revocation::kAdded, id));
  // The session that it came of stands for it, and for no other.
  EXPECT_EQ(client.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  EXPECT_TRUE(client.fetch(path("default/key/1"), tdx()).ok());
  lift(id);
  EXPECT_TRUE(leaf(revocation::kLifted, id));
  EXPECT_EQ(get("default/key/1", as(token)).status, 200);
}

TEST_F(GuestsTest, ARevokedSessionEndsWithEverythingThatCameOfIt) {
  const auto session = open();
  const auto attested = attest(session.cookie, tdx_message(session.nonce, p256()));
  const auto token = rcar::parse_token(attested.text).value();
  ASSERT_EQ(get("default/key/1", with_cookie(session.cookie)).status, 200);
  const auto listed = guests();
  ASSERT_EQ(listed.size(), 1U);
  const auto name = *listed[0].find("session")->as_string();
  revoke("session", name);
  expect_revoked(get("default/key/1", with_cookie(session.cookie)));
  expect_revoked(get("default/key/1", as(token)));
  EXPECT_EQ(*guests()[0].find("revoked"), json::Value{true});

  // One that waits for its evidence gets no token.
  const auto waiting = open();
  const auto id = codec::array_from_hex<16>(waiting.cookie.substr(waiting.cookie.find('=') + 1, 32)).value();
  revoke("session", codec::to_hex(crypto::sha256(ByteView{id})));
  const auto late = attest(waiting.cookie, tdx_message(waiting.nonce, p256()));
  EXPECT_EQ(late.status, 401);
  EXPECT_EQ(late.kind(), "AttestationError");
  EXPECT_EQ(late.detail(), "attestation_revoked: what this guest is, or what it was given, was revoked");
  EXPECT_EQ(late.text.find("token\":"), std::string::npos);
}

TEST_F(GuestsTest, ARevokedMeasurementOrChipIsRefusedAtOnceAndFromThenOn) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto listed = guests();
  ASSERT_EQ(listed.size(), 1U);
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& value : *listed[0].find("measurements")->as_array()) all.emplace_back("measurement", *value.as_string());
  for (const auto& value : *listed[0].find("chips")->as_array()) all.emplace_back("chip", *value.as_string());
  // MRTD and RTMR3 (the others are zeros here), PPID and FMSPC, and what else the platform has.
  EXPECT_THAT(all, testing::Contains(std::pair{std::string{"measurement"}, codec::to_hex(world.version.reference.mrtd)}));
  EXPECT_THAT(all, testing::Contains(std::pair{std::string{"chip"}, codec::to_hex(world.platform.fmspc())}));
  EXPECT_GE(all.size(), 4U);
  for (const auto& [kind, value] : all) {
    SCOPED_TRACE(kind + " " + value);
    ASSERT_EQ(get("default/key/1", as(token)).status, 200);
    const auto id = revoke(kind, value);
    expect_revoked(get("default/key/1", as(token)));
    auto another = guest(p256());
    expect_refused_at_attestation(another.attest(tdx()));
    lift(id);
    EXPECT_TRUE(another.fetch(path("default/key/1"), tdx()).ok());
  }
}

TEST_F(GuestsTest, RevocationsOutliveARestart) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  revoke("token", id_of(token));
  ASSERT_EQ(api(Method::post, "/revocations", admin, entry("chip", codec::to_hex(world.platform.fmspc())).set("everywhere", true)).status, 201);
  configure(options());
  expect_revoked(get("default/key/1", as(token)));
  expect_refused_at_attestation(guest(p256()).attest(tdx()));
}

TEST_F(GuestsTest, EntriesOfTokensEndAfterTheTokens) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  revoke("token", id_of(token));
  world.clock.advance(std::chrono::hours{23});
  EXPECT_EQ(json::parse(api(Method::get, "/revocations", admin = operator_token(session::kAdminRole, "default")).text)->find("revocations")->as_array()->size(), 1U);
  world.clock.advance(std::chrono::hours{1});
  admin = operator_token(session::kAdminRole, "default");
  EXPECT_TRUE(json::parse(api(Method::get, "/revocations", admin).text)->find("revocations")->as_array()->empty());
  EXPECT_EQ(get("default/key/1", as(token)).status, 401);  // it ended long ago
}

TEST_F(GuestsTest, TenantsRevokeForThemselvesAndTheServerForAll) {
  const std::string theirs = "/t/acme/kbs/v0";
  const auto acme = operator_token(session::kAdminRole, "acme");
  ASSERT_EQ(send_to(theirs, Method::post, "/resource/default/key/1", as(acme), "acme's").status, 200);
  auto one = guest(p256());
  auto other = client::KeyBroker::connect(server->base_url() + "/t/acme", p256()).value();
  const auto ones = one.attest(tdx()).value();
  const auto others = other.attest(tdx()).value();
  const auto chip = codec::to_hex(world.platform.fmspc());
  const auto opens = [&](const std::string& prefix, std::string_view token) {
    return send_to(prefix, Method::get, "/resource/default/key/1", as(token)).status == 200;
  };

  const auto of_acme = api(Method::post, "/revocations", acme, entry("chip", chip));
  EXPECT_EQ(of_acme.status, 201) << of_acme.text;
  EXPECT_TRUE(opens("/kbs/v0", ones));
  EXPECT_FALSE(opens(theirs, others));
  expect_refused_at_attestation(other.attest(tdx()));
  // Its sessions and entries are nobody else's business.
  const auto id = *json::parse(of_acme.text)->find("id")->as_string();
  EXPECT_THAT(api(Method::get, "/revocations", admin).text, Not(HasSubstr(id)));
  EXPECT_EQ(api(Method::del, "/revocations/" + id, admin).status, 404);
  EXPECT_EQ(guests(admin).size(), 1U);
  EXPECT_EQ(guests(acme).size(), 2U);  // of which one was refused
  EXPECT_EQ(api(Method::del, "/revocations/" + id, acme).status, 204);
  EXPECT_TRUE(opens(theirs, others));

  const auto everywhere = entry("chip", chip).set("everywhere", true);
  EXPECT_EQ(api(Method::post, "/revocations", acme, everywhere).status, 403);
  const auto of_all = api(Method::post, "/revocations", admin, everywhere);
  EXPECT_EQ(of_all.status, 201) << of_all.text;
  EXPECT_FALSE(opens("/kbs/v0", ones));
  EXPECT_FALSE(opens(theirs, others));
  const auto of_alls = *json::parse(of_all.text)->find("id")->as_string();
  EXPECT_THAT(api(Method::get, "/revocations", acme).text, HasSubstr(of_alls));  // it is their guests that are refused
  EXPECT_EQ(api(Method::del, "/revocations/" + of_alls, acme).status, 404);
  lift(of_alls);
  EXPECT_TRUE(opens("/kbs/v0", ones));
  EXPECT_TRUE(opens(theirs, others));
}

TEST_F(GuestsTest, ADecisionIsWorthNothingAfterARevocation) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto now = world.clock.now();
  const auto known = gate().authenticate({std::nullopt, token}, now).value();
  auto decision = gate().decide(known, path("default/key/1"), now);
  ASSERT_TRUE(decision.ok());
  revoke("token", id_of(token));
  auto release = gate().release(known, *std::move(decision), now);
  ASSERT_TRUE(release.ok());
  EXPECT_EQ(recorded(*std::move(release)).error().code(), Errc::attestation_revoked);
  EXPECT_FALSE(leaf(kbs::kReleased, "default/key/1"));
  EXPECT_EQ(*leaf(kbs::kRefused, "default/key/1")->detail<std::string>("code"), "attestation_revoked");
}

TEST_F(GuestsTest, AdministratorsAloneRevokeAndSee) {
  const auto client = operator_token(session::kClientRole, "default");
  const auto monitor_token = operator_token(session::kMonitorRole, "default");
  const auto body = entry("chip", std::string(32, 'a'));
  for (const auto& who : {client, monitor_token}) {
    EXPECT_EQ(api(Method::get, "/revocations", who).status, 403);
    EXPECT_EQ(api(Method::post, "/revocations", who, body).status, 403);
    EXPECT_EQ(api(Method::del, "/revocations/rev-1", who).status, 403);
    EXPECT_EQ(api(Method::get, "/guests", who).status, 403);
  }
  EXPECT_EQ(send_to("/api/v1", Method::get, "/guests").status, 401);
  EXPECT_EQ(send_to("/api/v1", Method::post, "/revocations").status, 401);
}

TEST_F(GuestsTest, RefusesRevocationsThatMeanNothing) {
  const auto status = [&](const json::Value& body) { return api(Method::post, "/revocations", admin, body).status; };
  EXPECT_EQ(status(entry("host", "a")), 400);
  EXPECT_EQ(status(entry("chip", "a")), 400);
  EXPECT_EQ(status(entry("measurement", std::string(96, '0'))), 400);
  EXPECT_EQ(status(entry("session", open().cookie)), 400);  // a credential, which nobody has to see
  EXPECT_EQ(status(entry("token", "tok-1").set("everywhere", true)), 400);
  EXPECT_EQ(status(entry("session", std::string(64, '1')).set("everywhere", true)), 400);
  EXPECT_EQ(status(entry("chip", std::string(32, 'a')).set("more", 1)), 400);
  EXPECT_EQ(status(entry("chip", std::string(32, 'a')).set("reason", "")), 400);
  EXPECT_EQ(status(entry("chip", std::string(32, 'a')).set("lifetime_s", 60)), 400);
  EXPECT_EQ(status(json::Object{{"kind", "chip"}, {"value", std::string(32, 'a')}}), 400);
  EXPECT_EQ(status(entry("chip", std::string(32, 'a'))), 201);
  const auto again = api(Method::post, "/revocations", admin, entry("chip", std::string(32, 'A')));
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(again.text, HasSubstr("lift that first"));
  EXPECT_EQ(api(Method::del, "/revocations/rev-none", admin).status, 404);
}

TEST_F(GuestsTest, ListsOfSessionsHoldNothingThatOpensAnything) {
  const auto session = open();
  const auto token = rcar::parse_token(attest(session.cookie, tdx_message(session.nonce, p256())).text).value();
  const auto failed = open();
  EXPECT_EQ(attest(failed.cookie, tdx_message("x", p256())).status, 401);
  open();  // of which nothing is kept
  const auto listed = api(Method::get, "/guests", admin);
  for (const auto& secret : {session.cookie.substr(session.cookie.find('=') + 1), token, token.substr(token.rfind('.') + 1), session.nonce}) {
    EXPECT_EQ(listed.text.find(secret), std::string::npos) << secret;
  }
  std::vector<std::string> states;
  for (const auto& one : guests()) states.push_back(*one.find("state")->as_string());
  EXPECT_THAT(states, testing::UnorderedElementsAre("attested", "ended"));
  EXPECT_THAT(listed.text, HasSubstr(id_of(token)));
  EXPECT_EQ(json::parse(api(Method::get, "/guests?limit=1", admin).text)->find("guests")->as_array()->size(), 1U);
  EXPECT_EQ(api(Method::get, "/guests?limit=0", admin).status, 400);
  const auto attested = *json::parse(api(Method::get, "/guests?attested=true", admin).text)->find("guests")->as_array();
  ASSERT_EQ(attested.size(), 1U);
  EXPECT_EQ(*attested[0].find("token"), json::Value{id_of(token)});
  world.clock.advance(std::chrono::seconds{300});
  EXPECT_TRUE(guests().empty());
}

// --- sessions and tokens ---------------------------------------------------------------------------------------------

TEST_F(GuestsTest, AGoodTokenIsTriedWhereTheSessionsOwnDoesNotVerify) {
  configure(playground());
  const auto session = open(rcar::Tee::sample);
  const auto key = p256();
  const auto data = rcar::primary_report_data(session.nonce, key.public_key(), "").value();
  ASSERT_EQ(attest(session.cookie, rcar::write(rcar::Attestation{std::nullopt, session.nonce, key.public_key(), sample().primary(data).value(), ""})).status, 200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  configure(options());  // no sample evidence any more: the session is there, and its token is worth nothing
  EXPECT_EQ(get("default/key/1", with_cookie(session.cookie)).kind(), "TokenVerifierError");
  auto both = with_cookie(session.cookie);
  both.set("Authorization", "Bearer " + token);
  EXPECT_EQ(get("default/key/1", both).status, 200);
  both.set("Authorization", "Bearer x");
  EXPECT_EQ(get("default/key/1", both).kind(), "TokenVerifierError");
}

TEST_F(GuestsTest, KeysOverlapWhenTheyAreRotated) {
  const auto published = [&] { return send_to("", Method::get, "/.well-known/jwks.json").text; };
  auto client = guest(p256());
  const auto before = client.attest(tdx()).value();
  const auto old_key = keys->current()->key_id;
  ASSERT_EQ(api(Method::post, "/attestation/keys/rotate", admin).status, 200);
  ASSERT_NE(keys->current()->key_id, old_key);
  configure(options());  // so that nothing is known of tokens that were verified before
  EXPECT_THAT(published(), HasSubstr(old_key));
  EXPECT_EQ(get("default/key/1", as(before)).status, 200);
  const auto after = guest(p256()).attest(tdx()).value();
  EXPECT_EQ(get("default/key/1", as(after)).status, 200);
  EXPECT_EQ(crypto::jose::parse_signed(after).value().key_id, keys->current()->key_id);
  world.clock.advance(std::chrono::seconds{299});
  EXPECT_EQ(get("default/key/1", as(before)).status, 200);
  world.clock.advance(std::chrono::seconds{1});
  EXPECT_EQ(get("default/key/1", as(before)).status, 401);
  EXPECT_THAT(published(), Not(HasSubstr(old_key)));
}

TEST_F(GuestsTest, AKeyInATokensHeaderVouchesForNothing) {
  auto client = guest(p256());
  const auto payload = payload_of(client.attest(tdx()).value());
  const auto thief = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  const auto jwk = *json::parse(send_to("", Method::get, "/.well-known/jwks.json").text)->find("keys");
  // The thief's key, as Trustee's tokens bring theirs; alone, and under the name of one of ours.
  const auto point = thief.public_key().xy();
  const json::Value brought = json::Object{{"kty", "EC"}, {"crv", "P-256"}, {"alg", "ES256"},
                                           {"x", codec::to_base64url(ByteView{point}.first(32))},
                                           {"y", codec::to_base64url(ByteView{point}.subspan(32))}};
  const auto refused = [&](json::Value header) {
    const auto text = codec::to_base64url(as_bytes(json::write(header))) + '.' + codec::to_base64url(as_bytes(json::write(payload)));
    const auto reply = get("default/key/1", as(text + '.' + codec::to_base64url(thief.sign(as_bytes(text)))));
    EXPECT_EQ(reply.status, 401);
    EXPECT_EQ(reply.kind(), "TokenVerifierError");
    return reply.detail();
  };
  EXPECT_THAT(refused(json::Object{{"typ", "JWT"}, {"alg", "ES256"}, {"jwk", brought}}), HasSubstr("not among those given"));
  EXPECT_THAT(refused(json::Object{{"alg", "ES256"}, {"kid", keys->current()->key_id}, {"jwk", brought}}), HasSubstr("not among those given"));
  EXPECT_THAT(refused(json::Object{{"alg", "ES256"}, {"kid", keys->current()->key_id}}), HasSubstr("signature"));
  // A key of ours shown beside a signature of the thief's.
  EXPECT_THAT(refused(json::Object{{"alg", "ES256"}, {"jwk", (*jwk.as_array())[0]}}), HasSubstr("signature"));
}

TEST_F(GuestsTest, AClockThatWasSetBackOpensNothingAndBreaksNothing) {
  const auto session = open();
  const auto key = p256();
  ASSERT_EQ(attest(session.cookie, tdx_message(session.nonce, key)).status, 200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  ASSERT_EQ(get("default/key/1", as(token)).status, 200);
  const auto before = world.clock.now();
  world.clock.set(before - std::chrono::hours{1});
  for (const auto& credentials : {as(token), with_cookie(session.cookie)}) {
    const auto early = get("default/key/1", credentials);  // also of one that was verified before
    EXPECT_EQ(early.status, 401);
    EXPECT_THAT(early.detail(), HasSubstr("valid from"));
  }
  world.clock.set(before + std::chrono::seconds{1});
  EXPECT_EQ(get("default/key/1", as(token)).status, 200);
  EXPECT_EQ(get("default/key/1", with_cookie(session.cookie)).status, 200);
  // A session that was begun before the clock was set back does not live for ever: its nonce still serves once.
  const auto early = open();
  world.clock.set(before - std::chrono::hours{1});
  EXPECT_EQ(attest(early.cookie, tdx_message(early.nonce, p256())).status, 200);
  EXPECT_EQ(attest(early.cookie, tdx_message(early.nonce, p256())).status, 401);
}

// --- what must not be told -------------------------------------------------------------------------------------------

/// All of an answer but what differs from any other: its id and its second.
std::string whole(const Reply& reply) {
  auto out = std::to_string(reply.status) + '\n';
  for (const auto& [name, value] : reply.headers.all()) {
    if (name != "X-Request-Id" && name != "Date") out += name + ": " + value + '\n';
  }
  return out + reply.text;
}

TEST_F(GuestsTest, WhoIsNotAuthorisedCannotTellADenialFromAMissingResource) {
  const auto revoked_token = guest(p256()).attest(tdx()).value();
  revoke("token", id_of(revoked_token));
  auto strict = options();
  strict.resource_policy = kbs::ResourcePolicy::compile("deny.rego", "package policy\nallow = false").value();
  configure(std::move(strict));
  const auto denied_token = guest(p256()).attest(tdx()).value();
  const auto session = open();
  ASSERT_EQ(attest(session.cookie, tdx_message(session.nonce, p256())).status, 200);
  const std::vector<std::pair<std::string, Headers>> strangers{{"nothing", {}},
                                                               {"junk", as("x.y.z")},
                                                               {"junk session", with_cookie("kbs-session-id=00000000000040008000000000000000")},
                                                               {"denied", as(denied_token)},
                                                               {"denied session", with_cookie(session.cookie)},
                                                               {"revoked", as(revoked_token)},
                                                               {"operator", as(admin)}};
  const auto compare = [&](std::string_view when) {
    for (const auto& [who, headers] : strangers) {
      const auto there = get("default/key/1", headers);
      EXPECT_GE(there.status, 401);
      for (const auto* absent : {"default/key/none", "no-repository/key/1", "default/no-type/1"}) {
        EXPECT_EQ(whole(get(absent, headers)), whole(there)) << who << ' ' << when << ' ' << absent;
      }
    }
  };
  compare("with the resources");
  // The same way is gone for both: what there is, is not even looked at.
  take_away("ALTER TABLE resource RENAME TO elsewhere");
  compare("without them");
  // And the same is recorded.
  const auto there = leaf(kbs::kRefused, "default/key/1");
  const auto absent = leaf(kbs::kRefused, "default/key/none");
  ASSERT_TRUE(there && absent);
  EXPECT_EQ(there->kind, absent->kind);
  EXPECT_EQ(there->details, absent->details);
}

TEST_F(GuestsTest, NamesLeadNowhereElse) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  for (const auto* bad :
       {"default/key/..", "default/key/../1", "default/../key/1", "../default/key/1", "../../../etc/passwd", "default/key/.", "./default/key/1",
        "default/%2e%2e/1", "%2e%2e/key/1", "default/key/%2e%2e", "default/key/%2E.", "default/%2e/1", "default/key%2f1", "default%2fkey%2f1",
        "default/key/..%2f1", "default/key%2f..%2f..%2fx", "default//key/1", "default/key//1", "//default/key/1", "default/key/1/",
        "default/key/1//", "default/key/%00", "default/key/1%00", "default/key/1%0a", "default/key/1%0d%0aX-Evil:1", "default/key/%5c1",
        "default/key\\1", "default/key/1;a=b", "default/key/%e2%80%ae1", "default/key/%ff", "default/key/%c0%ae%c0%ae", "default/key/%252e%252e",
        "default/key/%", "default/key/%2", "default/key/~", "default/key/1+", "default/key/-..%20"}) {
    const auto reply = get(bad, as(token));
    EXPECT_TRUE(reply.status == 404 || reply.status == 400) << bad << ": " << reply.status << ' ' << reply.text;
    EXPECT_EQ(reply.text.find("ciphertext"), std::string::npos) << bad;
    const auto written = send(Method::post, std::string{"/resource/"} + bad, as(admin), "x").status;
    EXPECT_TRUE(written == 404 || written == 400) << bad << ": " << written;
  }
  EXPECT_EQ(get(std::string(254, 'a') + "/key/1", as(token)).status, 404);
  EXPECT_EQ(get("default/key/" + std::string(5000, 'a'), as(token)).status, 414);
  EXPECT_EQ(vault().list()->size(), 1U);
  EXPECT_FALSE(leaf(kbs::kReleased, "default/key/1"));
  // What is only written otherwise is the same name.
  EXPECT_EQ(get("default/key/%31", as(token)).status, 200);
}

TEST_F(GuestsTest, OversizedEvidenceIsRefused) {
  const auto session = open();
  EXPECT_EQ(attest(session.cookie, std::string(rcar::kMaxAttestationSize + 1, ' ')).status, 413);
  const auto key = p256();
  const auto refused = [&](const std::string& evidence, const std::string& additional) {
    const auto fresh = open();
    const auto said = json::write(json::Object{{"nonce", fresh.nonce}, {"tee-pubkey", key.public_key().to_json()}});
    const auto reply = attest(fresh.cookie, R"({"runtime-data":)" + said + R"(,"tee-evidence":{"primary_evidence":)" + evidence +
                                                R"(,"additional_evidence":)" + json::write(additional) + "}}");
    EXPECT_EQ(reply.status, 401) << reply.text;
    EXPECT_EQ(reply.kind(), "AttestationError");
  };
  refused(json::write(json::Object{{"quote", std::string(1U << 20, 'A')}}), "");
  refused(json::write(json::Object{{"quote", codec::to_base64(Bytes(256U << 10))}}), "");
  refused("{}", "{\"nvidia\":{\"a\":\"" + std::string(1U << 20, 'a') + "\"}}");
  refused(std::string(200, '[') + std::string(200, ']'), "");
  // The one that was refused for its size alone has its nonce still.
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, key)).status, 200);
}

TEST_F(GuestsTest, APolicyThatGrowsIsBounded) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const std::string_view growing = R"(package policy
k := concat("", ["0123456789" | numbers.range(1, 10000)[_]])
allow if count([x | some i in numbers.range(1, 50000); x := concat("", [k, sprintf("%d", [i])])]) > 0
)";
  ASSERT_EQ(send(Method::post, "/resource-policy", as(admin), rcar::write_resource_policy(growing)).status, 200);
  const auto refused = get("default/key/1", as(token));
  EXPECT_EQ(refused.status, 401) << refused.text;
  EXPECT_EQ(refused.kind(), "PolicyEngineError");
  EXPECT_FALSE(leaf(kbs::kReleased, "default/key/1"));
  ASSERT_EQ(send(Method::post, "/resource-policy", as(admin), rcar::write_resource_policy(kAllowAll)).status, 200);
  EXPECT_EQ(get("default/key/1", as(token)).status, 200);
}

// --- the storage -----------------------------------------------------------------------------------------------------

TEST_F(GuestsTest, WithoutItsStorageNothingIsReleased) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto session = open();
  take_away("ALTER TABLE resource RENAME TO resources_elsewhere");
  take_away("ALTER TABLE broker_session RENAME TO sessions_elsewhere");
  take_away("ALTER TABLE revocation RENAME TO revocations_elsewhere");
  for (const auto& reply : {get("default/key/1", as(token)), get("default/key/1", with_cookie(session.cookie)),
                            attest(session.cookie, tdx_message(session.nonce, p256()))}) {
    EXPECT_EQ(reply.status, 503) << reply.text;
    EXPECT_EQ(reply.headers.find("Retry-After"), "1");
    EXPECT_EQ(reply.detail(), "storage_failure");  // and nothing of what broke
    EXPECT_EQ(reply.text.find("ciphertext"), std::string::npos);
  }
  EXPECT_EQ(api(Method::post, "/revocations", admin, entry("token", "tok-1")).status, 503);
  EXPECT_EQ(api(Method::get, "/revocations", admin).status, 503);
  EXPECT_EQ(api(Method::get, "/guests", admin).status, 503);
  EXPECT_FALSE(leaf(kbs::kReleased, "default/key/1"));
}

class ImpatientGuestsTest : public GuestsTest {
 protected:
  ImpatientGuestsTest() { patience = std::chrono::milliseconds{200}; }
};

TEST_F(ImpatientGuestsTest, ADiskThatDoesNotTakeTheLeafLetsNothingOut) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  {
    const auto held = world.database->write();  // as one writer that does not get on
    ASSERT_TRUE(held.ok());
    const auto reply = get("default/key/1", as(token));
    EXPECT_EQ(reply.status, 503) << reply.text;
    EXPECT_EQ(reply.headers.find("Retry-After"), "1");
    EXPECT_THAT(reply.text, HasSubstr("storage_failure"));
    EXPECT_EQ(reply.text.find("ciphertext"), std::string::npos);
  }
}

// --- limits ----------------------------------------------------------------------------------------------------------

class LimitedGuestsTest : public GuestsTest {
 protected:
  LimitedGuestsTest() { requests_per_tenant = 2; }
};

TEST_F(LimitedGuestsTest, GuestsOfATenantShareALimitAndItsOperatorsAnother) {
  const auto acme = operator_token(session::kAdminRole, "acme");
  const auto ask = [&](const std::string& prefix) { return send_to(prefix, Method::get, "/resource/default/key/1"); };
  const auto list = [&](std::string_view token) { return send_to("", Method::get, "/kbs/v0/resource", as(token)).status; };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask("/kbs/v0").status, 401) << i;
  const auto refused = ask("/kbs/v0");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.find("Retry-After"), "1");
  EXPECT_TRUE(rcar::parse_refusal(refused.text).ok()) << refused.text;  // which clients read
  EXPECT_EQ(send(Method::post, "/auth", {}, rcar::write(rcar::Request{"0.4.0", rcar::Tee::tdx})).status, 429);
  EXPECT_EQ(send(Method::post, "/attest", {}, std::string(100'000, ' ')).status, 429);  // whose body is not looked at
  // Not its operators, nor another tenant.
  for (int i = 0; i < 4; ++i) EXPECT_EQ(list(admin), 200) << i;
  EXPECT_EQ(list(admin), 429);
  EXPECT_EQ(list(operator_token(session::kAdminRole, "default")), 429);  // whichever of them
  EXPECT_EQ(ask("/t/acme/kbs/v0").status, 401);                          // opens its broker
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask("/t/acme/kbs/v0").status, 401) << i;
  EXPECT_EQ(ask("/t/acme/kbs/v0").status, 429);
  EXPECT_EQ(api(Method::get, "/revocations", acme).status, 200);
  // Nobody has a limit under a name that he makes up.
  for (int i = 0; i < 6; ++i) EXPECT_EQ(ask("/t/nobody/kbs/v0").status, 401);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(send_to("", Method::get, "/health").status, 200);
  world.clock.advance(std::chrono::milliseconds{500});
  EXPECT_EQ(ask("/kbs/v0").status, 401);
  EXPECT_EQ(ask("/kbs/v0").status, 429);
  world.clock.advance(std::chrono::seconds{10});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask("/kbs/v0").status, 401) << i;
  EXPECT_EQ(ask("/kbs/v0").status, 429);
}

// --- metrics ---------------------------------------------------------------------------------------------------------

TEST_F(GuestsTest, MetricsCountAndNameNothing) {
  monitor.serving();
  ASSERT_EQ(send(Method::post, "/resource/marked-repository/marked-type/marked-tag", as(admin), "marked-value").status, 200);
  const auto key = p256();
  const auto session = open();
  const auto token = rcar::parse_token(attest(session.cookie, tdx_message(session.nonce, key)).text).value();
  ASSERT_EQ(get("marked-repository/marked-type/marked-tag", as(token)).status, 200);
  EXPECT_EQ(get("marked-repository/marked-type/marked-none", as(token)).status, 404);
  EXPECT_EQ(get("marked-repository/marked-type/marked-tag").status, 401);
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, key)).status, 401);
  EXPECT_EQ(send(Method::post, "/auth", {}, R"({"version":"0.4.0","tee":"marked-tee","extra-params":""})").status, 401);
  revoke("token", id_of(token));
  EXPECT_EQ(get("marked-repository/marked-type/marked-tag", as(token)).status, 401);
  EXPECT_EQ(send_to("/t/marked-tenant/kbs/v0", Method::get, "/resource/a/b/c").status, 401);
  EXPECT_EQ(send_to("/api/v1", Method::get, "/marked-route").status, 404);

  const auto text = send_to("", Method::get, "/metrics", as(admin)).text;
  for (const auto* line : {R"(cloister_guest_handshakes_total{tee="tdx",code="ok"} 1)", R"(cloister_guest_handshakes_total{tee="tdx",code="nonce_invalid"} 1)",
                           R"(cloister_guest_releases_total{tenant="default",code="released"} 1)",
                           R"(cloister_guest_releases_total{tenant="default",code="not_found"} 1)",
                           R"(cloister_guest_releases_total{tenant="default",code="unauthenticated"} 1)",
                           R"(cloister_guest_releases_total{tenant="default",code="attestation_revoked"} 1)",
                           R"(cloister_guest_policy_duration_seconds_count{policy="attestation"} 2)",
                           R"(cloister_guest_policy_duration_seconds_count{policy="resource"} 2)",
                           R"(cloister_revocations{kind="token",scope="tenant"} 1)", R"(cloister_revocations{kind="chip",scope="all"} 0)",
                           "cloister_guest_sessions 1"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  const auto point = key.public_key().to_json();
  for (const auto& marked : {std::string{"marked"}, id_of(token), session.cookie.substr(session.cookie.find('=') + 1), session.nonce, *point.find("x")->as_string(),
                             keys->current()->key_id, codec::to_hex(world.version.reference.mrtd), codec::to_hex(world.platform.fmspc())}) {
    EXPECT_EQ(text.find(marked), std::string::npos) << marked;
  }
}

}  // namespace
}  // namespace cloister::test
