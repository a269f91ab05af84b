#include "lab.hpp"

#include "seeded_random.hpp"
#include "support/support.hpp"

/// VMs on the machines with SEV-SNP: what they show is what the machines have.
namespace cloister::lab_service::test {
namespace {

using evidence::SnpProduct;
namespace policy = evidence::snp_policy;

constexpr std::uint64_t kPolicy = policy::kMustBeOne | policy::kSmt;
constexpr SnpProduct kProducts[] = {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin};

std::string lower(SnpProduct product) {
  std::string out{evidence::to_string(product)};
  out[0] = static_cast<char>(out[0] + ('a' - 'A'));
  return out;
}

evidence::SnpReport report_of(const Answer& answer) {
  return evidence::parse_snp_report(codec::from_base64(answer["report"]).value()).value();
}

/// An owner's signature over what a VM is to be.
struct Signed {
  lab_snp::IdBlock block{.launch_digest = measure::snp_launch_digest(vm_launch(SnpProduct::genoa)).value(),
                         .guest_svn = 7,
                         .policy = kPolicy};
  crypto::EcPrivateKey id_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  crypto::EcPrivateKey author_key = crypto::EcPrivateKey::generate(crypto::Curve::p384);
  lab_snp::IdAuth auth;

  Signed() { sign(); }
  void sign() { auth = lab_snp::sign_id_block(block, id_key, &author_key); }
  [[nodiscard]] std::string members(bool base64 = false) const {
    const auto bytes = lab_snp::encode_id_block(block);
    const auto more = lab_snp::encode_id_auth(auth);
    return R"("id_block":")" + (base64 ? codec::to_base64(bytes) : codec::to_hex(bytes)) + R"(","id_auth":")" +
           (base64 ? codec::to_base64(more) : codec::to_hex(more)) + '"';
  }
};

class VmLaunch : public Lab {
 protected:
  Answer launch_with(const std::string& members) { return post("/vm/launch", R"({"owner":"bob",)" + members + '}'); }
  Answer report(const std::string& vm) { return post("/vm/attest?vm_id=" + vm, ""); }
  [[nodiscard]] bool nothing_runs(const std::string& product = "genoa") {
    const auto map = get("/memory/rmp?product=" + product);
    return map.body.find("rows")->as_array()->empty() && map.body.find("firmware")->as_array()->empty() &&
           get("/vms").body.find("vms")->as_array()->empty();
  }
  /// Refused as a whole: with this member, and nothing is left of it.
  void expect_refused(const std::string& members, const std::string& why) {
    const auto refused = launch_with(members);
    EXPECT_EQ(refused.status, 422) << members.substr(0, 100);
    EXPECT_THAT(refused.text(), testing::HasSubstr(why)) << members.substr(0, 100);
    EXPECT_TRUE(nothing_runs());
  }
  std::string reported(const std::string& product) {
    return json::write(*get("/vm/platform?product=" + product).body.find("reported"));
  }
};

TEST_F(VmLaunch, DigestIsWhatTheMeasurementOfTheSamePagesIs) {
  for (const auto product : kProducts) {
    const auto query = "?product=" + lower(product);
    const auto vm = launch_with(R"("product":")" + lower(product) + '"');
    const auto expected = codec::to_hex(measure::snp_launch_digest(vm_launch(product)).value());
    EXPECT_EQ(vm["launch_digest"], expected);
    EXPECT_EQ(get("/vm/firmware" + query)["launch_digest"], expected);
    EXPECT_TRUE(same_bytes(codec::from_base64(get("/vm/firmware" + query)["firmware"]).value(), vm_firmware()));
    const auto info = get("/vms/" + vm["vm_id"]);
    EXPECT_EQ(*info.body.find("guest")->find("launch_digest")->as_string(), expected);
    EXPECT_EQ(json::write(*info.body.find("vmsa")), R"({"cs_base":"0xffff0000","rip":"0xfff0","sev_features":"0x1"})");
    const auto made = report_of(report(vm["vm_id"]));
    EXPECT_EQ(codec::to_hex(made.body().measurement), expected);
    EXPECT_EQ(made.product(), product);
    // Pages and order are those of the measurement, one by one.
    const auto digests = get("/vms/" + vm["vm_id"] + "/launch-digest");
    const auto& pages = *digests.body.find("pages")->as_array();
    measure::SnpLaunchDigest digest;
    std::size_t i = 0;
    ASSERT_TRUE(measure::for_each_snp_page(vm_launch(product), [&](const measure::SnpLaunchPage& page) -> Result<void> {
                  digest.update(page.type, page.gpa, page.contents);
                  EXPECT_EQ(*pages.at(i).find("digest")->as_string(), codec::to_hex(digest.value()));
                  EXPECT_EQ(*pages.at(i++).find("type")->as_int(), static_cast<int>(page.type));
                  return {};
                }).ok());
    EXPECT_EQ(i, pages.size());
  }
}

TEST_F(VmLaunch, IsOnTheMachineOfItsProduct) {
  for (const auto product : kProducts) {
    const auto vm = launch_with(R"("product":")" + lower(product) + '"')["vm_id"];
    const auto made = report(vm);
    const auto body = report_of(made).body();
    EXPECT_EQ(codec::to_hex(body.chip_id), get("/vm/platform?product=" + lower(product))["chip_id"]);
    const auto verdict =
        post("/verify", R"({"evidence":")" + made["report"] + R"(","report_data":")" + made["report_data"] + "\"}");
    EXPECT_EQ(verdict["verdict"], "accepted") << verdict.text();
    for (const auto other : kProducts) {
      const auto map = get("/memory/rmp?product=" + lower(other));
      EXPECT_EQ(map.body.find("rows")->as_array()->size(), other == product ? 7U : 0U);
      EXPECT_EQ(map.body.find("firmware")->as_array()->size(), other == product ? 2U : 0U);
    }
    EXPECT_EQ(crypto::x509::parse_chain(get("/trust?product=" + lower(product))["snp_chain"])->size(), 3U);
    EXPECT_EQ(del("/vms/" + vm).status, 200);
  }
  for (const auto* path : {"/vm/platform", "/vm/firmware", "/memory/rmp", "/trust"}) {
    EXPECT_EQ(get(std::string{path} + "?product=venice").status, 422) << path;
  }
  expect_refused(R"("product":"venice")", R"("loc":["body","product"])");
}

