#include "lab.hpp"

#include <ctime>

/// What every lab of this contract answers, over HTTP: the nine assertions first, then what implementations before this
/// one got wrong.
namespace cloister::lab_service::test {
namespace {

class Contract : public Lab {};

constexpr auto kSealAlice = R"({"enclave_name":"e","identity":"alice","data":{"k":"v"}})";

TEST_F(Contract, HealthIsOk) { EXPECT_EQ(get("/health")["status"], "ok"); }

TEST_F(Contract, KeywordSearchCountsInEachDocument) {
  const auto answer = post("/enclave/compute", R"({"enclave_name":"e","workload":"keyword_search",
    "payload":{"documents":["alpha beta","alpha gamma"],"keyword":"alpha"}})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::write(*answer.body.find("result")), R"({"0":1,"1":1})");
  EXPECT_EQ(answer["mrenclave"].size(), 64U);
}

TEST_F(Contract, KeywordSearchRefusesABadPayload) {
  const auto answer =
      post("/enclave/compute",
           R"({"enclave_name":"e","workload":"keyword_search","payload":{"documents":"x","keyword":""}})");
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer["detail"], "documents must be a list of strings");
}

TEST_F(Contract, AttestHasMeasurementAndNonce) {
  const auto answer = post("/enclave/attest", R"({"enclave_name":"e"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer["mrenclave"].size(), 64U);
  EXPECT_EQ(answer["nonce"].size(), 32U);
  EXPECT_EQ(answer["signer"], "lab");
  EXPECT_EQ(answer["policy_version"], "v1");
}

TEST_F(Contract, SealsAndRecoversASecret) {
  EXPECT_EQ(post("/enclave/seal", kSealAlice).status, 200);
  const auto answer =
      post("/enclave/compute",
           R"({"enclave_name":"e","workload":"sealed_secret","payload":{"secret":"s3","identity":"alice"}})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(*answer.body.find("result")->find("recovered")->as_string(), "s3");
}

TEST_F(Contract, CounterRefusesNegativeIncrements) {
  const auto answer =
      post("/enclave/compute", R"({"enclave_name":"e","workload":"counter","payload":{"initial":1,"increments":-1}})");
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer["detail"], "increments must be non-negative");
}

TEST_F(Contract, LaunchesEncryptsAndAttests) {
  const auto launched = post("/vm/launch", R"({"owner":"bob"})");
  EXPECT_EQ(launched.status, 200);
  EXPECT_EQ(launched["vm_id"].size(), 12U);
  EXPECT_EQ(*launched.body.find("vcpu_id")->as_int(), 0);
  const auto encrypted = post("/vm/encrypt", R"({"page_id":0,"payload":"hello","vm_id":")" + launched["vm_id"] + "\"}");
  EXPECT_EQ(encrypted.status, 200);
  EXPECT_EQ(encrypted["mac"].size(), 64U);
  EXPECT_NE(encrypted["measurement"], launched["measurement"]);
  const auto attested = post("/vm/attest?vm_id=" + launched["vm_id"], "");
  EXPECT_EQ(attested.status, 200);
  EXPECT_EQ(attested["vm_id"], launched["vm_id"]);
  EXPECT_EQ(attested["measurement"], encrypted["measurement"]);
  EXPECT_EQ(attested["nonce"].size(), 32U);
}

TEST_F(Contract, KnowsNoOtherVm) {
  const auto encrypted = post("/vm/encrypt", R"({"vm_id":"nope","page_id":0,"payload":"x"})");
  EXPECT_EQ(encrypted.status, 404);
  EXPECT_EQ(encrypted["detail"], "VM not found");
  EXPECT_EQ(post("/vm/attest?vm_id=nope", "").status, 404);
  EXPECT_EQ(post("/vm/attest", "").status, 422);
}

TEST_F(Contract, WhatIsSealedOpensAgain) {
  const auto token = post("/enclave/seal", kSealAlice)["token"];
  EXPECT_EQ(token.find_first_of("+/"), std::string::npos);
  for (const std::string padding : {"", "="}) {
    const auto opened =
        post("/enclave/unseal", R"({"enclave_name":"e","identity":"alice","token":")" + token + padding + "\"}");
    EXPECT_EQ(opened.status, 200) << opened.text();
    EXPECT_EQ(json::write(*opened.body.find("data")), R"({"k":"v"})");
  }
}

