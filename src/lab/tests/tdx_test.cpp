#include "cloister/lab/tdx.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr std::uint64_t kGpa = measure::kTdImageBase;

class TdTest : public ::testing::Test {
 protected:
  TdTest() {
    module_.cpu_svn.fill(3);
    module_.tee_tcb_svn = {5, 1, 4};
    module_.mr_seam.fill(0x5E);
  }

  void keys() { ASSERT_TRUE(td_.mng_key_config().ok()); }
  void control_pages() {
    for (unsigned i = 0; i < Td::kTdcsPages; ++i) ASSERT_TRUE(td_.mng_addcx().ok());
  }
  void init(const TdParams& params = {}) {
    keys();
    control_pages();
    ASSERT_TRUE(td_.mng_init(params).ok());
  }
  void vcpu(std::size_t index = 0) {
    ASSERT_TRUE(td_.vp_create().ok());
    for (unsigned i = 1; i < Td::kTdvpsPages; ++i) ASSERT_TRUE(td_.vp_addcx(index).ok());
    ASSERT_TRUE(td_.vp_init(index).ok());
  }
  void sept() {
    for (unsigned level = 3; level >= 1; --level) ASSERT_TRUE(td_.mem_sept_add(0, level).ok());
  }
  void run() {
    init();
    vcpu();
    ASSERT_TRUE(td_.mr_finalize().ok());
  }

  ModuleInfo module_;
  ReportKey key_{crypto::Secret<32>{ByteArray<32>{1, 2, 3}}};
  Td td_{module_, key_};
  ByteArray<measure::kTdPageSize> page_{};
};

TEST_F(TdTest, BeginsWithAKeyIdAndWithoutKeys) {
  EXPECT_EQ(td_.life_cycle(), LifeCycle::hkid_assigned);
  EXPECT_EQ(td_.op_state(), OpState::uninitialized);
  EXPECT_EQ(td_.mng_addcx().code(), Code::td_keys_not_configured);
  EXPECT_EQ(td_.mng_init({}).code(), Code::td_keys_not_configured);
  EXPECT_EQ(td_.vp_create().code(), Code::td_keys_not_configured);
  EXPECT_EQ(td_.mem_page_add(kGpa, page_).code(), Code::td_keys_not_configured);
  EXPECT_EQ(td_.mr_extend(kGpa).code(), Code::td_keys_not_configured);
  EXPECT_EQ(td_.mr_finalize().code(), Code::td_keys_not_configured);
}

TEST_F(TdTest, KeysAreConfiguredOnce) {
  keys();
  EXPECT_EQ(td_.life_cycle(), LifeCycle::keys_configured);
  EXPECT_EQ(td_.mng_key_config().code(), Code::lifecycle_state_incorrect);
}

TEST_F(TdTest, NeedsItsControlPagesAndNoMore) {
  keys();
  EXPECT_EQ(td_.mng_init({}).code(), Code::tdcs_not_allocated);
  control_pages();
  EXPECT_EQ(td_.mng_addcx().code(), Code::tdcx_num_incorrect);
}

TEST_F(TdTest, IsInitializedBeforeAnythingIsBuilt) {
  keys();
  control_pages();
  EXPECT_EQ(td_.vp_create().code(), Code::op_state_incorrect);
  EXPECT_EQ(td_.mem_sept_add(0, 3).code(), Code::op_state_incorrect);
  EXPECT_EQ(td_.mem_page_add(kGpa, page_).code(), Code::op_state_incorrect);
  EXPECT_EQ(td_.mr_finalize().code(), Code::op_state_incorrect);
  ASSERT_TRUE(td_.mng_init({}).ok());
  EXPECT_EQ(td_.mng_init({}).code(), Code::op_state_incorrect);
}

TEST_F(TdTest, RefusesParametersThatItCannotHonour) {
  keys();
  control_pages();
  TdParams params;
  params.attributes |= 2;
  EXPECT_EQ(td_.mng_init(params), (Status{Code::operand_invalid, Operand::attributes}));
  params = {};
  params.xfam = 0x2;
  EXPECT_EQ(td_.mng_init(params), (Status{Code::operand_invalid, Operand::xfam}));
  params.xfam = 0x100000003;
  EXPECT_EQ(td_.mng_init(params), (Status{Code::operand_invalid, Operand::xfam}));
  params = {};
  params.max_vcpus = 0;
  EXPECT_EQ(td_.mng_init(params), (Status{Code::operand_invalid, Operand::max_vcpus}));
  EXPECT_EQ(td_.op_state(), OpState::uninitialized);
}

