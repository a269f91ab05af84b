#include "cloister/lab_sgx/cpu.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "enclave.hpp"
#include "support/support.hpp"

namespace cloister::lab_sgx {
namespace {

using namespace test;
namespace flag = evidence::sgx_flag;
using measure::SecInfo;

struct Machine : ::testing::Test {
  Cpu cpu{root(), {.cpu_svn = {3, 2}, .pages = 32}};
  PageBytes page{};
  Code init(const evidence::Sigstruct& s) { return cpu.einit(kSecs, evidence::encode_sigstruct(s)); }
};

TEST_F(Machine, EcreateTakesWhatTheManualAllows) {
  const auto create = [&](auto change) {
    SecsInit init{.base = kBase, .size = kSize};
    change(init);
    return cpu.ecreate(9, init);
  };
  EXPECT_EQ(create([](SecsInit& i) { i.size = 0x3000; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.size = 0x1000; i.base = 0; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.base = 0x8000; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.ssa_frame_size = 0; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.attributes[0] |= flag::kInit; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.attributes[1] = 1; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.attributes[8] = 1; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.attributes[9] = 1; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.misc_select = 2; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit& i) { i.config_svn = 1; }), Code::general_protection);
  EXPECT_EQ(create([](SecsInit&) {}), Code::success);
  EXPECT_EQ(create([](SecsInit&) {}), Code::page_fault);  // the page is in use
  EXPECT_EQ(cpu.ecreate(32, {.base = kBase, .size = kSize}), Code::page_fault);
}

TEST_F(Machine, EaddAndEextendKeepToTheEnclave) {
  add_pages(cpu);
  const auto rw = SecInfo::reg(true, true, false);
  EXPECT_EQ(cpu.eadd(kData, kSecs, kBase + 0x3000, rw, page), Code::page_fault);
  EXPECT_EQ(cpu.eadd(9, kData, kBase + 0x3000, rw, page), Code::page_fault);
  EXPECT_EQ(cpu.eadd(9, kSecs, kBase + 0x2000, rw, page), Code::page_fault);
  EXPECT_EQ(cpu.eadd(9, kSecs, kBase + kSize, rw, page), Code::general_protection);
  EXPECT_EQ(cpu.eadd(9, kSecs, kBase - 0x1000, rw, page), Code::general_protection);
  EXPECT_EQ(cpu.eadd(9, kSecs, kBase + 0x3010, rw, page), Code::general_protection);
  EXPECT_EQ(cpu.eadd(9, kSecs, kBase + 0x3000, SecInfo::reg(false, true, false), page), Code::general_protection);
  EXPECT_EQ(cpu.eextend(kSecs, 0), Code::page_fault);
  EXPECT_EQ(cpu.eextend(kData, 128), Code::general_protection);
  EXPECT_EQ(cpu.eextend(kData, 4096), Code::general_protection);
  EXPECT_EQ(init(sigstruct()), Code::success);
  EXPECT_EQ(cpu.eadd(9, kSecs, kBase + 0x3000, rw, page), Code::general_protection);
  EXPECT_EQ(cpu.eextend(kData, 0), Code::general_protection);
}

TEST_F(Machine, EinitChecksEachPartOfTheSigstruct) {
  add_pages(cpu);
  auto bytes = to_bytes(evidence::encode_sigstruct(sigstruct()));
  bytes[44] = 1;
  EXPECT_EQ(cpu.einit(kSecs, bytes), Code::invalid_sig_struct);
  EXPECT_EQ(cpu.einit(kTcs, bytes), Code::page_fault);
  const auto with = [&](auto change) {
    auto s = sigstruct();
    change(s);
    measure::sign_sigstruct(s, signer());
    return init(s);
  };
  EXPECT_EQ(with([](auto& s) { s.cet_attributes = 1; }), Code::invalid_sig_struct);
  auto forged = sigstruct();
  forged.isv_svn = 9;
  EXPECT_EQ(init(forged), Code::invalid_signature);
  EXPECT_EQ(with([](auto& s) { s.enclave_hash[0] ^= 1; }), Code::invalid_measurement);
  EXPECT_EQ(with([](auto& s) { s.attributes[0] |= flag::kDebug; }), Code::invalid_attribute);
  EXPECT_EQ(with([](auto& s) { s.misc_select = 1; }), Code::invalid_attribute);
  EXPECT_EQ(with([](auto& s) { s.isv_family_id[0] = 1; }), Code::invalid_attribute);
  EXPECT_EQ(with([](auto& s) { s.isv_ext_prod_id[0] = 1; }), Code::invalid_attribute);
  EXPECT_EQ(cpu.identity(kSecs), nullptr);
  EXPECT_EQ(init(sigstruct()), Code::success);
  EXPECT_EQ(init(sigstruct()), Code::general_protection);
  EXPECT_EQ(cpu.identity(kSecs)->mr_enclave, sigstruct().enclave_hash);
  EXPECT_EQ(cpu.identity(kSecs)->mr_signer, measure::mrsigner(sigstruct()));
}

TEST_F(Machine, TamperedPageDoesNotStart) {
  add_pages(cpu, {.code = 0x91});
  EXPECT_EQ(init(sigstruct()), Code::invalid_measurement);
}

TEST(LaunchControl, StartsTheEnclavesOfItsSignerAlone) {
  const auto own = measure::mrsigner(sigstruct());
  for (const auto* who : {"a", "b"}) {
    Cpu cpu{root(), {.launch_signer = own, .pages = 8}};
    const Build build{.signer = who};
    add_pages(cpu, build);
    EXPECT_EQ(cpu.einit(kSecs, evidence::encode_sigstruct(sigstruct(build))),
              std::string_view{who} == "a" ? Code::success : Code::invalid_einittoken);
  }
  const Build launcher{.flags = flag::kMode64 | flag::kEinitTokenKey};
  Cpu open{root(), {.pages = 8}};
  add_pages(open, launcher);
  EXPECT_EQ(open.einit(kSecs, evidence::encode_sigstruct(sigstruct(launcher))), Code::invalid_attribute);
}

TEST_F(Machine, EnterAndExitGoInPairs) {
  add_pages(cpu);
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::general_protection);  // before EINIT
  ASSERT_EQ(init(sigstruct()), Code::success);
  EXPECT_EQ(cpu.eexit(0), Code::general_protection);
  EXPECT_EQ(cpu.eenter(0, kData), Code::page_fault);
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::success);
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::general_protection);
  EXPECT_EQ(cpu.eenter(1, kTcs), Code::general_protection);  // busy
  EXPECT_EQ(cpu.eremove(kData), Code::enclave_act);
  EXPECT_EQ(cpu.eexit(0), Code::success);
  EXPECT_EQ(cpu.eremove(kSecs), Code::child_present);
  for (const auto p : {kTcs, kCode, kData, kSsa, kSecs}) EXPECT_EQ(cpu.eremove(p), Code::success);
}