TEST_F(Contract, AReversedTokenIsRefused) {
  auto token = post("/enclave/seal", kSealAlice)["token"];
  std::ranges::reverse(token);
  for (const auto& bad : {token, std::string{"%%%"}}) {
    const auto answer = post("/enclave/unseal", R"({"enclave_name":"e","identity":"alice","token":")" + bad + "\"}");
    EXPECT_EQ(answer.status, 400);
    EXPECT_THAT(answer["detail"], testing::AnyOf(testing::HasSubstr("integrity"), testing::HasSubstr("base64")));
  }
}

// --- what was wrong before ---

TEST_F(Contract, PayloadsAreTextOrBase64AsTheRequestSays) {
  const auto vm = launch();
  const auto stored = [&](const std::string& page) {
    return post("/vm/decrypt", R"({"owner":"bob","page_id":)" + page + R"(,"vm_id":")" + vm + "\"}")["text"];
  };
  EXPECT_EQ(post("/vm/encrypt", R"({"page_id":0,"payload":"aGVsbG8=","vm_id":")" + vm + "\"}").status, 200);
  EXPECT_EQ(stored("0"), "aGVsbG8=");
  EXPECT_EQ(
      post("/vm/encrypt", R"({"page_id":1,"encoding":"base64","payload":"aGVsbG8=","vm_id":")" + vm + "\"}").status,
      200);
  EXPECT_EQ(stored("1"), "hello");
  const auto bad = post("/vm/encrypt", R"({"page_id":2,"encoding":"base64","payload":"a!","vm_id":")" + vm + "\"}");
  EXPECT_EQ(bad.status, 422);
  EXPECT_THAT(bad["detail"], testing::StartsWith("payload: "));
  EXPECT_EQ(post("/vm/encrypt", R"({"page_id":2,"encoding":"hex","payload":"aa","vm_id":")" + vm + "\"}").status, 422);
}

TEST_F(Contract, BooleansAreNoIntegers) {
  const auto vm = launch();
  for (const auto* number : {"true", "\"0\"", "0.0", "-1", "4294967296", "null"}) {
    const auto answer = post("/vm/encrypt", R"({"payload":"x","vm_id":")" + vm + R"(","page_id":)" + number + "}");
    EXPECT_EQ(answer.status, 422) << number;
    EXPECT_THAT(answer.text(), testing::HasSubstr(R"("loc":["body","page_id"])")) << number;
  }
  EXPECT_EQ(post("/enclave/compute", R"({"enclave_name":"e","workload":"counter","payload":{"initial":true}})").status,
            422);
}

TEST_F(Contract, CountsFarAtOnce) {
  const auto answer = post("/enclave/compute",
                           R"({"enclave_name":"e","workload":"counter","payload":{"increments":1000000000000000000}})");
  EXPECT_EQ(*answer.body.find("result")->find("counter")->as_int(), 1'000'000'000'000'000'000);
}

TEST_F(Contract, NamesDoNotRunIntoOneAnother) {
  const auto seal = [&](const std::string& enclave, const std::string& identity) {
    return post("/enclave/seal",
                R"({"data":{},"enclave_name":")" + enclave + R"(","identity":")" + identity + "\"}")["token"];
  };
  const auto open = [&](const std::string& enclave, const std::string& identity, const std::string& token) {
    return post("/enclave/unseal", R"({"allow_stale":true,"enclave_name":")" + enclave + R"(","identity":")" +
                                       identity + R"(","token":")" + token + "\"}")
        .status;
  };
  const auto one = seal("c", "a:b");
  const auto other = seal("b:c", "a");
  EXPECT_EQ(open("c", "a:b", one), 200);
  EXPECT_EQ(open("b:c", "a", other), 200);
  EXPECT_EQ(open("b:c", "a", one), 400);
  EXPECT_EQ(open("c", "a:b", other), 400);
  EXPECT_EQ(open("c", "a", one), 400);
  EXPECT_EQ(open("b:c", "a:b", one), 400);
}

