// Guests of Confidential Containers against the routes under /kbs/v0, over real services and a real connection: our own
// client with the lab's TDX evidence and with sample evidence, and what the broker must refuse.
#include "kbs_fixture.hpp"

namespace cloister::test {
namespace {

// --- what guests get -------------------------------------------------------------------------------------------------

TEST_F(KeyBrokerTest, ReleasesToATdWhateverItsKey) {
  for (auto& key : every_kind()) {
    auto client = guest(std::move(key));
    const auto value = client.fetch(path("default/key/1"), tdx());
    ASSERT_TRUE(value.ok()) << value.error().text();
    EXPECT_EQ(as_text(value->reveal()), kSecret);
  }
}

TEST_F(KeyBrokerTest, ReleasesToSampleEvidenceWhereItIsAllowed) {
  configure(playground());
  for (auto& key : every_kind()) {
    auto client = guest(std::move(key));
    const auto value = client.fetch(path("default/key/1"), sample());
    ASSERT_TRUE(value.ok()) << value.error().text();
    EXPECT_EQ(as_text(value->reveal()), kSecret);
  }
}

TEST_F(KeyBrokerTest, TakesAPassport) {
  auto client = guest(p256());
  const auto token = client.attest(tdx());
  ASSERT_TRUE(token.ok()) << token.error().text();
  const auto value = client.resource(path("default/key/1"), *token);
  ASSERT_TRUE(value.ok()) << value.error().text();
  EXPECT_EQ(as_text(value->reveal()), kSecret);
  // Nobody else can read what was sealed to this key.
  auto thief = guest(p256());
  EXPECT_EQ(thief.resource(path("default/key/1"), *token).error().code(), Errc::decryption_failed);
}

TEST_F(KeyBrokerTest, TokensSayWhatWasVerified) {
  auto client = guest(p256());
  const auto text = client.attest(tdx()).value();
  token::Expected expected;
  expected.keys = keys->published(world.clock.now());
  expected.at = world.clock.now();
  expected.issuer = kServerId;
  expected.audience = kServerId + "/default";
  EXPECT_EQ(token::verify(text, expected).error().code(), Errc::token_of_lab);
  expected.allow_lab = true;
  const auto token = token::verify(text, expected);
  ASSERT_TRUE(token.ok()) << token.error().text();
  EXPECT_EQ(token->kind(), token::Kind::trustee);
  EXPECT_EQ(token->submodules().at(0).status, token::Tier::affirming);
  const auto leaf_of_token = leaf(kbs::kAttested, *token->claims().find("jti")->as_string());
  ASSERT_TRUE(leaf_of_token);
  EXPECT_EQ(*leaf_of_token->detail<std::string>("status"), "affirming");
  EXPECT_EQ(*leaf_of_token->detail<std::uint64_t>("lab"), 1U);
  EXPECT_EQ(*leaf_of_token->detail<std::uint64_t>("sample"), 0U);
}

TEST_F(KeyBrokerTest, TokensOfSampleEvidenceAreTainted) {
  configure(playground());
  auto client = guest(p256());
  const auto text = client.attest(sample()).value();
  const auto payload = json::parse(as_text(codec::from_base64url(text.substr(text.find('.') + 1, text.rfind('.') - text.find('.') - 1)).value())).value();
  EXPECT_EQ(*payload.find("cloister.lab"), json::Value{true});
  EXPECT_EQ(*payload.find("cloister.sample"), json::Value{true});
  // They open nothing once sample evidence is not allowed any more, whatever the policy says.
  auto strict = playground();
  strict.allow_sample = false;
  configure(std::move(strict));
  const auto refused = get("default/key/1", as(text));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.kind(), "TokenVerifierError");
}

TEST_F(KeyBrokerTest, TakesASampleDeviceBesideSampleEvidence) {
  configure(playground());
  auto evidence = sample();
  evidence.additional = [](const Digest48& data) -> Result<std::string> {
    return json::write(json::Object{{"sampledevice", json::Object{{"svn", "2"}, {"report_data", codec::to_base64(data)}}}});
  };
  auto client = guest(p256());
  EXPECT_TRUE(client.fetch(path("default/key/1"), evidence).ok());
  evidence.additional = [](const Digest48&) -> Result<std::string> {
    return json::write(json::Object{{"sampledevice", json::Object{{"svn", "2"}, {"report_data", codec::to_base64(Digest48{})}}}});
  };
  EXPECT_THAT(client.attest(evidence).error().detail(), HasSubstr("sampledevice evidence: its report data"));
  evidence.additional = [](const Digest48&) -> Result<std::string> { return std::string{R"({"nvidia":{}})"}; };
  EXPECT_THAT(client.attest(evidence).error().detail(), HasSubstr("nvidia evidence is not verified here"));
}

TEST_F(KeyBrokerTest, GoesOnAfterARestart) {
  const auto before = open();
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  configure(options());  // a new broker on the same database
  EXPECT_TRUE(client.resource(path("default/key/1")).ok());
  EXPECT_TRUE(client.resource(path("default/key/1"), token).ok());
  EXPECT_EQ(attest(before.cookie, tdx_message(before.nonce, p256())).status, 200);
}

TEST_F(KeyBrokerTest, SpeaksByteForByte) {
  const auto reply = send(Method::post, "/auth", {}, R"({"version":"0.4.7","tee":"tdx","extra-params":""})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.text, testing::MatchesRegex(R"(\{"nonce":"[A-Za-z0-9+/]{43}=","extra-params":""\})"));
  EXPECT_THAT(std::string{reply.headers.find("Set-Cookie").value_or("")},
              testing::MatchesRegex("kbs-session-id=[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{49}; Path=/kbs/v0; Max-Age=300; HttpOnly; "
                                    "SameSite=Strict"));
  const auto stranger = get("default/key/1");
  EXPECT_EQ(stranger.status, 401);
  EXPECT_EQ(stranger.text, R"({"type":"https://github.com/confidential-containers/kbs/errors/TokenNotFound","detail":"an attested session or a token expected"})");
}

// --- what guests do not get ------------------------------------------------------------------------------------------

TEST_F(KeyBrokerTest, RefusesRequestsThatItDoesNotUnderstand) {
  const auto refused = [this](std::string_view body) { return send(Method::post, "/auth", {}, body); };
  const auto old = refused(R"({"version":"0.3.0","tee":"tdx","extra-params":""})");
  EXPECT_EQ(old.status, 401);
  EXPECT_EQ(old.detail(), "unsupported: KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is 0.3.0");
  const auto sample_here = refused(R"({"version":"0.4.0","tee":"sample","extra-params":""})");
  EXPECT_EQ(sample_here.status, 401);
  EXPECT_EQ(sample_here.detail(), "evidence_unsupported: sample evidence is not verified here; sgx, snp and tdx are");
  for (const auto* body : {"", "[]", R"({"version":"0.4.0","tee":"tdx"})", R"({"version":"0.4.0","version":"0.4.0","tee":"tdx","extra-params":""})"}) {
    EXPECT_EQ(refused(body).status, 401) << body;
    EXPECT_EQ(refused(body).kind(), "SerdeError") << body;
  }
  EXPECT_EQ(refused(R"({"version":"0.4.0","tee":"toaster","extra-params":""})").status, 401);
  EXPECT_EQ(refused(std::string(rcar::kMaxRequestSize + 1, ' ')).status, 413);
}

TEST_F(KeyBrokerTest, ANonceServesOnce) {
  const auto key = p256();
  const auto session = open();
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, key)).status, 200);
  const auto again = attest(session.cookie, tdx_message(session.nonce, key));
  EXPECT_EQ(again.status, 401);
  EXPECT_EQ(again.kind(), "AttestationError");
  EXPECT_THAT(again.detail(), HasSubstr("nonce was used"));
  // Not with another key either, and the session still gives to the first.
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, p256())).status, 401);
  EXPECT_EQ(get("default/key/1", with_cookie(session.cookie)).status, 200);
}

