#include "lab.hpp"

/// Life cycles, one step at a time, and what may not happen in them.
namespace cloister::lab_service::test {
namespace {

class Steps : public Lab {
 protected:
  /// Steps to the end; what was done, with spaces between. The last answer stays in `last_`.
  std::string run(const std::string& target) {
    std::string out;
    do {
      last_ = post(target, "");
      EXPECT_EQ(last_.status, 200) << last_.text();
      if (last_.status != 200) break;
      out += (out.empty() ? "" : " ") + last_["did"];
    } while (!last_.body.find("next")->is_null());
    return out;
  }
  Answer last_;
};

std::string times(int count, std::string_view word) {
  std::string out;
  for (int i = 0; i < count; ++i) out += (out.empty() ? "" : " ") + std::string{word};
  return out;
}

TEST_F(Steps, LoadAnEnclaveByItsInstructions) {
  const auto begun = post("/enclaves", R"({"enclave_name":"s","step":true})");
  EXPECT_EQ(begun["state"], "loading");
  EXPECT_EQ(begun["next"], "ECREATE");
  EXPECT_EQ(post("/enclave/attest", R"({"enclave_name":"s"})").status, 409);
  const auto page = "EADD " + times(16, "EEXTEND");
  const auto load = "ECREATE " + times(4, page) + " EINIT";  // TCS, code, data, SSA frame
  EXPECT_EQ(run("/enclaves/s/step"), load);
  EXPECT_EQ(events_after(0), load);
  const auto info = get("/enclaves/s");
  EXPECT_EQ(info["state"], "initialized");
  EXPECT_EQ(*last_.body.find("fields")->find("mrenclave")->as_string(), info["mrenclave"]);
  EXPECT_EQ(post("/enclaves/s/step", "").status, 409);
  // A whole load measures the same.
  EXPECT_EQ(del("/enclaves/s").status, 200);
  EXPECT_EQ(post("/enclaves", R"({"enclave_name":"s"})")["mrenclave"], info["mrenclave"]);
  EXPECT_NE(post("/enclaves", R"({"enclave_name":"t"})")["mrenclave"], info["mrenclave"]);
}

TEST_F(Steps, MeasureRecordByRecord) {
  const auto mrenclave = post("/enclaves", R"({"enclave_name":"e"})")["mrenclave"];
  const auto measured = get("/enclaves/e/measurement");
  const auto& records = *measured.body.find("records")->as_array();
  EXPECT_EQ(records.size(), 1U + 4 * 17);
  EXPECT_EQ(*records.front().find("leaf")->as_string(), "ECREATE");
  EXPECT_EQ(*records.back().find("digest")->as_string(), mrenclave);
  EXPECT_NE(*records[5].find("digest")->as_string(), *records[6].find("digest")->as_string());
}

TEST_F(Steps, RefuseUnknownCallsBeforeAnyCodeRuns) {
  post("/enclaves", R"({"enclave_name":"e"})");
  const auto before = last_event();
  const auto refused = post("/enclave/ecall", R"({"enclave_name":"e","call":"open_sesame"})");
  EXPECT_EQ(refused.status, 404);
  EXPECT_THAT(refused["detail"], testing::StartsWith("call: "));
  EXPECT_EQ(post("/enclave/ecall", R"({"enclave_name":"e","call":"open_sesame","step":true})").status, 404);
  EXPECT_EQ(events_after(before), "ECALL_REFUSED ECALL_REFUSED");
  EXPECT_EQ(*get("/enclaves/e").body.find("calls")->as_int(), 0);
  EXPECT_EQ(post("/enclave/compute", R"({"enclave_name":"e","workload":"open_sesame"})").status, 422);
}

TEST_F(Steps, EnterAndLeaveForEachCall) {
  post("/enclaves", R"({"enclave_name":"e"})");
  const auto before = last_event();
  post("/enclave/ecall", R"({"enclave_name":"e","call":"counter"})");
  EXPECT_EQ(events_after(before), "EENTER ECALL EEXIT");
  const auto middle = last_event();
  EXPECT_EQ(post("/enclave/ecall", R"({"enclave_name":"e","call":"counter","payload":{"increments":-1}})").status, 422);
  EXPECT_EQ(events_after(middle), "EENTER ECALL ECALL_FAILED EEXIT");
}

TEST_F(Steps, ACallByItsSteps) {
  EXPECT_EQ(
      post("/enclave/ecall", R"({"enclave_name":"e","call":"counter","payload":{"initial":4},"step":true})")["next"],
      "EENTER");
  EXPECT_EQ(post("/enclave/compute", R"({"enclave_name":"e","workload":"counter"})").status, 409);
  EXPECT_EQ(run("/enclaves/e/step"), "EENTER ECALL EEXIT");
  EXPECT_EQ(*last_.body.find("result")->find("counter")->as_int(), 5);
  EXPECT_EQ(post("/enclave/compute", R"({"enclave_name":"e","workload":"counter"})").status, 200);
}

TEST_F(Steps, ACallThatFailsLeavesTheEnclave) {
  post("/enclave/ecall", R"({"enclave_name":"e","call":"counter","payload":{"increments":-1},"step":true})");
  EXPECT_EQ(post("/enclaves/e/step", "").status, 200);
  EXPECT_EQ(post("/enclaves/e/step", "").status, 422);
  EXPECT_EQ(post("/enclaves/e/step", "").status, 409);
  EXPECT_EQ(post("/enclave/compute", R"({"enclave_name":"e","workload":"counter"})").status, 200);
}

TEST_F(Steps, OnlyOneEnclaveIsSteppedInside) {
  post("/enclave/ecall", R"({"enclave_name":"a","call":"counter","step":true})");
  post("/enclave/ecall", R"({"enclave_name":"b","call":"counter","step":true})");
  EXPECT_EQ(post("/enclaves/a/step", "").status, 200);
  EXPECT_EQ(post("/enclaves/b/step", "").status, 409);  // the processor is taken
  EXPECT_EQ(post("/enclaves/a/stop", "")["state"], "stopped");
  EXPECT_EQ(post("/enclave/ecall", R"({"enclave_name":"b","call":"counter","step":true})").status, 200);
  EXPECT_EQ(run("/enclaves/b/step"), "EENTER ECALL EEXIT");
}

TEST_F(Steps, AnOcallIsEchoedAndAnEvent) {
  post("/enclaves", R"({"enclave_name":"e"})");
  auto before = last_event();
  const auto answer = post("/enclave/ocall", R"({"enclave_name":"e","ocall":"print","payload":{"text":"hello"}})");
  EXPECT_EQ(answer.text(), R"({"ocall":"print","payload":{"text":"hello"},"next":null})");
  EXPECT_EQ(events_after(before), "EENTER EEXIT OCALL EENTER EEXIT");
  before = last_event();
  EXPECT_EQ(post("/enclave/ocall", R"({"enclave_name":"e","ocall":"print","payload":{"n":1},"step":true})")["next"],
            "EENTER");
  EXPECT_EQ(run("/enclaves/e/step"), "EENTER EEXIT OCALL EENTER EEXIT");
  EXPECT_EQ(json::write(*last_.body.find("result")), R"({"ocall":"print","payload":{"n":1}})");
  EXPECT_EQ(events_after(before), "EENTER EEXIT OCALL EENTER EEXIT");
  EXPECT_EQ(post("/enclave/ocall",
                 R"({"enclave_name":"e","ocall":"print","payload":{"text":")" + std::string(4096, 'x') + "\"}}")
                .status,
            422);
}

TEST_F(Steps, StoppedEnclavesAreGoneAndComeAgain) {
  const auto token = post("/enclave/seal", R"({"enclave_name":"e","identity":"i","data":{"a":1}})")["token"];
  EXPECT_GT(get("/memory/epc").body.find("rows")->as_array()->size(), lab_sgx::QuotingEnclave::kPages);
  EXPECT_EQ(post("/enclaves/e/stop", "")["state"], "stopped");
  EXPECT_EQ(get("/memory/epc").body.find("rows")->as_array()->size(), lab_sgx::QuotingEnclave::kPages);  // the quoting enclave's
  EXPECT_EQ(post("/enclaves/e/stop", "").status, 409);
  EXPECT_EQ(post("/enclave/compute", R"({"enclave_name":"e","workload":"counter"})").status, 409);
  EXPECT_EQ(del("/enclaves/e").status, 200);
  EXPECT_EQ(get("/enclaves/e").status, 404);
  EXPECT_EQ(del("/enclaves/e").status, 404);
  // Its measurement and so its key are the same; the counter began anew, so that the token is of an unknown time.
  const auto body = R"({"enclave_name":"e","identity":"i","token":")" + token + "\"";
  EXPECT_EQ(post("/enclave/unseal", body + "}")["detail"], "token: version 1 > counter 0");
  EXPECT_EQ(json::write(*post("/enclave/unseal", body + R"(,"allow_stale":true})").body.find("data")), R"({"a":1})");
}

