#include <gtest/gtest.h>

#include "cloister/attestation/verify_snp.hpp"
#include "cloister/policy/policy.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::policy {
namespace {

using evidence::SnpProduct;
using evidence::VekKind;
using test::SyntheticSnp;

attestation::AuthenticEvidence authentic(const SyntheticSnp& chip) {
  const auto built = chip.build();
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  auto outcome = attestation::verify(*evidence::parse_snp_report(built.report), built.endorsements, anchors, SyntheticSnp::now());
  EXPECT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  return std::move(*outcome.evidence);
}

void expect_refused(const Policy& policy, const SyntheticSnp& chip, Errc code) {
  const auto decision = decide(policy, authentic(chip), SyntheticSnp::now());
  ASSERT_EQ(decision.reasons.size(), 1U);
  EXPECT_EQ(to_string(decision.error().code()), to_string(code)) << decision.error().detail();
  EXPECT_FALSE(decision.accepted);
}
void expect_accepted(const Policy& policy, const SyntheticSnp& chip) {
  const auto decision = decide(policy, authentic(chip), SyntheticSnp::now());
  EXPECT_TRUE(decision.accepted) << decision.error().text();
}

TEST(DefaultSnpPolicy, AcceptsWhatIsNeitherDebugNorUnknown) {
  expect_accepted({}, SyntheticSnp{});
  expect_accepted({}, SyntheticSnp{SnpProduct::turin, VekKind::vlek, 5});
}

TEST(DefaultSnpPolicy, RefusesDebug) {
  SyntheticSnp chip;
  chip.body.policy |= evidence::snp_policy::kDebug;
  expect_refused({}, chip, Errc::debug_not_accepted);
  Policy policy;
  policy.allow_debug = true;
  expect_accepted(policy, chip);
}

TEST(DefaultSnpPolicy, RefusesBitsThatAreNotDefined) {
  Policy lax;
  lax.allow_reserved_attributes = true;
  for (unsigned bit = 26; bit < 64; ++bit) {
    SyntheticSnp chip;
    chip.body.policy |= std::uint64_t{1} << bit;
    expect_refused({}, chip, Errc::attributes_not_accepted);
  }
  for (const unsigned bit : {6U, 8U, 31U, 63U}) {
    SyntheticSnp chip;
    chip.body.platform_info |= std::uint64_t{1} << bit;
    expect_refused({}, chip, Errc::attributes_not_accepted);
    expect_accepted(lax, chip);
  }
}

TEST(DefaultSnpPolicy, RefusesReportsThatTheHostRequested) {
  SyntheticSnp chip;
  chip.body.vmpl = evidence::kSnpVmplHost;
  expect_refused({}, chip, Errc::vmpl_not_accepted);
  Policy policy;
  policy.snp.allow_host_requested = true;
  expect_accepted(policy, chip);
}

TEST(SnpPolicies, RefuseMigrationWhereItIsNotAllowed) {
  SyntheticSnp chip;
  chip.body.policy |= evidence::snp_policy::kMigrateMa;
  expect_accepted({}, chip);
  Policy policy;
  policy.allow_migratable = false;
  expect_refused(policy, chip, Errc::attributes_not_accepted);
}

TEST(SnpPolicies, BoundTheVmpl) {
  SyntheticSnp chip;
  chip.body.vmpl = 1;
  Policy policy;
  policy.snp.max_vmpl = 1;
  expect_accepted(policy, chip);
  policy.snp.max_vmpl = 0;
  expect_refused(policy, chip, Errc::vmpl_not_accepted);
}

TEST(SnpPolicies, SayWhichKeysMaySign) {
  Policy policy;
  policy.snp.allow_vlek = false;
  expect_accepted(policy, SyntheticSnp{});
  expect_refused(policy, SyntheticSnp{SnpProduct::milan, VekKind::vlek}, Errc::signing_key_not_accepted);
}

TEST(SnpPolicies, MayDemandTheChipId) {
  SyntheticSnp chip;
  Policy policy;
  policy.snp.allow_masked_chip_id = false;
  expect_accepted(policy, chip);
  chip.body.chip_id = {};
  expect_refused(policy, chip, Errc::chip_id_not_accepted);
}

TEST(SnpPolicies, MayDemandThatRevocationWasChecked) {
  SyntheticSnp chip;
  Policy policy;
  policy.snp.require_crl = true;
  expect_accepted(policy, chip);
  chip.crl.reset();
  expect_refused(policy, chip, Errc::revocation_not_checked);
  expect_accepted({}, chip);
}

TEST(SnpPolicies, MayRefuseFirmwareThatIsNotCommitted) {
  Policy policy;
  policy.snp.allow_provisional_firmware = false;
  expect_accepted(policy, SyntheticSnp{});
  SyntheticSnp chip;
  ++chip.body.current_tcb[7];
  expect_refused(policy, chip, Errc::provisional_firmware_not_accepted);
  chip = SyntheticSnp{};
  ++chip.body.current_version.build;
  expect_refused(policy, chip, Errc::provisional_firmware_not_accepted);
  expect_accepted({}, chip);
}

TEST(SnpPolicies, DemandAMinimumOfEveryComponentOfTheReportedTcb) {
  for (const auto product : {SnpProduct::milan, SnpProduct::turin}) {
    SyntheticSnp chip{product};
    const auto have = evidence::snp_tcb(chip.body.reported_tcb, product);
    Policy policy;
    policy.snp.min_tcb = {{product, have}};
    expect_accepted(policy, chip);
    for (const auto level : {&evidence::SnpTcb::bootloader, &evidence::SnpTcb::tee, &evidence::SnpTcb::snp, &evidence::SnpTcb::microcode}) {
      auto more = have;
      ++(more.*level);
      policy.snp.min_tcb = {{product, more}};
      expect_refused(policy, chip, Errc::tcb_too_low);
    }
  }
  Policy policy;
  policy.snp.min_tcb = {{SnpProduct::turin, evidence::SnpTcb{.fmc = 2}}};
  expect_refused(policy, SyntheticSnp{SnpProduct::turin}, Errc::tcb_too_low);
}

TEST(SnpPolicies, DemandAMinimumOfTheLaunchTcbApart) {
  SyntheticSnp chip;
  --chip.body.launch_tcb[6];
  Policy policy;
  policy.snp.min_tcb = {{SnpProduct::milan, evidence::SnpTcb{.fmc = std::nullopt, .snp = 24}}};
  expect_accepted(policy, chip);
  policy.snp.min_launch_tcb = policy.snp.min_tcb;
  expect_refused(policy, chip, Errc::tcb_too_low);
}

TEST(SnpPolicies, RefuseAProductForWhichNoMinimumIsGiven) {
  Policy policy;
  policy.snp.min_tcb = {{SnpProduct::milan, {}}};
  expect_refused(policy, SyntheticSnp{SnpProduct::genoa}, Errc::tcb_too_low);
}

TEST(SnpPolicies, DemandAndForbidBitsOfThePolicy) {
  Policy policy;
  policy.snp.required_policy = evidence::snp_policy::kSingleSocket;
  expect_refused(policy, SyntheticSnp{}, Errc::attributes_not_accepted);
  SyntheticSnp chip;
  chip.body.policy |= evidence::snp_policy::kSingleSocket;
  expect_accepted(policy, chip);
  policy = {};
  policy.snp.forbidden_policy = evidence::snp_policy::kSmt;
  expect_refused(policy, chip, Errc::attributes_not_accepted);
}

TEST(SnpPolicies, DemandAndForbidBitsOfThePlatform) {
  Policy policy;
  policy.snp.required_platform = evidence::snp_platform::kAliasCheckComplete;
  expect_refused(policy, SyntheticSnp{}, Errc::platform_not_accepted);
  policy = {};
  policy.snp.required_platform = evidence::snp_platform::kEcc;
  expect_accepted(policy, SyntheticSnp{});
  policy.snp.forbidden_platform = evidence::snp_platform::kSmt;
  expect_refused(policy, SyntheticSnp{}, Errc::platform_not_accepted);
}

TEST(SnpPolicies, DemandMitigationsAtLaunchAndNow) {
  Policy policy;
  policy.snp.required_mitigations = 3;
  SyntheticSnp chip{SnpProduct::genoa, VekKind::vcek, 5};  // launch 3, current 7
  expect_accepted(policy, chip);
  policy.snp.required_mitigations = 4;
  expect_refused(policy, chip, Errc::mitigations_not_accepted);
  chip.body.mitigations = evidence::SnpMitigations{.launch = 7, .current = 3};
  expect_refused(policy, chip, Errc::mitigations_not_accepted);
  const auto without = decide(policy, authentic(SyntheticSnp{SnpProduct::genoa, VekKind::vcek, 3}), SyntheticSnp::now());
  EXPECT_EQ(without.reasons.size(), 2U);
}

TEST(SnpPolicies, MayAcceptNoGuestOfTheKind) {
  Policy policy;
  policy.accepted_tees = {Tee::snp};
  expect_accepted(policy, SyntheticSnp{});
  policy.accepted_tees = {Tee::sgx, Tee::tdx};
  expect_refused(policy, SyntheticSnp{}, Errc::evidence_unsupported);
}

TEST(SnpPolicies, HoldNothingOfIntelsPlatformsAgainstAGuest) {
  Policy policy;
  policy.dcap = {.min_tcb_date = SyntheticSnp::now(), .grace_period_days = 0, .min_sgx_components = ByteArray<16>{1},
                 .min_tdx_components = ByteArray<16>{1}, .min_pce_svn = 1, .mr_seam = {{}}, .mr_signer_seam = {{}},
                 .allow_service_td = false, .allow_dynamic_platform = false, .allow_cached_keys = false, .allow_smt = false};
  expect_accepted(policy, SyntheticSnp{});
}

TEST(SnpMeasurements, MustAllFit) {
  const SyntheticSnp chip;
  Measurements all;
  all.measurement = chip.body.measurement;
  all.host_data = chip.body.host_data;
  all.id_key_digest = chip.body.id_key_digest;
  all.author_key_digest = chip.body.author_key_digest;
  all.family_id = chip.body.family_id;
  all.image_id = chip.body.image_id;
  all.min_guest_svn = chip.body.guest_svn;
  const auto with = [](const Measurements& measurements) {
    Policy policy;
    policy.measurements = {measurements};
    return policy;
  };
  expect_accepted(with(all), chip);
  const auto refuse = [&](auto change) {
    auto other = all;
    change(other);
    expect_refused(with(other), chip, Errc::measurement_not_accepted);
  };
  refuse([](Measurements& m) { (*m.measurement)[47] ^= 1; });
  refuse([](Measurements& m) { (*m.host_data)[0] ^= 1; });
  refuse([](Measurements& m) { (*m.id_key_digest)[0] ^= 1; });
  refuse([](Measurements& m) { (*m.author_key_digest)[0] ^= 1; });
  refuse([](Measurements& m) { (*m.family_id)[15] ^= 1; });
  refuse([](Measurements& m) { (*m.image_id)[0] ^= 1; });
  refuse([](Measurements& m) { ++*m.min_guest_svn; });
  refuse([](Measurements& m) { m = {}; });
  refuse([](Measurements& m) { m = {}; m.mrtd = Digest48{}; });
  refuse([](Measurements& m) { m = {}; m.mr_signer = Digest32{}; });
}

TEST(SnpMeasurements, OfOtherKindsFitNoGuest) {
  Measurements td;
  td.mrtd = Digest48{};
  Policy policy;
  policy.measurements = {td};
  expect_refused(policy, SyntheticSnp{}, Errc::measurement_not_accepted);
}

TEST(SnpPolicyJson, IsReadBackAsItWasWritten) {
  Policy policy;
  policy.snp.allow_vlek = policy.snp.allow_masked_chip_id = policy.snp.allow_provisional_firmware = false;
  policy.snp.allow_host_requested = policy.snp.require_crl = true;
  policy.snp.max_vmpl = 2;
  policy.snp.min_tcb = {{SnpProduct::milan, evidence::SnpTcb{std::nullopt, 4, 0, 24, 219}}, {SnpProduct::turin, evidence::SnpTcb{1, 2, 3, 4, 5}}};
  policy.snp.min_launch_tcb = {{SnpProduct::genoa, evidence::SnpTcb{std::nullopt, 1, 2, 3, 4}}};
  policy.snp.required_policy = evidence::snp_policy::kSingleSocket | evidence::snp_policy::kPageSwapDisabled;
  policy.snp.forbidden_policy = evidence::snp_policy::kSmt | evidence::snp_policy::kCxl;
  policy.snp.required_platform = evidence::snp_platform::kEcc | evidence::snp_platform::kAliasCheckComplete;
  policy.snp.forbidden_platform = evidence::snp_platform::kTio;
  policy.snp.required_mitigations = 0x8000000000000001;
  Measurements guest;
  guest.measurement = Digest48{1};
  guest.host_data = Digest32{2};
  guest.family_id = ByteArray<16>{3};
  guest.min_guest_svn = 4'000'000'000;
  policy.measurements = {guest};
  const auto read = parse_policy(codec::json::write(to_json(policy)));
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(*read, policy);
  EXPECT_EQ(digest(*read), digest(policy));
  EXPECT_NE(digest(policy), digest(Policy{}));
}

TEST(SnpPolicyJson, RefusesWhatItDoesNotKnow) {
  for (const auto* snp : {
           R"({"surprise":true})", R"({"allow_vlek":1})", R"({"max_vmpl":4})", R"({"max_vmpl":-1})", R"({"min_tcb":{}})",
           R"({"min_tcb":{"Rome":{"snp":1}}})", R"({"min_tcb":{"Milan":{"snp":1},"Rome":{"snp":1}}})",
           R"({"min_tcb":{"Milan":{"fmc":1}}})", R"({"min_tcb":{"Milan":{"snp":256}}})", R"({"min_tcb":7})",
           R"({"min_launch_tcb":{"Turin":{"svn":1}}})", R"({"required_policy":["everything"]})", R"({"required_policy":"smt"})",
           R"({"forbidden_policy":[1]})", R"({"required_platform":["debug"]})", R"({"forbidden_platform":["cxl"]})",
           R"({"required_mitigations":"1"})", R"({"required_mitigations":"0x"})", R"({"required_mitigations":"0x10000000000000000"})",
           R"({"required_mitigations":1})",
       }) {
    const auto policy = parse_policy(R"({"version":1,"snp":)" + std::string{snp} + '}');
    ASSERT_FALSE(policy.ok()) << snp;
    EXPECT_EQ(policy.error().code(), Errc::policy_invalid) << snp;
  }
  EXPECT_FALSE(parse_policy(R"({"version":1,"snp":7})").ok());
  const std::string both = R"({"version":1,"measurements":[{"family_id":")" + std::string(32, 'a') + R"(","isv_prod_id":1}]})";
  EXPECT_FALSE(parse_policy(both).ok());
}

TEST(SnpPolicyDigest, DiffersWithEveryMember) {
  std::vector<Policy> policies(14);
  policies[1].snp.allow_vlek = false;
  policies[2].snp.allow_masked_chip_id = false;
  policies[3].snp.allow_host_requested = true;
  policies[4].snp.allow_provisional_firmware = false;
  policies[5].snp.require_crl = true;
  policies[6].snp.max_vmpl = 0;
  policies[7].snp.min_tcb = {{SnpProduct::milan, {}}};
  policies[8].snp.min_launch_tcb = {{SnpProduct::milan, {}}};
  policies[9].snp.required_policy = evidence::snp_policy::kSmt;
  policies[10].snp.forbidden_policy = evidence::snp_policy::kSmt;
  policies[11].snp.required_platform = evidence::snp_platform::kSmt;
  policies[12].snp.forbidden_platform = evidence::snp_platform::kSmt;
  policies[13].snp.required_mitigations = 1;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(digest(policies[i]), digest(policies[j])) << i << ' ' << j;
  }
}

}  // namespace
}  // namespace cloister::policy