TEST_F(KeyBrokerTest, AFailedAttemptUsesTheSessionUp) {
  const auto session = open();
  const auto other = open();
  const auto wrong = attest(session.cookie, tdx_message(other.nonce, p256()));
  EXPECT_EQ(wrong.status, 401);
  EXPECT_THAT(wrong.detail(), HasSubstr("that of this session's challenge expected"));
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, p256())).status, 401);
  EXPECT_EQ(get("default/key/1", with_cookie(session.cookie)).kind(), "TokenNotFound");
  // What cannot be read is no attempt.
  EXPECT_EQ(attest(other.cookie, "{}").status, 401);
  EXPECT_EQ(attest(other.cookie, tdx_message(other.nonce, p256())).status, 200);
}

TEST_F(KeyBrokerTest, OfTwoAttemptsAtOnceOneWins) {
  for (int round = 0; round < 5; ++round) {
    const auto session = open();
    const auto first = tdx_message(session.nonce, p256());
    const auto second = tdx_message(session.nonce, p256());
    const auto run = [&](std::string_view message) {
      return attest_here(session.cookie, message);
    };
    auto one = std::async(std::launch::async, run, std::string_view{first});
    auto two = std::async(std::launch::async, run, std::string_view{second});
    const auto a = one.get();
    const auto b = two.get();
    ASSERT_NE(a.ok(), b.ok());
    EXPECT_EQ((a ? b : a).error().code(), Errc::nonce_invalid);
  }
}

TEST_F(KeyBrokerTest, SessionsEnd) {
  const auto session = open();
  const auto message = tdx_message(session.nonce, p256());
  world.clock.advance(std::chrono::seconds{300});
  const auto late = attest(session.cookie, message);
  EXPECT_EQ(late.status, 401);
  EXPECT_THAT(late.detail(), HasSubstr("the session has expired"));
  EXPECT_EQ(attest("kbs-session-id=00000000000040008000000000000000", message).status, 401);
  EXPECT_EQ(attest("kbs-session-id=../..", message).status, 401);
  EXPECT_EQ(send(Method::post, "/attest", {}, message).status, 401);

  const auto fresh = open();
  const auto key = p256();
  EXPECT_EQ(attest(fresh.cookie, tdx_message(fresh.nonce, key)).status, 200);
  world.clock.advance(std::chrono::seconds{299});
  EXPECT_EQ(get("default/key/1", with_cookie(fresh.cookie)).status, 200);
  world.clock.advance(std::chrono::seconds{1});
  EXPECT_EQ(get("default/key/1", with_cookie(fresh.cookie)).status, 401);
}

