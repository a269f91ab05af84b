#include "cloister/lab/tdx_module.hpp"

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/hash.hpp"
#include "module_fixture.hpp"

namespace cloister::lab::tdx {
namespace {

using ModuleLife = ModuleTest;
using ModuleMemory = ModuleTest;
using ModuleGuest = ModuleTest;
using ServiceTd = ModuleTest;

constexpr Operand kRcx = Operand::rcx;
constexpr Operand kRdx = Operand::rdx;

// --- life of a TD ---

TEST_F(ModuleLife, BeginsWithAKeyIdAndWithoutKeys) {
  create();
  EXPECT_EQ(td().life_cycle, LifeCycle::hkid_assigned);
  EXPECT_EQ(td().op_state, OpState::uninitialized);
  EXPECT_EQ(module_.hkid_state(kHkid), HkidState::assigned);
  EXPECT_EQ(module_.tdh_mng_addcx(page(), kTdr).code(), Code::td_keys_not_configured);
  EXPECT_EQ(module_.tdh_mng_init(kTdr, {}).code(), Code::td_keys_not_configured);
  EXPECT_EQ(module_.tdh_vp_create(page(), kTdr).code(), Code::td_keys_not_configured);
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).code(), Code::td_keys_not_configured);
  EXPECT_EQ(module_.tdh_mr_extend(kGpa, kTdr).code(), Code::td_keys_not_configured);
  EXPECT_EQ(module_.tdh_mr_finalize(kTdr).code(), Code::td_keys_not_configured);
}

TEST_F(ModuleLife, KeyIdsAreForOneTdEach) {
  create();
  EXPECT_EQ(module_.tdh_mng_create(page(), kHkid).code(), Code::hkid_not_free);
  EXPECT_EQ(module_.tdh_mng_create(page(), 31), (Status{Code::operand_invalid, kRdx}));
  EXPECT_EQ(module_.tdh_mng_create(page(), 48), (Status{Code::operand_invalid, kRdx}));
  EXPECT_EQ(module_.tdh_mng_create(kTdr, 41), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.hkid_state(41), HkidState::free);
}

TEST_F(ModuleLife, KeysAreConfiguredOnceOnEachPackage) {
  create();
  EXPECT_EQ(module_.tdh_mng_key_config(kTdr, 2), (Status{Code::operand_invalid, kRdx}));
  ASSERT_TRUE(module_.tdh_mng_key_config(kTdr, 1).ok());
  EXPECT_EQ(td().life_cycle, LifeCycle::hkid_assigned);
  EXPECT_EQ(module_.tdh_mng_key_config(kTdr, 1).code(), Code::key_configured);
  ASSERT_TRUE(module_.tdh_mng_key_config(kTdr, 0).ok());
  EXPECT_EQ(td().life_cycle, LifeCycle::keys_configured);
  EXPECT_EQ(module_.tdh_mng_key_config(kTdr, 0).code(), Code::lifecycle_state_incorrect);
}