TEST_F(Contract, EachPageHasAKeyWithoutStretchingAPassword) {
  // 128 times 200 000 rounds of PBKDF2 would take a minute.
  const auto vm = launch();
  const auto begin = std::clock();
  for (int page = 0; page < 128; ++page) {
    EXPECT_EQ(
        post("/vm/encrypt", R"({"payload":"x","vm_id":")" + vm + R"(","page_id":)" + std::to_string(page) + "}").status,
        200);
  }
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

TEST_F(Contract, TheVerifiersNonceIsBound) {
  const std::string nonce = "000102030405060708090a0b0c0d0e0f";
  const auto quote = post("/enclave/attest", R"({"enclave_name":"e","nonce":")" + nonce + "\"}");
  EXPECT_EQ(quote["nonce"], nonce);
  const auto expected = codec::to_hex(enclave_report_data(codec::array_from_hex<16>(nonce).value(), "v1"));
  const auto verify = [&](const std::string& evidence, const std::string& data) {
    return post("/verify", R"({"evidence":")" + evidence + R"(","report_data":")" + data + "\"}");
  };
  EXPECT_EQ(verify(quote["quote"], expected)["verdict"], "accepted");
  EXPECT_EQ(verify(quote["quote"], codec::to_hex(enclave_report_data({}, "v1")))["verdict"], "rejected");
  EXPECT_EQ(verify(quote["quote"],
                   codec::to_hex(enclave_report_data(codec::array_from_hex<16>(nonce).value(), "v2")))["verdict"],
            "rejected");

  const auto vm = launch();
  const auto report = post("/vm/attest?vm_id=" + vm + "&nonce=" + nonce, "");
  EXPECT_EQ(report["nonce"], nonce);
  const auto measurement = codec::array_from_hex<32>(report["measurement"]).value();
  EXPECT_EQ(verify(report["report"],
                   codec::to_hex(vm_report_data(codec::array_from_hex<16>(nonce).value(), vm, measurement)))["verdict"],
            "accepted");
  EXPECT_EQ(verify(report["report"], codec::to_hex(vm_report_data({}, vm, measurement)))["verdict"], "rejected");
  for (const auto* bad : {"00", "zz0102030405060708090a0b0c0d0e0f", ""}) {
    EXPECT_EQ(post("/enclave/attest", R"({"enclave_name":"e","nonce":")" + std::string{bad} + "\"}").status, 422)
        << bad;
  }
  EXPECT_NE(post("/enclave/attest", R"({"enclave_name":"e"})")["nonce"],
            post("/enclave/attest", R"({"enclave_name":"e"})")["nonce"]);
}

TEST_F(Contract, EvidenceIsSigned) {
  const auto vm = launch();
  for (const auto& text :
       {post("/enclave/attest", R"({"enclave_name":"e"})")["quote"], post("/vm/attest?vm_id=" + vm, "")["report"]}) {
    auto bytes = codec::from_base64(text).value();
    const auto verdict = [&] { return post("/verify", R"({"evidence":")" + codec::to_base64(bytes) + "\"}"); };
    EXPECT_EQ(verdict()["verdict"], "accepted");
    EXPECT_TRUE(*verdict().body.find("lab")->as_bool());
    bytes[0x90] ^= 1;  // of the measurement
    EXPECT_EQ(verdict()["verdict"], "rejected");
  }
}

TEST_F(Contract, RollbackOfSealedDataIsDetected) {
  const auto older = post("/enclave/seal", kSealAlice)["token"];
  const auto newer = post("/enclave/seal", R"({"enclave_name":"e","identity":"alice","data":{"k":"w"}})")["token"];
  const auto open = [&](const std::string& token, const std::string& more = "") {
    return post("/enclave/unseal", R"({"enclave_name":"e","identity":"alice","token":")" + token + "\"" + more + "}");
  };
  EXPECT_EQ(json::write(*open(newer).body.find("data")), R"({"k":"w"})");
  const auto refused = open(older);
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused["detail"], "token: version 1 < counter 2");
  const auto allowed = open(older, R"(,"allow_stale":true)");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_TRUE(*allowed.body.find("stale")->as_bool());
}

TEST_F(Contract, PagesAreTheirOwnersToOverwrite) {
  const auto vm = launch("bob");
  const auto encrypt = [&](const std::string& more) {
    return post("/vm/encrypt", R"({"page_id":7,"payload":"x","vm_id":")" + vm + "\"" + more + "}");
  };
  EXPECT_EQ(encrypt(R"(,"owner":"mallory")").status, 403);
  EXPECT_EQ(encrypt("").status, 200);
  const auto nobody = encrypt("");
  EXPECT_EQ(nobody.status, 403);
  EXPECT_THAT(nobody["detail"], testing::StartsWith("owner: "));
  EXPECT_EQ(encrypt(R"(,"owner":"mallory")").status, 403);
  const auto again = encrypt(R"(,"owner":"bob")");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(*again.body.find("version")->as_int(), 2);
  EXPECT_EQ(post("/vm/decrypt", R"({"owner":"mallory","page_id":7,"vm_id":")" + vm + "\"}").status, 403);
}