TEST_F(KeyBrokerTest, RefusesEvidenceThatIsBoundToSomethingElse) {
  const auto key = p256();
  const auto refused = [&](const std::function<std::string(const std::string&)>& message) {
    const auto session = open();
    const auto reply = attest(session.cookie, message(session.nonce));
    EXPECT_EQ(reply.status, 401);
    EXPECT_EQ(reply.kind(), "AttestationError");
    return reply.detail();
  };
  // Evidence for another key, for another nonce, for other devices, and for none of these.
  const auto with = [&](const std::string& nonce, const Digest48& data, const std::string& additional = "") {
    return rcar::write(rcar::Attestation{std::nullopt, nonce, key.public_key(), tdx().primary(data).value(), additional});
  };
  EXPECT_THAT(refused([&](const std::string& nonce) { return with(nonce, *rcar::primary_report_data(nonce, p256().public_key(), "")); }),
              HasSubstr("report_data_mismatch"));
  EXPECT_THAT(refused([&](const std::string& nonce) { return with(nonce, *rcar::primary_report_data("x", key.public_key(), "")); }),
              HasSubstr("report_data_mismatch"));
  EXPECT_THAT(refused([&](const std::string& nonce) { return with(nonce, *rcar::primary_report_data(nonce, key.public_key(), "{}")); }),
              HasSubstr("report_data_mismatch"));
  EXPECT_THAT(refused([&](const std::string& nonce) { return with(nonce, *rcar::device_report_data(nonce, key.public_key())); }),
              HasSubstr("report_data_mismatch"));
  EXPECT_THAT(refused([&](const std::string& nonce) { return with(nonce, Digest48{}); }), HasSubstr("report_data_mismatch"));
}

TEST_F(KeyBrokerTest, RefusesEvidenceThatIsNotAuthentic) {
  const auto key = p256();
  const auto refused = [&](const std::function<std::string(const Digest48&)>& evidence) {
    const auto session = open();
    const auto data = rcar::primary_report_data(session.nonce, key.public_key(), "").value();
    const auto reply = attest(session.cookie, rcar::write(rcar::Attestation{std::nullopt, session.nonce, key.public_key(), evidence(data), ""}));
    EXPECT_EQ(reply.status, 401) << reply.text;
    EXPECT_EQ(reply.kind(), "AttestationError");
    return reply.detail();
  };
  EXPECT_THAT(refused([&](const Digest48& data) {
                auto changed = quote(data);
                changed[48 + 136] ^= 1;  // in the MRTD
                return json::write(json::Object{{"cc_eventlog", nullptr}, {"quote", codec::to_base64(changed)}});
              }),
              HasSubstr("quote_signature_invalid"));
  EXPECT_THAT(refused([](const Digest48& data) { return sample().primary(data).value(); }), HasSubstr("no evidence of a known kind"));
  EXPECT_THAT(refused([](const Digest48&) { return std::string{"{}"}; }), HasSubstr("no evidence of a known kind"));
  // What it is must be what was announced.
  const auto session = open(rcar::Tee::snp);
  EXPECT_THAT(attest(session.cookie, tdx_message(session.nonce, key)).detail(), HasSubstr("evidence of snp expected, got tdx"));
}

TEST_F(KeyBrokerTest, RefusesKeysThatNothingCanBeSealedTo) {
  const auto refused = [&](const std::function<void(json::Value&)>& change) {
    const auto session = open();
    auto message = json::parse(tdx_message(session.nonce, p256())).value();
    auto runtime = *message.find("runtime-data");
    auto jwk = *runtime.find("tee-pubkey");
    change(jwk);
    message.set("runtime-data", runtime.set("tee-pubkey", jwk));
    const auto reply = attest(session.cookie, json::write(message));
    EXPECT_EQ(reply.status, 401);
    EXPECT_EQ(reply.kind(), "AttestationError");
    return reply.detail();
  };
  EXPECT_THAT(refused([](json::Value& jwk) { jwk.set("kid", "x"); }), HasSubstr("kid: unknown member"));
  EXPECT_THAT(refused([](json::Value& jwk) { jwk.set("x", *jwk.find("y")); }), HasSubstr("not on the curve"));
  EXPECT_THAT(refused([](json::Value& jwk) { jwk.set("crv", "secp256k1"); }), HasSubstr("P-256, P-384 or P-521 expected"));
  EXPECT_THAT(refused([](json::Value& jwk) { jwk.set("alg", "RSA1_5"); }), HasSubstr("ECDH-ES+A256KW expected"));
  EXPECT_THAT(refused([](json::Value& jwk) { jwk.set("kty", "AKP"); }), HasSubstr("EC or RSA expected"));
}

const std::string kInitData = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\nwho = \"a guest\"\n";

