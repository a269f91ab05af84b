#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::appraisal {
namespace {

namespace json = codec::json;
using evidence::TeeType;
using test::SyntheticPlatform;

attestation::AuthenticEvidence authentic(const SyntheticPlatform& platform) {
  const auto built = platform.build();
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  auto outcome = attestation::verify(*evidence::parse_quote(built.quote), *evidence::parse_documents(built.collateral),
                                     anchors, SyntheticPlatform::now());
  EXPECT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  return std::move(*outcome.evidence);
}

attestation::AuthenticEvidence authentic(const test::SyntheticSnp& chip) {
  const auto built = chip.build();
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  auto outcome = attestation::verify(*evidence::parse_snp_report(built.report), built.endorsements, anchors,
                                     test::SyntheticSnp::now());
  EXPECT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  return std::move(*outcome.evidence);
}

Policy compiled(std::string text) {
  auto policy = Policy::compile("p.rego", std::move(text));
  EXPECT_TRUE(policy.ok()) << policy.error().text();
  return std::move(policy).value();
}
Appraisal decided(std::string text, const SyntheticPlatform& platform = SyntheticPlatform{}) {
  return decide(compiled(std::move(text)), authentic(platform), {});
}
std::string reasons(const Appraisal& appraisal) {
  std::string out;
  for (const auto& reason : appraisal.reasons) out += std::string{to_string(reason.code)} + ": " + reason.detail + '\n';
  return out;
}

json::Value list(ByteView digest) { return json::Array{json::Value{codec::to_hex(digest)}}; }

json::Value reference_of(SyntheticPlatform& platform) {
  return json::Object{{"mr_td", list(platform.td().mr_td)},
                      {"rtmr_1", list(platform.td().rtmr[1])},
                      {"rtmr_2", list(platform.td().rtmr[2])}};
}

// --- tiers ---

TEST(Tier, IsThatOfAr4si) {
  const auto expect = [](Tier tier, std::initializer_list<int> values) {
    for (const int value : values) EXPECT_EQ(tier_of(static_cast<std::int8_t>(value)), tier) << value;
  };
  expect(Tier::none, {-1, 0, 1});
  expect(Tier::affirming, {-32, -2, 2, 31});
  expect(Tier::warning, {-96, -33, 32, 95});
  expect(Tier::contraindicated, {-128, -97, 96, 127});
}

TEST(Tier, HasANameThatIsReadBack) {
  for (const auto tier : {Tier::none, Tier::affirming, Tier::warning, Tier::contraindicated}) {
    EXPECT_EQ(tier_from_string(to_string(tier)), tier);
  }
  EXPECT_FALSE(tier_from_string("fine"));
}

// --- the form of a policy's answer ---

TEST(Decide, AcceptsWhatIsAffirmed) {
  const auto appraisal = decided("package policy\nimport rego.v1\ntrust_claims := {\"hardware\": 2, \"file-system\": 0}\n");
  EXPECT_TRUE(appraisal.accepted) << reasons(appraisal);
  EXPECT_EQ(appraisal.status, Tier::affirming);
  ASSERT_EQ(appraisal.claims.size(), 2U);
  EXPECT_TRUE(appraisal.extensions.is_null());
}

TEST(Decide, TheWorstClaimIsTheStatus) {
  EXPECT_EQ(decided("package policy\ntrust_claims := {\"hardware\": 2, \"executables\": 33}").status, Tier::warning);
  EXPECT_EQ(decided("package policy\ntrust_claims := {\"hardware\": 96, \"executables\": 33}").status, Tier::contraindicated);
}

TEST(Decide, RefusesEveryOtherTier) {
  for (const auto* value : {"32", "95", "96", "127", "-33", "-128", "1", "-1"}) {
    const auto appraisal = decided("package policy\ntrust_claims := {\"hardware\": " + std::string{value} + ", \"executables\": 3}");
    EXPECT_FALSE(appraisal.accepted) << value;
    ASSERT_EQ(appraisal.reasons.size(), 1U) << value;
    EXPECT_EQ(appraisal.reasons[0].code, Errc::appraisal_not_affirming);
  }
}

TEST(Decide, RefusesAPolicyThatAssertsNothing) {
  for (const auto* claims : {"{}", "{\"hardware\": 0}"}) {
    const auto appraisal = decided("package policy\ntrust_claims := " + std::string{claims});
    EXPECT_EQ(reasons(appraisal), "appraisal_not_affirming: the policy asserts nothing\n");
  }
}

TEST(Decide, RefusesAnswersOfAnotherForm) {
  const auto failure = [](const std::string& text) {
    const auto appraisal = decided("package policy\n" + text);
    EXPECT_FALSE(appraisal.accepted) << text;
    return appraisal.reasons.empty() ? std::string{} : reasons(appraisal);
  };
  EXPECT_EQ(failure("allow := true"), "policy_evaluation_failed: data.policy.trust_claims is undefined\n");
  EXPECT_EQ(failure("trust_claims := [2]"), "policy_evaluation_failed: data.policy.trust_claims is no object\n");
  EXPECT_EQ(failure("trust_claims := {\"hardware\": 2, \"firmware\": 2}"),
            "policy_evaluation_failed: firmware is no trust claim of AR4SI\n");
  for (const auto* value : {"128", "-129", "2.5", "\"2\"", "null", "true"}) {
    EXPECT_EQ(failure("trust_claims := {\"hardware\": " + std::string{value} + "}"),
              "policy_evaluation_failed: hardware: an integer of 8 bits expected\n");
  }
  EXPECT_EQ(failure("trust_claims := {\"hardware\": 2}\ntrust_claims := {\"hardware\": 3}").substr(0, 25), "policy_evaluation_failed:");
}

TEST(Decide, AnotherPackageIsUndefined) {
  EXPECT_EQ(reasons(decided("package other\ntrust_claims := {\"hardware\": 2}")),
            "policy_evaluation_failed: data.policy.trust_claims is undefined\n");
}

TEST(Decide, GivesExtensions) {
  const auto appraisal = decided("package policy\ntrust_claims := {\"hardware\": 2}\nextensions := [{\"name\": \"x\", \"value\": input.report_data}]");
  ASSERT_NE(appraisal.extensions.as_array(), nullptr);
  EXPECT_EQ(appraisal.extensions.as_array()->front().find("value")->as_string()->size(), 128U);
}

TEST(Decide, NoPolicyAcceptsARevokedTcb) {
  SyntheticPlatform platform;
  platform.tcb_info.levels[0].status = evidence::TcbStatus::revoked;
  const auto appraisal = decided("package policy\ntrust_claims := {\"hardware\": 2}", platform);
  EXPECT_FALSE(appraisal.accepted);
  EXPECT_EQ(reasons(appraisal), "tcb_status_not_accepted: the TCB is Revoked\n");
}

TEST(Decide, SaysWhichRuleDecided) {
  const auto appraisal = decided(R"(package policy
default hardware := 97
hardware := 2 if { input.tdx.tcb_status == "OutOfDate" }
file_system := 2 if { input.tdx.tcb_status == "UpToDate" }
trust_claims := {"hardware": hardware, "file-system": file_system, "executables": 3}
)");
  ASSERT_EQ(appraisal.claims.size(), 3U);
  std::vector<std::string> texts;
  for (const auto& claim : appraisal.claims) texts.push_back(describe(claim));
  std::ranges::sort(texts);
  EXPECT_EQ(texts, (std::vector<std::string>{"executables is 3 (affirming), by trust_claims at p.rego:5",
                                             "file-system is 2 (affirming), by file_system at p.rego:4",
                                             "hardware is 97 (contraindicated), by the default of hardware at p.rego:2"}));
}

TEST(Policy, RefusesWhatDoesNotCompile) {
  const auto policy = Policy::compile("p.rego", "package policy\ntrust_claims := {");
  ASSERT_FALSE(policy.ok());
  EXPECT_EQ(policy.error().code(), Errc::policy_invalid);
  EXPECT_EQ(policy.error().detail().substr(0, 7), "p.rego:") << policy.error().detail();
}

// --- claims ---

std::string claim(const json::Value& claims, std::initializer_list<std::string_view> path) {
  const auto* at = &claims;
  for (const auto name : path) {
    at = at->find(name);
    if (at == nullptr) return "absent";
  }
  return at->as_string() != nullptr ? *at->as_string() : json::write(*at);
}

TEST(Claims, OfATdHaveTrusteesNames) {
  SyntheticPlatform platform;
  platform.td().mr_td.fill(0xAB);
  platform.td().rtmr[3].fill(0xCD);
  platform.td().xfam = 0x42E7;
  platform.tcb_info.levels[0].advisory_ids = {"INTEL-SA-00001"};
  const auto claims = claims_of(authentic(platform));
  EXPECT_EQ(claim(claims, {"tdx", "quote", "header", "version"}), "0400");
  EXPECT_EQ(claim(claims, {"tdx", "quote", "header", "att_key_type"}), "0200");
  EXPECT_EQ(claim(claims, {"tdx", "quote", "header", "tee_type"}), "81000000");
  EXPECT_EQ(claim(claims, {"tdx", "quote", "header", "vendor_id"}), "939a7233f79c4ca9940a0db3957f0607");
  EXPECT_EQ(claim(claims, {"tdx", "quote", "body", "mr_td"}), codec::to_hex(platform.td().mr_td));
  EXPECT_EQ(claim(claims, {"tdx", "quote", "body", "rtmr_3"}).substr(0, 4), "cdcd");
  EXPECT_EQ(claim(claims, {"tdx", "quote", "body", "xfam"}), "e742000000000000");
  EXPECT_EQ(claim(claims, {"tdx", "td_attributes", "debug"}), "false");
  EXPECT_EQ(claim(claims, {"tdx", "td_attributes", "septve_disable"}), "true");
  EXPECT_EQ(claim(claims, {"tdx", "tcb_status"}), "UpToDate");
  EXPECT_EQ(claim(claims, {"tdx", "platform", "fmspc"}), codec::to_hex(platform.platform->fmspc));
  EXPECT_EQ(claim(claims, {"tdx", "platform", "ppid"}), codec::to_hex(platform.platform->ppid));
  EXPECT_EQ(claim(claims, {"tdx", "platform", "pce_id"}), codec::to_hex(platform.platform->pce_id));
  EXPECT_EQ(claim(claims, {"tdx", "advisory_ids"}), R"(["INTEL-SA-00001"])");
  EXPECT_EQ(claim(claims, {"tdx", "collateral_expiration_status"}), "0");
  EXPECT_EQ(claim(claims, {"report_data"}).size(), 128U);
  EXPECT_EQ(claim(claims, {"sgx"}), "absent");
}

TEST(Claims, OfAnEnclaveHaveTrusteesNames) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.enclave().mr_signer.fill(0x11);
  platform.enclave().isv_svn = 0x0102;
  const auto claims = claims_of(authentic(platform));
  EXPECT_EQ(claim(claims, {"sgx", "header", "version"}), "0300");
  EXPECT_EQ(claim(claims, {"sgx", "header", "att_key_data_0"}), "00000000");
  EXPECT_EQ(claim(claims, {"sgx", "body", "mr_signer"}), std::string(64, '1'));
  EXPECT_EQ(claim(claims, {"sgx", "body", "isv_svn"}), "0201");
  EXPECT_EQ(claim(claims, {"sgx", "body", "attributes.flags"}).size(), 16U);
  EXPECT_EQ(claim(claims, {"sgx", "tcb_status"}), "UpToDate");
  EXPECT_EQ(claim(claims, {"tdx"}), "absent");
}