TEST_F(VmLaunch, IsDoneByTheCommandsOfFirmware) {
  const auto before = last_event();
  const auto vm = launch();
  std::string pages;
  for (int i = 0; i < 7; ++i)
    pages += i == 0 ? "SNP_ACTIVATE RMPUPDATE SNP_LAUNCH_UPDATE " : "RMPUPDATE SNP_LAUNCH_UPDATE ";
  EXPECT_EQ(events_after(before), "SNP_GCTX_CREATE SNP_LAUNCH_START " + pages + "SNP_LAUNCH_FINISH VMRUN");
  const auto middle = last_event();
  EXPECT_EQ(post("/vms/" + vm + "/stop", "").status, 200);
  EXPECT_EQ(events_after(middle),
            "SNP_DECOMMISSION RMPUPDATE RMPUPDATE RMPUPDATE RMPUPDATE RMPUPDATE RMPUPDATE RMPUPDATE");
  EXPECT_TRUE(get("/vms/" + vm).body.find("guest")->is_null());
  EXPECT_EQ(del("/vms/" + vm).status, 200);
  EXPECT_TRUE(nothing_runs());
}

TEST_F(VmLaunch, ShowsWhatFirmwareKnows) {
  const auto begun = post("/vm/launch", R"({"owner":"bob","step":true})");
  const auto vm = begun["vm_id"];
  const auto state = [&] {
    const auto info = get("/vms/" + vm);
    const auto* guest = info.body.find("guest");
    return guest->is_null() ? std::string{"none"} : *guest->find("state")->as_string();
  };
  std::string seen = state();
  for (auto next = begun.body.find("next")->is_null(); !next;) {
    const auto step = post("/vms/" + vm + "/step", "");
    ASSERT_EQ(step.status, 200);
    if (!seen.ends_with(state())) seen += ' ' + state();
    next = step.body.find("next")->is_null();
  }
  EXPECT_EQ(seen, "none launch running");
  const auto counts = [&] { return json::write(*get("/vms/" + vm).body.find("guest")->find("message_counts")); };
  EXPECT_EQ(counts(), "[0,0,0,0]");
  report(vm);
  EXPECT_EQ(counts(), "[2,0,0,0]");
  const auto map = get("/memory/rmp");
  const auto& firmware = *map.body.find("firmware")->as_array();
  ASSERT_EQ(firmware.size(), 2U);
  EXPECT_EQ(*firmware[0].find("state")->as_string(), "context");
  EXPECT_EQ(*firmware[0].find("spa")->as_string(), *get("/vms/" + vm).body.find("guest")->find("context")->as_string());
  EXPECT_EQ(*firmware[1].find("state")->as_string(), "firmware");
  for (const auto& row : firmware) EXPECT_EQ(*row.find("vm_id")->as_string(), vm);
}