TEST_F(Machine, MemoryHasItsRights) {
  start(cpu);
  EXPECT_EQ(cpu.read(0, kBase + 0x1000, 4).value(), Bytes(4, 0x90));
  EXPECT_EQ(cpu.write(0, kBase + 0x1000, Bytes{1}), Code::page_fault);
  EXPECT_EQ(cpu.write(0, kBase + 0x2FFF, Bytes{1}), Code::success);
  EXPECT_EQ(cpu.write(0, kBase + 0x2FFF, Bytes{1, 2}), Code::page_fault);
  EXPECT_EQ(cpu.read(0, kBase, 8).code(), Code::page_fault);            // a TCS
  EXPECT_EQ(cpu.read(1, kBase + 0x1000, 4).code(), Code::page_fault);   // from outside
}

TEST_F(Machine, AugmentedPageIsUsableOnceAccepted) {
  add_pages(cpu);
  EXPECT_EQ(cpu.eaug(9, kSecs, kBase + 0x3000), Code::general_protection);
  ASSERT_EQ(init(sigstruct()), Code::success);
  ASSERT_EQ(cpu.eenter(0, kTcs), Code::success);
  EXPECT_EQ(cpu.eaug(9, kSecs, kBase + 0x2000), Code::page_fault);
  EXPECT_EQ(cpu.eaug(9, kSecs, kBase + kSize), Code::general_protection);
  ASSERT_EQ(cpu.eaug(9, kSecs, kBase + 0x3000), Code::success);
  EXPECT_EQ(cpu.read(0, kBase + 0x3000, 1).code(), Code::page_fault);
  EXPECT_EQ(cpu.eaccept(1, kBase + 0x3000, AcceptInfo::augmented()), Code::general_protection);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x4000, AcceptInfo::augmented()), Code::page_fault);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x3000, {.secinfo = SecInfo::reg(true, true, true), .pending = true}), Code::page_attributes_mismatch);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x3000, AcceptInfo::augmented()), Code::success);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x3000, AcceptInfo::augmented()), Code::page_attributes_mismatch);
  EXPECT_EQ(cpu.write(0, kBase + 0x3000, Bytes{1}), Code::success);
}