TEST_F(Contract, APageThatWasChangedIsNotDecrypted) {
  const auto vm = launch();
  const auto first = post("/vm/encrypt", R"({"page_id":1,"payload":"one","vm_id":")" + vm + "\"}");
  const auto second = post("/vm/encrypt", R"({"page_id":1,"payload":"two","owner":"bob","vm_id":")" + vm + "\"}");
  const auto decrypt = [&](const std::string& ciphertext, const std::string& mac) {
    return post("/vm/decrypt", R"({"owner":"bob","page_id":1,"vm_id":")" + vm + R"(","ciphertext":")" + ciphertext +
                                   R"(","mac":")" + mac + "\"}");
  };
  EXPECT_EQ(decrypt(second["ciphertext"], second["mac"])["text"], "two");
  auto changed = codec::from_base64(second["ciphertext"]).value();
  changed.back() ^= 1;
  const auto refused = decrypt(codec::to_base64(changed), second["mac"]);
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused["detail"], testing::HasSubstr("nothing was decrypted"));
  EXPECT_EQ(decrypt(first["ciphertext"], first["mac"]).status, 400);  // the same page, earlier
  EXPECT_EQ(decrypt(second["ciphertext"], first["mac"]).status, 400);
}

TEST_F(Contract, EveryNameIsBounded) {
  const std::string most(128, 'n');
  const std::string more(129, 'n');
  EXPECT_EQ(post("/enclave/attest", R"({"enclave_name":")" + most + "\"}").status, 200);
  const std::pair<std::string, std::string> requests[] = {
      {"/enclave/compute", R"({"workload":"counter","enclave_name":"N"})"},
      {"/enclave/attest", R"({"enclave_name":"N"})"},
      {"/enclave/attest", R"({"enclave_name":"e","policy_version":"N"})"},
      {"/enclave/seal", R"({"enclave_name":"N","identity":"i"})"},
      {"/enclave/seal", R"({"enclave_name":"e","identity":"N"})"},
      {"/vm/launch", R"({"owner":"N"})"},
      {"/vm/encrypt", R"({"vm_id":"N","page_id":0,"payload":"x"})"}};
  for (const auto& [path, body] : requests) {
    for (const auto& name : {std::string{}, more}) {
      auto with_name = body;
      with_name.replace(with_name.find("\"N\""), 3, '"' + name + '"');
      EXPECT_EQ(post(path, with_name).status, 422) << path << with_name;
    }
  }
}

TEST_F(Contract, LogsCarryFieldsAndNoPlaintext) {
  post(
      "/enclave/compute",
      R"({"enclave_name":"e","workload":"keyword_search","payload":{"documents":["planted-document"],"keyword":"planted-keyword"}})");
  post("/enclave/compute",
       R"({"enclave_name":"e","workload":"sealed_secret","payload":{"secret":"planted-secret","identity":"alice"}})");
  post("/enclave/compute", R"({"enclave_name":"e","workload":"inference","payload":{"vector":[3,4]}})");
  const auto token = post(
      "/enclave/seal", R"({"enclave_name":"e","identity":"alice","data":{"planted-name":"planted-value"}})")["token"];
  post("/enclave/unseal", R"({"enclave_name":"e","identity":"alice","token":")" + token + "\"}");
  const auto nonce = post("/enclave/attest", R"({"enclave_name":"e"})")["nonce"];
  const auto vm = launch();
  post("/vm/encrypt", R"({"page_id":3,"payload":"planted-page","vm_id":")" + vm + "\"}");
  post("/vm/decrypt", R"({"owner":"bob","page_id":3,"vm_id":")" + vm + "\"}");
  post("/vm/attest?vm_id=" + vm, "");
  const auto log = log_.text();
  EXPECT_EQ(log.find("planted"), std::string::npos) << log;
  EXPECT_EQ(log.find(token), std::string::npos);
  for (const auto* field :
       {"enclave=e", "mrenclave=", "call=inference", "payload=", "address=0x", "len=", "identity=alice",
        "workload=inference", "keyword=", "counts=0", "norm=5", "owner=bob", "page_id=3", "vcpu=0", "measurement="}) {
    EXPECT_NE(log.find(field), std::string::npos) << field;
  }
  EXPECT_NE(log.find("nonce=" + nonce), std::string::npos);
  EXPECT_NE(log.find("vm_id=" + vm), std::string::npos);
  const auto events = json::write(get("/events?limit=1000").body);
  EXPECT_EQ(events.find("planted"), std::string::npos);
}

}  // namespace
}  // namespace cloister::lab_service::test