TEST_F(VmLaunch, HasThePolicyThatItIsGiven) {
  const auto debug = kPolicy | policy::kDebug;
  const auto vm = launch_with(R"("policy":)" + std::to_string(debug))["vm_id"];
  EXPECT_EQ(get("/vms/" + vm)["policy"], "0xb0000");
  EXPECT_EQ(report_of(report(vm)).body().policy, debug);
  EXPECT_EQ(del("/vms/" + vm).status, 200);
  const auto usual = launch();
  EXPECT_EQ(report_of(report(usual)).body().policy, kPolicy);
  EXPECT_EQ(del("/vms/" + usual).status, 200);
  for (const auto wrong :
       {std::uint64_t{0}, policy::kSmt, policy::kMustBeOne, kPolicy | std::uint64_t{1} << 26, kPolicy | 0x0200}) {
    expect_refused(R"("policy":)" + std::to_string(wrong),
                   "\"policy: SNP_LAUNCH_START: POLICY_FAILURE: bits 16 (SMT, which is on) and 17 set");
  }
  for (const auto* wrong : {"-1", "\"0x30000\"", "true", "196608.5", "9223372036854775808"}) {
    expect_refused(R"("policy":)" + std::string{wrong}, R"("loc":["body","policy"])");
  }
}

TEST_F(VmLaunch, TakesWhatItsOwnerSigned) {
  Signed owner;
  for (const bool base64 : {false, true}) {
    const auto vm = launch_with(owner.members(base64) + R"(,"author_key":true)")["vm_id"];
    const auto info = get("/vms/" + vm);
    EXPECT_TRUE(*info.body.find("guest")->find("id_block")->as_bool());
    EXPECT_TRUE(*info.body.find("guest")->find("author_key")->as_bool());
    const auto body = report_of(report(vm)).body();
    EXPECT_EQ(body.guest_svn, 7U);
    EXPECT_EQ(body.id_key_digest, crypto::sha384(owner.auth.id_key));
    EXPECT_EQ(body.author_key_digest, crypto::sha384(owner.auth.author_key));
    EXPECT_TRUE(body.author_key_enabled);
    EXPECT_EQ(del("/vms/" + vm).status, 200);
  }
  const auto vm = launch_with(owner.members())["vm_id"];
  EXPECT_FALSE(*get("/vms/" + vm).body.find("guest")->find("author_key")->as_bool());
  EXPECT_EQ(report_of(report(vm)).body().author_key_digest, Digest48{});
}

TEST_F(VmLaunch, TakesNothingElseThanWhatItsOwnerSigned) {
  const auto refused = [this](const auto& change, const std::string& why, const std::string& more = "") {
    Signed owner;
    change(owner);
    expect_refused(owner.members() + more, '"' + why + '"');
  };
  refused(
      [](Signed& s) {
        ++s.block.launch_digest[0];
        s.sign();
      },
      "id_block: SNP_LAUNCH_FINISH: BAD_MEASUREMENT: the launch digest is " + get("/vm/firmware")["launch_digest"]);
  refused(
      [](Signed& s) {
        s.block.policy |= policy::kDebug;
        s.sign();
      },
      "id_block: SNP_LAUNCH_FINISH: POLICY_FAILURE");
  refused(
      [](Signed& s) {
        s.block.version = 2;
        s.sign();
      },
      "id_block: SNP_LAUNCH_FINISH: INVALID_PARAM");
  refused([](Signed& s) { s.auth.id_key_algorithm = 2; }, "id_auth: SNP_LAUNCH_FINISH: INVALID_PARAM");
  refused([](Signed& s) { s.block.guest_svn = 8; }, "id_auth: SNP_LAUNCH_FINISH: BAD_SIGNATURE");
  refused([](Signed& s) { s.auth.id_key_signature[0] ^= 1; }, "id_auth: SNP_LAUNCH_FINISH: BAD_SIGNATURE",
          R"(,"author_key":true)");
  refused([](Signed& s) { s.auth = lab_snp::sign_id_block(s.block, s.id_key); },
          "id_auth: SNP_LAUNCH_FINISH: INVALID_PARAM", R"(,"author_key":true)");
}