TEST_F(Machine, EvictedPageComesBackOnceAndUnchanged) {
  start(cpu);
  ASSERT_EQ(cpu.epa(10), Code::success);
  EXPECT_EQ(cpu.ewb(kData, 10, 0).code(), Code::page_not_blocked);
  EXPECT_EQ(cpu.eblock(kSecs), Code::page_is_secs);
  EXPECT_EQ(cpu.eblock(10), Code::not_blockable);
  ASSERT_EQ(cpu.eblock(kData), Code::success);
  EXPECT_EQ(cpu.read(0, kBase + 0x2000, 1).code(), Code::page_fault);
  EXPECT_EQ(cpu.ewb(kData, 10, 0).code(), Code::not_tracked);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  EXPECT_EQ(cpu.ewb(kData, 10, 0).code(), Code::not_tracked);  // processor 0 is still inside
  EXPECT_EQ(cpu.etrack(kSecs), Code::prev_trk_incmpl);
  ASSERT_EQ(cpu.eexit(0), Code::success);
  EXPECT_EQ(cpu.ewb(kData, kTcs, 0).code(), Code::page_fault);
  const auto out = cpu.ewb(kData, 10, 0);
  ASSERT_TRUE(out.ok());
  const auto& evicted = out.value();
  EXPECT_FALSE(cpu.epcm(kData).valid);
  const auto load = [&](const EvictedPage& p, unsigned slot = 0) { return cpu.eldu(kData, p, kSecs, 10, slot); };
  auto changed = evicted;
  changed.sealed[77] ^= 1;
  EXPECT_EQ(load(changed), Code::mac_compare_fail);
  changed = evicted;
  changed.address += 0x1000;
  EXPECT_EQ(load(changed), Code::mac_compare_fail);
  changed = evicted;
  changed.secinfo.execute = true;
  EXPECT_EQ(load(changed), Code::mac_compare_fail);
  changed = evicted;
  changed.pending = true;
  EXPECT_EQ(load(changed), Code::mac_compare_fail);
  EXPECT_EQ(load(evicted, 1), Code::mac_compare_fail);
  add_pages(cpu, {.first = 16});
  EXPECT_EQ(cpu.eldu(kData, evicted, 16, 10, 0), Code::mac_compare_fail);  // another enclave's
  EXPECT_EQ(load(evicted), Code::success);
  EXPECT_EQ(cpu.eldu(22, evicted, kSecs, 10, 0), Code::mac_compare_fail);  // its version is spent
  ASSERT_EQ(cpu.eblock(kData), Code::success);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  ASSERT_TRUE(cpu.ewb(kData, 10, 0).ok());
  ASSERT_EQ(cpu.eblock(kCode), Code::success);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  EXPECT_EQ(cpu.ewb(kCode, 10, 0).code(), Code::va_slot_occupied);
  EXPECT_EQ(load(evicted), Code::mac_compare_fail);  // yesterday's contents
}

TEST_F(Machine, EblockSaysWhatItFinds) {
  start(cpu);
  EXPECT_EQ(cpu.eblock(20), Code::page_invalid);
  EXPECT_EQ(cpu.eblock(32), Code::page_fault);
  EXPECT_EQ(cpu.eblock(kData), Code::success);
  EXPECT_EQ(cpu.eblock(kData), Code::blkstate);
}

TEST_F(Machine, EldbBringsThePageBackBlocked) {
  start(cpu);
  ASSERT_EQ(cpu.epa(10), Code::success);
  ASSERT_EQ(cpu.eblock(kData), Code::success);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  ASSERT_EQ(cpu.eexit(0), Code::success);
  const auto out = cpu.ewb(kData, 10, 0);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(cpu.eldb(kData, out.value(), kSecs, 10, 1), Code::mac_compare_fail);
  ASSERT_EQ(cpu.eldb(kData, out.value(), kSecs, 10, 0), Code::success);
  ASSERT_EQ(cpu.eenter(0, kTcs), Code::success);
  EXPECT_EQ(cpu.read(0, kBase + 0x2000, 1).code(), Code::page_fault);
  EXPECT_EQ(cpu.ewb(kData, 10, 0).code(), Code::not_tracked);
  ASSERT_EQ(cpu.eexit(0), Code::success);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  EXPECT_TRUE(cpu.ewb(kData, 10, 0).ok());
}

