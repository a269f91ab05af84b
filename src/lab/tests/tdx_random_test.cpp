#include <random>

#include "module_fixture.hpp"

/// Random calls against the module: whatever a host and its guests do, some things hold.
namespace cloister::lab::tdx {
namespace {

class RandomCalls : public ModuleTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  // Few of each, so that calls collide.
  static constexpr std::uint64_t kFrames = 96;
  static constexpr Hpa kRoots[] = {Hpa{0x1000}, Hpa{0x2000}, Hpa{0x3000}};

  std::uint64_t below(std::uint64_t limit) { return std::uniform_int_distribution<std::uint64_t>{0, limit - 1}(random_); }
  Hpa any_page() { return below(20) == 0 ? Hpa{0x40000000 + below(4) * 0x200000} : Hpa{below(kFrames) * kFrameSize}; }
  Hpa any_root() { return kRoots[below(3)]; }
  /// Mostly a virtual CPU that exists.
  Hpa any_vcpu() {
    std::vector<Hpa> vcpus;
    for (const auto& [tdr, td] : module_.tds()) {
      for (const auto& [tdvpr, vcpu] : td.vcpus) vcpus.push_back(tdvpr);
    }
    return vcpus.empty() ? any_page() : vcpus[below(vcpus.size())];
  }
  std::uint64_t gpa(unsigned level) { return below(level == 0 ? 6 : 2) * span_of(level); }

  void call();
  void advance(Hpa tdr);
  void check();
  void expect_one_owner();
  void expect_measurements_kept();