TEST_F(VmLaunch, NamesWhichPartOfAnIdBlockIsNone) {
  const Signed owner;
  const auto members = owner.members();
  const auto comma = members.find(',');
  expect_refused(members.substr(0, comma), R"("id_auth: )");
  expect_refused(members.substr(comma + 1), R"("id_block: )");
  expect_refused(R"("author_key":true)", R"("author_key: )");
  expect_refused(members + R"(,"author_key":1)", R"("loc":["body","author_key"])");
  for (const std::size_t size : {0U, 95U, 97U}) {
    for (const auto& text : {codec::to_hex(Bytes(size)), codec::to_base64(Bytes(size))}) {
      expect_refused(R"("id_block":")" + text + "\"," + members.substr(comma + 1), R"("loc":["body","id_block"])");
    }
  }
  expect_refused(R"("id_block":")" + std::string(192, 'g') + '"', R"("loc":["body","id_block"])");
  expect_refused(R"("id_block":")" + std::string(128, '%') + '"', R"("loc":["body","id_block"])");
  expect_refused(R"("id_block":7)", R"("loc":["body","id_block"])");
  expect_refused(members.substr(0, comma) + R"(,"id_auth":")" + codec::to_hex(Bytes(4095)) + '"',
                 R"("loc":["body","id_auth"])");
}

TEST_F(VmLaunch, MayReportAnOlderTcb) {
  const auto usual = reported("genoa");
  const std::string older = R"({"bootloader":9,"tee":0,"snp":22,"microcode":83})";
  const auto first = launch();
  const auto vm = launch_with(R"("tcb":)" + older)["vm_id"];
  EXPECT_EQ(reported("genoa"), older);
  EXPECT_EQ(json::write(*get("/vm/platform").body.find("committed")), usual);
  for (const auto& one : {vm, first}) {  // as on hardware: it is the machine's
    const auto made = report(one);
    const auto body = report_of(made).body();
    EXPECT_EQ(evidence::snp_tcb(body.reported_tcb, SnpProduct::genoa).microcode, 83);
    EXPECT_EQ(body.current_tcb, body.committed_tcb);
    EXPECT_NE(body.current_tcb, body.reported_tcb);
    EXPECT_EQ(post("/verify", R"({"evidence":")" + made["report"] + "\"}")["verdict"], "accepted");
  }
  const auto chain = crypto::x509::parse_chain(get("/trust")["snp_chain"]).value();
  const auto vek = evidence::vek_extension(*chain.front()).value();
  EXPECT_EQ(vek.microcode, 83);
  del("/vms/" + first);
  del("/vms/" + vm);
  // Who is refused changes nothing.
  expect_refused(R"("policy":0,"tcb":)" + usual, "policy: ");
  EXPECT_EQ(reported("genoa"), older);
  EXPECT_EQ(launch_with(R"("tcb":)" + usual).status, 200);
  EXPECT_EQ(reported("genoa"), usual);
}

TEST_F(VmLaunch, NamesWhatIsWrongWithATcb) {
  const auto wrong = [this](const std::string& tcb, const std::string& why, const std::string& product = "genoa") {
    expect_refused(R"("product":")" + product + R"(","tcb":)" + tcb, why);
  };
  const auto usual = reported("genoa");
  wrong(R"({"bootloader":11,"tee":0,"snp":24,"microcode":84})",
        "tcb: bootloader at most 10, snp at most 23 expected, which is what the machine committed");
  wrong(R"({"bootloader":10,"tee":0,"snp":23})", "tcb");
  wrong(R"({"bootloader":10,"tee":0,"snp":23,"microcode":256})", "microcode");
  wrong(R"({"bootloader":10,"tee":0,"snp":23,"microcode":-1})", "microcode");
  wrong(R"({"bootloader":10,"tee":0,"snp":23,"microcode":84,"fmc":1})", "fmc");  // which Genoa has not
  wrong(R"({"bootloader":1,"tee":1,"snp":4,"microcode":82})", "fmc", "turin");   // which Turin has
  wrong(R"("0a00")", R"("loc":["body","tcb"])");
  EXPECT_EQ(reported("genoa"), usual);
  EXPECT_EQ(launch_with(R"("product":"turin","tcb":)" + reported("turin")).status, 200);
}