TEST_F(TdTest, StatusHasTheArchitecturalNumber) {
  EXPECT_EQ((Status{Code::operand_invalid, Operand::attributes}).raw(), 0xC000010000000040U);
  EXPECT_EQ(Status{Code::op_state_incorrect}.raw(), 0xC000060800000000U);
  EXPECT_EQ(to_string(Code::no_vcpus), "TDX_NO_VCPUS");
}

TEST_F(TdTest, VirtualCpusNeedTheirPages) {
  init();
  EXPECT_EQ(td_.vp_addcx(0), (Status{Code::operand_invalid, Operand::rdx}));
  EXPECT_EQ(td_.vp_init(0), (Status{Code::operand_invalid, Operand::rcx}));
  ASSERT_TRUE(td_.vp_create().ok());
  EXPECT_EQ(td_.vp_init(0).code(), Code::tdcx_num_incorrect);
  for (unsigned i = 1; i < Td::kTdvpsPages; ++i) ASSERT_TRUE(td_.vp_addcx(0).ok());
  EXPECT_EQ(td_.vp_addcx(0).code(), Code::tdcx_num_incorrect);
  ASSERT_TRUE(td_.vp_init(0).ok());
  EXPECT_EQ(td_.vp_init(0).code(), Code::vcpu_state_incorrect);
  EXPECT_EQ(td_.vp_addcx(0).code(), Code::vcpu_state_incorrect);
}

TEST_F(TdTest, HasAtMostTheVirtualCpusOfItsParameters) {
  init();
  vcpu();
  ASSERT_TRUE(td_.vp_create().ok());
  for (unsigned i = 1; i < Td::kTdvpsPages; ++i) ASSERT_TRUE(td_.vp_addcx(1).ok());
  EXPECT_EQ(td_.vp_init(1).code(), Code::max_vcpus_exceeded);
}

TEST_F(TdTest, SecureEptIsBuiltFromTheTop) {
  init();
  EXPECT_EQ(td_.mem_sept_add(0, 2).code(), Code::ept_walk_failed);
  EXPECT_EQ(td_.mem_sept_add(0, 4).code(), Code::operand_invalid);
  EXPECT_EQ(td_.mem_sept_add(0, 0).code(), Code::operand_invalid);
  EXPECT_EQ(td_.mem_sept_add(0x1000, 3).code(), Code::operand_invalid);
  sept();
  EXPECT_EQ(td_.mem_sept_add(0, 1).code(), Code::ept_entry_state_incorrect);
  EXPECT_EQ(td_.mem_page_add(0x200000, page_).code(), Code::ept_walk_failed);  // the next 2 MiB
}

TEST_F(TdTest, PagesAreAddedOnceAndAligned) {
  init();
  EXPECT_EQ(td_.mem_page_add(kGpa, page_), (Status{Code::ept_walk_failed, Operand::rcx}));
  sept();
  EXPECT_EQ(td_.mem_page_add(kGpa + 1, page_), (Status{Code::operand_invalid, Operand::rcx}));
  EXPECT_EQ(td_.mem_page_add(std::uint64_t{1} << 47, page_), (Status{Code::operand_invalid, Operand::rcx}));
  ASSERT_TRUE(td_.mem_page_add(kGpa, page_).ok());
  EXPECT_EQ(td_.mem_page_add(kGpa, page_), (Status{Code::ept_entry_state_incorrect, Operand::rcx}));
}

TEST_F(TdTest, ExtendsOnlyChunksOfPagesThatAreThere) {
  init();
  sept();
  EXPECT_EQ(td_.mr_extend(kGpa), (Status{Code::ept_entry_not_present, Operand::rcx}));
  ASSERT_TRUE(td_.mem_page_add(kGpa, page_).ok());
  EXPECT_EQ(td_.mr_extend(kGpa + 128), (Status{Code::operand_invalid, Operand::rcx}));
  EXPECT_TRUE(td_.mr_extend(kGpa + 0xF00).ok());
  EXPECT_EQ(td_.mr_extend(kGpa + 0x1000), (Status{Code::ept_entry_not_present, Operand::rcx}));
}