TEST(Claims, OfAnSnpGuestHaveTrusteesNames) {
  test::SyntheticSnp chip;
  chip.body.measurement.fill(0xAB);
  chip.body.host_data.fill(0xCD);
  chip.body.policy |= 0x0102 | evidence::snp_policy::kSmt | evidence::snp_policy::kSingleSocket;
  const auto claims = claims_of(authentic(chip));
  const auto tcb = evidence::snp_tcb(chip.body.reported_tcb, evidence::SnpProduct::milan);
  EXPECT_EQ(claim(claims, {"snp", "measurement"}), codec::to_hex(chip.body.measurement));
  EXPECT_EQ(claim(claims, {"snp", "init_data"}), codec::to_hex(chip.body.host_data));
  EXPECT_EQ(claim(claims, {"snp", "report_data"}), codec::to_hex(chip.body.report_data));
  EXPECT_EQ(claim(claims, {"report_data"}), codec::to_hex(chip.body.report_data));
  EXPECT_EQ(claim(claims, {"snp", "policy_abi_major"}), std::to_string(chip.body.policy >> 8 & 0xFF));
  EXPECT_EQ(claim(claims, {"snp", "policy_abi_minor"}), std::to_string(chip.body.policy & 0xFF));
  EXPECT_EQ(claim(claims, {"snp", "policy_smt_allowed"}), "true");
  EXPECT_EQ(claim(claims, {"snp", "policy_single_socket"}), "true");
  EXPECT_EQ(claim(claims, {"snp", "policy_debug_allowed"}), "false");
  EXPECT_EQ(claim(claims, {"snp", "policy_migrate_ma"}), "false");
  EXPECT_EQ(claim(claims, {"snp", "reported_tcb_bootloader"}), std::to_string(tcb.bootloader));
  EXPECT_EQ(claim(claims, {"snp", "reported_tcb_tee"}), std::to_string(tcb.tee));
  EXPECT_EQ(claim(claims, {"snp", "reported_tcb_snp"}), std::to_string(tcb.snp));
  EXPECT_EQ(claim(claims, {"snp", "reported_tcb_microcode"}), std::to_string(tcb.microcode));
  EXPECT_EQ(claim(claims, {"snp", "reported_tcb_fmc"}), "absent");
  EXPECT_EQ(claim(claims, {"snp", "product"}), "Milan");
  EXPECT_EQ(claim(claims, {"snp", "tcb_status"}), "absent");
  EXPECT_EQ(claim(claims, {"snp", "lab"}), "false");
  EXPECT_EQ(claim(claims, {"tdx"}), "absent");
}