TEST_F(Machine, RestrictedPageIsAcceptedOnceItIsTracked) {
  start(cpu);
  const auto address = kBase + 0x2000;
  const auto read_only = SecInfo::reg(true, false, false);
  const AcceptInfo accept{.secinfo = read_only, .restricted = true};
  EXPECT_EQ(cpu.emodpr(kSecs, read_only), Code::page_fault);
  EXPECT_EQ(cpu.emodpr(kTcs, read_only), Code::page_fault);
  EXPECT_EQ(cpu.emodpr(kData, SecInfo::reg(false, true, false)), Code::general_protection);
  EXPECT_EQ(cpu.emodpr(kData, SecInfo::tcs()), Code::general_protection);
  ASSERT_EQ(cpu.emodpr(kData, read_only), Code::success);
  EXPECT_EQ(cpu.write(0, address, Bytes{1}), Code::page_fault);  // at once
  EXPECT_TRUE(cpu.read(0, address, 1).ok());
  EXPECT_EQ(cpu.eaccept(0, address, {.secinfo = SecInfo::reg(true, true, false), .restricted = true}), Code::page_attributes_mismatch);
  EXPECT_EQ(cpu.eaccept(0, address, {.secinfo = read_only}), Code::general_protection);
  EXPECT_EQ(cpu.eaccept(0, address, accept), Code::not_tracked);  // no ETRACK
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  EXPECT_EQ(cpu.eaccept(0, address, accept), Code::not_tracked);  // it entered before
  ASSERT_EQ(cpu.aex(0), Code::success);
  ASSERT_EQ(cpu.eresume(0, kTcs), Code::success);
  EXPECT_EQ(cpu.eaccept(0, address, accept), Code::success);
  EXPECT_EQ(cpu.eaccept(0, address, accept), Code::page_attributes_mismatch);
  // The enclave gives itself rights without asking.
  EXPECT_EQ(cpu.emodpe(0, address, SecInfo::reg(true, true, false)), Code::success);
  EXPECT_EQ(cpu.write(0, address, Bytes{1}), Code::success);
  add_pages(cpu, {.first = 16});
  EXPECT_EQ(cpu.emodpr(16 + kData, read_only), Code::general_protection);  // before EINIT
}

TEST_F(Machine, EmodpeExtendsPagesOfItsOwn) {
  start(cpu);
  const auto x = SecInfo::reg(false, false, true);
  EXPECT_EQ(cpu.emodpe(1, kBase + 0x2000, x), Code::general_protection);  // from outside
  EXPECT_EQ(cpu.emodpe(0, kBase + 0x2001, x), Code::general_protection);
  EXPECT_EQ(cpu.emodpe(0, kBase + 0x2000, SecInfo::tcs()), Code::general_protection);
  EXPECT_EQ(cpu.emodpe(0, kBase, x), Code::page_fault);           // a TCS
  EXPECT_EQ(cpu.emodpe(0, kBase + 0x3000, x), Code::page_fault);  // nothing there
  EXPECT_EQ(cpu.emodpe(0, kBase + 0x2000, x), Code::success);
  EXPECT_EQ(cpu.epcm(kData).secinfo, SecInfo::reg(true, true, true));
  ASSERT_EQ(cpu.emodpr(kData, SecInfo::reg(false, false, true)), Code::success);
  EXPECT_EQ(cpu.emodpe(0, kBase + 0x2000, SecInfo::reg(false, true, false)), Code::general_protection);  // to write and not to read
  ASSERT_EQ(cpu.eblock(kData), Code::success);
  EXPECT_EQ(cpu.emodpe(0, kBase + 0x2000, x), Code::page_fault);
}

TEST_F(Machine, TrimmedPageLeavesARunningEnclave) {
  start(cpu);
  const auto address = kBase + 0x2000;
  using measure::SgxPageType;
  EXPECT_EQ(cpu.emodt(kSecs, SgxPageType::trim), Code::page_fault);
  EXPECT_EQ(cpu.emodt(kData, SgxPageType::reg), Code::general_protection);
  EXPECT_EQ(cpu.emodt(kTcs, SgxPageType::tcs), Code::page_fault);
  EXPECT_EQ(cpu.eremove(kData), Code::enclave_act);
  ASSERT_EQ(cpu.emodt(kData, SgxPageType::trim), Code::success);
  EXPECT_EQ(cpu.emodt(kData, SgxPageType::trim), Code::page_not_modifiable);
  EXPECT_EQ(cpu.emodpr(kData, SecInfo::reg(true, false, false)), Code::page_not_modifiable);
  EXPECT_EQ(cpu.read(0, address, 1).code(), Code::page_fault);
  EXPECT_EQ(cpu.eremove(kData), Code::enclave_act);  // not yet accepted
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  ASSERT_EQ(cpu.aex(0), Code::success);
  ASSERT_EQ(cpu.eresume(0, kTcs), Code::success);
  ASSERT_EQ(cpu.eaccept(0, address, {.secinfo = {.type = SgxPageType::trim}, .modified = true}), Code::success);
  EXPECT_EQ(cpu.eremove(kData), Code::success);
}