TEST_F(ModuleLife, OnlyARootPageNamesATd) {
  init();
  const auto other = page();
  EXPECT_EQ(module_.tdh_mng_key_config(other, 0), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mng_addcx(page(), other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mng_init(other, {}), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_vp_create(page(), other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_vp_addcx(page(), other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_vp_init(kTdr), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_vp_enter(other), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_vp_flush(other), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_sept_add(0, 3, other, page()), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, other, page(), contents_), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mem_page_aug(kGpa, 0, other, page()), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mr_extend(kGpa, other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mr_finalize(other), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_range_block(0, 3, other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mem_range_unblock(0, 3, other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mem_track(other), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_remove(kGpa, 0, other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mem_sept_remove(0, 3, other), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mng_vpflushdone(other), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mng_key_freeid(other), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_phymem_page_reclaim(other), (Status{Code::page_metadata_incorrect, kRcx}));
}

TEST_F(ModuleLife, NeedsItsControlPagesAndNoMore) {
  create();
  keys();
  EXPECT_EQ(module_.tdh_mng_init(kTdr, {}).code(), Code::tdcs_not_allocated);
  control_pages();
  EXPECT_EQ(module_.tdh_mng_addcx(page(), kTdr).code(), Code::tdcx_num_incorrect);
}

TEST_F(ModuleLife, IsInitializedBeforeAnythingIsBuilt) {
  create();
  keys();
  control_pages();
  EXPECT_EQ(module_.tdh_vp_create(page(), kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_sept_add(0, 3, kTdr, page()).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_page_aug(kGpa, 0, kTdr, page()).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_range_block(0, 3, kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_range_unblock(0, 3, kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_page_remove(kGpa, 0, kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_sept_remove(0, 3, kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mem_track(kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mr_finalize(kTdr).code(), Code::op_state_incorrect);
  ASSERT_TRUE(module_.tdh_mng_init(kTdr, {}).ok());
  EXPECT_EQ(module_.tdh_mng_init(kTdr, {}).code(), Code::op_state_incorrect);
}

TEST_F(ModuleLife, RefusesParametersThatItCannotHonour) {
  create();
  keys();
  control_pages();
  TdParams params;
  params.attributes |= 2;
  EXPECT_EQ(module_.tdh_mng_init(kTdr, params), (Status{Code::operand_invalid, Operand::attributes}));
  params = {};
  params.xfam = 0x2;
  EXPECT_EQ(module_.tdh_mng_init(kTdr, params), (Status{Code::operand_invalid, Operand::xfam}));
  params.xfam = 0x100000003;
  EXPECT_EQ(module_.tdh_mng_init(kTdr, params), (Status{Code::operand_invalid, Operand::xfam}));
  params = {};
  params.max_vcpus = 0;
  EXPECT_EQ(module_.tdh_mng_init(kTdr, params), (Status{Code::operand_invalid, Operand::max_vcpus}));
  EXPECT_EQ(td().op_state, OpState::uninitialized);
}

TEST_F(ModuleLife, StatusHasTheArchitecturalNumber) {
  EXPECT_EQ((Status{Code::operand_invalid, Operand::attributes}).raw(), 0xC000010000000040U);
  EXPECT_EQ(Status{Code::op_state_incorrect}.raw(), 0xC000060800000000U);
  EXPECT_EQ(to_string(Code::no_vcpus), "TDX_NO_VCPUS");
}

TEST_F(ModuleLife, VirtualCpusNeedTheirPages) {
  init();
  const auto tdvpr = page();
  ASSERT_TRUE(module_.tdh_vp_create(tdvpr, kTdr).ok());
  EXPECT_EQ(module_.tdh_vp_create(tdvpr, kTdr), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_vp_init(tdvpr).code(), Code::tdcx_num_incorrect);
  for (unsigned i = 1; i < Module::kTdvpsPages; ++i) ASSERT_TRUE(module_.tdh_vp_addcx(page(), tdvpr).ok());
  EXPECT_EQ(module_.tdh_vp_addcx(page(), tdvpr).code(), Code::tdcx_num_incorrect);
  ASSERT_TRUE(module_.tdh_vp_init(tdvpr).ok());
  EXPECT_EQ(module_.tdh_vp_init(tdvpr).code(), Code::vcpu_state_incorrect);
  EXPECT_EQ(module_.tdh_vp_addcx(page(), tdvpr).code(), Code::vcpu_state_incorrect);
}

TEST_F(ModuleLife, HasAtMostTheVirtualCpusOfItsParameters) {
  init();
  vcpu();
  const auto second = page();
  ASSERT_TRUE(module_.tdh_vp_create(second, kTdr).ok());
  for (unsigned i = 1; i < Module::kTdvpsPages; ++i) ASSERT_TRUE(module_.tdh_vp_addcx(page(), second).ok());
  EXPECT_EQ(module_.tdh_vp_init(second).code(), Code::max_vcpus_exceeded);
}

TEST_F(ModuleLife, FinalizingNeedsAVirtualCpu) {
  init();
  EXPECT_EQ(module_.tdh_mr_finalize(kTdr).code(), Code::no_vcpus);
  ASSERT_TRUE(module_.tdh_vp_create(page(), kTdr).ok());
  EXPECT_EQ(module_.tdh_mr_finalize(kTdr).code(), Code::no_vcpus);  // created, not initialised
}

TEST_F(ModuleLife, RunsOnlyWhenFinalized) {
  init();
  const auto tdvpr = vcpu();
  EXPECT_EQ(module_.tdh_vp_enter(tdvpr).code(), Code::op_state_incorrect);
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  EXPECT_EQ(td().op_state, OpState::runnable);
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.tdh_vp_enter(tdvpr), (Status{Code::operand_busy, kRcx}));
  module_.td_exit(tdvpr);
  EXPECT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
}

TEST_F(ModuleLife, NothingIsBuiltOrMeasuredAfterFinalizing) {
  run();
  sept();  // tables may still be added: memory grows while a TD runs
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mr_extend(kGpa, kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_vp_create(page(), kTdr).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_mr_finalize(kTdr).code(), Code::op_state_incorrect);
}

TEST_F(ModuleLife, IsTakenDownInOrder) {
  const auto tdvpr = run();
  EXPECT_EQ(module_.tdh_phymem_cache_wb(0).code(), Code::no_hkid_ready_to_wbcache);
  EXPECT_EQ(module_.tdh_mng_key_freeid(kTdr).code(), Code::lifecycle_state_incorrect);
  EXPECT_EQ(module_.tdh_vp_flush(tdvpr), (Status{Code::operand_busy, kRcx}));
  module_.td_exit(tdvpr);
  EXPECT_EQ(module_.tdh_mng_vpflushdone(kTdr).code(), Code::flushvp_not_done);
  ASSERT_TRUE(module_.tdh_vp_flush(tdvpr).ok());
  EXPECT_EQ(module_.tdh_vp_flush(tdvpr).code(), Code::vcpu_not_associated);
  ASSERT_TRUE(module_.tdh_mng_vpflushdone(kTdr).ok());
  EXPECT_EQ(td().life_cycle, LifeCycle::blocked);
  EXPECT_EQ(module_.hkid_state(kHkid), HkidState::flushed);
  EXPECT_EQ(module_.tdh_vp_enter(tdvpr).code(), Code::td_keys_not_configured);
  EXPECT_EQ(module_.tdh_mng_vpflushdone(kTdr).code(), Code::lifecycle_state_incorrect);
  EXPECT_EQ(module_.tdh_phymem_cache_wb(2), (Status{Code::operand_invalid, kRcx}));
  ASSERT_TRUE(module_.tdh_phymem_cache_wb(1).ok());
  EXPECT_EQ(module_.tdh_mng_key_freeid(kTdr).code(), Code::wbcache_not_complete);
  ASSERT_TRUE(module_.tdh_phymem_cache_wb(0).ok());
  EXPECT_EQ(module_.tdh_phymem_page_reclaim(tdvpr).code(), Code::lifecycle_state_incorrect);
  ASSERT_TRUE(module_.tdh_mng_key_freeid(kTdr).ok());
  EXPECT_EQ(td().life_cycle, LifeCycle::teardown);
  EXPECT_EQ(module_.hkid_state(kHkid), HkidState::free);
  EXPECT_EQ(module_.tdh_phymem_page_reclaim(kTdr).code(), Code::td_associated_pages_exist);
  const auto pages = module_.pamt().all();
  for (const auto& [hpa, metadata] : pages) {
    if (metadata.type != PageType::tdr) {
      EXPECT_TRUE(module_.tdh_phymem_page_reclaim(hpa).ok());
    }
  }
  EXPECT_TRUE(module_.tdh_phymem_page_reclaim(kTdr).ok());
  EXPECT_TRUE(module_.pamt().all().empty());
  EXPECT_EQ(module_.td(kTdr), nullptr);
  create();  // page and key id once more
}

TEST_F(ModuleLife, KeyThatWasNeverConfiguredIsFreedWithoutWriteBack) {
  create();
  ASSERT_TRUE(module_.tdh_mng_vpflushdone(kTdr).ok());
  EXPECT_TRUE(module_.tdh_mng_key_freeid(kTdr).ok());
}

// --- memory ---

TEST_F(ModuleMemory, SecureEptTakesAlignedAddressesOfALevel) {
  init();
  EXPECT_EQ(module_.tdh_mem_sept_add(0, 4, kTdr, page()), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_sept_add(0, 0, kTdr, page()), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_sept_add(0x1000, 3, kTdr, page()), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_sept_add(0, 2, kTdr, page()), (Status{Code::ept_walk_failed, kRcx}));
  sept();
  EXPECT_EQ(module_.tdh_mem_sept_add(0, 1, kTdr, page()), (Status{Code::ept_entry_state_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_add(0x200000, kTdr, page(), contents_), (Status{Code::ept_walk_failed, kRcx}));
}

TEST_F(ModuleMemory, PagesAreAddedOnceAndAligned) {
  init();
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_), (Status{Code::ept_walk_failed, kRcx}));
  sept();
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa + 1, kTdr, page(), contents_), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_add(SecureEpt::kGpaLimit, kTdr, page(), contents_), (Status{Code::operand_invalid, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_), (Status{Code::ept_entry_state_incorrect, kRcx}));
}

TEST_F(ModuleMemory, NoPageIsGivenToTwo) {
  constexpr Hpa kOther{0x1000};
  constexpr Status kTaken{Code::page_metadata_incorrect, Operand::r8};
  init();
  sept();
  init({}, kOther, 41);
  sept(kOther);
  const auto mine = page();
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, mine, contents_).ok());
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kOther, mine, contents_), kTaken);
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa + 0x1000, kTdr, mine, contents_), kTaken);  // nor twice to one
  EXPECT_EQ(module_.tdh_mem_page_aug(kGpa, 0, kOther, mine), kTaken);
  EXPECT_EQ(module_.tdh_mem_sept_add(0x200000, 1, kOther, mine), kTaken);
  EXPECT_EQ(module_.tdh_vp_create(mine, kOther), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mng_create(mine, 42), (Status{Code::page_metadata_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kOther, kTdr, contents_), kTaken);
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kOther, Hpa{std::uint64_t{1} << 32}, contents_),
            (Status{Code::operand_addr_range_error, Operand::r8}));
  EXPECT_EQ(module_.tdh_mem_page_add(kGpa, kTdr, mine, contents_), (Status{Code::ept_entry_state_incorrect, kRcx}));
  EXPECT_EQ(module_.td(kOther)->sept.entry(kGpa, 0).state, SeptState::free);
  EXPECT_EQ(module_.pamt().find(mine)->owner, kTdr);
}

TEST_F(ModuleMemory, ExtendsOnlyChunksOfPagesThatAreThere) {
  init();
  sept();
  EXPECT_EQ(module_.tdh_mr_extend(kGpa, kTdr), Status{Code::ept_entry_not_present});
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  EXPECT_EQ(module_.tdh_mr_extend(kGpa + 128, kTdr), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mr_extend(SecureEpt::kGpaLimit, kTdr), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mr_extend(0x40000000, kTdr), (Status{Code::ept_entry_not_present, kRcx}));
  EXPECT_TRUE(module_.tdh_mr_extend(kGpa + 0xF00, kTdr).ok());
  ASSERT_TRUE(module_.tdh_mem_page_aug(kGpa + 0x1000, 0, kTdr, page()).ok());
  EXPECT_EQ(module_.tdh_mr_extend(kGpa + 0x1000, kTdr), Status{Code::ept_entry_not_present});
}

TEST_F(ModuleMemory, OnlyWhatSucceededIsMeasured) {
  init();
  sept();
  vcpu();
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  EXPECT_FALSE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  EXPECT_FALSE(module_.tdh_mr_extend(kGpa + 0x1000, kTdr).ok());
  ASSERT_TRUE(module_.tdh_mem_page_aug(kGpa + 0x1000, 0, kTdr, page()).ok());
  EXPECT_EQ(td().mrtd, Digest48{});
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  measure::TdMeasurement expected;
  expected.page_add(kGpa);
  EXPECT_EQ(td().mrtd, expected.finish());
}

TEST_F(ModuleMemory, ContentsAreCopiedWhenThePageIsAdded) {
  init();
  sept();
  vcpu();
  contents_.fill(0x11);
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  const auto added = contents_;
  contents_.fill(0x22);  // the host changes its own copy: too late
  for (std::uint64_t offset = 0; offset < kFrameSize; offset += 256) {
    ASSERT_TRUE(module_.tdh_mr_extend(kGpa + offset, kTdr).ok());
  }
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  measure::TdMeasurement expected;
  expected.add_and_extend(kGpa, added);
  EXPECT_EQ(td().mrtd, expected.finish());
}

TEST_F(ModuleMemory, PageOfARunningTdIsRemovedOnceNoTlbKnowsIt) {
  init();
  sept();
  const auto tdvpr = vcpu();
  const auto mine = page();
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, mine, contents_).ok());
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.tdh_mem_page_remove(kGpa, 0, kTdr), (Status{Code::gpa_range_not_blocked, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_range_block(kGpa, 0, kTdr).ok());
  EXPECT_EQ(module_.tdh_mem_range_block(kGpa, 0, kTdr), (Status{Code::gpa_range_already_blocked, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_remove(kGpa, 0, kTdr), (Status{Code::tlb_tracking_not_done, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_track(kTdr).ok());
  // The virtual CPU was entered before: its TLB may hold the page.
  EXPECT_EQ(module_.tdh_mem_page_remove(kGpa, 0, kTdr).code(), Code::tlb_tracking_not_done);
  EXPECT_EQ(module_.tdh_mem_range_unblock(kGpa, 0, kTdr), (Status{Code::tlb_tracking_not_done, Operand::sept_tree}));
  EXPECT_EQ(module_.tdh_mem_track(kTdr).code(), Code::previous_tlb_epoch_busy);
  module_.td_exit(tdvpr);
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_TRUE(module_.tdh_mem_page_remove(kGpa, 0, kTdr).ok());
  EXPECT_EQ(module_.pamt().find(mine), nullptr);
  EXPECT_EQ(module_.touch(tdvpr, kGpa), Access::ept_violation);
  EXPECT_EQ(module_.tdh_mem_page_remove(kGpa, 0, kTdr), (Status{Code::ept_entry_state_incorrect, kRcx}));
}

TEST_F(ModuleMemory, UnblockedPageIsThereAgain) {
  init();
  sept();
  const auto tdvpr = vcpu();
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  EXPECT_EQ(module_.tdh_mem_range_unblock(kGpa, 0, kTdr), (Status{Code::ept_entry_state_incorrect, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_range_block(kGpa, 0, kTdr).ok());
  ASSERT_TRUE(module_.tdh_mem_track(kTdr).ok());
  ASSERT_TRUE(module_.tdh_mem_range_unblock(kGpa, 0, kTdr).ok());
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.touch(tdvpr, kGpa), Access::granted);
}

TEST_F(ModuleMemory, WhileTheTdIsBuiltNothingNeedsTracking) {
  init();
  sept();
  ASSERT_TRUE(module_.tdh_mem_page_add(kGpa, kTdr, page(), contents_).ok());
  EXPECT_EQ(module_.tdh_mem_sept_remove(0, 1, kTdr), (Status{Code::ept_page_not_free, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_remove(0, 1, kTdr), (Status{Code::ept_entry_state_incorrect, kRcx}));  // a table
  EXPECT_TRUE(module_.tdh_mem_page_remove(kGpa, 0, kTdr).ok());
  EXPECT_EQ(module_.tdh_mem_sept_remove(0x200000, 1, kTdr), (Status{Code::ept_entry_state_incorrect, kRcx}));
  EXPECT_TRUE(module_.tdh_mem_sept_remove(0, 1, kTdr).ok());
}

TEST_F(ModuleMemory, AddressesOfTheWrongLevelAreRefused) {
  init();
  sept();
  EXPECT_EQ(module_.tdh_mem_page_aug(0, 2, kTdr, page()), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_aug(0x1000, 1, kTdr, page()), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_remove(0, 2, kTdr), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_sept_remove(0, 0, kTdr), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_range_block(0, 4, kTdr), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_range_unblock(0x800, 0, kTdr), (Status{Code::operand_invalid, kRcx}));
}

TEST_F(ModuleMemory, TableOfARunningTdIsBlockedBeforeItGoes) {
  run();
  sept();
  EXPECT_EQ(module_.tdh_mem_sept_remove(0, 1, kTdr), (Status{Code::gpa_range_not_blocked, kRcx}));
}

// --- the guest ---

TEST_F(ModuleGuest, SeesPagesThatItHasAccepted) {
  TdParams params;
  params.attributes = 0;  // #VE for pages that were not accepted
  const auto tdvpr = run(params);
  sept();
  EXPECT_EQ(module_.tdg_mem_page_accept(tdvpr, kGpa, 2), (Status{Code::operand_invalid, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_page_aug(kGpa, 0, kTdr, page()).ok());
  EXPECT_EQ(module_.touch(tdvpr, kGpa), Access::virtualization_exception);
  ASSERT_TRUE(module_.tdg_mem_page_accept(tdvpr, kGpa, 0).ok());
  EXPECT_EQ(module_.touch(tdvpr, kGpa), Access::granted);
  // The host takes the page and brings another one: the guest notices, because it is pending again.
  ASSERT_TRUE(module_.tdh_mem_range_block(kGpa, 0, kTdr).ok());
  ASSERT_TRUE(module_.tdh_mem_track(kTdr).ok());
  module_.td_exit(tdvpr);
  ASSERT_TRUE(module_.tdh_mem_page_remove(kGpa, 0, kTdr).ok());
  ASSERT_TRUE(module_.tdh_mem_page_aug(kGpa, 0, kTdr, page()).ok());
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.touch(tdvpr, kGpa), Access::virtualization_exception);
}

TEST_F(ModuleGuest, LeavesTheTdWhereTheHostHasToAct) {
  const auto tdvpr = run();
  EXPECT_EQ(module_.tdg_mem_page_accept(tdvpr, kGpa, 0).code(), Code::ept_violation);
  EXPECT_FALSE(module_.touch(tdvpr, kGpa).has_value());  // it no longer runs
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.touch(tdvpr, kGpa), Access::ept_violation);
  EXPECT_FALSE(td().vcpus.at(tdvpr).running);
}

TEST_F(ModuleGuest, AcceptsTwoMebibytesAtOnce) {
  const auto tdvpr = run();
  for (unsigned level : {3U, 2U}) ASSERT_TRUE(module_.tdh_mem_sept_add(0, level, kTdr, page()).ok());
  ASSERT_TRUE(module_.tdh_mem_page_aug(0x200000, 1, kTdr, Hpa{0x40000000}).ok());
  ASSERT_TRUE(module_.tdg_mem_page_accept(tdvpr, 0x200000, 1).ok());
  EXPECT_EQ(module_.touch(tdvpr, 0x3FF000), Access::granted);
  EXPECT_EQ(module_.tdg_mem_page_accept(tdvpr, 0x200000, 1).code(), Code::page_already_accepted);
}

TEST_F(ModuleGuest, AcceptsPartOfALargePageOnceTheHostHasSplitIt) {
  constexpr Hpa kLarge{0x40000000};
  TdParams params;
  params.attributes = 0;
  const auto tdvpr = run(params);
  for (unsigned level : {3U, 2U}) ASSERT_TRUE(module_.tdh_mem_sept_add(0, level, kTdr, page()).ok());
  ASSERT_TRUE(module_.tdh_mem_page_aug(0x200000, 1, kTdr, kLarge).ok());
  ASSERT_EQ(module_.tdg_mem_page_accept(tdvpr, 0x201000, 0).code(), Code::ept_violation);
  const auto table = page();
  EXPECT_EQ(module_.tdh_mem_page_demote(0x200000, 1, kTdr, table), (Status{Code::gpa_range_not_blocked, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_range_block(0x200000, 1, kTdr).ok());
  EXPECT_EQ(module_.tdh_mem_page_demote(0x200000, 1, kTdr, table), (Status{Code::tlb_tracking_not_done, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_track(kTdr).ok());
  EXPECT_EQ(module_.tdh_mem_page_demote(0x200000, 1, kTdr, kTdr), (Status{Code::page_metadata_incorrect, Operand::r8}));
  const auto children = module_.pamt().children(kTdr);
  ASSERT_TRUE(module_.tdh_mem_page_demote(0x200000, 1, kTdr, table).ok());
  EXPECT_EQ(module_.pamt().children(kTdr), children + 1);
  EXPECT_EQ(module_.pamt().find(Hpa{kLarge.value + 0x1FF000})->level, 0U);
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.tdg_mem_page_accept(tdvpr, 0x200000, 1).code(), Code::page_size_mismatch);
  ASSERT_TRUE(module_.tdg_mem_page_accept(tdvpr, 0x201000, 0).ok());
  EXPECT_EQ(module_.touch(tdvpr, 0x201000), Access::granted);
  EXPECT_EQ(module_.touch(tdvpr, 0x202000), Access::virtualization_exception);

  // Half of it accepted, it cannot be joined; all of it, it can.
  const auto block_and_track = [&] {
    ASSERT_TRUE(module_.tdh_mem_range_block(0x200000, 1, kTdr).ok());
    ASSERT_TRUE(module_.tdh_mem_track(kTdr).ok());
    module_.td_exit(tdvpr);
  };
  EXPECT_EQ(module_.tdh_mem_page_promote(0x200000, 1, kTdr), (Status{Code::gpa_range_not_blocked, kRcx}));
  block_and_track();
  EXPECT_EQ(module_.tdh_mem_page_promote(0x200000, 1, kTdr), (Status{Code::ept_invalid_promote_conditions, kRcx}));
  ASSERT_TRUE(module_.tdh_mem_range_unblock(0x200000, 1, kTdr).ok());
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  for (std::uint64_t gpa = 0x200000; gpa < 0x400000; gpa += kFrameSize) {
    if (gpa == 0x201000) continue;
    ASSERT_TRUE(module_.tdg_mem_page_accept(tdvpr, gpa, 0).ok());
  }
  block_and_track();
  ASSERT_TRUE(module_.tdh_mem_page_promote(0x200000, 1, kTdr).ok());
  EXPECT_EQ(module_.pamt().children(kTdr), children);
  EXPECT_EQ(module_.pamt().find(table), nullptr);
  EXPECT_EQ(module_.pamt().find(kLarge)->level, 1U);
  EXPECT_EQ(module_.pamt().find(Hpa{kLarge.value + 0x1000}), nullptr);
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_EQ(module_.touch(tdvpr, 0x3FF000), Access::granted);
}

TEST_F(ModuleGuest, PagesAreSplitAndJoinedAtTwoMebibytesAlone) {
  init();
  sept();
  EXPECT_EQ(module_.tdh_mem_page_demote(0, 2, kTdr, page()), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_promote(0x1000, 1, kTdr), (Status{Code::operand_invalid, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_demote(0, 1, kTdr, page()), (Status{Code::ept_entry_state_incorrect, kRcx}));  // a table
  EXPECT_EQ(module_.tdh_mem_page_demote(0x200000, 1, kTdr, page()), (Status{Code::ept_entry_state_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_promote(0x200000, 1, kTdr), (Status{Code::ept_entry_state_incorrect, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_promote(0, 1, kTdr), (Status{Code::ept_invalid_promote_conditions, kRcx}));  // empty
  EXPECT_EQ(module_.tdh_mem_page_demote(0x40000000, 1, kTdr, page()), (Status{Code::ept_walk_failed, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_promote(0x40000000, 1, kTdr), (Status{Code::ept_walk_failed, kRcx}));
  EXPECT_EQ(module_.tdh_mem_page_demote(0, 1, page(), page()), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_mem_page_promote(0, 1, page()), (Status{Code::page_metadata_incorrect, kRdx}));
  // Pages that do not lie behind each other.
  for (std::uint64_t gpa = 0; gpa < 0x200000; gpa += kFrameSize) {
    const Hpa scattered{0x40000000 + (gpa == 0x5000 ? 0x400000 : gpa)};
    ASSERT_TRUE(module_.tdh_mem_page_aug(gpa, 0, kTdr, scattered).ok());
  }
  EXPECT_EQ(module_.tdh_mem_page_promote(0, 1, kTdr), (Status{Code::ept_invalid_promote_conditions, kRcx}));
}

TEST_F(ModuleGuest, NobodyAsksWhoDoesNotRun) {
  init();
  const auto tdvpr = vcpu();
  const auto refused = [&] {
    EXPECT_FALSE(module_.tdg_mr_report(tdvpr, {}).has_value());
    EXPECT_EQ(module_.tdg_mr_rtmr_extend(tdvpr, 2, {}).code(), Code::op_state_incorrect);
    EXPECT_EQ(module_.tdg_mr_verifyreport(tdvpr, {}).code(), Code::op_state_incorrect);
    EXPECT_EQ(module_.tdg_mem_page_accept(tdvpr, kGpa, 0).code(), Code::op_state_incorrect);
    EXPECT_FALSE(module_.touch(tdvpr, kGpa).has_value());
  };
  refused();
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  refused();
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  EXPECT_TRUE(module_.tdg_mr_report(tdvpr, {}).has_value());
  module_.td_exit(tdvpr);
  refused();
  EXPECT_FALSE(module_.tdg_mr_report(kTdr, {}).has_value());
}

TEST_F(ModuleGuest, ExtendsFourRegisters) {
  const auto tdvpr = run();
  const Digest48 digest = crypto::sha384(as_bytes("event"));
  for (unsigned index = 0; index < 4; ++index) ASSERT_TRUE(module_.tdg_mr_rtmr_extend(tdvpr, index, digest).ok());
  EXPECT_EQ(module_.tdg_mr_rtmr_extend(tdvpr, 4, digest), (Status{Code::operand_invalid, kRdx}));
  for (const auto& rtmr : td().rtmrs) EXPECT_EQ(rtmr, measure::rtmr_extend({}, digest));
}

TEST_F(ModuleGuest, ReportIsRefusedWhenAnyByteThatMattersChanges) {
  const auto tdvpr = run();
  const auto report = *module_.tdg_mr_report(tdvpr, {});
  ASSERT_TRUE(module_.tdg_mr_verifyreport(tdvpr, report).ok());
  for (std::size_t i = 0; i < report.size(); ++i) {
    if (i >= 256 + 239 && i < 512) continue;  // reserved bytes behind TEE_TCB_INFO, in neither MAC nor hash
    auto changed = report;
    changed[i] ^= 0x01;
    EXPECT_EQ(module_.tdg_mr_verifyreport(tdvpr, changed).code(), Code::invalid_reportmacstruct) << "byte " << i;
  }
}

TEST_F(ModuleGuest, ReportIsRefusedOnAnotherMachineAndInAnotherLength) {
  const auto report = *module_.tdg_mr_report(run(), {});
  const ReportKey other{crypto::Secret<32>{ByteArray<32>{9}}};
  EXPECT_EQ(other.verify(report).code(), Code::invalid_reportmacstruct);
  EXPECT_EQ(key_.verify(ByteView{report}.first(1023)).code(), Code::invalid_reportmacstruct);
  Bytes longer = to_bytes(report);
  longer.push_back(0);
  EXPECT_EQ(key_.verify(longer).code(), Code::invalid_reportmacstruct);
}

TEST_F(ModuleGuest, OutlivesTheModuleThatLaunchedIt) {
  const auto tdvpr = run();
  auto newer = info_;
  newer.tee_tcb_svn[0] += 1;
  newer.mr_seam.fill(0x5F);
  EXPECT_EQ(module_.tdh_sys_update(newer).code(), Code::sys_busy);
  module_.td_exit(tdvpr);
  ASSERT_TRUE(module_.tdh_sys_update(newer).ok());
  EXPECT_EQ(module_.tdh_sys_update(info_).code(), Code::sys_invalid_handoff);
  auto other_major = newer;
  other_major.tee_tcb_svn[1] += 1;
  EXPECT_EQ(module_.tdh_sys_update(other_major).code(), Code::sys_invalid_handoff);
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  const auto old = evidence::parse_td_report(*module_.tdg_mr_report(tdvpr, {})).value();
  EXPECT_EQ(old.tcb.tee_tcb_svn, info_.tee_tcb_svn);
  EXPECT_EQ(old.tcb.tee_tcb_svn2, newer.tee_tcb_svn);
  EXPECT_EQ(old.tcb.mr_seam, info_.mr_seam);
  const auto fresh = evidence::parse_td_report(*module_.tdg_mr_report(run({}, Hpa{0x1000}, 41), {})).value();
  EXPECT_EQ(fresh.tcb.tee_tcb_svn, newer.tee_tcb_svn);
  EXPECT_EQ(fresh.tcb.mr_seam, newer.mr_seam);
}

// --- service TDs ---

constexpr Hpa kService{0x1000};
constexpr ServtdAttributes kByMrtd{0x000007FB00000000};  // everything but MRTD left out

TEST_F(ServiceTd, IsInTheReportOfTheTdThatItServes) {
  run({}, kService, 41);
  init();
  const auto tdvpr = vcpu();
  ASSERT_TRUE(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kByMrtd).ok());
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  ASSERT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
  const auto report = evidence::parse_td_report(*module_.tdg_mr_report(tdvpr, {})).value();
  EXPECT_EQ(report.mac.version, 1U);
  evidence::TdInfo known;
  known.mr_td = td(kService).mrtd;
  codec::Writer entry;
  entry.raw(crypto::sha384(evidence::encode_td_info(known)));
  entry.u16le(kServtdMigration);
  entry.u64le(kByMrtd.bits);
  EXPECT_EQ(entry.bytes().size(), 58U);
  EXPECT_EQ(report.info.servtd_hash, crypto::sha384(entry.bytes()));
}

TEST_F(ServiceTd, ReportWithoutOneIsOfVersionZero) {
  const auto report = evidence::parse_td_report(*module_.tdg_mr_report(run(), {})).value();
  EXPECT_EQ(report.mac.version, 0U);
  EXPECT_EQ(report.info.servtd_hash, Digest48{});
}

TEST_F(ServiceTd, BoundLaterIsTheOneThatWasSaidBefore) {
  const auto service = run({}, kService, 41);
  init();
  vcpu();
  evidence::TdInfo known;
  known.mr_td = td(kService).mrtd;
  const auto hash = crypto::sha384(evidence::encode_td_info(known));
  ASSERT_TRUE(module_.tdh_servtd_prebind(kTdr, hash, 0, kServtdMigration, kByMrtd).ok());
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  EXPECT_EQ(module_.tdh_servtd_prebind(kTdr, hash, 0, kServtdMigration, kByMrtd).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, {}).code(), Code::servtd_attr_mismatch);
  ASSERT_TRUE(module_.tdg_mr_rtmr_extend(service, 3, {}).ok());  // not among what it is known by
  EXPECT_TRUE(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kByMrtd).ok());
  EXPECT_EQ(td().servtd.state, ServtdState::bound);
}

TEST_F(ServiceTd, OfAnotherHashIsRefused) {
  run({}, kService, 41);
  init();
  vcpu();
  ASSERT_TRUE(module_.tdh_servtd_prebind(kTdr, Digest48{1}, 0, kServtdMigration, kByMrtd).ok());
  ASSERT_TRUE(module_.tdh_mr_finalize(kTdr).ok());
  EXPECT_EQ(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kByMrtd).code(), Code::servtd_info_hash_mismatch);
  EXPECT_EQ(td().servtd.state, ServtdState::pre_bound);
}

TEST_F(ServiceTd, InstanceBindingHoldsToTheInstance) {
  constexpr Hpa kTwin{0x2000};
  constexpr ServtdAttributes kInstance{kByMrtd.bits | ServtdAttributes::kInstanceBinding};
  run({}, kService, 41);
  run({}, kTwin, 42);
  init();
  ASSERT_TRUE(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kInstance).ok());
  EXPECT_EQ(module_.tdh_servtd_prebind(kTdr, {}, 0, kServtdMigration, kInstance).code(), Code::servtd_bound);
  EXPECT_EQ(module_.tdh_servtd_bind(kTdr, kTwin, 0, kServtdMigration, kInstance).code(), Code::servtd_uuid_mismatch);
  EXPECT_TRUE(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kInstance).ok());
}

TEST_F(ServiceTd, IsBoundBeforeTheReportSaysWhich) {
  run({}, kService, 41);
  run();
  EXPECT_EQ(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kByMrtd).code(), Code::op_state_incorrect);
}

TEST_F(ServiceTd, MustRunAndHaveATypeAndAttributesThatExist) {
  init({}, kService, 41);
  init();
  EXPECT_EQ(module_.tdh_servtd_bind(kTdr, page(), 0, kServtdMigration, kByMrtd), (Status{Code::page_metadata_incorrect, kRdx}));
  EXPECT_EQ(module_.tdh_servtd_bind(kTdr, kService, 0, kServtdMigration, kByMrtd).code(), Code::op_state_incorrect);
  EXPECT_EQ(module_.tdh_servtd_bind(page(), kService, 0, kServtdMigration, kByMrtd).code(), Code::page_metadata_incorrect);
  EXPECT_EQ(module_.tdh_servtd_prebind(kTdr, {}, 1, kServtdMigration, {}), (Status{Code::operand_invalid, Operand::r8}));
  EXPECT_EQ(module_.tdh_servtd_prebind(kTdr, {}, 0, 1, {}), (Status{Code::operand_invalid, Operand::r9}));
  EXPECT_EQ(module_.tdh_servtd_prebind(kTdr, {}, 0, 0, {2}), (Status{Code::operand_invalid, Operand::r10}));
  EXPECT_EQ(module_.tdh_servtd_prebind(page(), {}, 0, 0, {}), (Status{Code::page_metadata_incorrect, kRcx}));
}

}  // namespace
}  // namespace cloister::lab::tdx
