#include <gtest/gtest.h>

#include <algorithm>

#include "verifying.hpp"

/// The choice of TCB levels and what they add up to.
namespace cloister::attestation {
namespace {

using evidence::TeeType;
using test::SyntheticPlatform;
using Document = evidence::TcbStatus;

Tcb tcb_of(const SyntheticPlatform& platform) {
  const auto outcome = verify_built(platform.build());
  EXPECT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  return *outcome.report.tcb;
}

TEST(Tcb, NamesAreIntels) {
  for (const auto status : kTcbStatuses) EXPECT_EQ(tcb_status_from_string(to_string(status)), status);
  EXPECT_EQ(to_string(TcbStatus::td_relaunch_advised_configuration_needed), "TDRelaunchAdvisedConfigurationNeeded");
  EXPECT_FALSE(tcb_status_from_string("uptodate").has_value());
}

TEST(Tcb, IsTheFirstLevelThatEveryComponentReaches) {
  for (std::size_t i = 0; i < 16; ++i) {
    SyntheticPlatform platform{TeeType::sgx, 3};
    platform.platform->components[i] = 4;
    EXPECT_EQ(tcb_of(platform).status, TcbStatus::sw_hardening_needed) << i;
    platform.platform->components[i] = 3;
    EXPECT_EQ(tcb_of(platform).status, TcbStatus::out_of_date) << i;
    platform.platform->components[i] = 2;
    EXPECT_EQ(tcb_of(platform).status, TcbStatus::not_supported) << i;
  }
}

TEST(Tcb, NeedsThePceToo) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.platform->pce_svn = 10;
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::sw_hardening_needed);
}

TEST(Tcb, ComparesTdxComponentsFromTheThirdWhenTheModuleHasAnIdentity) {
  for (std::size_t i = 2; i < 16; ++i) {
    SyntheticPlatform platform;
    platform.td().tee_tcb_svn[i] = 4;
    EXPECT_EQ(tcb_of(platform).platform, TcbStatus::sw_hardening_needed) << i;
  }
  SyntheticPlatform platform;  // components 0 and 1 are 4 and 1, the level asks for 5
  EXPECT_EQ(tcb_of(platform).platform, TcbStatus::up_to_date);
}

TEST(Tcb, ComparesAllTdxComponentsWhenTheModuleHasNone) {
  SyntheticPlatform platform;
  platform.td().tee_tcb_svn.fill(5);
  platform.td().tee_tcb_svn[1] = 0;
  for (auto& level : platform.tcb_info.levels) (*level.tdx)[1].svn = 0;
  EXPECT_EQ(tcb_of(platform).platform, TcbStatus::up_to_date);
  EXPECT_FALSE(tcb_of(platform).module.has_value());
  platform.td().tee_tcb_svn[0] = 4;
  EXPECT_EQ(tcb_of(platform).platform, TcbStatus::sw_hardening_needed);
}

TEST(Tcb, FindsModuleIdentitiesInAnyCase) {
  SyntheticPlatform platform;
  platform.tcb_info.tdx_module_identities[0].id = "tdx_0A";
  platform.td().tee_tcb_svn[1] = 0x0A;
  EXPECT_EQ(tcb_of(platform).module, TcbStatus::up_to_date);
}

TEST(Tcb, OfTheModuleIsTheFirstLevelThatItsMinorVersionReaches) {
  SyntheticPlatform platform;
  const auto module_with = [&](std::uint8_t minor) {
    platform.td().tee_tcb_svn[0] = minor;
    return tcb_of(platform);
  };
  EXPECT_EQ(module_with(5).module, TcbStatus::up_to_date);
  EXPECT_EQ(module_with(3).module, TcbStatus::out_of_date);
  EXPECT_EQ(module_with(3).status, TcbStatus::out_of_date);
  EXPECT_EQ(module_with(3).platform, TcbStatus::up_to_date);
  EXPECT_EQ(module_with(1).status, TcbStatus::revoked);
  EXPECT_EQ(module_with(0).module, TcbStatus::not_supported);
  EXPECT_EQ(module_with(0).status, TcbStatus::not_supported);
}

TEST(Tcb, OfTheQeIsTheFirstLevelThatItsVersionReaches) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto qe_with = [&](std::uint16_t isv_svn) {
    platform.qe_report.isv_svn = isv_svn;
    return tcb_of(platform);
  };
  EXPECT_EQ(qe_with(9).qe, TcbStatus::up_to_date);
  EXPECT_EQ(qe_with(2).qe, TcbStatus::out_of_date);
  EXPECT_EQ(qe_with(2).status, TcbStatus::out_of_date);
  EXPECT_EQ(qe_with(1).status, TcbStatus::revoked);
  EXPECT_EQ(qe_with(0).status, TcbStatus::not_supported);
}