TEST_F(Machine, PageBecomesATcs) {
  start(cpu);
  const auto address = kBase + 0x2000;
  ASSERT_EQ(cpu.write(0, address, tcs_page({.ossa = kSsaOffset})), Code::success);
  ASSERT_EQ(cpu.emodt(kData, measure::SgxPageType::tcs), Code::success);
  EXPECT_EQ(cpu.eenter(1, kData), Code::page_fault);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  ASSERT_EQ(cpu.aex(0), Code::success);
  ASSERT_EQ(cpu.eresume(0, kTcs), Code::success);
  ASSERT_EQ(cpu.eaccept(0, address, {.secinfo = SecInfo::tcs(), .modified = true}), Code::success);
  EXPECT_EQ(cpu.eenter(1, kData), Code::success);
  EXPECT_EQ(cpu.read(0, address, 1).code(), Code::page_fault);
}

TEST_F(Machine, CopyIsAcceptedWithItsRights) {
  start(cpu);
  const auto rx = SecInfo::reg(true, false, true);
  const auto to = kBase + 0x3000;
  EXPECT_EQ(cpu.eacceptcopy(0, to, kBase + 0x1000, rx), Code::page_fault);  // nothing there
  ASSERT_EQ(cpu.eaug(9, kSecs, to), Code::success);
  EXPECT_EQ(cpu.eacceptcopy(1, to, kBase + 0x1000, rx), Code::general_protection);
  EXPECT_EQ(cpu.eacceptcopy(0, to + 1, kBase + 0x1000, rx), Code::general_protection);
  EXPECT_EQ(cpu.eacceptcopy(0, to, kBase + 0x1000, SecInfo::tcs()), Code::general_protection);
  EXPECT_EQ(cpu.eacceptcopy(0, to, kBase, rx), Code::page_fault);  // from a TCS
  EXPECT_EQ(cpu.eacceptcopy(0, kBase + 0x2000, kBase + 0x1000, rx), Code::page_attributes_mismatch);
  ASSERT_EQ(cpu.eacceptcopy(0, to, kBase + 0x1000, rx), Code::success);
  EXPECT_EQ(cpu.read(0, to, 4).value(), Bytes(4, 0x90));
  EXPECT_EQ(cpu.write(0, to, Bytes{1}), Code::page_fault);
  EXPECT_EQ(cpu.eacceptcopy(0, to, kBase + 0x1000, rx), Code::page_attributes_mismatch);
}

TEST_F(Machine, AexFillsAFrameAndEresumeEmptiesIt) {
  start(cpu);
  EXPECT_EQ(cpu.aex(1), Code::general_protection);
  EXPECT_EQ(cpu.eresume(1, kTcs), Code::general_protection);  // busy
  ASSERT_EQ(cpu.aex(0), Code::success);
  EXPECT_EQ(cpu.read(0, kBase + 0x1000, 1).code(), Code::page_fault);
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::page_fault);  // its second frame is not there
  ASSERT_EQ(cpu.eresume(1, kTcs), Code::success);    // on any processor
  ASSERT_EQ(cpu.aex(1), Code::success);
  ASSERT_EQ(cpu.eaug(9, kSecs, kBase + kSsaOffset + 0x1000), Code::success);
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::page_fault);  // pending
  ASSERT_EQ(cpu.eresume(0, kTcs), Code::success);
  ASSERT_EQ(cpu.eaccept(0, kBase + kSsaOffset + 0x1000, AcceptInfo::augmented()), Code::success);
  ASSERT_EQ(cpu.aex(0), Code::success);
  ASSERT_EQ(cpu.eenter(0, kTcs), Code::success);  // a handler, in the second frame
  ASSERT_EQ(cpu.aex(0), Code::success);
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::general_protection);  // CSSA is NSSA
  ASSERT_EQ(cpu.eresume(0, kTcs), Code::success);
  ASSERT_EQ(cpu.eexit(0), Code::success);
  ASSERT_EQ(cpu.eresume(0, kTcs), Code::success);
  ASSERT_EQ(cpu.eexit(0), Code::success);
  EXPECT_EQ(cpu.eresume(0, kTcs), Code::general_protection);  // no frame is filled
  EXPECT_EQ(cpu.eenter(0, kTcs), Code::success);
}

