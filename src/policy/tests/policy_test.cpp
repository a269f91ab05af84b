#include "cloister/policy/policy.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::policy {
namespace {

using attestation::TcbStatus;
using evidence::TeeType;
using test::SyntheticPlatform;

attestation::AuthenticEvidence authentic(const SyntheticPlatform& platform, std::size_t trailing = 0) {
  auto built = platform.build();
  built.quote.insert(built.quote.end(), trailing, 0);
  attestation::TrustAnchors anchors;
  anchors.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
  auto outcome = attestation::verify(*evidence::parse_quote(built.quote), *evidence::parse_documents(built.collateral),
                                     anchors, SyntheticPlatform::now());
  EXPECT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  return std::move(*outcome.evidence);
}

attestation::BoundEvidence bound(const SyntheticPlatform& platform) {
  auto evidence = authentic(platform);
  const auto expected = evidence.claims().report_data();
  return attestation::bind(std::move(evidence), expected).value();
}

std::vector<Errc> codes(const Decision& decision) {
  std::vector<Errc> out;
  for (const auto& reason : decision.reasons) out.push_back(reason.code);
  return out;
}

void expect_refused(const Policy& policy, const SyntheticPlatform& platform, Errc code) {
  const auto decision = decide(policy, authentic(platform), SyntheticPlatform::now());
  EXPECT_FALSE(decision.accepted);
  EXPECT_EQ(codes(decision), std::vector{code});
}
void expect_accepted(const Policy& policy, const SyntheticPlatform& platform) {
  const auto decision = decide(policy, authentic(platform), SyntheticPlatform::now());
  EXPECT_TRUE(decision.accepted) << decision.error().text();
}

SyntheticPlatform with_status(evidence::TcbStatus status) {
  SyntheticPlatform platform;
  platform.tcb_info.levels[0].status = status;
  return platform;
}

// --- statuses ---

TEST(DefaultPolicy, AcceptsUpToDateAlone) {
  expect_accepted({}, SyntheticPlatform{});
  for (const auto status : {evidence::TcbStatus::sw_hardening_needed, evidence::TcbStatus::configuration_needed,
                            evidence::TcbStatus::out_of_date, evidence::TcbStatus::revoked}) {
    expect_refused({}, with_status(status), Errc::tcb_status_not_accepted);
  }
}

TEST(Policy, AcceptsTheStatusesThatItLists) {
  Policy policy;
  policy.accepted_statuses = {TcbStatus::up_to_date, TcbStatus::out_of_date};
  expect_accepted(policy, with_status(evidence::TcbStatus::out_of_date));
  expect_refused(policy, with_status(evidence::TcbStatus::sw_hardening_needed), Errc::tcb_status_not_accepted);
}

TEST(Policy, NeverAcceptsRevokedOrNotSupported) {
  Policy policy;
  policy.accepted_statuses = {attestation::kTcbStatuses.begin(), attestation::kTcbStatuses.end()};
  expect_refused(policy, with_status(evidence::TcbStatus::revoked), Errc::tcb_status_not_accepted);
  SyntheticPlatform unknown;
  unknown.platform->components[0] = 0;
  expect_refused(policy, unknown, Errc::tcb_status_not_accepted);
}

// --- attributes ---

TEST(Policy, RefusesDebugUnlessItIsAllowed) {
  SyntheticPlatform td;
  td.td().td_attributes |= 1;
  SyntheticPlatform enclave{TeeType::sgx, 3};
  enclave.enclave().attributes[0] |= 2;
  Policy lenient;
  lenient.allow_debug = true;
  for (const auto* platform : {&td, &enclave}) {
    expect_refused({}, *platform, Errc::debug_not_accepted);
    expect_accepted(lenient, *platform);
  }
}

TEST(Policy, RefusesMigrationWhereItIsNotAllowed) {
  SyntheticPlatform platform;
  platform.td().td_attributes |= std::uint64_t{1} << 29;
  expect_accepted({}, platform);
  Policy policy;
  policy.allow_migratable = false;
  expect_refused(policy, platform, Errc::attributes_not_accepted);
}

TEST(Policy, DemandsVeDisableWhereAsked) {
  SyntheticPlatform platform;
  platform.td().td_attributes = 0;
  expect_accepted({}, platform);
  Policy policy;
  policy.require_ve_disable = true;
  expect_refused(policy, platform, Errc::attributes_not_accepted);
  expect_accepted(policy, SyntheticPlatform{});
  expect_accepted(policy, SyntheticPlatform{TeeType::sgx, 3});  // a rule for TDs alone
}

TEST(Policy, RefusesReservedAttributesUnlessTheyAreAllowed) {
  SyntheticPlatform platform;
  platform.td().td_attributes |= std::uint64_t{1} << 40;
  expect_refused({}, platform, Errc::attributes_not_accepted);
  Policy policy;
  policy.allow_reserved_attributes = true;
  expect_accepted(policy, platform);
}

// --- the rest ---

TEST(Policy, RefusesTrailingBytesWhereTheyAreNotAllowed) {
  EXPECT_TRUE(decide({}, authentic(SyntheticPlatform{}, 3), SyntheticPlatform::now()).accepted);
  Policy policy;
  policy.allow_trailing_bytes = false;
  EXPECT_EQ(codes(decide(policy, authentic(SyntheticPlatform{}, 3), SyntheticPlatform::now())), std::vector{Errc::trailing_bytes_not_accepted});
  expect_accepted(policy, SyntheticPlatform{});
}

TEST(Policy, DemandsTheEvaluationNumberOfBothDocuments) {
  Policy policy;
  policy.min_evaluation_data_number = 17;
  expect_accepted(policy, SyntheticPlatform{});
  SyntheticPlatform old_info;
  old_info.tcb_info.tcb_evaluation_data_number = 16;
  expect_refused(policy, old_info, Errc::evaluation_data_number_too_low);
  SyntheticPlatform old_identity;
  old_identity.qe_identity.tcb_evaluation_data_number = 16;
  expect_refused(policy, old_identity, Errc::evaluation_data_number_too_low);
}

TEST(Policy, KnowsAdvisoriesThatItDeniesAndThatItAllows) {
  auto platform = with_status(evidence::TcbStatus::out_of_date);
  platform.tcb_info.levels[0].advisory_ids = {"INTEL-SA-00001", "INTEL-SA-00002"};
  Policy policy;
  policy.accepted_statuses = {TcbStatus::out_of_date};
  expect_accepted(policy, platform);
  policy.denied_advisories = {"INTEL-SA-00002"};
  expect_refused(policy, platform, Errc::advisory_not_accepted);
  policy.denied_advisories = {};
  policy.allowed_advisories = {"INTEL-SA-00001"};
  expect_refused(policy, platform, Errc::advisory_not_accepted);
  policy.allowed_advisories = {"INTEL-SA-00001", "INTEL-SA-00002"};
  expect_accepted(policy, platform);
  policy.allowed_advisories.emplace();  // none
  EXPECT_EQ(decide(policy, authentic(platform), SyntheticPlatform::now()).reasons.size(), 2U);
}

TEST(Policy, GivesEveryReason) {
  auto platform = with_status(evidence::TcbStatus::out_of_date);
  platform.td().td_attributes |= 1;
  Policy policy;
  policy.min_evaluation_data_number = 18;
  EXPECT_EQ(codes(decide(policy, authentic(platform), SyntheticPlatform::now())),
            (std::vector{Errc::tcb_status_not_accepted, Errc::debug_not_accepted, Errc::evaluation_data_number_too_low,
                         Errc::evaluation_data_number_too_low}));
}

TEST(Policy, AcceptsTheKindsThatItLists) {
  Policy policy;
  policy.accepted_tees = {Tee::tdx};
  expect_accepted(policy, SyntheticPlatform{});
  expect_refused(policy, SyntheticPlatform{TeeType::sgx, 3}, Errc::evidence_unsupported);
  policy.accepted_tees = {Tee::sgx};
  expect_accepted(policy, SyntheticPlatform{TeeType::sgx, 3});
  expect_refused(policy, SyntheticPlatform{}, Errc::evidence_unsupported);
  policy.accepted_tees.emplace();
  expect_refused(policy, SyntheticPlatform{}, Errc::evidence_unsupported);
}

// --- Intel's platforms ---

TEST(DcapPolicies, DemandAMinimumDateOfTheOldestMatchedLevel) {
  const SyntheticPlatform platform;
  const auto date = *authentic(platform).tcb().tcb_date;
  Policy policy;
  policy.dcap.min_tcb_date = date;
  expect_accepted(policy, platform);
  policy.dcap.min_tcb_date = date + std::chrono::seconds{1};
  expect_refused(policy, platform, Errc::tcb_too_low);
  policy.dcap.min_tcb_date = date;
  SyntheticPlatform old_qe;
  for (auto& level : old_qe.qe_identity.levels) level.tcb_date = date - std::chrono::days{1};
  expect_refused(policy, old_qe, Errc::tcb_too_low);
}

TEST(DcapPolicies, EndTheAcceptanceOfAnOldTcbWithItsGracePeriod) {
  for (const auto status : {evidence::TcbStatus::out_of_date, evidence::TcbStatus::out_of_date_configuration_needed}) {
    const auto evidence = authentic(with_status(status));
    const auto date = *evidence.tcb().tcb_date;
    Policy policy;
    policy.accepted_statuses = {TcbStatus::out_of_date, TcbStatus::out_of_date_configuration_needed};
    policy.dcap.grace_period_days = 30;
    EXPECT_TRUE(decide(policy, evidence, date + std::chrono::days{30}).accepted);
    const auto late = decide(policy, evidence, date + std::chrono::days{30} + std::chrono::microseconds{1});
    EXPECT_EQ(codes(late), std::vector{Errc::tcb_status_not_accepted});
    EXPECT_NE(late.error().detail().find("grace period ended at " + to_rfc3339(date + std::chrono::days{30})), std::string::npos);
    policy.dcap.grace_period_days.reset();
    EXPECT_TRUE(decide(policy, evidence, date + std::chrono::days{30'000}).accepted);
  }
}

TEST(DcapPolicies, GiveNoGraceToAStatusThatIsNotListed) {
  Policy policy;
  policy.dcap.grace_period_days = 36'500;
  expect_refused(policy, with_status(evidence::TcbStatus::out_of_date), Errc::tcb_status_not_accepted);
}

TEST(DcapPolicies, LimitNoStatusThatIsNotOldByTheGracePeriod) {
  Policy policy;
  policy.accepted_statuses = {TcbStatus::up_to_date, TcbStatus::sw_hardening_needed, TcbStatus::configuration_needed};
  policy.dcap.grace_period_days = 0;
  expect_accepted(policy, SyntheticPlatform{});
  expect_accepted(policy, with_status(evidence::TcbStatus::sw_hardening_needed));
  expect_accepted(policy, with_status(evidence::TcbStatus::configuration_needed));
}

TEST(DcapPolicies, DemandAMinimumOfEveryComponent) {
  SyntheticPlatform platform;
  Policy policy;
  policy.dcap.min_sgx_components = platform.platform->components;
  policy.dcap.min_tdx_components = platform.td().tee_tcb_svn;
  policy.dcap.min_pce_svn = platform.platform->pce_svn;
  expect_accepted(policy, platform);
  for (std::size_t i = 0; i < 16; ++i) {
    auto more = policy;
    ++(*more.dcap.min_sgx_components)[i];
    expect_refused(more, platform, Errc::tcb_too_low);
    more = policy;
    ++(*more.dcap.min_tdx_components)[i];
    expect_refused(more, platform, Errc::tcb_too_low);
  }
  ++*policy.dcap.min_pce_svn;
  expect_refused(policy, platform, Errc::tcb_too_low);
}

TEST(DcapPolicies, HoldWhatIsOfTdsAgainstNoEnclave) {
  Policy policy;
  policy.dcap.min_tdx_components = ByteArray<16>{255};
  policy.dcap.mr_seam = {Digest48{1}};
  policy.dcap.mr_signer_seam = {Digest48{1}};
  policy.dcap.allow_service_td = false;
  expect_accepted(policy, SyntheticPlatform{TeeType::sgx, 3});
}

TEST(DcapPolicies, KnowTheModulesAndSignersThatTheyAccept) {
  SyntheticPlatform platform;
  auto other = platform.td().mr_seam;
  other[47] ^= 1;
  Policy policy;
  policy.dcap.mr_seam = {other};
  expect_refused(policy, platform, Errc::platform_not_accepted);
  policy.dcap.mr_seam.push_back(platform.td().mr_seam);
  expect_accepted(policy, platform);
  policy = {};
  other = platform.td().mr_signer_seam;
  other[0] ^= 1;
  policy.dcap.mr_signer_seam = {other};
  expect_refused(policy, platform, Errc::platform_not_accepted);
  policy.dcap.mr_signer_seam.push_back(platform.td().mr_signer_seam);
  expect_accepted(policy, platform);
}

TEST(DcapPolicies, MayRefuseServiceTds) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  Policy policy;
  policy.dcap.allow_service_td = false;
  expect_accepted(policy, platform);
  platform.td().v15->mr_service_td[0] = 1;
  expect_refused(policy, platform, Errc::attributes_not_accepted);
  expect_accepted({}, platform);
}

TEST(DcapPolicies, MayRefuseWhatThePckCertificateSaysOfThePlatform) {
  SyntheticPlatform platform;
  auto& flags = platform.platform->configuration;
  using Flag = std::optional<bool> evidence::PckConfiguration::*;
  using Allowed = bool DcapPolicy::*;
  for (const auto& [flag, allowed] :
       {std::pair<Flag, Allowed>{&evidence::PckConfiguration::dynamic_platform, &DcapPolicy::allow_dynamic_platform},
        {&evidence::PckConfiguration::cached_keys, &DcapPolicy::allow_cached_keys},
        {&evidence::PckConfiguration::smt_enabled, &DcapPolicy::allow_smt}}) {
    Policy policy;
    policy.dcap.*allowed = false;
    flags = evidence::PckConfiguration{false, false, false};
    expect_accepted(policy, platform);
    (*flags).*flag = true;
    expect_refused(policy, platform, Errc::platform_not_accepted);
    expect_accepted({}, platform);
    ((*flags).*flag).reset();  // nobody knows
    expect_refused(policy, platform, Errc::platform_not_accepted);
    flags.reset();
    expect_refused(policy, platform, Errc::platform_not_accepted);
  }
}

// --- measurements ---

TEST(Measurements, OfATdMustAllFit) {
  SyntheticPlatform platform;
  for (std::size_t i = 0; i < 4; ++i) platform.td().rtmr[i].fill(static_cast<std::uint8_t>(0x10 + i));
  platform.td().mr_config_id.fill(1);
  platform.td().mr_owner.fill(2);
  platform.td().mr_owner_config.fill(3);
  const auto& td = platform.td();
  Measurements whole;
  whole.mrtd = td.mr_td;
  for (std::size_t i = 0; i < 4; ++i) whole.rtmr[i] = td.rtmr[i];
  whole.mr_config_id = td.mr_config_id;
  whole.mr_owner = td.mr_owner;
  whole.mr_owner_config = td.mr_owner_config;
  Policy policy;
  policy.measurements = {whole};
  expect_accepted(policy, platform);

  const auto refused_with = [&](auto change) {
    policy.measurements = {whole};
    change(policy.measurements[0]);
    expect_refused(policy, platform, Errc::measurement_not_accepted);
  };
  refused_with([](Measurements& m) { (*m.mrtd)[0] ^= 1; });
  for (std::size_t i = 0; i < 4; ++i) refused_with([i](Measurements& m) { (*m.rtmr[i])[47] ^= 1; });
  refused_with([](Measurements& m) { (*m.mr_config_id)[0] ^= 1; });
  refused_with([](Measurements& m) { (*m.mr_owner)[0] ^= 1; });
  refused_with([](Measurements& m) { (*m.mr_owner_config)[0] ^= 1; });
}

TEST(Measurements, OfAnEnclaveMustAllFit) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  Measurements whole;
  whole.mr_enclave = platform.enclave().mr_enclave;
  whole.mr_signer = platform.enclave().mr_signer;
  whole.isv_prod_id = 7;
  whole.min_isv_svn = 3;
  Policy policy;
  policy.measurements = {whole};
  expect_accepted(policy, platform);
  const auto refused_with = [&](auto change) {
    policy.measurements = {whole};
    change(policy.measurements[0]);
    expect_refused(policy, platform, Errc::measurement_not_accepted);
  };
  refused_with([](Measurements& m) { (*m.mr_enclave)[0] ^= 1; });
  refused_with([](Measurements& m) { (*m.mr_signer)[0] ^= 1; });
  refused_with([](Measurements& m) { m.isv_prod_id = 8; });
  refused_with([](Measurements& m) { m.min_isv_svn = 4; });
  policy.measurements[0].min_isv_svn = 2;  // at least
  expect_accepted(policy, platform);
}

TEST(Measurements, NeedOneOfThemToFit) {
  SyntheticPlatform platform;
  Measurements right;
  right.mrtd = platform.td().mr_td;
  Measurements wrong;
  wrong.mrtd = Digest48{};
  Policy policy;
  policy.measurements = {wrong, right};
  expect_accepted(policy, platform);
  policy.measurements = {wrong};
  expect_refused(policy, platform, Errc::measurement_not_accepted);
}

TEST(Measurements, OfTheOtherTeeOrOfNothingFitNothing) {
  Policy policy;
  policy.measurements = {Measurements{}};
  expect_refused(policy, SyntheticPlatform{}, Errc::measurement_not_accepted);
  policy.measurements[0].mr_signer = Digest32{};
  expect_refused(policy, SyntheticPlatform{}, Errc::measurement_not_accepted);
  policy.measurements[0] = {};
  policy.measurements[0].mrtd = Digest48{};
  expect_refused(policy, SyntheticPlatform{TeeType::sgx, 3}, Errc::measurement_not_accepted);
}

/// RTMR3 by the protocol's own words (docs/protocol/launch.md), not by the functions under test.
Digest48 extended(const Digest48& rtmr, const std::string& event, const Digest32& payload) {
  Bytes cbor{0x83, 0x70};  // array of 3, text of 16
  append(cbor, as_bytes("cloister/event/1"));
  if (event.size() < 24) {
    cbor.push_back(static_cast<std::uint8_t>(0x60 + event.size()));
  }
  append(cbor, as_bytes(event));
  cbor.push_back(0x58);
  cbor.push_back(32);
  append(cbor, payload);
  return crypto::sha384({ByteView{rtmr}, ByteView{crypto::sha384(cbor)}});
}

TEST(ReferenceValue, StandsForTheRegistersOfItsLaunch) {
  ReferenceValue value;
  value.mrtd.fill(0x7D);
  value.image_digest.fill(0x11);
  value.configuration_digest.fill(0x22);
  const auto after_image = extended({}, "image-digest", value.image_digest);
  const auto expected = extended(after_image, "configuration-digest", value.configuration_digest);
  EXPECT_EQ(launch_rtmr3(value.image_digest, value.configuration_digest), expected);
  EXPECT_EQ(launch_rtmr3(value.configuration_digest), extended({}, "configuration-digest", value.configuration_digest));

  SyntheticPlatform platform;
  platform.td().rtmr[3] = expected;
  Policy policy;
  policy.measurements = {measurements_of(value)};
  expect_accepted(policy, platform);
  platform.td().rtmr[0][0] = 1;  // nothing else may have been extended
  expect_refused(policy, platform, Errc::measurement_not_accepted);
  platform.td().rtmr[0][0] = 0;
  value.image_digest[0] ^= 1;
  policy.measurements = {measurements_of(value)};
  expect_refused(policy, platform, Errc::measurement_not_accepted);
}

// --- appraisal ---

TEST(Appraise, MakesAppraisedOfWhatItAccepts) {
  auto appraisal = appraise({}, bound(SyntheticPlatform{}), SyntheticPlatform::now());
  EXPECT_TRUE(appraisal.decision.accepted);
  ASSERT_TRUE(appraisal.appraised.has_value());
  EXPECT_EQ(appraisal.appraised->policy_digest(), digest(Policy{}));
  EXPECT_FALSE(appraisal.appraised->lab());
  EXPECT_EQ(appraisal.appraised->tcb().status, TcbStatus::up_to_date);
}

TEST(Appraise, MakesNothingOfWhatItRefuses) {
  const auto appraisal = appraise({}, bound(with_status(evidence::TcbStatus::out_of_date)), SyntheticPlatform::now());
  EXPECT_FALSE(appraisal.appraised.has_value());
  EXPECT_EQ(appraisal.decision.error().code(), Errc::tcb_status_not_accepted);
  EXPECT_EQ(appraisal.decision.policy_digest, digest(Policy{}));
}

// --- JSON ---

TEST(PolicyJson, OfTheDefaultIsTheVersionAlone) {
  const auto policy = parse_policy(R"({"version":1})");
  ASSERT_TRUE(policy.ok()) << policy.error().text();
  EXPECT_EQ(*policy, Policy{});
}

TEST(PolicyJson, IsReadBackAsItWasWritten) {
  Policy policy;
  policy.accepted_statuses = {TcbStatus::up_to_date, TcbStatus::td_relaunch_advised};
  policy.allow_debug = policy.require_ve_disable = policy.allow_reserved_attributes = true;
  policy.allow_migratable = policy.allow_trailing_bytes = false;
  policy.min_evaluation_data_number = 4'000'000'000;
  policy.allowed_advisories = {"A", "B"};
  policy.denied_advisories = {"C"};
  Measurements td;
  td.mrtd = Digest48{1};
  td.rtmr[2] = Digest48{2};
  td.mr_owner = Digest48{3};
  Measurements enclave;
  enclave.mr_signer = Digest32{4};
  enclave.min_isv_svn = 65535;
  policy.measurements = {td, enclave};
  policy.accepted_tees = {Tee::sgx, Tee::tdx};
  policy.dcap.min_tcb_date = *parse_rfc3339("2024-03-13T00:00:00Z");
  policy.dcap.grace_period_days = 36'500;
  policy.dcap.min_sgx_components = ByteArray<16>{1, 2, 255};
  policy.dcap.min_tdx_components = ByteArray<16>{5, 1};
  policy.dcap.min_pce_svn = 65535;
  policy.dcap.mr_seam = {Digest48{1}, Digest48{2}};
  policy.dcap.mr_signer_seam = {Digest48{}};
  policy.dcap.allow_service_td = policy.dcap.allow_dynamic_platform = false;
  policy.dcap.allow_cached_keys = policy.dcap.allow_smt = false;
  const auto read = parse_policy(codec::json::write(to_json(policy)));
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(*read, policy);
  EXPECT_EQ(digest(*read), digest(policy));
}

TEST(PolicyJson, TakesReferenceValues) {
  const std::string text = R"({"version":1,"measurements":[{"mrtd":")" + std::string(96, 'a') + R"(","image_digest":"sha256:)" +
                           std::string(64, 'b') + R"(","configuration_digest":"sha256:)" + std::string(64, 'c') + R"("}]})";
  const auto policy = parse_policy(text);
  ASSERT_TRUE(policy.ok()) << policy.error().text();
  ReferenceValue value;
  value.mrtd.fill(0xAA);
  value.image_digest.fill(0xBB);
  value.configuration_digest.fill(0xCC);
  EXPECT_EQ(policy->measurements, std::vector{measurements_of(value)});
}