TEST_F(KeyBrokerTest, ChecksInitDataAgainstWhatWasMeasured) {
  // A TD that was launched with it, and the policy that wants it.
  const auto digest = rcar::fitted(crypto::sha256(as_bytes(kInitData)), 48);
  lab::tdx::TdParams params;
  params.mrconfigid = to_array<48>(digest);
  const measure::TdFile file{"cloister-guest", 0755, world.guest_program};
  const auto configured = world.platform.launch(params, {&file, 1}).value();
  auto with = options();
  with.resource_policy = kbs::ResourcePolicy::compile("p.rego", R"(package policy
allow if input.submods.cpu0["ear.veraison.annotated-evidence"].init_data_claims.who == "a guest")").value();
  with.attestation_policy = appraisal::Policy::compile("a.rego", R"(package policy
trust_claims := {"hardware": 2} if input.init_data_claims.who == "a guest"
trust_claims := {"hardware": 97} if not input.init_data_claims)").value();
  configure(std::move(with));
  auto evidence = tdx();
  evidence.primary = [&](const Digest48& data) -> Result<std::string> {
    const auto report = configured.tdg_mr_report(rcar::padded(data));
    return json::write(json::Object{{"quote", codec::to_base64(world.platform.quote(*report).value())}});
  };
  evidence.init_data = rcar::InitData{"toml", kInitData};
  auto client = guest(p256());
  const auto value = client.fetch(path("default/key/1"), evidence);
  ASSERT_TRUE(value.ok()) << value.error().text();
  // Another one, or another TD.
  evidence.init_data->body += "# more\n";
  EXPECT_THAT(client.attest(evidence).error().detail(), HasSubstr("binding_mismatch: init-data"));
  auto other = tdx();
  other.init_data = rcar::InitData{"toml", kInitData};
  EXPECT_THAT(client.attest(other).error().detail(), HasSubstr("binding_mismatch: init-data"));
  // Without it, nothing is claimed.
  evidence.init_data.reset();
  EXPECT_TRUE(client.attest(evidence).ok());
  EXPECT_EQ(client.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  for (const auto& wrong : {rcar::InitData{"json", kInitData}, rcar::InitData{"toml", "version ="}}) {
    evidence.init_data = wrong;
    EXPECT_THAT(client.attest(evidence).error().detail(), HasSubstr("init-data"));
  }
}

TEST_F(KeyBrokerTest, IssuesNoTokenThatNobodyCouldRead) {
  const std::string opened(40, '[');
  const std::string closed(40, ']');
  auto deep = kInitData + "\"policy.rego\" = 'policy_data := {\"a\": " + opened + closed + "}'\n";
  const auto digest = rcar::fitted(crypto::sha256(as_bytes(deep)), 48);
  lab::tdx::TdParams params;
  params.mrconfigid = to_array<48>(digest);
  const measure::TdFile file{"cloister-guest", 0755, world.guest_program};
  const auto configured = world.platform.launch(params, {&file, 1}).value();
  auto evidence = tdx();
  evidence.primary = [&](const Digest48& data) -> Result<std::string> {
    return json::write(json::Object{{"quote", codec::to_base64(world.platform.quote(*configured.tdg_mr_report(rcar::padded(data))).value())}});
  };
  evidence.init_data = rcar::InitData{"toml", std::move(deep)};
  EXPECT_THAT(guest(p256()).attest(evidence).error().detail(), HasSubstr("the token of this evidence"));
}

TEST_F(KeyBrokerTest, TakesNoTokenOfALabThatIsNoAnchorAnyMore) {
  auto client = guest(p256());
  ASSERT_TRUE(client.fetch(path("default/key/1"), tdx()).ok());
  const auto before = world.anchors;
  world.anchors = attestation::TrustAnchors::vendors();
  configure(options());
  EXPECT_EQ(client.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  world.anchors = before;
  configure(options());
  EXPECT_TRUE(client.resource(path("default/key/1")).ok());
}

TEST_F(KeyBrokerTest, RefusesWhatIsTooLarge) {
  const auto session = open();
  const std::string large(rcar::kMaxAttestationSize + 1, ' ');
  EXPECT_EQ(attest_here(session.cookie, large).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(send(Method::post, "/auth", {}, std::string(rcar::kMaxRequestSize + 1, ' ')).status, 413);
}

TEST_F(KeyBrokerTest, DeniesByPolicyAndSaysNothingOfWhatThereIs) {
  auto with = options();
  with.reference_values = {};  // so that nothing is known of what runs: a warning
  configure(std::move(with));
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto there = get("default/key/1", as(token));
  const auto absent = get("default/key/none", as(token));
  EXPECT_EQ(there.status, 401);
  EXPECT_EQ(there.kind(), "PolicyDeny");
  EXPECT_EQ(there.detail(), "Access denied by policy");
  EXPECT_EQ(absent.status, there.status);
  EXPECT_EQ(absent.text, there.text);
  EXPECT_EQ(client.fetch(path("default/key/1"), tdx()).error().code(), Errc::unauthenticated);  // three times, then it gives up
  const auto refused = leaf(kbs::kRefused, "default/key/1");
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused->detail<std::string>("code"), "permission_denied");
}

TEST_F(KeyBrokerTest, SampleEvidenceIsDeniedByTheBuiltInPolicy) {
  auto with = options();
  with.allow_sample = true;
  with.attestation_policy = appraisal::Policy::compile("a.rego", "package policy\ntrust_claims := {\"hardware\": 2, \"executables\": 3}").value();
  configure(std::move(with));
  auto client = guest(p256());
  const auto token = client.attest(sample()).value();
  EXPECT_EQ(get("default/key/1", as(token)).kind(), "PolicyDeny");
}

TEST_F(KeyBrokerTest, AMissingResourceIsSaidToBeMissing) {
  auto client = guest(p256());
  EXPECT_EQ(client.fetch(path("default/key/none"), tdx()).error().code(), Errc::not_found);
  const auto refused = leaf(kbs::kRefused, "default/key/none");
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused->detail<std::string>("code"), "not_found");
}

TEST_F(KeyBrokerTest, RefusesNamesThatAreNone) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  EXPECT_EQ(get("default/.key/1", as(token)).kind(), "InvalidRequestPath");
  EXPECT_EQ(get("default/key/1%20", as(token)).status, 404);
  for (const auto* bad : {"default/key", "default/key/1/2", "default//1", "default/%2e%2e/1", "default/key%2f1/2"}) {
    const auto status = get(bad, as(token)).status;
    EXPECT_TRUE(status == 404 || status == 400) << bad << ": " << status;
  }
  EXPECT_EQ(send(Method::get, "/nebula-ca/x").kind(), "PluginNotFound");
  EXPECT_EQ(send(Method::get, "/nebula-ca/x").status, 404);
  EXPECT_EQ(send(Method::post, "/nowhere").status, 404);
  EXPECT_EQ(send(Method::put, "/auth").status, 405);
}