TEST_F(Machine, LoaderCannotFillFrames) {
  auto init = SecsInit{.base = kBase, .size = kSize};
  ASSERT_EQ(cpu.ecreate(kSecs, init), Code::success);
  auto tcs = tcs_page({.ossa = kSsaOffset});
  tcs[24] = 1;  // CSSA
  const auto clean = tcs_page({.ossa = kSsaOffset});
  const measure::EnclavePage pages[] = {{.offset = 0, .secinfo = SecInfo::tcs(), .contents = clean, .measured = true}};
  auto s = sigstruct();
  s.enclave_hash = measure::mrenclave_of_pages(1, kSize, pages).value();
  measure::sign_sigstruct(s, signer());
  ASSERT_EQ(cpu.eadd(kTcs, kSecs, kBase, SecInfo::tcs(), tcs), Code::success);
  for (std::size_t i = 0; i < page.size(); i += 256) ASSERT_EQ(cpu.eextend(kTcs, i), Code::success);
  EXPECT_EQ(this->init(s), Code::success);  // what EEXTEND measured had CSSA 0
  EXPECT_EQ(cpu.eresume(0, kTcs), Code::general_protection);
}

TEST_F(Machine, DebuggersReadDebugEnclavesOnly) {
  start(cpu);
  EXPECT_EQ(cpu.edbgrd(kData, 0).code(), Code::general_protection);
  EXPECT_EQ(cpu.edbgwr(kData, 0, {1}), Code::general_protection);
  start(cpu, {.flags = flag::kMode64 | flag::kDebug, .first = 16}, 1);
  EXPECT_EQ(cpu.edbgrd(16 + kData, 8).value(), (ByteArray<8>{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11}));
  EXPECT_EQ(cpu.edbgwr(16 + kData, 8, {1, 2}), Code::success);
  EXPECT_EQ(cpu.read(1, kBase + 0x2008, 2).value(), (Bytes{1, 2}));
  EXPECT_EQ(cpu.edbgrd(16 + kData, 4).code(), Code::general_protection);
  EXPECT_EQ(cpu.edbgrd(kSecs, 0).code(), Code::page_fault);
  ASSERT_EQ(cpu.eaug(9, 16, kBase + 0x3000), Code::success);
  EXPECT_EQ(cpu.edbgrd(9, 0).code(), Code::page_not_debuggable);
}

TEST_F(Machine, ReportIsForItsTarget) {
  start(cpu);
  start(cpu, {.code = 0x92, .first = 16}, 1);
  const auto& target = *cpu.identity(16);
  const auto info = encode_target_info({.mr_enclave = target.mr_enclave, .attributes = target.attributes});
  const auto made = cpu.ereport(0, info, Digest64{5});
  ASSERT_TRUE(made.ok());
  const auto key = [&](unsigned processor) {
    return cpu.egetkey(processor, encode_key_request({.name = KeyName::report, .key_id = made.value().key_id}));
  };
  EXPECT_TRUE(report_holds(made.value(), key(1).value()));
  EXPECT_FALSE(report_holds(made.value(), key(0).value()));
  auto changed = made.value();
  changed.body.report_data[0] ^= 1;
  EXPECT_FALSE(report_holds(changed, key(1).value()));
  EXPECT_EQ(made.value().body.mr_enclave, cpu.identity(kSecs)->mr_enclave);
  EXPECT_EQ(cpu.ereport(2, info, {}).code(), Code::general_protection);
  for (const std::size_t reserved : {48U, 56U, 128U, 511U}) {
    auto dirty = info;
    dirty[reserved] = 1;
    EXPECT_EQ(cpu.ereport(0, dirty, {}).code(), Code::general_protection) << reserved;
  }
  EXPECT_EQ(cpu.ereport(0, ByteView{info}.first(511), {}).code(), Code::general_protection);
}