// --- the built-in policy ---

TEST(BuiltinPolicy, AffirmsWhatItKnows) {
  SyntheticPlatform platform;
  platform.td().mr_td.fill(1);
  const auto appraisal = decide(Policy::builtin(), authentic(platform), reference_of(platform));
  EXPECT_TRUE(appraisal.accepted) << reasons(appraisal);
}

TEST(BuiltinPolicy, RefusesUnknownMeasurements) {
  SyntheticPlatform platform;
  const auto evidence = authentic(platform);
  EXPECT_FALSE(decide(Policy::builtin(), evidence, {}).accepted);
  for (const auto* name : {"mr_td", "rtmr_1", "rtmr_2"}) {
    auto reference = reference_of(platform);
    reference.set(name, json::Array{std::string(96, 'f')});
    const auto appraisal = decide(Policy::builtin(), evidence, reference);
    ASSERT_EQ(appraisal.reasons.size(), 1U) << name;
    EXPECT_EQ(appraisal.reasons[0].detail.substr(0, 14), "executables is");
    EXPECT_EQ(appraisal.status, Tier::warning);
  }
}

TEST(BuiltinPolicy, RefusesEveryStatusButUpToDate) {
  for (const auto status : {evidence::TcbStatus::sw_hardening_needed, evidence::TcbStatus::configuration_needed,
                            evidence::TcbStatus::configuration_and_sw_hardening_needed, evidence::TcbStatus::out_of_date,
                            evidence::TcbStatus::out_of_date_configuration_needed}) {
    SyntheticPlatform platform;
    platform.tcb_info.levels[0].status = status;
    const auto appraisal = decide(Policy::builtin(), authentic(platform), reference_of(platform));
    ASSERT_EQ(appraisal.reasons.size(), 1U);
    EXPECT_EQ(appraisal.reasons[0].detail.substr(0, 14), "hardware is 97");
  }
}

