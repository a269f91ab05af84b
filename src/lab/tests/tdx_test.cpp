#include "cloister/lab/tdx.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "module_fixture.hpp"
#include "support/support.hpp"

namespace cloister::lab::tdx {
namespace {

class Launch : public ::testing::Test {
 protected:
  [[nodiscard]] Td start(const TdParams& params = {}) { return launch(machine_, params, files_).value(); }

  ModuleInfo info_ = some_module();
  ReportKey key_{crypto::Secret<32>{ByteArray<32>{1, 2, 3}}};
  std::shared_ptr<Machine> machine_ = std::make_shared<Machine>(info_, key_);
  Bytes program_ = Bytes(10'000, 0x77);
  Bytes library_ = Bytes(100, 0x78);
  std::vector<measure::TdFile> files_{{"cloister-guest", 0755, program_}, {"lib.so", 0644, library_}};
};

TEST_F(Launch, BuildsATdWhoseMrtdIsTheImages) {
  const auto td = launch(machine_, {}, files_);
  ASSERT_TRUE(td.ok()) << td.error().text();
  EXPECT_EQ(td->mrtd(), measure::mrtd_of_td_image(files_).value());
  EXPECT_EQ(td->op_state(), OpState::runnable);
  EXPECT_EQ(td->life_cycle(), LifeCycle::keys_configured);
  EXPECT_EQ(td->rtmrs(), measure::Rtmrs{});
}

TEST_F(Launch, CrossesTheTablesOfTheSecureEpt) {
  const Bytes large(3U << 20, 0x42);
  files_[0].contents = large;
  EXPECT_EQ(start().mrtd(), measure::mrtd_of_td_image(files_).value());
}

TEST_F(Launch, MapsThePagesOfTheImageAndNoMore) {
  const auto td = start();
  auto& module = machine_->module;
  std::uint64_t last = 0;
  ASSERT_TRUE(measure::for_each_td_page(files_, [&](std::uint64_t gpa, measure::TdPage) -> Result<void> {
    EXPECT_EQ(module.touch(td.tdvpr(), gpa), Access::granted);
    last = gpa;
    return {};
  }).ok());
  EXPECT_EQ(module.touch(td.tdvpr(), last + kFrameSize), Access::ept_violation);
}

TEST_F(Launch, RefusesAnImageWithoutLayout) {
  EXPECT_EQ(launch(machine_, {}, {}).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(machine_->module.pamt().all().empty());
}

TEST_F(Launch, NamesTheLeafThatRefused) {
  TdParams params;
  params.attributes = 2;
  const auto refused = launch(machine_, params, files_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().detail(), "TDH.MNG.INIT: TDX_OPERAND_INVALID (0xc000010000000040)");
  EXPECT_TRUE(machine_->module.tds().empty());
}

TEST_F(Launch, EndOfATdGivesEverythingBack) {
  std::size_t used = 0;
  Hpa highest;
  for (unsigned i = 0; i < 3; ++i) {
    const auto td = start();
    const auto& pages = machine_->module.pamt().all();
    if (i > 0) {
      EXPECT_EQ(pages.size(), used);
      EXPECT_EQ(pages.rbegin()->first, highest);  // the same pages again
    }
    used = pages.size();
    highest = pages.rbegin()->first;
  }
  EXPECT_TRUE(machine_->module.pamt().all().empty());
  EXPECT_TRUE(machine_->module.tds().empty());
}

TEST_F(Launch, TdsOfOneMachineShareNothing) {
  auto first = start();
  const auto second = start();
  ASSERT_TRUE(first.tdg_mr_rtmr_extend(GuestLevel::user, 3, {}).ok());
  EXPECT_NE(first.rtmrs()[3], second.rtmrs()[3]);
  const auto& tds = machine_->module.tds();
  EXPECT_NE(tds.at(first.tdr()).hkid, tds.at(second.tdr()).hkid);
  EXPECT_NE(tds.at(first.tdr()).uuid, tds.at(second.tdr()).uuid);
  EXPECT_TRUE(first.tdg_mr_verifyreport(*second.tdg_mr_report({})).ok());
}

TEST_F(Launch, TdsGoOnInANewModule) {
  auto td = start();
  auto newer = info_;
  newer.tee_tcb_svn[0] += 1;
  ASSERT_TRUE(machine_->update_module(newer).ok());
  const auto report = evidence::parse_td_report(*td.tdg_mr_report({})).value();
  EXPECT_EQ(report.tcb.tee_tcb_svn2, newer.tee_tcb_svn);
  EXPECT_EQ(machine_->update_module(info_).code(), Code::sys_invalid_handoff);
  EXPECT_TRUE(td.tdg_mr_report({}).has_value());
}

TEST_F(Launch, MovedTdEndsOnce) {
  auto td = start();
  const auto mrtd = td.mrtd();
  {
    auto other = std::move(td);
    EXPECT_EQ(other.mrtd(), mrtd);
    td = std::move(other);
  }
  EXPECT_EQ(td.mrtd(), mrtd);
  EXPECT_EQ(machine_->module.tds().size(), 1U);
}

TEST_F(Launch, MachineHasAnEnd) {
  const auto small = std::make_shared<Machine>(info_, key_, Module::Options{.memory = 20 * kFrameSize});
  EXPECT_EQ(launch(small, {}, files_).error().code(), Errc::overloaded);
  EXPECT_TRUE(small->module.pamt().all().empty());
  const auto few = std::make_shared<Machine>(info_, key_, Module::Options{.hkids = 1});
  const auto td = launch(few, {}, files_);
  ASSERT_TRUE(td.ok());
  EXPECT_EQ(launch(few, {}, files_).error().code(), Errc::overloaded);
}

TEST_F(Launch, RegistersAreTheGuestsByLevel) {
  auto td = start();
  const Digest48 digest = crypto::sha384(as_bytes("event"));
  for (unsigned index : {0U, 1U}) {
    EXPECT_EQ(td.tdg_mr_rtmr_extend(GuestLevel::user, index, digest), (Status{Code::operand_invalid, Operand::rdx}));
    EXPECT_EQ(td.rtmrs()[index], Digest48{});
    EXPECT_TRUE(td.tdg_mr_rtmr_extend(GuestLevel::boot, index, digest).ok());
  }
  EXPECT_TRUE(td.tdg_mr_rtmr_extend(GuestLevel::user, 2, digest).ok());
  EXPECT_TRUE(td.tdg_mr_rtmr_extend(GuestLevel::user, 3, digest).ok());
  for (const auto& rtmr : td.rtmrs()) EXPECT_EQ(rtmr, measure::rtmr_extend({}, digest));
}

TEST_F(Launch, ReportSaysWhatTheTdIs) {
  TdParams params;
  params.mrconfigid.fill(1);
  params.mrowner.fill(2);
  params.mrownerconfig.fill(3);
  auto td = start(params);
  ASSERT_TRUE(td.tdg_mr_rtmr_extend(GuestLevel::user, 3, crypto::sha384(as_bytes("x"))).ok());
  Digest64 data;
  data.fill(0xDA);
  const auto report = evidence::parse_td_report(*td.tdg_mr_report(data)).value();
  EXPECT_EQ(report.mac.report_data, data);
  EXPECT_EQ(report.mac.cpu_svn, info_.cpu_svn);
  EXPECT_EQ(report.tcb.tee_tcb_svn, info_.tee_tcb_svn);
  EXPECT_EQ(report.tcb.mr_seam, info_.mr_seam);
  EXPECT_EQ(report.info.attributes, TdParams::kSeptVeDisable);
  EXPECT_EQ(report.info.xfam, params.xfam);
  EXPECT_EQ(report.info.mr_td, td.mrtd());
  EXPECT_EQ(report.info.mr_config_id, params.mrconfigid);
  EXPECT_EQ(report.info.mr_owner, params.mrowner);
  EXPECT_EQ(report.info.mr_owner_config, params.mrownerconfig);
  EXPECT_EQ(report.info.rtmr, td.rtmrs());
}

// --- virtual firmware ---

TEST_F(Launch, FirmwareIsMeasuredInTheOrderOfTheVmm) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/tdx/tdvf_expected.json")).value();
  for (const auto* name : {"tdvf1", "tdvf2"}) {
    const auto firmware = test::read_file(root / "lab/tdx" / (std::string{name} + ".bin"));
    const auto* row = expected.find(name);
    const auto single = launch_firmware(machine_, {}, firmware, measure::TdvfProfile::single_pass);
    const auto two = launch_firmware(machine_, {}, firmware, measure::TdvfProfile::two_pass);
    EXPECT_EQ(codec::to_hex(single.value().mrtd()), *row->find("single")->as_string()) << name;
    EXPECT_EQ(codec::to_hex(two.value().mrtd()), *row->find("two_pass")->as_string()) << name;
  }
}

TEST_F(Launch, MemoryForRunTimeIsPending) {
  CLOISTER_VECTORS_OR_SKIP(root);
  TdParams params;
  params.attributes = 0;
  const auto firmware = test::read_file(root / "lab/tdx/tdvf2.bin");
  const auto td = launch_firmware(machine_, params, firmware, measure::TdvfProfile::single_pass).value();
  auto& module = machine_->module;
  EXPECT_EQ(module.touch(td.tdvpr(), 0x80000), Access::granted);
  EXPECT_EQ(module.touch(td.tdvpr(), 0x900000), Access::virtualization_exception);
  ASSERT_TRUE(module.tdg_mem_page_accept(td.tdvpr(), 0x900000, 0).ok());
  EXPECT_EQ(module.touch(td.tdvpr(), 0x900000), Access::granted);
}

TEST_F(Launch, RefusesAFirmwareWithoutDescriptor) {
  EXPECT_EQ(launch_firmware(machine_, {}, Bytes(4096), measure::TdvfProfile::single_pass).error().code(), Errc::malformed);
}

/// A firmware of 5 sections of zeros, of 64 MiB each, in the TDVF layout.
TEST_F(Launch, RefusesAFirmwareThatIsTooLargeToBuild) {
  codec::Writer out;
  out.raw(as_bytes("TDVF"));
  out.u32le(16 + 5 * 32);
  out.u32le(1);
  out.u32le(5);
  for (std::uint64_t i = 0; i < 5; ++i) {
    out.u32le(0);
    out.u32le(0);
    out.u64le(i << 30);
    out.u64le(64U << 20);
    out.u32le(3);
    out.u32le(0);
  }
  const auto descriptor = static_cast<std::uint32_t>(out.size());
  out.u32le(descriptor + 22 + 18 + 32);
  out.u16le(22);
  out.raw(codec::from_hex("35657ae44a989847865e4685a7bf8ec2").value());
  out.u16le(40);
  out.raw(codec::from_hex("de82b596b21ff745baeaa366c55a082d").value());
  out.zeros(32);
  ASSERT_EQ(measure::tdvf_sections(out.bytes()).value().size(), 5U);
  const auto refused = launch_firmware(machine_, {}, out.bytes(), measure::TdvfProfile::single_pass);
  EXPECT_EQ(refused.error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::lab::tdx
