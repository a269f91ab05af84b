#include "cloister/lab_snp/rmp.hpp"

#include <gtest/gtest.h>

#include "support/support.hpp"

namespace cloister::lab_snp {
namespace {

using enum PageState;
constexpr std::uint8_t kRead = vmpl_permission::kRead;
constexpr std::uint8_t kWrite = vmpl_permission::kWrite;
constexpr std::uint64_t kGpa = 0x40000;
constexpr std::uint64_t kSpa = 0x3000;

class RmpTest : public testing::Test {
 protected:
  /// Page of guest 1, validated by it.
  void give(std::uint64_t spa = kSpa, std::uint64_t gpa = kGpa) {
    ASSERT_EQ(rmp.rmpupdate(spa, {.assigned = true, .gpa = gpa, .asid = 1}), RmpStatus::success);
    ASSERT_TRUE(rmp.pvalidate({.asid = 1, .gpa = gpa, .spa = spa}, PageSize::small, true).ok());
  }
  [[nodiscard]] PageState state(std::uint64_t spa = kSpa) const { return state_of(*rmp.entry(spa)); }
  Rmp rmp{1024};
  const GuestView guest{.asid = 1, .gpa = kGpa, .spa = kSpa};
};

TEST_F(RmpTest, APageGoesFromHostToGuestAndBack) {
  EXPECT_EQ(state(), hypervisor);
  EXPECT_EQ(rmp.host_write(kSpa), Fault::none);
  ASSERT_EQ(rmp.rmpupdate(kSpa, {.assigned = true, .gpa = kGpa, .asid = 1}), RmpStatus::success);
  EXPECT_EQ(state(), guest_invalid);
  EXPECT_EQ(rmp.host_write(kSpa), Fault::pf_rmp);
  EXPECT_EQ(rmp.guest_access(guest, kRead), Fault::vc_not_validated);
  ASSERT_TRUE(rmp.pvalidate(guest, PageSize::small, true).ok());
  EXPECT_EQ(state(), guest_valid);
  EXPECT_EQ(rmp.guest_access(guest, vmpl_permission::kAll), Fault::none);
  ASSERT_EQ(rmp.rmpupdate(kSpa, {}), RmpStatus::success);
  EXPECT_EQ(state(), hypervisor);
}

TEST_F(RmpTest, AnotherGuestOrAddressFaults) {
  give();
  EXPECT_EQ(rmp.guest_access({.asid = 2, .gpa = kGpa, .spa = kSpa}, kRead), Fault::npf_rmp);
  EXPECT_EQ(rmp.guest_access({.asid = 1, .gpa = kGpa + 0x1000, .spa = kSpa}, kRead), Fault::npf_rmp);  // remapped
  EXPECT_EQ(rmp.guest_access({.asid = 1, .gpa = kGpa, .spa = kSpa + 0x1000}, kRead), Fault::npf_rmp);
  EXPECT_EQ(rmp.guest_access({.asid = 0, .gpa = 0, .spa = 0}, kRead), Fault::npf_rmp);
  EXPECT_EQ(rmp.guest_access({.asid = 1, .gpa = kGpa, .spa = 1024 * kSmallPage}, kRead), Fault::npf_rmp);
}

TEST_F(RmpTest, UpdateOfAValidPageIsSeenByTheGuest) {
  give();
  ASSERT_EQ(rmp.rmpupdate(kSpa, {.assigned = true, .gpa = kGpa, .asid = 1}), RmpStatus::success);
  EXPECT_EQ(rmp.guest_access(guest, kRead), Fault::vc_not_validated);
}

TEST_F(RmpTest, ValidatingTwiceSaysUnchanged) {
  give();
  const auto again = rmp.pvalidate(guest, PageSize::small, true);
  EXPECT_TRUE(again.unchanged);
  EXPECT_FALSE(again.ok());
  EXPECT_TRUE(rmp.pvalidate(guest, PageSize::small, false).ok());
  EXPECT_EQ(state(), guest_invalid);
}

TEST_F(RmpTest, PvalidateRefuses) {
  ASSERT_EQ(rmp.rmpupdate(kSpa, {.assigned = true, .gpa = kGpa, .asid = 1}), RmpStatus::success);
  auto view = guest;
  view.vmpl = 1;
  EXPECT_EQ(rmp.pvalidate(view, PageSize::small, true).status, RmpStatus::fail_permission);
  EXPECT_EQ(rmp.pvalidate({.asid = 1, .gpa = kGpa, .spa = kSpa}, PageSize::large, true).status, RmpStatus::fail_input);
  EXPECT_EQ(rmp.pvalidate({.asid = 2, .gpa = kGpa, .spa = kSpa}, PageSize::small, true).fault, Fault::npf_rmp);
  EXPECT_EQ(state(), guest_invalid);
}

TEST_F(RmpTest, PageSizesMustAgree) {
  ASSERT_EQ(rmp.rmpupdate(0, {.assigned = true, .gpa = kLargePage, .asid = 1}), RmpStatus::success);
  EXPECT_EQ(rmp.pvalidate({.asid = 1, .gpa = kLargePage, .spa = 0}, PageSize::large, true).status, RmpStatus::fail_size_mismatch);
  ASSERT_EQ(rmp.rmpupdate(kLargePage, {.assigned = true, .size = PageSize::large, .gpa = kLargePage, .asid = 1}), RmpStatus::success);
  const GuestView inner{.asid = 1, .gpa = kLargePage + 0x5000, .spa = kLargePage + 0x5000};
  EXPECT_EQ(rmp.pvalidate(inner, PageSize::small, true).fault, Fault::npf_size);
  ASSERT_TRUE(rmp.pvalidate({.asid = 1, .gpa = kLargePage, .spa = kLargePage}, PageSize::large, true).ok());
  EXPECT_EQ(rmp.guest_access(inner, kRead, PageSize::large), Fault::none);
  EXPECT_EQ(rmp.guest_access(inner, kRead), Fault::npf_size);
  ASSERT_EQ(rmp.psmash(kLargePage), RmpStatus::success);
  EXPECT_EQ(rmp.guest_access(inner, kRead), Fault::none);
  EXPECT_EQ(state(kLargePage + 0x5000), guest_valid);
}

TEST_F(RmpTest, RmpupdateRefuses) {
  using Update = Rmp::Update;
  EXPECT_EQ(rmp.rmpupdate(kSpa + 1, Update{.assigned = true, .gpa = 0, .asid = 1}), RmpStatus::fail_input);
  EXPECT_EQ(rmp.rmpupdate(1024 * kSmallPage, {}), RmpStatus::fail_input);
  EXPECT_EQ(rmp.rmpupdate(kSpa, Update{.assigned = true, .size = PageSize::large, .asid = 1}), RmpStatus::fail_input);
  EXPECT_EQ(rmp.rmpupdate(kSpa, Update{.assigned = true, .gpa = 5, .asid = 1}), RmpStatus::fail_input);
  EXPECT_EQ(rmp.rmpupdate(kSpa, Update{.assigned = true}), RmpStatus::fail_input);               // Reclaim
  EXPECT_EQ(rmp.rmpupdate(kSpa, Update{.immutable = true}), RmpStatus::fail_input);              // HV-fixed
  EXPECT_EQ(rmp.rmpupdate(kSpa, Update{.asid = 1}), RmpStatus::fail_input);
  ASSERT_EQ(rmp.rmpupdate(kSpa, Update{.assigned = true, .immutable = true, .gpa = kGpa, .asid = 1}), RmpStatus::success);
  EXPECT_EQ(state(), pre_guest);
  EXPECT_EQ(rmp.rmpupdate(kSpa, {}), RmpStatus::fail_permission);
  EXPECT_EQ(rmp.rmpupdate(0, Update{.assigned = true, .size = PageSize::large, .asid = 2}), RmpStatus::fail_overlap);
  ASSERT_EQ(rmp.rmpupdate(kLargePage, Update{.assigned = true, .size = PageSize::large, .asid = 2}), RmpStatus::success);
  EXPECT_EQ(rmp.rmpupdate(kLargePage + 0x1000, Update{.assigned = true, .asid = 1}), RmpStatus::fail_overlap);
  EXPECT_EQ(rmp.rmpupdate(kLargePage, Update{.assigned = true, .asid = 1}), RmpStatus::fail_overlap);
}

TEST_F(RmpTest, PsmashRefuses) {
  EXPECT_EQ(rmp.psmash(0), RmpStatus::fail_input);
  EXPECT_EQ(rmp.psmash(kSpa), RmpStatus::fail_input);
  ASSERT_EQ(rmp.rmpupdate(0, {.assigned = true, .size = PageSize::large, .immutable = true, .asid = 1}), RmpStatus::success);
  EXPECT_EQ(rmp.psmash(0), RmpStatus::fail_permission);
}

TEST_F(RmpTest, VmplsGetOnlyWhatTheyAreGiven) {
  give();
  auto vmpl2 = guest;
  vmpl2.vmpl = 2;
  EXPECT_EQ(rmp.guest_access(vmpl2, kRead), Fault::npf_vmpl);
  ASSERT_TRUE(rmp.rmpadjust(guest, {.target = 2, .permissions = kRead}).ok());
  EXPECT_EQ(rmp.guest_access(vmpl2, kRead), Fault::none);
  EXPECT_EQ(rmp.guest_access(vmpl2, kRead | kWrite), Fault::npf_vmpl);
  EXPECT_EQ(rmp.rmpadjust(vmpl2, {.target = 3, .permissions = kWrite}).status, RmpStatus::fail_permission);
  EXPECT_EQ(rmp.rmpadjust(vmpl2, {.target = 2, .permissions = kRead}).status, RmpStatus::fail_permission);
  EXPECT_EQ(rmp.rmpadjust(vmpl2, {.target = 1, .permissions = 0}).status, RmpStatus::fail_permission);
  EXPECT_EQ(rmp.rmpadjust(vmpl2, {.target = 3, .permissions = kRead, .vmsa = true}).status, RmpStatus::fail_permission);
  EXPECT_TRUE(rmp.rmpadjust(vmpl2, {.target = 3, .permissions = kRead}).ok());
  EXPECT_EQ(rmp.rmpadjust(guest, {.target = 1, .permissions = 16}).status, RmpStatus::fail_input);
  EXPECT_EQ(rmp.rmpadjust(guest, {.target = 4, .permissions = 1}).status, RmpStatus::fail_input);
}

TEST_F(RmpTest, FirmwareCompletesLaunchAndReclaims) {
  EXPECT_FALSE(rmp.complete_launch(kSpa, false, {}));
  EXPECT_FALSE(rmp.reclaim(kSpa));
  ASSERT_EQ(rmp.rmpupdate(kSpa, {.assigned = true, .immutable = true, .gpa = kGpa, .asid = 1}), RmpStatus::success);
  EXPECT_EQ(rmp.guest_access(guest, kRead), Fault::npf_rmp);
  ASSERT_TRUE(rmp.complete_launch(kSpa, true, {0, kRead, 0, 0}));
  EXPECT_EQ(state(), guest_valid);
  EXPECT_EQ(rmp.guest_access(guest, vmpl_permission::kAll), Fault::none);
  EXPECT_FALSE(rmp.complete_launch(kSpa, false, {}));
  ASSERT_EQ(rmp.rmpupdate(0, {.assigned = true, .immutable = true}), RmpStatus::success);
  EXPECT_EQ(state(0), firmware);
  ASSERT_TRUE(rmp.reclaim(0));
  EXPECT_EQ(state(0), reclaim);
  EXPECT_EQ(rmp.rmpupdate(0, {}), RmpStatus::success);
}

/// Random operations of two guests and a host that does what it likes.
class RmpWalk : public testing::TestWithParam<std::uint64_t> {
 protected:
  std::uint64_t pick(std::uint64_t below) {
    const auto bytes = random_.array<4>();
    std::uint64_t value = 0;
    for (const auto byte : bytes) value = value << 8 | byte;
    return value % below;
  }
  std::uint64_t any_spa() { return pick(2) == 0 ? pick(3) * kLargePage : pick(1100) * kSmallPage; }
  /// An address of a guest; most often the one that the page has.
  GuestView any_view() {
    const auto spa = any_spa();
    const auto there = rmp_.entry(spa);
    const auto right = there ? there->gpa + (there->size == PageSize::large ? spa % kLargePage : 0) : 0;
    return {.asid = static_cast<std::uint32_t>(pick(3)), .vmpl = static_cast<unsigned>(pick(4)),
            .gpa = pick(4) == 0 ? pick(4) * kLargePage : right, .spa = spa};
  }
  /// Of host and both guests at most one may write; what is validated is a guest's; VMPL0 has what any other has.
  void check(std::uint64_t spa) {
    const auto entry = *rmp_.entry(spa);
    const auto gpa = entry.gpa + (entry.size == PageSize::large ? spa % kLargePage : 0);
    unsigned writers = rmp_.host_write(spa) == Fault::none ? 1 : 0;
    for (const std::uint32_t asid : {1U, 2U}) {
      writers += rmp_.guest_access({.asid = asid, .gpa = gpa, .spa = spa}, kWrite, entry.size) == Fault::none ? 1 : 0;
    }
    ASSERT_LE(writers, 1U) << spa;
    if (entry.validated) {
      ASSERT_TRUE(entry.assigned && entry.asid != 0) << spa;
    }
    for (const auto permissions : entry.permissions) ASSERT_EQ(permissions & ~entry.permissions[0], 0) << spa;
  }
  PageSize any_size() { return pick(2) == 0 ? PageSize::small : PageSize::large; }
  test::SeededRandom random_{GetParam()};
  Rmp rmp_{1024};
};

TEST_P(RmpWalk, NoPageHasTwoOwners) {
  std::size_t done = 0;
  for (int step = 0; step < 20000; ++step) {
    const auto view = any_view();
    const auto before = rmp_.entry(view.spa);
    const auto kind = pick(6);
    bool by_firmware = false;
    if (kind == 0) {
      const Rmp::Update update{.assigned = pick(3) != 0, .size = any_size(), .immutable = pick(4) == 0,
                               .gpa = pick(2) * pick(3) * kLargePage, .asid = static_cast<std::uint32_t>(pick(3))};
      done += rmp_.rmpupdate(view.spa, update) == RmpStatus::success ? 1U : 0U;
    } else if (kind == 1) {
      done += rmp_.psmash(view.spa) == RmpStatus::success ? 1U : 0U;
    } else if (kind == 2) {
      done += rmp_.pvalidate(view, any_size(), pick(3) != 0).ok() ? 1U : 0U;
    } else if (kind == 3) {
      const auto held = before ? before->permissions[view.vmpl] : std::uint8_t{0};
      const Rmp::Adjust adjust{.target = static_cast<unsigned>(pick(4)), .permissions = static_cast<std::uint8_t>(pick(16)),
                               .vmsa = pick(8) == 0, .size = any_size()};
      const bool ok = rmp_.rmpadjust(view, adjust).ok();
      if (ok) {
        EXPECT_EQ(adjust.permissions & ~held, 0);
        EXPECT_GT(adjust.target, view.vmpl);
      }
      done += ok ? 1U : 0U;
    } else if (kind == 4) {
      by_firmware = rmp_.complete_launch(view.spa, pick(8) == 0, {0, static_cast<std::uint8_t>(pick(16)), 0, 0});
    } else {
      by_firmware = pick(3) == 0 && rmp_.reclaim(view.spa);
    }
    const auto after = rmp_.entry(view.spa);
    if (before && before->immutable && !by_firmware) {
      ASSERT_EQ(after, before) << "step " << step;
    }
    for (std::uint64_t spa = 0; spa < 1024 * kSmallPage; spa += (step % 100 == 0 ? 1 : 97) * kSmallPage) check(spa);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(done, 300U);  // the walk went somewhere
}

INSTANTIATE_TEST_SUITE_P(Seeds, RmpWalk, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace cloister::lab_snp