TEST(BuiltinPolicy, RefusesDebug) {
  for (const unsigned bit : {0U, 1U, 7U}) {
    SyntheticPlatform platform;
    platform.td().td_attributes |= 1U << bit;
    const auto appraisal = decide(Policy::builtin(), authentic(platform), reference_of(platform));
    ASSERT_EQ(appraisal.reasons.size(), 1U) << bit;
    EXPECT_EQ(appraisal.reasons[0].detail.substr(0, 19), "configuration is 96");
  }
}

TEST(BuiltinPolicy, KnowsEnclavesBySignerOrMeasurement) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto evidence = authentic(platform);
  EXPECT_FALSE(decide(Policy::builtin(), evidence, {}).accepted);
  EXPECT_TRUE(decide(Policy::builtin(), evidence, json::Object{{"mr_signer", list(platform.enclave().mr_signer)}}).accepted);
  EXPECT_TRUE(decide(Policy::builtin(), evidence, json::Object{{"mr_enclave", list(platform.enclave().mr_enclave)}}).accepted);
}

json::Value reference_of(const evidence::SnpReportBody& report, evidence::SnpProduct product) {
  const auto tcb = evidence::snp_tcb(report.reported_tcb, product);
  const auto one = [](std::uint8_t svn) { return json::Array{json::Value{std::int64_t{svn}}}; };
  json::Object out{{"snp_launch_measurement", list(report.measurement)}, {"snp_bootloader", one(tcb.bootloader)},
                   {"snp_tee_svn", one(tcb.tee)}, {"snp_snp_svn", one(tcb.snp)}, {"snp_microcode", one(tcb.microcode)}};
  if (tcb.fmc) out.emplace_back("snp_fmc", one(*tcb.fmc));
  return json::Value{std::move(out)};
}