TEST(PolicyJson, RefusesWhatItDoesNotKnow) {
  for (const auto* text : {
           "", "[]", "{}", R"({"version":2})", R"({"version":"1"})", R"({"version":1,"surprise":true})",
           R"({"version":1,"version":1})",
           R"({"version":1,"accepted_statuses":["Revoked"]})", R"({"version":1,"accepted_statuses":["NotSupported"]})",
           R"({"version":1,"accepted_statuses":["Fine"]})", R"({"version":1,"accepted_statuses":"UpToDate"})",
           R"({"version":1,"accepted_statuses":[1]})",
           R"({"version":1,"allow_debug":1})", R"({"version":1,"min_evaluation_data_number":-1})",
           R"({"version":1,"allowed_advisories":[""]})", R"({"version":1,"denied_advisories":[7]})",
           R"({"version":1,"accepted_tees":["cca"]})", R"({"version":1,"accepted_tees":"tdx"})",
           R"({"version":1,"accepted_tees":[1]})", R"({"version":1,"dcap":7})", R"({"version":1,"dcap":{"surprise":1}})",
           R"({"version":1,"dcap":{"min_tcb_date":"yesterday"}})", R"({"version":1,"dcap":{"min_tcb_date":1}})",
           R"({"version":1,"dcap":{"grace_period_days":-1}})", R"({"version":1,"dcap":{"grace_period_days":36501}})",
           R"({"version":1,"dcap":{"min_sgx_components":[1]}})", R"({"version":1,"dcap":{"min_tdx_components":"00"}})",
           R"({"version":1,"dcap":{"min_sgx_components":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,256]}})",
           R"({"version":1,"dcap":{"min_tdx_components":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,-1]}})",
           R"({"version":1,"dcap":{"min_pce_svn":65536}})", R"({"version":1,"dcap":{"mr_seam":["00"]}})",
           R"({"version":1,"dcap":{"mr_signer_seam":[1]}})", R"({"version":1,"dcap":{"allow_smt":1}})",
           R"({"version":1,"measurements":[{}]})", R"({"version":1,"measurements":[7]})",
           R"({"version":1,"measurements":[{"mrtd":"00"}]})",
           R"({"version":1,"measurements":[{"mr_signer":"0000000000000000000000000000000000000000000000000000000000000000","rtmr":1}]})",
           R"({"version":1,"measurements":[{"isv_prod_id":65536}]})",
           R"({"version":1,"measurements":[{"image_digest":"sha256:00"}]})",
       }) {
    const auto policy = parse_policy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_EQ(policy.error().code(), Errc::policy_invalid) << text;
  }
}