  /// What is remembered of a TD between two calls.
  struct Seen {
    Digest32 uuid{};
    OpState op_state = OpState::uninitialized;
    Digest48 mrtd{};
    Digest48 servtd_hash{};
    measure::Rtmrs rtmrs{};
  };
  std::map<Hpa, Seen> seen_;
  std::map<Hpa, measure::Rtmrs> extended_;  // what the calls that succeeded lead to
  std::mt19937_64 random_{GetParam()};
  unsigned finalized_ = 0;
  unsigned accepted_ = 0;
  unsigned removed_ = 0;
  unsigned reclaimed_ = 0;
  unsigned split_ = 0;
  unsigned joined_ = 0;
};

/// What a sensible host would do next, so that the walk comes to where things happen.
void RandomCalls::advance(Hpa tdr) {
  const auto* const td = module_.td(tdr);
  if (td == nullptr) return (void)module_.tdh_mng_create(tdr, static_cast<std::uint16_t>(32 + below(4)));
  if (td->life_cycle == LifeCycle::hkid_assigned) {
    return (void)module_.tdh_mng_key_config(tdr, static_cast<unsigned>(td->configured_packages.size()) % 2);
  }
  if (td->control_pages < Module::kTdcsPages) return (void)module_.tdh_mng_addcx(any_page(), tdr);
  if (td->op_state == OpState::uninitialized) return (void)module_.tdh_mng_init(tdr, {.attributes = 0, .max_vcpus = 2});
  if (td->vcpus.empty()) return (void)module_.tdh_vp_create(any_page(), tdr);
  const auto& [tdvpr, vcpu] = *td->vcpus.begin();
  if (vcpu.pages.size() < Module::kTdvpsPages) return (void)module_.tdh_vp_addcx(any_page(), tdvpr);
  if (!vcpu.initialized) return (void)module_.tdh_vp_init(tdvpr);
  for (unsigned level = SecureEpt::kTopLevel; level >= 1; --level) {
    if (td->sept.entry(0, level).state == SeptState::free) return (void)module_.tdh_mem_sept_add(0, level, tdr, any_page());
  }
  if (!vcpu.running) return (void)module_.tdh_vp_enter(tdvpr);
  const auto at = gpa(0);
  switch (below(8)) {
    case 6: return (void)module_.tdh_mem_page_aug(span_of(1), 1, tdr, Hpa{0x40000000 + below(4) * span_of(1)});
    case 7:
      (void)module_.tdh_mem_range_block(span_of(1), 1, tdr);
      (void)module_.tdh_mem_track(tdr);
      module_.td_exit(tdvpr);
      split_ += module_.tdh_mem_page_demote(span_of(1), 1, tdr, any_page()).ok() ? 1 : 0;
      if (below(2) == 0) return;
      (void)module_.tdh_mem_range_block(span_of(1), 1, tdr);
      (void)module_.tdh_mem_track(tdr);
      joined_ += module_.tdh_mem_page_promote(span_of(1), 1, tdr).ok() ? 1 : 0;
      return;
    case 0: return (void)module_.tdh_mem_page_aug(at, 0, tdr, any_page());
    case 1: return (void)module_.tdh_mem_range_block(at, 0, tdr);
    case 2: return (void)module_.tdh_mem_track(tdr);
    case 3: return module_.td_exit(tdvpr);
    case 4: removed_ += module_.tdh_mem_page_remove(at, 0, tdr).ok() ? 1 : 0; return;
    default: accepted_ += module_.tdg_mem_page_accept(tdvpr, at, 0).ok() ? 1 : 0; return;
  }
}

void RandomCalls::call() {
  const auto level = static_cast<unsigned>(below(4));
  const auto tdr = any_root();
  if (below(2) == 0) return advance(tdr);
  switch (below(28)) {
    case 0: (void)module_.tdh_mng_create(tdr, static_cast<std::uint16_t>(32 + below(4))); return;
    case 1:
    case 2: (void)module_.tdh_mng_key_config(tdr, static_cast<unsigned>(below(2))); return;
    case 3:
    case 4: (void)module_.tdh_mng_addcx(any_page(), tdr); return;
    case 5: (void)module_.tdh_mng_init(tdr, {.max_vcpus = 2}); return;
    case 6: (void)module_.tdh_vp_create(any_page(), tdr); return;
    case 7:
    case 8: (void)module_.tdh_vp_addcx(any_page(), any_vcpu()); return;
    case 9: (void)module_.tdh_vp_init(any_vcpu()); return;
    case 10:
    case 11: (void)module_.tdh_mem_sept_add(gpa(level), level, tdr, any_page()); return;
    case 12: (void)module_.tdh_mem_page_add(gpa(0), tdr, any_page(), contents_); return;
    case 13: (void)module_.tdh_mr_extend(gpa(0) + below(16) * 256, tdr); return;
    case 14:
      if (below(6) == 0 && module_.tdh_mr_finalize(tdr).ok()) ++finalized_;
      return;
    case 15: (void)module_.tdh_vp_enter(any_vcpu()); return;
    case 16: module_.td_exit(any_vcpu()); return;
    case 17: (void)module_.tdh_mem_page_aug(gpa(level % 2), level % 2, tdr, any_page()); return;
    case 18:
      if (module_.tdg_mem_page_accept(any_vcpu(), gpa(level % 2), level % 2).ok()) ++accepted_;
      return;
    case 19: (void)module_.tdh_mem_range_block(gpa(level), level, tdr); return;
    case 20: (void)module_.tdh_mem_range_unblock(gpa(level), level, tdr); return;
    case 21: (void)module_.tdh_mem_track(tdr); return;
    case 22:
      if (module_.tdh_mem_page_remove(gpa(level % 2), level % 2, tdr).ok()) ++removed_;
      return;
    case 23:
      (void)module_.tdh_mem_sept_remove(gpa(level), level, tdr);
      (void)module_.tdh_mem_page_demote(gpa(1), 1, tdr, any_page());
      (void)module_.tdh_mem_page_promote(gpa(1), 1, tdr);
      return;
    case 24: {
      const auto tdvpr = any_vcpu();
      const auto index = static_cast<unsigned>(below(5));
      Digest48 digest{};
      digest[0] = static_cast<std::uint8_t>(below(256));
      if (!module_.tdg_mr_rtmr_extend(tdvpr, index, digest).ok()) return;
      auto& rtmrs = extended_[module_.pamt().find(tdvpr)->owner];
      rtmrs[index] = measure::rtmr_extend(rtmrs[index], digest);
      return;
    }
    case 25: (void)module_.tdh_servtd_bind(tdr, any_root(), 0, kServtdMigration, {}); return;
    case 26: {
      // The end of a TD, step by step, seldom begun.
      const auto* const td = module_.td(tdr);
      if (td == nullptr || (td->life_cycle == LifeCycle::keys_configured && below(12) != 0)) return;
      for (const auto& [tdvpr, vcpu] : td->vcpus) {
        if (below(4) == 0) continue;
        module_.td_exit(tdvpr);
        (void)module_.tdh_vp_flush(tdvpr);
      }
      (void)module_.tdh_mng_vpflushdone(tdr);
      (void)module_.tdh_phymem_cache_wb(static_cast<unsigned>(below(2)));
      (void)module_.tdh_mng_key_freeid(tdr);
      return;
    }
    default:
      for (unsigned i = 0; i < 16; ++i) {
        if (module_.tdh_phymem_page_reclaim(below(8) == 0 ? tdr : any_page()).ok()) ++reclaimed_;
      }
  }
}

/// Every page that a TD's structures name is in the table, of that TD and of that use, and named once; and the table
/// counts no page beyond those, until the TD is in teardown and loses them one by one.
void RandomCalls::expect_one_owner() {
  std::map<Hpa, PageMetadata> named;
  for (const auto& [tdr, td] : module_.tds()) {
    if (td.life_cycle == LifeCycle::teardown) continue;
    std::size_t pages = td.control_pages;
    const auto name = [&named, &pages, owner = Hpa{tdr}](Hpa page, PageType type, unsigned level) {
      EXPECT_TRUE(named.emplace(page, PageMetadata{type, owner, level}).second) << "two uses of " << page.value;
      if (type != PageType::tdr) pages += span_of(level) / kFrameSize;
    };
    name(tdr, PageType::tdr, 0);
    for (const auto& [tdvpr, vcpu] : td.vcpus) {
      for (const auto page : vcpu.pages) name(page, page == tdvpr ? PageType::tdvpr : PageType::tdcx, 0);
    }
    for (const auto& [key, entry] : td.sept.all()) {
      name(entry.page, is_table(entry.state) ? PageType::ept : PageType::reg, is_table(entry.state) ? 0 : key.first);
    }
    EXPECT_EQ(pages, module_.pamt().children(tdr));
  }
  for (const auto& [page, metadata] : named) {
    const auto* const entry = module_.pamt().find(page);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(*entry, metadata);
  }
  std::uint64_t end = 0;
  for (const auto& [page, metadata] : module_.pamt().all()) {
    EXPECT_GE(page.value, end) << "overlap";
    end = page.value + span_of(metadata.level);
    EXPECT_NE(module_.td(metadata.owner), nullptr);
  }
}

void RandomCalls::expect_measurements_kept() {
  std::map<Hpa, Seen> now;
  std::set<std::uint16_t> hkids;
  for (const auto& [tdr, td] : module_.tds()) {
    auto& it = now[tdr] = {td.uuid, td.op_state, td.mrtd, td.servtd_hash, td.rtmrs};
    if (td.life_cycle != LifeCycle::teardown) {
      EXPECT_TRUE(hkids.insert(td.hkid).second) << "one key id, two TDs";
    }
    const auto before = seen_.find(tdr);
    const bool same = before != seen_.end() && before->second.uuid == td.uuid;
    if (!same) {
      extended_.erase(tdr);
      EXPECT_EQ(td.op_state, OpState::uninitialized);
      EXPECT_EQ(td.rtmrs, measure::Rtmrs{});
    }
    EXPECT_EQ(it.rtmrs, extended_[tdr]) << "a register changed without an extension";
    if (td.op_state != OpState::runnable) {
      EXPECT_EQ(td.mrtd, Digest48{});
    }
    if (!same || before->second.op_state != OpState::runnable) continue;
    EXPECT_EQ(it.mrtd, before->second.mrtd) << "MRTD changed after MR.FINALIZE";
    EXPECT_EQ(it.servtd_hash, before->second.servtd_hash);
    EXPECT_EQ(it.op_state, OpState::runnable);
  }
  seen_ = std::move(now);
}

void RandomCalls::check() {
  expect_one_owner();
  expect_measurements_kept();
  for (const auto& [tdr, td] : module_.tds()) {
    for (const auto& [tdvpr, vcpu] : td.vcpus) {
      const bool may_run = td.op_state == OpState::runnable && td.life_cycle == LifeCycle::keys_configured;
      EXPECT_TRUE(may_run || !vcpu.running);
      const auto report = module_.tdg_mr_report(tdvpr, {});
      EXPECT_EQ(report.has_value(), vcpu.running);
      if (report) {
        EXPECT_EQ(evidence::parse_td_report(*report).value().info.mr_td, td.mrtd);
      }
    }
  }
}

TEST_P(RandomCalls, LeaveTheInvariants) {
  for (unsigned i = 0; i < 20'000 && !HasFailure(); ++i) {
    call();
    check();
  }
  // The walk has been everywhere.
  EXPECT_GT(finalized_, 0U);
  EXPECT_GT(accepted_, 0U);
  EXPECT_GT(removed_, 0U);
  EXPECT_GT(reclaimed_, 0U);
  EXPECT_GT(split_, 0U);
  EXPECT_GT(joined_, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomCalls, ::testing::Values(1U, 2U, 3U, 4U));

}  // namespace
}  // namespace cloister::lab::tdx