/// Random operations of a host and two enclaves, and what has to hold after each.
class Walk {
 public:
  static constexpr EpcIndex kOther = 6;   // SECS of the second enclave
  static constexpr EpcIndex kVa = 11;
  static constexpr unsigned kSlots = 4;   // that are used

  explicit Walk(std::uint64_t seed) : random_{seed} {
    start(cpu_);
    CLOISTER_ASSERT(cpu_.epa(kVa) == Code::success);
    born_ = *cpu_.identity(kSecs);
  }
  void step() {
    if (pick(3) == 0) {
      enclave_step();
    } else {
      host_step();
    }
    check();
  }
  [[nodiscard]] std::size_t came_back() const { return loaded_.size(); }
  [[nodiscard]] unsigned keys() const { return keys_; }

 private:
  unsigned pick(unsigned below) { return random_.array<1>()[0] % below; }
  EpcIndex any_page() { return pick(cpu_.pages()); }
  /// Without these the enclave is never entered again; they are left alone most of the time.
  bool vital(EpcIndex page) { return (page == kTcs || page == kSsa) && pick(200) != 0; }
  EpcIndex any_secs() { return pick(4) == 0 ? kOther : kSecs; }
  std::uint64_t any_address() { return kBase + 0x1000 * std::uint64_t{pick(8)}; }
  SecInfo any_rights() { return SecInfo::reg(pick(4) != 0, pick(2) == 0, pick(2) == 0); }
  AcceptInfo any_accept() {
    const auto& entry = cpu_.epcm(any_page());
    if (pick(3) != 0) return {.secinfo = entry.secinfo, .pending = entry.pending, .modified = entry.modified, .restricted = entry.restricted};
    return {.secinfo = any_rights(), .pending = pick(2) == 0, .modified = pick(2) == 0, .restricted = pick(2) == 0};
  }

  void host_step() {
    switch (pick(13)) {
      case 0: (void)cpu_.ecreate(kOther, {.base = kBase, .size = kSize}); break;
      case 1: {
        const auto secs = any_secs();
        const bool was = cpu_.identity(secs) != nullptr;
        const auto code = cpu_.eadd(any_page(), secs, any_address(), SecInfo::reg(true, true, false), PageBytes{});
        EXPECT_FALSE(was && code == Code::success) << "EADD after EINIT";
        break;
      }
      case 2: {
        const auto page = any_page();
        const auto secs = cpu_.epcm(page).secs;
        const bool was = cpu_.epcm(page).valid && cpu_.identity(secs) != nullptr;
        EXPECT_FALSE(cpu_.eextend(page, 0) == Code::success && was) << "EEXTEND after EINIT";
        break;
      }
      case 3: (void)cpu_.eaug(any_page(), any_secs(), any_address()); break;
      case 4:
        if (const auto page = any_page(); pick(8) == 0 && !vital(page) && page != kVa) (void)cpu_.eremove(page);
        break;
      case 5:
        if (const auto page = pick(4) == 0 ? any_page() : kData; !vital(page)) (void)cpu_.eblock(page);
        break;
      case 6: (void)cpu_.etrack(any_secs()); break;
      case 7: evict(); break;
      case 8: reload(); break;
      case 9:
        if (const auto page = any_page(); !vital(page)) (void)cpu_.emodpr(page, any_rights());
        break;
      case 10:
        if (const auto page = any_page(); !vital(page)) {
          (void)cpu_.emodt(page, pick(2) == 0 ? measure::SgxPageType::tcs : measure::SgxPageType::trim);
        }
        break;
      case 11: (void)cpu_.eenter(pick(2), pick(4) != 0 ? kTcs : any_page()); break;
      default: (void)cpu_.eresume(pick(2), pick(4) != 0 ? kTcs : any_page()); break;
    }
  }
  void enclave_step() {
    const auto processor = pick(2);
    switch (pick(10)) {
      case 0: (void)cpu_.eexit(processor); break;
      case 1: (void)cpu_.aex(processor); break;
      case 2: (void)cpu_.eaccept(processor, any_address(), any_accept()); break;
      case 3: (void)cpu_.eacceptcopy(processor, any_address(), any_address(), any_rights()); break;
      case 4: (void)cpu_.emodpe(processor, any_address(), any_rights()); break;
      default: ask_for_a_key(processor); break;
    }
  }