TEST(BuiltinPolicy, AffirmsSnpGuestsThatItKnows) {
  for (const auto product : {evidence::SnpProduct::milan, evidence::SnpProduct::turin}) {
    const test::SyntheticSnp chip{product};
    const auto evidence = authentic(chip);
    const auto known = reference_of(chip.body, product);
    const auto good = decide(Policy::builtin(), evidence, known);
    EXPECT_TRUE(good.accepted) << reasons(good);
    EXPECT_FALSE(decide(Policy::builtin(), evidence, {}).accepted);
    const auto refused = [&](const char* name, json::Value value, std::string_view reason) {
      auto other = known;
      other.set(name, std::move(value));
      const auto bad = decide(Policy::builtin(), evidence, other);
      ASSERT_EQ(bad.reasons.size(), 1U) << name;
      EXPECT_TRUE(bad.reasons[0].detail.starts_with(reason)) << reasons(bad);
    };
    for (const auto* name : {"snp_bootloader", "snp_tee_svn", "snp_snp_svn", "snp_microcode"}) {
      refused(name, json::Array{json::Value{std::int64_t{255}}}, "hardware is 97");
    }
    if (product == evidence::SnpProduct::turin) refused("snp_fmc", json::Array{}, "hardware is 97");
    refused("snp_launch_measurement", json::Array{std::string(96, 'f')}, "executables is 33");
  }
}

TEST(BuiltinPolicy, NamesImagesAndUsersThatCanBe) {
  const auto said = [](std::string_view containers) {
    const auto claims = json::parse(R"({"init_data_claims": {"agent_policy_claims": {"containers": )" + std::string{containers} + "}}}").value();
    const auto appraisal = decide_sample(Policy::builtin(), claims, {});
    const auto* list = appraisal.extensions.as_array();
    return list == nullptr ? std::string{"nothing"} : json::write(*list->front().find("value"));
  };
  const auto of_user = [&](std::string_view uid) {
    return said(R"([{"OCI": {"Process": {"User": {"UID": 0}}}}, {"OCI": {"Process": {"User": {"UID": )" + std::string{uid} + "}}}}]");
  };
  EXPECT_EQ(of_user("4294967295"), R"({"validated":{"container_uids":[0,4294967295]}})");
  for (const auto* uid : {"4294967296", "-1", "1.5", "\"1\"", "null", "[1]", "true", "1e30"}) EXPECT_EQ(of_user(uid), "nothing") << uid;
  const auto of_image = [&](std::string_view name) {
    return said(R"([{"OCI": {"Annotations": {"io.kubernetes.cri.image-name": )" + std::string{name} + "}}}]");
  };
  EXPECT_EQ(of_image("\"nginx\""), R"({"validated":{"container_images":["nginx"]}})");
  for (const auto* name : {"1", "[\"nginx\"]", "{}", "null"}) EXPECT_EQ(of_image(name), "nothing") << name;
}

TEST(BuiltinPolicy, RefusesSnpGuestsUnderDebugInMigrationOrOfTheHost) {
  const auto refused = [](auto change) {
    test::SyntheticSnp chip;
    change(chip.body);
    const auto bad = decide(Policy::builtin(), authentic(chip), reference_of(chip.body, evidence::SnpProduct::milan));
    ASSERT_EQ(bad.reasons.size(), 1U);
    EXPECT_TRUE(bad.reasons[0].detail.starts_with("configuration is 96")) << reasons(bad);
  };
  refused([](evidence::SnpReportBody& body) { body.policy |= evidence::snp_policy::kDebug; });
  refused([](evidence::SnpReportBody& body) { body.policy |= evidence::snp_policy::kMigrateMa; });
  refused([](evidence::SnpReportBody& body) { body.vmpl = evidence::kSnpVmplHost; });
}