TEST_F(VmLaunch, ThatIsSteppedAndRefusedIsStopped) {
  const auto vm = launch_with(R"("step":true,"policy":0)")["vm_id"];
  EXPECT_EQ(get("/vms/" + vm)["next"], "SNP_LAUNCH_START");
  const auto before = last_event();
  const auto refused = post("/vms/" + vm + "/step", "");
  EXPECT_EQ(refused.status, 422);
  EXPECT_THAT(refused["detail"], testing::StartsWith("policy: SNP_LAUNCH_START: POLICY_FAILURE: "));
  EXPECT_EQ(events_after(before), "SNP_LAUNCH_START");
  EXPECT_EQ(get("/vms/" + vm)["state"], "stopped");
  EXPECT_EQ(post("/vms/" + vm + "/step", "").status, 409);
  EXPECT_EQ(del("/vms/" + vm).status, 200);

  Signed owner;
  ++owner.block.launch_digest[0];
  const auto late = launch_with(R"("step":true,)" + owner.members())["vm_id"];
  for (int i = 0; i < 8; ++i) EXPECT_EQ(post("/vms/" + late + "/step", "").status, 200);
  EXPECT_EQ(post("/vms/" + late + "/step", "").status, 422);
  EXPECT_EQ(get("/memory/rmp").body.find("rows")->as_array()->size(), 0U);
  EXPECT_EQ(get("/vms/" + late)["state"], "stopped");
}

TEST_F(VmLaunch, ConfiguresTheTcbOnceNothingElseCanBeRefused) {
  const auto begun = launch_with(R"("step":true,"tcb":)" + reported("genoa"));
  std::string did;
  for (bool more = true; more;) {
    const auto step = post("/vms/" + begun["vm_id"] + "/step", "");
    ASSERT_EQ(step.status, 200);
    did = did.empty() ? step["did"] : did + ' ' + step["did"];
    more = !step.body.find("next")->is_null();
  }
  EXPECT_THAT(did, testing::EndsWith("SNP_LAUNCH_FINISH SNP_CONFIG VMRUN"));
}

TEST_F(VmLaunch, GuestsHaveKeysThatFollowFromWhatTheyAre) {
  const auto vm = launch();
  const auto key = [&](const std::string& of, const std::string& members = "") {
    const auto answer = post("/vm/derived-key", R"({"vm_id":")" + of + "\"" + members + "}");
    EXPECT_EQ(answer.status, 200) << answer.text();
    return answer["status"] + ' ' + answer["key_id"];
  };
  const auto plain = key(vm);
  EXPECT_THAT(plain, testing::MatchesRegex("SUCCESS [0-9a-f]+"));
  EXPECT_EQ(plain.size(), 8U + 16);
  EXPECT_EQ(key(vm), plain);
  std::set<std::string> all{plain};
  for (const auto* members :
       {R"(,"fields":["policy"])", R"(,"fields":["image_id"])", R"(,"fields":["family_id"])",
        R"(,"fields":["measurement"])", R"(,"fields":["guest_svn"])", R"(,"fields":["tcb_version"])",
        R"(,"root":"vmrk")", R"(,"vmpl":1)", R"(,"fields":["policy","measurement"])",
        R"(,"fields":["tcb_version"],"tcb":{"bootloader":10,"tee":0,"snp":23,"microcode":84})"}) {
    EXPECT_TRUE(all.insert(key(vm, members)).second) << members;
  }
  EXPECT_NE(key(launch()), plain);  // host data tell VMs apart
  EXPECT_EQ(key(vm, R"(,"vmpl":4)"), "INVALID_PARAM ");
  EXPECT_EQ(key(vm, R"(,"fields":["guest_svn"],"guest_svn":1)"), "INVALID_PARAM ");
  EXPECT_EQ(key(vm, R"(,"fields":["tcb_version"],"tcb":{"bootloader":10,"tee":0,"snp":23,"microcode":85})"),
            "INVALID_PARAM ");
  const auto wrong = [&](const std::string& members, const std::string& why) {
    const auto answer = post("/vm/derived-key", R"({"vm_id":")" + vm + "\"," + members + "}");
    EXPECT_EQ(answer.status, 422);
    EXPECT_THAT(answer.text(), testing::HasSubstr(why));
  };
  wrong(R"("fields":["colour"])", "fields: ");
  wrong(R"("fields":[1])", "fields: ");
  wrong(R"("fields":"policy")", R"("loc":["body","fields"])");
  wrong(R"("root":"vcek")", R"("loc":["body","root"])");
  wrong(R"("vmpl":-1)", R"("loc":["body","vmpl"])");
  wrong(R"("tcb":{})", "tcb");
  EXPECT_EQ(post("/vm/derived-key", R"({"vm_id":"nope"})").status, 404);
  EXPECT_EQ(post("/vms/" + vm + "/stop", "").status, 200);
  EXPECT_EQ(post("/vm/derived-key", R"({"vm_id":")" + vm + "\"}").status, 409);
}