struct Convergence {
  Document platform;
  TcbStatus alone;        // with a current QE
  TcbStatus with_old_qe;  // with a QE that is out of date
};
class TcbConvergence : public testing::TestWithParam<Convergence> {};

TEST_P(TcbConvergence, LowersThePlatformByTheQe) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.tcb_info.levels[0].status = GetParam().platform;
  EXPECT_EQ(tcb_of(platform).status, GetParam().alone);
  platform.qe_report.isv_svn = 2;
  EXPECT_EQ(tcb_of(platform).status, GetParam().with_old_qe);
  platform.qe_report.isv_svn = 1;
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::revoked);
}
INSTANTIATE_TEST_SUITE_P(
    Statuses, TcbConvergence,
    testing::Values(
        Convergence{Document::up_to_date, TcbStatus::up_to_date, TcbStatus::out_of_date},
        Convergence{Document::sw_hardening_needed, TcbStatus::sw_hardening_needed, TcbStatus::out_of_date},
        Convergence{Document::configuration_needed, TcbStatus::configuration_needed, TcbStatus::out_of_date_configuration_needed},
        Convergence{Document::configuration_and_sw_hardening_needed, TcbStatus::configuration_and_sw_hardening_needed,
                    TcbStatus::out_of_date_configuration_needed},
        Convergence{Document::out_of_date, TcbStatus::out_of_date, TcbStatus::out_of_date},
        Convergence{Document::out_of_date_configuration_needed, TcbStatus::out_of_date_configuration_needed,
                    TcbStatus::out_of_date_configuration_needed},
        Convergence{Document::revoked, TcbStatus::revoked, TcbStatus::revoked}));

/// A TD 1.5 that was launched at the lowest level, on a host that is at the highest by now.
struct Relaunch {
  Document launch;
  Document current;
  TcbStatus expected;
};
class TcbRelaunch : public testing::TestWithParam<Relaunch> {};

TEST_P(TcbRelaunch, IsAVerdictOfItsOwn) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  std::fill(platform.td().tee_tcb_svn.begin() + 2, platform.td().tee_tcb_svn.end(), std::uint8_t{3});
  platform.tcb_info.levels[0].status = GetParam().current;
  platform.tcb_info.levels[2].status = GetParam().launch;
  const auto tcb = tcb_of(platform);
  EXPECT_EQ(tcb.status, GetParam().expected);
  EXPECT_TRUE(tcb.current.has_value());
}
INSTANTIATE_TEST_SUITE_P(
    Statuses, TcbRelaunch,
    testing::Values(
        Relaunch{Document::out_of_date, Document::up_to_date, TcbStatus::td_relaunch_advised},
        Relaunch{Document::out_of_date, Document::sw_hardening_needed, TcbStatus::td_relaunch_advised},
        Relaunch{Document::out_of_date, Document::configuration_needed, TcbStatus::td_relaunch_advised_configuration_needed},
        Relaunch{Document::out_of_date, Document::configuration_and_sw_hardening_needed,
                 TcbStatus::td_relaunch_advised_configuration_needed},
        Relaunch{Document::out_of_date_configuration_needed, Document::up_to_date,
                 TcbStatus::td_relaunch_advised_configuration_needed},
        Relaunch{Document::out_of_date, Document::out_of_date, TcbStatus::out_of_date},
        Relaunch{Document::out_of_date, Document::revoked, TcbStatus::out_of_date},
        Relaunch{Document::up_to_date, Document::up_to_date, TcbStatus::up_to_date},
        Relaunch{Document::sw_hardening_needed, Document::up_to_date, TcbStatus::sw_hardening_needed},
        Relaunch{Document::revoked, Document::up_to_date, TcbStatus::revoked}));

TEST(Tcb, OfAnOldModuleIsCuredByARelaunch) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  platform.td().tee_tcb_svn[0] = 3;
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::td_relaunch_advised);
  platform.td().v15->tee_tcb_svn2[0] = 3;
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::out_of_date);
}

TEST(Tcb, IsNotSupportedWhenTheCurrentOneIsNot) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  platform.td().v15->tee_tcb_svn2[5] = 1;
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::not_supported);
  platform = SyntheticPlatform{TeeType::tdx, 5};
  platform.td().v15->tee_tcb_svn2[1] = 9;  // a module without identity
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::not_supported);
}