TEST_F(Steps, LaunchAVmByItsCommands) {
  const auto begun = post("/vm/launch", R"({"owner":"bob","step":true})");
  EXPECT_TRUE(begun.body.find("launch_digest")->is_null());
  const auto vm = begun["vm_id"];
  EXPECT_EQ(post("/vm/encrypt", R"({"page_id":0,"payload":"x","vm_id":")" + vm + "\"}").status, 409);
  EXPECT_EQ(post("/vm/attest?vm_id=" + vm, "").status, 409);
  EXPECT_EQ(run("/vms/" + vm + "/step"),
            "SNP_LAUNCH_START " + times(7, "SNP_LAUNCH_UPDATE") + " SNP_LAUNCH_FINISH VMRUN");
  EXPECT_EQ(post("/vms/" + vm + "/step", "").status, 409);
  const auto info = get("/vms/" + vm);
  EXPECT_EQ(info["state"], "running");
  EXPECT_EQ(json::write(*info.body.find("vcpu")), R"({"id":0,"registers":{"rip":0,"rsp":0}})");
  const auto digest = get("/vms/" + vm + "/launch-digest");
  EXPECT_EQ(*digest.body.find("pages")->as_array()->back().find("digest")->as_string(), info["launch_digest"]);
  EXPECT_EQ(digest.body.find("pages")->as_array()->size(), 7U);
}

