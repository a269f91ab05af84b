#pragma once

#include <gtest/gtest.h>

#include "cloister/lab/tdx.hpp"

namespace cloister::lab::tdx {

inline ModuleInfo some_module() {
  ModuleInfo info;
  info.cpu_svn.fill(3);
  info.tee_tcb_svn = {5, 1, 4};
  info.mr_seam.fill(0x5E);
  return info;
}

/// A machine of two packages, and a host that gives pages away one after the other.
class ModuleTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kGpa = measure::kTdImageBase;
  static constexpr std::uint16_t kHkid = 40;
  static constexpr Hpa kTdr{0};

  Hpa page() { return Hpa{next_page_++ * kFrameSize}; }
  void create(Hpa tdr = kTdr, std::uint16_t hkid = kHkid) { ASSERT_TRUE(module_.tdh_mng_create(tdr, hkid).ok()); }
  void keys(Hpa tdr = kTdr) {
    for (unsigned package : {0U, 1U}) ASSERT_TRUE(module_.tdh_mng_key_config(tdr, package).ok());
  }
  void control_pages(Hpa tdr = kTdr) {
    for (unsigned i = 0; i < Module::kTdcsPages; ++i) ASSERT_TRUE(module_.tdh_mng_addcx(page(), tdr).ok());
  }
  void init(const TdParams& params = {}, Hpa tdr = kTdr, std::uint16_t hkid = kHkid) {
    create(tdr, hkid);
    keys(tdr);
    control_pages(tdr);
    ASSERT_TRUE(module_.tdh_mng_init(tdr, params).ok());
  }
  Hpa vcpu(Hpa tdr = kTdr) {
    const auto tdvpr = page();
    EXPECT_TRUE(module_.tdh_vp_create(tdvpr, tdr).ok());
    for (unsigned i = 1; i < Module::kTdvpsPages; ++i) EXPECT_TRUE(module_.tdh_vp_addcx(page(), tdvpr).ok());
    EXPECT_TRUE(module_.tdh_vp_init(tdvpr).ok());
    return tdvpr;
  }
  void sept(Hpa tdr = kTdr) {
    for (unsigned level = 3; level >= 1; --level) ASSERT_TRUE(module_.tdh_mem_sept_add(0, level, tdr, page()).ok());
  }
  /// A TD that runs; its virtual CPU.
  Hpa run(const TdParams& params = {}, Hpa tdr = kTdr, std::uint16_t hkid = kHkid) {
    init(params, tdr, hkid);
    const auto tdvpr = vcpu(tdr);
    EXPECT_TRUE(module_.tdh_mr_finalize(tdr).ok());
    EXPECT_TRUE(module_.tdh_vp_enter(tdvpr).ok());
    return tdvpr;
  }
  [[nodiscard]] const TdControl& td(Hpa tdr = kTdr) const { return *module_.td(tdr); }

  ModuleInfo info_ = some_module();
  ReportKey key_{crypto::Secret<32>{ByteArray<32>{1, 2, 3}}};
  Module module_{info_, key_, {.memory = std::uint64_t{1} << 32, .first_hkid = 32, .hkids = 16, .packages = 2}};
  ByteArray<measure::kTdPageSize> contents_{};
  std::uint64_t next_page_ = 16;
};

}  // namespace cloister::lab::tdx