/// VMs without a server, and the machine under them.
class VmMemory : public testing::Test {
 protected:
  Hardware& hardware_ = Hardware::shared();
  SnpMachine& machine_ = hardware_.machine->snp(Machine::kProduct);
  SystemClock clock_;
  log::NullLogger log_;
  EventLog events_{clock_};
  Vms vms_{*hardware_.machine, events_, log_, clock_};
  Vm& vm_ = *vms_.launch("bob", false).value();

  std::string decrypted(std::uint64_t page) {
    const auto opened = vms_.decrypt(vm_.id, page, "bob", std::nullopt);
    return opened ? std::string{as_text(opened->reveal())} : std::string{to_string(opened.error().code())};
  }
  [[nodiscard]] std::uint64_t last_page() const { return vm_.guest->pages.rbegin()->second; }
};

TEST_F(VmMemory, HoldsWhatWasEncrypted) {
  const std::string text = "a secret that the host may not read";
  ASSERT_TRUE(vms_.encrypt(vm_.id, 3, std::nullopt, as_bytes(text)).ok());
  EXPECT_EQ(decrypted(3), text);
  const auto& [gpa, spa] = *vm_.guest->pages.rbegin();
  const auto inside = machine_.memory.guest_read(lab_snp::Host::view(*vm_.guest, gpa));
  EXPECT_EQ(as_text(ByteView{inside.page}.first(text.size())), text);
  const auto outside = machine_.memory.host_read(spa);
  EXPECT_EQ(as_text(outside).find(text.substr(0, 8)), std::string::npos);
  EXPECT_EQ(machine_.memory.host_write(spa, {}), lab_snp::Fault::pf_rmp);
}

TEST_F(VmMemory, IsUnderKeysOfTheGuestsOwn) {
  const auto asked = [this] { return vm_.driver->messages().count(); };
  EXPECT_EQ(asked(), 0U);
  const auto first = vms_.encrypt(vm_.id, 3, std::nullopt, as_bytes("contents")).value();
  EXPECT_EQ(asked(), 2U);  // MSG_KEY_REQ and its answer
  const auto beside = vms_.encrypt(vm_.id, 4, std::nullopt, as_bytes("contents")).value();
  EXPECT_EQ(asked(), 2U);
  EXPECT_NE(first.sealed.ciphertext, beside.sealed.ciphertext);
  // The copy opens for this guest alone: another's key follows from other host data.
  const auto* other = vms_.launch("bob", false).value();
  ASSERT_TRUE(vms_.encrypt(other->id, 3, std::nullopt, as_bytes("contents")).ok());
  EXPECT_TRUE(vms_.decrypt(vm_.id, 3, "bob", first.sealed).ok());
  EXPECT_EQ(vms_.decrypt(other->id, 3, "bob", first.sealed).error().code(), Errc::decryption_failed);
  EXPECT_FALSE(same_bytes(vm_.page_root->reveal(), other->page_root->reveal()));
}