TEST_F(Steps, EncryptChangesTheMeasurementAndNeverTheLaunchDigest) {
  const auto vm = launch();
  const auto before = get("/vms/" + vm);
  const auto report = get("/vms/" + vm + "/report");
  post("/vm/encrypt", R"({"page_id":5,"payload":"x","vm_id":")" + vm + "\"}");
  const auto after = get("/vms/" + vm + "/report");
  EXPECT_NE(after["measurement"], before["measurement"]);
  EXPECT_EQ(after["measurement"], get("/vms/" + vm + "/measurement")["measurement"]);
  EXPECT_EQ(after["launch_digest"], before["launch_digest"]);
  const auto parsed = evidence::parse_snp_report(codec::from_base64(after["report"]).value()).value();
  EXPECT_EQ(codec::to_hex(parsed.body().measurement), before["launch_digest"]);
  EXPECT_NE(after["report_data"], report["report_data"]);
  EXPECT_EQ(launch("alice").size(), 12U);
}

TEST_F(Steps, PagesOfMemoryAreTheVmsUntilItStops) {
  EXPECT_EQ(get("/memory/rmp").body.find("rows")->as_array()->size(), 0U);
  const auto vm = launch();
  const std::string two_pages(8192, 'x');
  post("/vm/encrypt", R"({"page_id":0,"payload":")" + two_pages + R"(","vm_id":")" + vm + "\"}");
  const auto map = get("/memory/rmp");
  const auto& rows = *map.body.find("rows")->as_array();
  ASSERT_EQ(rows.size(), 7U + 2);
  for (const auto& row : rows) {
    EXPECT_EQ(*row.find("state")->as_string(), "guest_valid");
    EXPECT_EQ(*row.find("vm_id")->as_string(), vm);
  }
  EXPECT_TRUE(*rows[6].find("vmsa")->as_bool());
  EXPECT_EQ(post("/vms/" + vm + "/stop", "")["state"], "stopped");
  EXPECT_EQ(get("/memory/rmp").body.find("rows")->as_array()->size(), 0U);
  EXPECT_EQ(post("/vms/" + vm + "/stop", "").status, 409);
  EXPECT_EQ(post("/vm/encrypt", R"({"page_id":0,"payload":"x","vm_id":")" + vm + "\"}").status, 409);
  EXPECT_EQ(del("/vms/" + vm).status, 200);
  EXPECT_EQ(get("/vms/" + vm).status, 404);
}