TEST_F(KeyBrokerTest, TakesNoTokenOfAnybodyElse) {
  auto client = guest(p256());
  const auto good = client.attest(tdx()).value();
  const auto refused = [&](std::string_view token) {
    const auto reply = get("default/key/1", as(token));
    EXPECT_EQ(reply.status, 401);
    EXPECT_EQ(reply.kind(), "TokenVerifierError");
    return reply.detail();
  };
  const auto payload = json::parse(as_text(codec::from_base64url(good.substr(good.find('.') + 1, good.rfind('.') - good.find('.') - 1)).value())).value();
  const auto other = crypto::EcPrivateKey::generate(crypto::Curve::p256);
  const auto current = keys->current();
  // Another key, under its own name and under ours.
  EXPECT_THAT(refused(crypto::jose::sign_es256(other, "key-1", "JWT", payload)), HasSubstr("not among those given"));
  EXPECT_NE(refused(crypto::jose::sign_es256(other, current->key_id, "JWT", payload)), "");
  // Ours, but not what a handshake gives, or for another.
  const auto with = [&](std::string_view name, json::Value value) {
    return crypto::jose::sign_es256(current->key, current->key_id, "JWT", json::Value{payload}.set(name, std::move(value)));
  };
  EXPECT_THAT(refused(with("iss", "srv-other")), HasSubstr("issuer"));
  EXPECT_THAT(refused(with("aud", "srv-other")), HasSubstr("not for"));
  EXPECT_THAT(refused(with("exp", 1)), HasSubstr("expired"));
  EXPECT_THAT(refused(with("iat", 4102444800)), HasSubstr("valid from"));
  EXPECT_THAT(refused(with("eat_profile", "tag:github.com,2023:veraison/ear")), HasSubstr("issued by a handshake"));
  EXPECT_THAT(refused(with("jti", nullptr)), HasSubstr("jti"));
  EXPECT_NE(refused(with("submods", json::Object{})), "");
  EXPECT_NE(refused("x"), "");
  EXPECT_NE(refused(good.substr(0, good.size() - 4) + "AAAA"), "");
  // An operator's token is none.
  EXPECT_NE(refused(admin), "");
  // A good cookie goes before a bad token, and a bad cookie does no harm to a good token.
  const auto session = open();
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, p256())).status, 200);
  auto both = with_cookie(session.cookie);
  both.set("Authorization", "Bearer x");
  EXPECT_EQ(get("default/key/1", both).status, 200);
  auto swapped = as(good);
  swapped.set("Cookie", "a=b; kbs-session-id=junk");
  EXPECT_EQ(get("default/key/1", swapped).status, 200);
  world.clock.advance(std::chrono::seconds{300});
  EXPECT_THAT(refused(good), HasSubstr("expired"));
}

// --- administration --------------------------------------------------------------------------------------------------

TEST_F(KeyBrokerTest, AdministratorsOfTheTenantKeepItsResources) {
  EXPECT_EQ(send(Method::post, "/resource/a/Key/1", as(admin), "one").status, 200);
  EXPECT_EQ(send(Method::post, "/resource/a/Key/1", as(admin), "two").status, 200);
  EXPECT_EQ(send(Method::get, "/resource", as(admin)).text, R"(["a/Key/1","default/key/1"])");
  auto client = guest(p256());
  EXPECT_EQ(as_text(client.fetch(path("a/Key/1"), tdx())->reveal()), "two");
  EXPECT_EQ(send(Method::del, "/resource/a/Key/1", as(admin)).status, 200);
  EXPECT_EQ(send(Method::del, "/resource/a/Key/1", as(admin)).status, 404);
  EXPECT_EQ(client.resource(path("a/Key/1")).error().code(), Errc::not_found);
  EXPECT_EQ(send(Method::post, "/resource/.a/Key/1", as(admin), "x").status, 404);
  EXPECT_EQ(send(Method::post, "/resource/a/b/c", as(admin), std::string(storage::Resources::kMaxValue, 'x')).status, 200);
  EXPECT_EQ(send(Method::post, "/resource/a/b/c", as(admin), std::string(storage::Resources::kMaxValue + 1, 'x')).status, 413);
  ASSERT_TRUE(leaf(kbs::kStored, "a/Key/1"));
  EXPECT_EQ(*leaf(kbs::kStored, "a/Key/1")->detail<std::uint64_t>("version"), 2U);
  EXPECT_TRUE(leaf(kbs::kRemoved, "a/Key/1"));
}