TEST(Tcb, HasTheAdvisoriesAndTheOldestDateOfWhatMatched) {
  SyntheticPlatform platform;
  platform.platform->pce_svn = 10;
  platform.td().tee_tcb_svn[0] = 2;
  platform.qe_report.isv_svn = 2;
  const auto tcb = tcb_of(platform);
  EXPECT_EQ(tcb.advisory_ids, (std::vector<std::string>{"INTEL-SA-00001", "INTEL-SA-00002"}));
  EXPECT_EQ(tcb.tcb_date, platform.tcb_info.levels[1].tcb_date);
  EXPECT_EQ(tcb.tcb_info_number, 17U);
  EXPECT_EQ(tcb.qe_identity_number, 17U);
}

TEST(Tcb, SaysHowFarTheNextBetterLevelIs) {
  SyntheticPlatform platform;
  EXPECT_TRUE(tcb_of(platform).distance.empty());
  platform.platform->components[7] = 4;
  platform.platform->pce_svn = 10;
  platform.td().tee_tcb_svn[9] = 4;
  platform.td().tee_tcb_svn[0] = 3;
  platform.qe_report.isv_svn = 2;
  const auto distance = tcb_of(platform).distance;
  const auto has = [&](std::string_view component, unsigned have, unsigned need) {
    return std::ranges::any_of(distance, [&](const TcbGap& gap) {
      return gap.component == component && gap.have == have && gap.need == need;
    });
  };
  EXPECT_EQ(distance.size(), 5U);
  EXPECT_TRUE(has("sgxtcbcomponents[7]", 4, 5));
  EXPECT_TRUE(has("pcesvn", 10, 11));
  EXPECT_TRUE(has("tdxtcbcomponents[9]", 4, 5));
  EXPECT_TRUE(has("tdx_module.isvsvn", 3, 4));
  EXPECT_TRUE(has("qe.isvsvn", 2, 4));
}

TEST(Tcb, SaysHowFarTheLowestLevelIsWhenNoneMatches) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.platform->components[0] = 1;
  const auto distance = tcb_of(platform).distance;
  ASSERT_EQ(distance.size(), 1U);
  EXPECT_EQ(distance[0].need, 3U);
}

TEST(Tcb, IsGivenAlsoWhenEvidenceIsRefused) {
  SyntheticPlatform platform;
  platform.pck.not_before = SyntheticPlatform::now() + std::chrono::hours{24};
  const auto outcome = verify_built(platform.build());
  EXPECT_FALSE(outcome.evidence.has_value());
  ASSERT_TRUE(outcome.report.tcb.has_value());
  EXPECT_EQ(outcome.report.tcb->status, TcbStatus::up_to_date);
}

// --- attributes stand apart from the status ---

AttributeFindings findings_of(const SyntheticPlatform& platform) {
  const auto outcome = verify_built(platform.build());
  EXPECT_TRUE(outcome.evidence.has_value());
  return attribute_findings(outcome.evidence->claims());
}

TEST(Attributes, OfATdUnderDebugAreAnyOfTheFirstEightBits) {
  for (unsigned bit = 0; bit < 8; ++bit) {
    SyntheticPlatform platform;
    platform.td().td_attributes |= std::uint64_t{1} << bit;
    EXPECT_TRUE(findings_of(platform).debug) << bit;
  }
  EXPECT_FALSE(findings_of(SyntheticPlatform{}).debug);
}

TEST(Attributes, OfATdAreFoundOneByOne) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  EXPECT_FALSE(findings_of(platform).ve_not_disabled);
  platform.td().td_attributes = 0;
  EXPECT_TRUE(findings_of(platform).ve_not_disabled);
  platform.td().td_attributes = std::uint64_t{1} << 29;
  EXPECT_TRUE(findings_of(platform).migratable);
  EXPECT_FALSE(findings_of(platform).reserved_bits);
  platform.td().td_attributes = std::uint64_t{1} << 40;
  EXPECT_TRUE(findings_of(platform).reserved_bits);
  EXPECT_FALSE(findings_of(platform).service_td);
  platform.td().v15->mr_service_td[0] = 1;
  EXPECT_TRUE(findings_of(platform).service_td);
}

TEST(Attributes, OfAnEnclaveUnderDebugAreFound) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  EXPECT_FALSE(findings_of(platform).debug);
  platform.enclave().attributes[0] |= 0x02;
  EXPECT_TRUE(findings_of(platform).debug);
}

}  // namespace
}  // namespace cloister::attestation