  void evict() {
    const auto page = pick(2) == 0 ? any_page() : kData;
    const auto slot = pick(kSlots);
    auto out = cpu_.ewb(page, kVa, slot);
    if (!out.ok()) return;
    EXPECT_TRUE(slots_.emplace(slot, out.value().sealed).second) << "EWB into an occupied slot";
    evicted_.push_back(std::move(out).value());
  }
  void reload() {
    if (evicted_.empty()) return;
    const auto& one = evicted_[pick(static_cast<unsigned>(evicted_.size()))];
    const auto page = any_page();
    const bool blocked = pick(3) == 0;
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      const auto code = blocked ? cpu_.eldb(page, one, kSecs, kVa, slot) : cpu_.eldu(page, one, kSecs, kVa, slot);
      if (code != Code::success) continue;
      EXPECT_TRUE(slots_.contains(slot) && slots_.at(slot) == one.sealed) << "a page from a slot that is not its own";
      EXPECT_TRUE(loaded_.insert(one.sealed).second) << "a page came back twice";
      EXPECT_EQ(cpu_.epcm(page).blocked, blocked);
      slots_.erase(slot);
    }
  }
  /// Keys only inside an enclave that EINIT let in, and none beyond its gates.
  void ask_for_a_key(unsigned processor) {
    KeyRequest request{.name = pick(2) == 0 ? KeyName::seal : static_cast<KeyName>(pick(5)), .policy = static_cast<std::uint16_t>(pick(8)),
                       .isv_svn = static_cast<std::uint16_t>(pick(5)), .cpu_svn = {static_cast<std::uint8_t>(pick(5))}};
    const auto key = cpu_.egetkey(processor, encode_key_request(request));
    const auto* who = cpu_.identity_on(processor);
    if (!key.ok()) return;
    EXPECT_NE(who, nullptr) << "a key outside of an enclave";
    if (who == nullptr) return;
    EXPECT_NE(who->flags() & flag::kInit, 0U);
    if (request.name == KeyName::report) return;
    EXPECT_EQ(request.name, KeyName::seal) << "a key that needs an attribute";
    EXPECT_LE(request.isv_svn, who->isv_svn);
    EXPECT_LE(request.cpu_svn[0], cpu_.cpu_svn()[0]);
    EXPECT_LE(request.policy, 3);
    ++keys_;
  }

  void check() {
    std::set<std::pair<EpcIndex, std::uint64_t>> owned;
    for (EpcIndex i = 0; i < cpu_.pages(); ++i) {
      const auto& entry = cpu_.epcm(i);
      if (!entry.valid || entry.secinfo.type == measure::SgxPageType::va || entry.secinfo.type == measure::SgxPageType::secs) continue;
      EXPECT_TRUE(owned.emplace(entry.secs, entry.address).second) << "two pages at one address";
      EXPECT_TRUE(cpu_.epcm(entry.secs).valid && cpu_.epcm(entry.secs).secinfo.type == measure::SgxPageType::secs) << "a page without an enclave";
      EXPECT_FALSE(entry.pending && entry.modified);
      EXPECT_FALSE(entry.secinfo.write && !entry.secinfo.read);
      for (unsigned processor = 0; processor < Cpu::kProcessors; ++processor) {
        if (cpu_.identity_on(processor) != cpu_.identity(entry.secs)) continue;
        const bool reached = cpu_.read(processor, entry.address, 1).ok();
        EXPECT_FALSE(reached && (entry.blocked || entry.pending || entry.modified || !entry.secinfo.read)) << "a page that is not to be reached";
      }
    }
    if (const auto* now = cpu_.identity(kSecs)) {
      EXPECT_EQ(now->mr_enclave, born_.mr_enclave) << "MRENCLAVE after EINIT";
      EXPECT_EQ(now->mr_signer, born_.mr_signer);
      EXPECT_EQ(now->attributes, born_.attributes);
    }
  }

  cloister::test::SeededRandom random_;
  Cpu cpu_{root(), {.cpu_svn = {3}, .pages = 12}};
  Identity born_;
  std::vector<EvictedPage> evicted_;
  std::map<unsigned, Bytes> slots_;  // what the host knows of the VA page
  std::set<Bytes> loaded_;
  unsigned keys_ = 0;
};

TEST(RandomOperations, KeepTheInvariants) {
  std::size_t came_back = 0;
  unsigned keys = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    Walk walk{seed};
    for (int i = 0; i < 1000; ++i) {
      walk.step();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", step " << i;
    }
    came_back += walk.came_back();
    keys += walk.keys();
  }
  EXPECT_GT(came_back, 200U);  // the walks get that far
  EXPECT_GT(keys, 400U);
}

}  // namespace
}  // namespace cloister::lab_sgx