TEST_F(TdTest, RefusedCallsAreNotMeasured) {
  init();
  sept();
  vcpu();
  ASSERT_TRUE(td_.mem_page_add(kGpa, page_).ok());
  EXPECT_FALSE(td_.mem_page_add(kGpa, page_).ok());
  EXPECT_FALSE(td_.mr_extend(kGpa + 0x1000).ok());
  ASSERT_TRUE(td_.mr_finalize().ok());
  measure::TdMeasurement expected;
  expected.page_add(kGpa);
  EXPECT_EQ(td_.mrtd(), expected.finish());
}

TEST_F(TdTest, FinalizingNeedsAVirtualCpu) {
  init();
  EXPECT_EQ(td_.mr_finalize().code(), Code::no_vcpus);
  ASSERT_TRUE(td_.vp_create().ok());
  EXPECT_EQ(td_.mr_finalize().code(), Code::no_vcpus);  // created, not initialised
}

TEST_F(TdTest, NothingIsBuiltOrMeasuredAfterFinalizing) {
  run();
  EXPECT_EQ(td_.op_state(), OpState::runnable);
  sept();  // tables may still be added: memory grows while a TD runs
  EXPECT_EQ(td_.mem_page_add(kGpa, page_).code(), Code::op_state_incorrect);
  EXPECT_EQ(td_.mr_extend(kGpa).code(), Code::op_state_incorrect);
  EXPECT_EQ(td_.vp_create().code(), Code::op_state_incorrect);
  EXPECT_EQ(td_.mr_finalize().code(), Code::op_state_incorrect);
}

TEST_F(TdTest, RunsOnlyWhenFinalized) {
  init();
  vcpu();
  EXPECT_EQ(td_.vp_enter(0).code(), Code::op_state_incorrect);
  EXPECT_FALSE(td_.tdg_mr_report({}).has_value());
  EXPECT_EQ(td_.tdg_mr_rtmr_extend(GuestLevel::boot, 0, {}).code(), Code::op_state_incorrect);
  ASSERT_TRUE(td_.mr_finalize().ok());
  EXPECT_TRUE(td_.vp_enter(0).ok());
  EXPECT_EQ(td_.vp_enter(1).code(), Code::operand_invalid);
  EXPECT_TRUE(td_.tdg_mr_report({}).has_value());
}

TEST_F(TdTest, IsTakenDownInOrder) {
  run();
  EXPECT_EQ(td_.mng_key_freeid().code(), Code::lifecycle_state_incorrect);
  EXPECT_EQ(td_.mng_vpflushdone().code(), Code::flushvp_not_done);
  ASSERT_TRUE(td_.vp_flush(0).ok());
  EXPECT_EQ(td_.vp_flush(0).code(), Code::vcpu_not_associated);
  ASSERT_TRUE(td_.mng_vpflushdone().ok());
  EXPECT_EQ(td_.life_cycle(), LifeCycle::blocked);
  EXPECT_EQ(td_.vp_enter(0).code(), Code::td_keys_not_configured);
  EXPECT_FALSE(td_.tdg_mr_report({}).has_value());
  EXPECT_EQ(td_.mng_vpflushdone().code(), Code::lifecycle_state_incorrect);
  ASSERT_TRUE(td_.mng_key_freeid().ok());
  EXPECT_EQ(td_.life_cycle(), LifeCycle::teardown);
}

TEST_F(TdTest, RegistersAreTheGuestsByLevel) {
  run();
  const Digest48 digest = crypto::sha384(as_bytes("event"));
  for (unsigned index : {0U, 1U}) {
    EXPECT_EQ(td_.tdg_mr_rtmr_extend(GuestLevel::user, index, digest), (Status{Code::operand_invalid, Operand::rdx}));
    EXPECT_EQ(td_.rtmrs()[index], Digest48{});
    EXPECT_TRUE(td_.tdg_mr_rtmr_extend(GuestLevel::boot, index, digest).ok());
  }
  EXPECT_TRUE(td_.tdg_mr_rtmr_extend(GuestLevel::user, 2, digest).ok());
  EXPECT_TRUE(td_.tdg_mr_rtmr_extend(GuestLevel::user, 3, digest).ok());
  EXPECT_EQ(td_.tdg_mr_rtmr_extend(GuestLevel::boot, 4, digest).code(), Code::operand_invalid);
  for (const auto& rtmr : td_.rtmrs()) EXPECT_EQ(rtmr, measure::rtmr_extend({}, digest));
}