TEST(PolicyJson, RefusesAMeasurementOfBothTees) {
  const std::string text = R"({"version":1,"measurements":[{"mrtd":")" + std::string(96, 'a') + R"(","isv_prod_id":1}]})";
  EXPECT_FALSE(parse_policy(text).ok());
}

TEST(PolicyDigest, DiffersWithEveryMember) {
  std::vector<Policy> policies(23);
  policies[1].accepted_statuses.push_back(TcbStatus::out_of_date);
  policies[2].allow_debug = true;
  policies[3].allow_migratable = false;
  policies[4].allow_trailing_bytes = false;
  policies[5].require_ve_disable = true;
  policies[6].allow_reserved_attributes = true;
  policies[7].min_evaluation_data_number = 1;
  policies[8].allowed_advisories.emplace();
  policies[9].denied_advisories = {"A"};
  policies[10].measurements.push_back({});
  policies[11].dcap.min_tcb_date = UnixTime{};
  policies[12].dcap.grace_period_days = 0;
  policies[13].dcap.min_sgx_components.emplace();
  policies[14].dcap.min_tdx_components.emplace();
  policies[15].dcap.min_pce_svn = 0;
  policies[16].dcap.mr_seam.emplace_back();
  policies[17].dcap.mr_signer_seam.emplace_back();
  policies[18].dcap.allow_service_td = false;
  policies[19].dcap.allow_dynamic_platform = false;
  policies[20].dcap.allow_cached_keys = false;
  policies[21].dcap.allow_smt = false;
  policies[22].accepted_tees.emplace();
  for (std::size_t i = 0; i < policies.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(digest(policies[i]), digest(policies[j])) << i << ' ' << j;
  }
}

TEST(PolicyDigest, DoesNotDependOnTheOrderOfStatuses) {
  Policy one;
  one.accepted_statuses = {TcbStatus::out_of_date, TcbStatus::up_to_date};
  Policy other;
  other.accepted_statuses = {TcbStatus::up_to_date, TcbStatus::out_of_date, TcbStatus::up_to_date};
  EXPECT_EQ(digest(one), digest(other));
}

}  // namespace
}  // namespace cloister::policy
