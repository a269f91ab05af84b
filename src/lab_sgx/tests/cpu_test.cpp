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
  for (const auto p : {kTcs, kCode, kData, kSecs}) EXPECT_EQ(cpu.eremove(p), Code::success);
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
  EXPECT_EQ(cpu.eaccept(1, kBase + 0x3000, SecInfo::reg(true, true, false)), Code::general_protection);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x4000, SecInfo::reg(true, true, false)), Code::page_fault);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x3000, SecInfo::reg(true, true, true)), Code::page_attributes_mismatch);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x3000, SecInfo::reg(true, true, false)), Code::success);
  EXPECT_EQ(cpu.eaccept(0, kBase + 0x3000, SecInfo::reg(true, true, false)), Code::page_attributes_mismatch);
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
  EXPECT_EQ(cpu.eldu(20, evicted, kSecs, 10, 0), Code::mac_compare_fail);  // its version is spent
  ASSERT_EQ(cpu.eblock(kData), Code::success);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  ASSERT_TRUE(cpu.ewb(kData, 10, 0).ok());
  ASSERT_EQ(cpu.eblock(kCode), Code::success);
  ASSERT_EQ(cpu.etrack(kSecs), Code::success);
  EXPECT_EQ(cpu.ewb(kCode, 10, 0).code(), Code::va_slot_occupied);
  EXPECT_EQ(load(evicted), Code::mac_compare_fail);  // yesterday's contents
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

/// Random operations; after each one the map is consistent.
TEST(RandomOperations, KeepTheInvariants) {
  unsigned came_back = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    cloister::test::SeededRandom random{seed};
    const auto pick = [&](unsigned below) { return random.array<1>()[0] % below; };
    Cpu cpu{root(), {.pages = 12}};
    const PageBytes contents{};
    std::vector<EvictedPage> evicted;
    std::map<Bytes, unsigned> loaded;
    std::set<EpcIndex> initialised;
    start(cpu);
    initialised.insert(kSecs);
    ASSERT_EQ(cpu.epa(11), Code::success);
    for (int step = 0; step < 1000; ++step) {
      const EpcIndex page = pick(12);
      const EpcIndex secs = pick(4) == 0 ? 6 : kSecs;
      const auto address = kBase + 0x1000 * std::uint64_t{pick(8)};
      switch (pick(11)) {
        case 0: (void)cpu.ecreate(6, {.base = kBase, .size = kSize}); break;
        case 1: {
          const bool was = initialised.contains(secs) && cpu.identity(secs) != nullptr;
          const auto code = cpu.eadd(page, secs, address, SecInfo::reg(true, true, false), contents);
          EXPECT_FALSE(was && code == Code::success) << "EADD after EINIT";
          break;
        }
        case 2: (void)cpu.eaug(page, secs, address); break;
        case 3:
          if (pick(6) == 0 && page != 11) (void)cpu.eremove(page);
          break;
        case 4: (void)cpu.eblock(page); break;
        case 5: (void)cpu.etrack(secs); break;
        case 6: {
          auto out = cpu.ewb(page, 11, pick(4));
          if (out.ok()) evicted.push_back(std::move(out).value());
          break;
        }
        case 7:
          if (!evicted.empty()) {
            const auto& one = evicted[pick(static_cast<unsigned>(evicted.size()))];
            for (unsigned slot = 0; slot < 4; ++slot) {
              if (cpu.eldu(page, one, secs, 11, slot) != Code::success) continue;
              EXPECT_EQ(++loaded[one.sealed], 1U) << "a page came back twice";
              ++came_back;
            }
          }
          break;
        case 8: (void)cpu.eenter(pick(4), page); break;
        case 9:
          for (unsigned processor = 0; processor < 4; ++processor) (void)cpu.eexit(processor);
          break;
        default: (void)cpu.eaccept(pick(4), address, SecInfo::reg(true, true, false)); break;
      }
      std::set<std::pair<EpcIndex, std::uint64_t>> owned;
      for (EpcIndex i = 0; i < cpu.pages(); ++i) {
        const auto& entry = cpu.epcm(i);
        if (!entry.valid || entry.secinfo.type == measure::SgxPageType::va || entry.secinfo.type == measure::SgxPageType::secs) continue;
        EXPECT_TRUE(owned.emplace(entry.secs, entry.address).second) << "two pages at one address";
        EXPECT_EQ(cpu.epcm(entry.secs).secinfo.type, measure::SgxPageType::secs) << "a page without an enclave";
        EXPECT_TRUE(cpu.epcm(entry.secs).valid);
      }
    }
  }
  EXPECT_GT(came_back, 100U);  // the walk gets that far
}

}  // namespace
}  // namespace cloister::lab_sgx