TEST(BuiltinPolicy, AffirmsRealSnpGuests) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto& [name, product] : {std::pair{"milan", evidence::SnpProduct::milan}, {"genoa", evidence::SnpProduct::genoa}}) {
    const auto folder = vectors / "attestation/snp/tav";
    const auto report = evidence::parse_snp_report(test::read_file(folder / (std::string{name} + "_attestation_report.bin")));
    ASSERT_TRUE(report.ok()) << report.error().text();
    evidence::SnpEndorsements endorsements;
    for (const auto* certificate : {"_vcek.pem", "_ask.pem"}) {
      const auto chain = crypto::x509::parse_chain(test::read_text(folder / (std::string{name} + certificate)), 4);
      ASSERT_TRUE(chain.ok()) << chain.error().text();
      for (const auto& one : *chain) endorsements.certificates.push_back(one);
    }
    const auto outcome = attestation::verify(*report, endorsements, attestation::TrustAnchors::vendors(), *parse_rfc3339("2026-03-01T00:00:00Z"));
    ASSERT_TRUE(outcome.evidence.has_value()) << name << outcome.report.error()->text();
    const auto appraisal = decide(Policy::builtin(), *outcome.evidence, reference_of(report->body(), product));
    EXPECT_TRUE(appraisal.accepted) << name << reasons(appraisal);
    EXPECT_FALSE(decide(Policy::builtin(), *outcome.evidence, {}).accepted);
  }
}

// --- the examples of docs/policies.md ---

Policy documented(std::string name = "td.rego", std::size_t number = 0) {
  const auto all = test::read_text(test::source_dir() / "docs/policies.md");
  auto begin = all.find("```rego\n");
  for (std::size_t i = 0; i < number; ++i) begin = all.find("```rego\n", begin + 1);
  EXPECT_NE(begin, std::string::npos);
  const auto body = all.substr(begin + 8);
  auto policy = Policy::compile(std::move(name), body.substr(0, body.find("```")));
  EXPECT_TRUE(policy.ok()) << policy.error().text();
  return std::move(policy).value();
}

TEST(DocumentedPolicy, DoesWhatItIsSaidToDo) {
  SyntheticPlatform platform;
  auto reference = reference_of(platform);
  EXPECT_TRUE(decide(documented(), authentic(platform), reference).accepted);

  reference.set("mr_td", json::Array{std::string(96, 'f')});
  EXPECT_EQ(reasons(decide(documented(), authentic(platform), reference)),
            "appraisal_not_affirming: executables is 33 (warning), by the default of executables at td.rego:9\n");
}

TEST(DocumentedPolicy, AcceptsLevelsThatAreYoungEnough) {
  SyntheticPlatform platform;
  platform.tcb_info.levels[0].status = evidence::TcbStatus::out_of_date;
  platform.tcb_info.levels[0].advisory_ids = {"INTEL-SA-00960"};
  const auto evidence = authentic(platform);
  auto reference = reference_of(platform);
  reference.set("known_advisories", json::Array{"INTEL-SA-00960"});
  reference.set("min_tcb_date", to_rfc3339(*evidence.tcb().tcb_date));
  const auto accepted = decide(documented(), evidence, reference);
  EXPECT_TRUE(accepted.accepted) << reasons(accepted);

  auto younger = reference;
  younger.set("min_tcb_date", "2999-01-01T00:00:00Z");
  EXPECT_FALSE(decide(documented(), evidence, younger).accepted);
  auto unknown = reference;
  unknown.set("known_advisories", json::Array{});
  EXPECT_FALSE(decide(documented(), evidence, unknown).accepted);
}

TEST(DocumentedSnpPolicy, DoesWhatItIsSaidToDo) {
  const test::SyntheticSnp chip;
  const auto policy = documented("snp.rego", 1);
  const auto with = [&](std::int64_t least, const char* product) {
    return decide(policy, authentic(chip), json::Object{{"min_snp", json::Object{{product, json::Value{least}}}},
                                                       {"measurement", list(chip.body.measurement)}});
  };
  const std::int64_t have = evidence::snp_tcb(chip.body.reported_tcb, evidence::SnpProduct::milan).snp;
  EXPECT_TRUE(with(have, "Milan").accepted) << reasons(with(have, "Milan"));
  EXPECT_FALSE(with(have + 1, "Milan").accepted);
  EXPECT_FALSE(with(have, "Genoa").accepted);
}

// --- what was affirmed ---

TEST(Appraise, GivesAffirmedEvidenceExactlyWhenAccepted) {
  SyntheticPlatform platform;
  const auto run = [&](const json::Value& reference) {
    auto evidence = authentic(platform);
    const auto expected = evidence.claims().report_data();
    return appraise(Policy::builtin(), attestation::bind(std::move(evidence), expected).value(), reference);
  };
  EXPECT_TRUE(run(reference_of(platform)).second.has_value());
  EXPECT_FALSE(run({}).second.has_value());
}

}  // namespace
}  // namespace cloister::appraisal