TEST_F(KeyBrokerTest, NobodyElseDoes) {
  const auto stranger = operator_token(session::kAdminRole, "other");
  const auto client = operator_token(session::kClientRole, "default");
  auto attested = guest(p256());
  const auto guests_token = attested.attest(tdx()).value();
  for (const auto& [method, target] : {std::pair{Method::post, "/resource/a/b/c"}, {Method::del, "/resource/default/key/1"}, {Method::get, "/resource"}}) {
    EXPECT_EQ(send(method, target).status, 401);
    EXPECT_EQ(send(method, target, as("x")).status, 401);
    EXPECT_EQ(send(method, target, as(guests_token)).status, 401);
    EXPECT_EQ(send(method, target, as(client)).status, 403);
    EXPECT_EQ(send(method, target, as(stranger)).status, 403);
    // The client of the public broker reads every refusal as one of its own kind.
    EXPECT_TRUE(rcar::parse_refusal(send(method, target).text).ok());
  }
  EXPECT_TRUE(attested.resource(path("default/key/1")).ok());
}

// Whoever has no token of an administrator finds out of no name whether there is such a tenant.
TEST_F(KeyBrokerTest, StrangersCannotTellWhichTenantsThereAre) {
  const auto acme = operator_token(session::kAdminRole, "acme");
  ASSERT_EQ(send_to("/t/acme/kbs/v0", Method::post, "/resource/default/key/1", as(acme), "acme's").status, 200);
  const auto evil = operator_token(session::kAdminRole, "evil");
  const auto told = [&](const std::string& name) {
    const std::string prefix = "/t/" + name + "/kbs/v0";
    std::string out;
    const auto note = [&](Method method, const std::string& path, Headers headers = {}, std::string_view body = {}) {
      const auto reply = send_to(prefix, method, path, std::move(headers), body);
      const auto text = reply.text.substr(0, reply.text.find(R"(,"request_id")"));
      out += path + ' ' + std::to_string(reply.status) + ' ' + (reply.status == 200 ? "" : text) + '\n';
      return reply;
    };
    note(Method::post, "/auth", {}, "junk");
    note(Method::post, "/auth", {}, rcar::write(rcar::Request{"0.4.0", rcar::Tee::sample}));
    const auto opened = note(Method::post, "/auth", {}, rcar::write(rcar::Request{"0.4.0", rcar::Tee::tdx}));
    const std::string cookie{opened.headers.find("Set-Cookie").value_or("")};
    EXPECT_THAT(cookie, HasSubstr("Path=" + prefix));
    const auto session = with_cookie(cookie.substr(0, cookie.find(';')));
    note(Method::get, "/resource/default/key/1");
    note(Method::get, "/resource/default/key/1", session);
    note(Method::get, "/resource/default/key/1", as("eyJ.a.b"));
    note(Method::get, "/resource/default/none/1");
    note(Method::post, "/attest");
    note(Method::post, "/attest", session, "{}");
    note(Method::post, "/attest", session, tdx_message(std::string(44, 'A'), p256()));
    for (const auto& who : {Headers{}, as(evil)}) {
      note(Method::post, "/resource/default/key/1", who, "x");
      note(Method::del, "/resource/default/key/1", who);
      note(Method::get, "/resource", who);
      note(Method::get, "/resource-policy", who);
      note(Method::post, "/resource-policy", who, "{}");
      note(Method::get, "/reference-value/x", who);
    }
    note(Method::get, "/elsewhere");
    return out;
  };
  const auto known = told("acme");
  EXPECT_EQ(told("none"), known);
  EXPECT_EQ(told("none-2"), known);
  EXPECT_EQ(known.find("acme"), std::string::npos) << known;
  // Nor does an attested guest get anything there.
  auto guest = client::KeyBroker::connect(server->base_url() + "/t/none", p256()).value();
  const auto token = guest.attest(tdx());
  ASSERT_TRUE(token.ok()) << token.error().text();
  EXPECT_EQ(guest.resource(path("default/key/1")).error().code(), Errc::not_found);
  EXPECT_EQ(send_to("/t/acme/kbs/v0", Method::get, "/resource/default/key/1", as(*token)).status, 401);
}

// A release is an act: it is asked for, and its reply goes to whoever asked.
TEST_F(KeyBrokerTest, HeadReleasesNothing) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  for (const auto* target : {"/resource/default/key/1", "/resource/default/none/1", "/elsewhere"}) {
    const auto reply = send(Method::head, target, as(token));
    EXPECT_EQ(reply.status, 405) << target;
    EXPECT_THAT(std::string{reply.headers.find("Allow").value_or("")}, HasSubstr("GET"));
    EXPECT_EQ(reply.headers.find("Allow")->find("HEAD"), std::string_view::npos);
  }
  EXPECT_EQ(send_to("/t/acme/kbs/v0", Method::head, "/resource/default/key/1").status, 405);
  EXPECT_EQ(world.log->find(kbs::kReleased, "default/key/1").error().code(), Errc::not_found);
  EXPECT_EQ(get("default/key/1", as(token)).status, 200);
}

TEST_F(KeyBrokerTest, HealthIsWhereThePublicServerHasItAndNoResource) {
  monitor.serving();
  const auto reply = send_to("", Method::get, "/healthz");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.text, R"({"status":"ok"})");
  EXPECT_EQ(send_to("", Method::head, "/healthz").status, 200);
  EXPECT_EQ(send(Method::get, "/healthz").kind(), "PluginNotFound");
}