TEST(Machines, OfOneSeedAreTheSame) {
  SystemClock clock;
  log::NullLogger log;
  const auto facts = [&](std::uint8_t seed) {
    Hardware hardware{seed};
    EventLog events{clock};
    Vms vms{*hardware.machine, events, log, clock};
    Enclaves enclaves{*hardware.machine, events, log, clock, lab_workload::built_in_workloads()};
    const auto* vm = vms.launch("bob", false).value();
    EXPECT_TRUE(vms.encrypt(vm->id, 3, std::nullopt, as_bytes("page")).ok());
    const auto quote = enclaves.attest("e", "v1", Nonce16{1}).value();
    return vm->id + ' ' + codec::to_hex(measurement_of(*vm)) + ' ' + codec::to_hex(*vm->launch_digest) + ' ' +
           codec::to_hex(quote.mrsigner) + ' ' + codec::to_hex(ByteView{quote.quote}.first(432)) + ' ' +
           codec::to_hex(hardware.machine->authority.chip_id(Machine::kProduct));
  };
  const auto one = facts(7);
  EXPECT_EQ(one, facts(7));
  EXPECT_NE(one, facts(8));
}

TEST(PageCipher, OpensNothingThatChangedOrMoved) {
  const auto key = crypto::Secret<32>{ByteArray<32>{1}};
  const PageId id{.vm = "vm", .page = 1, .version = 1};
  const auto sealed = seal_page(key, id, as_bytes("contents"));
  EXPECT_EQ(as_text(open_page(key, id, sealed)->reveal()), "contents");
  const auto mac_fails = [](const Result<crypto::SecretBytes>& opened) {
    return !opened && opened.error().code() == Errc::decryption_failed &&
           opened.error().detail().find("nothing was decrypted") != std::string::npos;
  };
  for (std::size_t i = 0; i < 12 + sealed.ciphertext.size() + 32; ++i) {
    auto changed = sealed;
    if (i < 12)
      changed.iv[i] ^= 1;
    else if (i < 12 + sealed.ciphertext.size())
      changed.ciphertext[i - 12] ^= 1;
    else
      changed.mac[i - 12 - sealed.ciphertext.size()] ^= 1;
    EXPECT_TRUE(mac_fails(open_page(key, id, changed))) << i;
  }
  EXPECT_TRUE(mac_fails(open_page(key, {.vm = "vn", .page = 1, .version = 1}, sealed)));
  EXPECT_TRUE(mac_fails(open_page(key, {.vm = "vm", .page = 2, .version = 1}, sealed)));
  EXPECT_TRUE(mac_fails(open_page(key, {.vm = "vm", .page = 1, .version = 2}, sealed)));
  EXPECT_TRUE(mac_fails(open_page(crypto::Secret<32>{ByteArray<32>{2}}, id, sealed)));
  auto shorter = sealed;
  shorter.ciphertext.pop_back();
  EXPECT_TRUE(mac_fails(open_page(key, id, shorter)));
}

TEST(PageCipher, IsTheSameForTheSameAndNeverReusesANonce) {
  const auto key = crypto::Secret<32>{ByteArray<32>{1}};
  const PageId id{.vm = "vm", .page = 1, .version = 1};
  const auto one = seal_page(key, id, as_bytes("one"));
  EXPECT_EQ(one.mac, seal_page(key, id, as_bytes("one")).mac);
  EXPECT_NE(one.iv, seal_page(key, id, as_bytes("two")).iv);
  EXPECT_NE(one.iv, seal_page(key, {.vm = "vm", .page = 1, .version = 2}, as_bytes("one")).iv);
}

}  // namespace
}  // namespace cloister::lab_service::test