TEST_F(VmMemory, OpensNothingThatChangedInDram) {
  ASSERT_TRUE(vms_.encrypt(vm_.id, 3, std::nullopt, as_bytes("contents")).ok());
  auto there = machine_.memory.dram(last_page());
  there.bytes[0] ^= 1;
  machine_.memory.set_dram(last_page(), there);
  EXPECT_EQ(decrypted(3), "decryption_failed");
}

TEST_F(VmMemory, KeepsNothingOfALongerPage) {
  const std::string longer(8192, 'x');
  ASSERT_TRUE(vms_.encrypt(vm_.id, 3, std::nullopt, as_bytes(longer)).ok());
  EXPECT_EQ(decrypted(3), longer);
  ASSERT_TRUE(vms_.encrypt(vm_.id, 3, "bob", as_bytes("short")).ok());
  EXPECT_EQ(decrypted(3), "short");
  for (auto page = vm_.guest->pages.rbegin(); page != std::next(vm_.guest->pages.rbegin(), 2); ++page) {
    const auto loaded = machine_.memory.guest_read(lab_snp::Host::view(*vm_.guest, page->first));
    EXPECT_EQ(as_text(loaded.page).find('x'), std::string::npos);
  }
  ASSERT_TRUE(vms_.encrypt(vm_.id, 3, "bob", as_bytes(std::string(4097, 'y'))).ok());
  EXPECT_EQ(decrypted(3), std::string(4097, 'y'));
}

TEST_F(VmMemory, ThatIsFullIsSaidAndNothingChanges) {
  auto other = machine_.host.create({}).value();
  ASSERT_TRUE(machine_.host.activate(other, 99).ok());
  std::uint64_t gpa = 0;
  while (machine_.host.give_page(other, gpa).ok()) gpa += lab_snp::kSmallPage;
  machine_.host.take_page(other, 0);  // room for one
  const auto before = vm_.guest->pages;
  EXPECT_EQ(vms_.encrypt(vm_.id, 3, std::nullopt, as_bytes(std::string(8192, 'x'))).error().code(), Errc::conflict);
  EXPECT_EQ(vm_.guest->pages, before);
  EXPECT_TRUE(vm_.pages.empty());
  const auto refused = vms_.launch("bob", false);
  EXPECT_EQ(refused.error().code(), Errc::conflict);
  EXPECT_EQ(refused.error().detail(), "the machine's memory is full: delete a VM");
  EXPECT_EQ(vms_.all().size(), 1U);
  EXPECT_TRUE(vms_.encrypt(vm_.id, 3, std::nullopt, as_bytes("one")).ok());
  machine_.host.end(other);
  EXPECT_TRUE(vms_.launch("bob", false).ok());
}

TEST_F(VmMemory, IsGivenBackAtTheEnd) {
  {
    Vms more{*hardware_.machine, events_, log_, clock_};
    LaunchOptions milan;
    milan.product = SnpProduct::milan;
    ASSERT_TRUE(more.launch("alice", false, milan).ok());
    EXPECT_TRUE(hardware_.machine->snp(SnpProduct::milan).memory.rmp().entry(0)->assigned);
  }
  const auto& rmp = hardware_.machine->snp(SnpProduct::milan).memory.rmp();
  for (std::uint64_t spa = 0; spa < rmp.pages() * lab_snp::kSmallPage; spa += lab_snp::kSmallPage) {
    ASSERT_EQ(lab_snp::state_of(*rmp.entry(spa)), lab_snp::PageState::hypervisor);
  }
}

TEST(SeededRandom, IsTheSameForTheSameSeedAndNeverTwiceInOne) {
  const auto seed = [](std::uint8_t byte) { return crypto::Secret<32>{ByteArray<32>{byte}}; };
  SeededRandom one{seed(1)};
  SeededRandom same{seed(1)};
  SeededRandom other{seed(2)};
  const auto first = one.array<48>();
  EXPECT_EQ(first, same.array<48>());
  EXPECT_NE(first, other.array<48>());
  EXPECT_NE(first, one.array<48>());
  std::set<ByteArray<32>> seen;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(seen.insert(one.array<32>()).second);
}

}  // namespace
}  // namespace cloister::lab_service::test