TEST_F(TdTest, ReportSaysWhatTheTdIs) {
  TdParams params;
  params.mrconfigid.fill(1);
  params.mrowner.fill(2);
  params.mrownerconfig.fill(3);
  init(params);
  vcpu();
  ASSERT_TRUE(td_.mr_finalize().ok());
  ASSERT_TRUE(td_.tdg_mr_rtmr_extend(GuestLevel::user, 3, crypto::sha384(as_bytes("x"))).ok());
  Digest64 data;
  data.fill(0xDA);
  const auto report = evidence::parse_td_report(*td_.tdg_mr_report(data)).value();
  EXPECT_EQ(report.mac.report_data, data);
  EXPECT_EQ(report.mac.cpu_svn, module_.cpu_svn);
  EXPECT_EQ(report.tcb.tee_tcb_svn, module_.tee_tcb_svn);
  EXPECT_EQ(report.tcb.mr_seam, module_.mr_seam);
  EXPECT_EQ(report.info.attributes, TdParams::kSeptVeDisable);
  EXPECT_EQ(report.info.xfam, params.xfam);
  EXPECT_EQ(report.info.mr_td, td_.mrtd());
  EXPECT_EQ(report.info.mr_config_id, params.mrconfigid);
  EXPECT_EQ(report.info.mr_owner, params.mrowner);
  EXPECT_EQ(report.info.mr_owner_config, params.mrownerconfig);
  EXPECT_EQ(report.info.rtmr, td_.rtmrs());
}

TEST_F(TdTest, ReportIsRefusedWhenAnyByteThatMattersChanges) {
  run();
  const auto report = *td_.tdg_mr_report({});
  ASSERT_TRUE(td_.tdg_mr_verifyreport(report).ok());
  for (std::size_t i = 0; i < report.size(); ++i) {
    if (i >= 256 + 239 && i < 512) continue;  // reserved bytes behind TEE_TCB_INFO, in neither MAC nor hash
    auto changed = report;
    changed[i] ^= 0x01;
    EXPECT_EQ(td_.tdg_mr_verifyreport(changed).code(), Code::invalid_reportmacstruct) << "byte " << i;
  }
}

TEST_F(TdTest, ReportIsRefusedOnAnotherMachineAndInAnotherLength) {
  run();
  const auto report = *td_.tdg_mr_report({});
  const ReportKey other{crypto::Secret<32>{ByteArray<32>{9}}};
  EXPECT_EQ(other.verify(report).code(), Code::invalid_reportmacstruct);
  EXPECT_EQ(key_.verify(ByteView{report}.first(1023)).code(), Code::invalid_reportmacstruct);
  Bytes longer = to_bytes(report);
  longer.push_back(0);
  EXPECT_EQ(key_.verify(longer).code(), Code::invalid_reportmacstruct);
}

class Launch : public TdTest {
 protected:
  Bytes program_ = Bytes(10'000, 0x77);
  Bytes library_ = Bytes(100, 0x78);
  std::vector<measure::TdFile> files_{{"cloister-guest", 0755, program_}, {"lib.so", 0644, library_}};
};

TEST_F(Launch, BuildsATdWhoseMrtdIsTheImages) {
  const auto td = launch(module_, key_, {}, files_);
  ASSERT_TRUE(td.ok()) << td.error().text();
  EXPECT_EQ(td->mrtd(), measure::mrtd_of_td_image(files_).value());
  EXPECT_EQ(td->op_state(), OpState::runnable);
  EXPECT_EQ(td->rtmrs(), measure::Rtmrs{});
}

TEST_F(Launch, CrossesTheTablesOfTheSecureEpt) {
  const Bytes large(3U << 20, 0x42);
  files_[0].contents = large;
  EXPECT_EQ(launch(module_, key_, {}, files_).value().mrtd(), measure::mrtd_of_td_image(files_).value());
}

TEST_F(Launch, RefusesAnImageWithoutLayout) {
  EXPECT_EQ(launch(module_, key_, {}, {}).error().code(), Errc::invalid_argument);
}

TEST_F(Launch, NamesTheLeafThatRefused) {
  TdParams params;
  params.attributes = 2;
  const auto refused = launch(module_, key_, params, files_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().detail(), "TDH.MNG.INIT: TDX_OPERAND_INVALID (0xc000010000000040)");
}

}  // namespace
}  // namespace cloister::lab::tdx