TEST(CountsItsRefusals, GuestsRoutesAloneUnderBothPrefixes) {
  for (const std::string prefix : {"/kbs/v0", "/t/{tenant}/kbs/v0"}) {
    const auto resource = prefix + "/resource/{repository}/{type}/{tag}";
    EXPECT_TRUE(api::counts_its_refusals("POST", prefix + "/auth"));
    EXPECT_TRUE(api::counts_its_refusals("POST", prefix + "/attest"));
    EXPECT_TRUE(api::counts_its_refusals("GET", resource));
    for (const auto* method : {"POST", "DELETE"}) EXPECT_FALSE(api::counts_its_refusals(method, resource));
    for (const auto* path : {"/resource", "/resource-policy", "/attestation-policy", "/reference-value", "/reference-value/{id}"}) {
      EXPECT_FALSE(api::counts_its_refusals("GET", prefix + path)) << path;
    }
  }
  EXPECT_FALSE(api::counts_its_refusals("POST", "/api/v1/auth"));
  EXPECT_FALSE(api::counts_its_refusals("GET", "unmatched"));
}

TEST_F(KeyBrokerTest, TenantsHaveBrokersOfTheirOwn) {
  const std::string theirs = "/t/acme/kbs/v0";
  const auto acme = operator_token(session::kAdminRole, "acme");
  EXPECT_EQ(send_to(theirs, Method::post, "/resource/default/key/1", as(admin), "x").status, 403);
  EXPECT_EQ(send_to(theirs, Method::post, "/resource/default/key/1", as(acme), "acme's").status, 200);
  EXPECT_EQ(send_to(theirs, Method::get, "/resource", as(acme)).text, R"(["default/key/1"])");
  EXPECT_EQ(send_to("/t/ACME/kbs/v0", Method::get, "/resource", as(acme)).status, 404);

  auto client = client::KeyBroker::connect(server->base_url() + "/t/acme", p256()).value();
  const auto token = client.attest(tdx()).value();
  EXPECT_EQ(as_text(client.resource(path("default/key/1"))->reveal()), "acme's");
  // Its session and its token are worth nothing elsewhere, nor do those of others count there.
  auto other = guest(p256());
  EXPECT_EQ(other.resource(path("default/key/1"), token).error().code(), Errc::unauthenticated);
  EXPECT_THAT(get("default/key/1", as(token)).detail(), HasSubstr("it is not for"));
  const auto session = open();
  EXPECT_EQ(send_to(theirs, Method::post, "/attest", with_cookie(session.cookie), tdx_message(session.nonce, p256())).status, 401);
  EXPECT_EQ(attest(session.cookie, tdx_message(session.nonce, p256())).status, 200);
  EXPECT_EQ(send_to(theirs, Method::get, "/resource/default/key/1", with_cookie(session.cookie)).status, 401);

  // Nor do their policies.
  const auto denied = rcar::write_resource_policy("package policy\nallow = false");
  EXPECT_EQ(send_to(theirs, Method::post, "/resource-policy", as(acme), denied).status, 200);
  EXPECT_EQ(client.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  EXPECT_EQ(get("default/key/1", with_cookie(session.cookie)).status, 200);
}

TEST_F(KeyBrokerTest, AdministratorsSetPoliciesAndReferenceValues) {
  configure({.tenant = world.tenant, .server_id = kServerId, .build = "cloisterd test"});
  auto client = guest(p256());
  EXPECT_EQ(client.fetch(path("default/key/1"), tdx()).error().code(), Errc::unauthenticated);  // nothing is known of what runs
  const auto post = [this](const std::string& target, std::string_view body) { return send(Method::post, target, as(admin), body); };
  const json::Value values = json::Object{{"mr_td", json::Array{codec::to_hex(world.version.reference.mrtd)}},
                                          {"rtmr_1", json::Array{codec::to_hex(Digest48{})}}};
  EXPECT_EQ(post("/reference-value", rcar::write_reference_values(values)).status, 200);
  const json::Value more = json::Object{{"rtmr_2", json::Array{codec::to_hex(Digest48{})}}};
  EXPECT_EQ(post("/reference-value", rcar::write_reference_values(more)).status, 200);
  EXPECT_EQ(json::parse(send(Method::get, "/reference-value/rtmr_1", as(admin)).text).value(), *values.find("rtmr_1"));
  EXPECT_EQ(send(Method::get, "/reference-value/none", as(admin)).status, 404);
  // More of them than a restart would read again.
  const json::Value zeros{json::Array(45'000, json::Value{0})};
  int taken = 0;
  while (taken < 10 && post("/reference-value", rcar::write_reference_values(json::Object{{"z" + std::to_string(taken), zeros}})).status == 200) ++taken;
  EXPECT_LT(taken, 10);
  configure({.tenant = world.tenant, .server_id = kServerId, .build = "cloisterd test"});
  EXPECT_TRUE(client.fetch(path("default/key/1"), tdx()).ok());

  EXPECT_EQ(post("/resource-policy", rcar::write_resource_policy("package policy\ndefault allow = false")).status, 200);
  EXPECT_EQ(client.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  configure(options());  // what was set outlives a restart, and goes before what is configured
  EXPECT_EQ(client.resource(path("default/key/1")).error().code(), Errc::unauthenticated);
  EXPECT_EQ(post("/resource-policy", rcar::write_resource_policy(kAllowAll)).status, 200);
  EXPECT_TRUE(client.resource(path("default/key/1")).ok());
  EXPECT_EQ(send(Method::get, "/resource-policy", as(admin)).text, R"(["default"])");
  const rcar::AttestationPolicy doubtful{"default_cpu", "package policy\ntrust_claims := {\"hardware\": 97}"};
  EXPECT_EQ(post("/attestation-policy", rcar::write_attestation_policy(doubtful)).status, 200);
  const auto token = client.attest(tdx()).value();
  EXPECT_THAT(std::string{as_text(codec::from_base64url(token.substr(token.find('.') + 1, token.rfind('.') - token.find('.') - 1)).value())},
              HasSubstr("contraindicated"));
  EXPECT_EQ(post("/attestation-policy", rcar::write_attestation_policy({"default_gpu", "package policy\ntrust_claims := {}"})).status, 200);
  for (const auto* subject : {"resource/default", "attestation/default_cpu", "attestation/default_gpu"}) EXPECT_TRUE(leaf(kbs::kPolicyChanged, subject)) << subject;
  EXPECT_TRUE(leaf(kbs::kReferenceChanged, "mr_td"));
}

TEST_F(KeyBrokerTest, RefusesPoliciesThatDoNotHold) {
  const auto post = [this](const std::string& target, std::string_view body) { return send(Method::post, target, as(admin), body); };
  const auto broken = post("/resource-policy", rcar::write_resource_policy("package policy\nallow if {"));
  EXPECT_EQ(broken.status, 400);
  EXPECT_EQ(broken.kind(), "PolicyEngineError");
  EXPECT_THAT(broken.detail(), HasSubstr("default:2:"));
  EXPECT_EQ(post("/attestation-policy", rcar::write_attestation_policy({"default_cpu", "package"})).kind(), "PolicyEngineError");
  EXPECT_EQ(post("/attestation-policy", rcar::write_attestation_policy({"default_switch", "package policy"})).status, 404);
  EXPECT_EQ(post("/resource-policy", R"({"policy":"YT8/fg=="})").kind(), "ParsePolicyError");
  EXPECT_EQ(post("/resource-policy", "{}").status, 400);
  EXPECT_EQ(post("/reference-value", R"({"version":"0.1.0","type":"corim","payload":"e30="})").kind(), "RvpsError");
  auto client = guest(p256());
  EXPECT_TRUE(client.fetch(path("default/key/1"), tdx()).ok());  // nothing has changed
  for (const auto* target : {"/resource-policy", "/attestation-policy", "/reference-value"}) {
    EXPECT_EQ(send(Method::post, target, {}, "{}").status, 401) << target;
    EXPECT_EQ(send(Method::post, target, as(operator_token(session::kClientRole, "default")), "{}").status, 403) << target;
    EXPECT_EQ(send(Method::post, target, as(operator_token(session::kAdminRole, "other")), "{}").status, 403) << target;
  }
}

TEST_F(KeyBrokerTest, APolicyThatLoopsIsBounded) {
  const std::string loop = "package policy\nallow if { some i in numbers.range(1, 100000); some k in numbers.range(1, 100000); i * k == -1 }";
  ASSERT_EQ(send(Method::post, "/resource-policy", as(admin), rcar::write_resource_policy(loop)).status, 200);
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto refused = get("default/key/1", as(token));
  EXPECT_EQ(refused.status, 401) << refused.text;
  EXPECT_EQ(refused.kind(), "PolicyEngineError");
}

// --- audit -----------------------------------------------------------------------------------------------------------

TEST_F(KeyBrokerTest, EveryReleaseIsInTheLog) {
  auto client = guest(p256());
  ASSERT_TRUE(client.fetch(path("default/key/1"), tdx()).ok());
  const auto released = leaf(kbs::kReleased, "default/key/1");
  ASSERT_TRUE(released);
  EXPECT_EQ(*released->detail<std::string>("tenant"), "default");
  EXPECT_EQ(*released->detail<std::uint64_t>("version"), 1U);
  EXPECT_TRUE(leaf(kbs::kAttested, *released->detail<std::string>("token")));
  EXPECT_EQ(*released->detail<Bytes>("key"), *leaf(kbs::kAttested, *released->detail<std::string>("token"))->detail<Bytes>("key"));
}

TEST_F(KeyBrokerTest, NothingIsReleasedThatTheLogDoesNotTake) {
  auto client = guest(p256());
  const auto token = client.attest(tdx()).value();
  const auto session = open();
  auto transaction = world.database->write();
  ASSERT_TRUE(transaction->run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
  ASSERT_TRUE(transaction->commit().ok());
  for (const auto& reply : {get("default/key/1", as(token)), get("default/key/none", as(token)),
                            attest(session.cookie, tdx_message(session.nonce, p256())),
                            send(Method::post, "/resource/a/b/c", as(admin), "x")}) {
    EXPECT_GE(reply.status, 500) << reply.text;
    EXPECT_TRUE(rcar::parse_refusal(reply.text).ok()) << reply.text;
    EXPECT_EQ(reply.text.find("ciphertext"), std::string::npos);
    EXPECT_EQ(reply.text.find("token\":"), std::string::npos);
  }
  EXPECT_EQ(vault().list()->size(), 1U);
}

}  // namespace
}  // namespace cloister::test
