#include "cloister/lab_snp/memory.hpp"

#include <gtest/gtest.h>

namespace cloister::lab_snp {
namespace {

constexpr std::uint64_t kGpa = 0x40000;
constexpr std::uint64_t kSpa = 0x3000;

Page filled(std::uint8_t byte) {
  Page out;
  out.fill(byte);
  return out;
}

class MemoryTest : public ::testing::Test {
 protected:
  MemoryTest() {
    memory.install_key(1, MemoryKey{ByteArray<32>{1}});
    memory.install_key(2, MemoryKey{ByteArray<32>{2}});
    give(kSpa, kGpa, 1);
  }
  void give(std::uint64_t spa, std::uint64_t gpa, std::uint32_t asid) {
    EXPECT_EQ(memory.rmp().rmpupdate(spa, {.assigned = true, .gpa = gpa, .asid = asid}), RmpStatus::success);
    EXPECT_TRUE(memory.rmp().pvalidate({.asid = asid, .gpa = gpa, .spa = spa}, PageSize::small, true).ok());
  }
  Memory memory{16};
  const GuestView guest{.asid = 1, .gpa = kGpa, .spa = kSpa};
};

TEST_F(MemoryTest, GuestsReadWhatTheyWroteAndHostsCiphertext) {
  ASSERT_EQ(memory.guest_write(guest, filled(0xAB)), Fault::none);
  EXPECT_EQ(memory.guest_read(guest).page, filled(0xAB));
  EXPECT_NE(memory.host_read(kSpa), filled(0xAB));
  const auto before = memory.host_read(kSpa);
  ASSERT_EQ(memory.guest_write(guest, filled(0xAB)), Fault::none);
  EXPECT_NE(memory.host_read(kSpa), before);
}

TEST_F(MemoryTest, EachPageHasAKeyOfItsOwn) {
  give(0x4000, kGpa + 0x1000, 1);
  ASSERT_EQ(memory.guest_write(guest, filled(1)), Fault::none);
  memory.set_dram(0x4000, memory.dram(kSpa));  // moved
  EXPECT_EQ(memory.guest_read({.asid = 1, .gpa = kGpa + 0x1000, .spa = 0x4000}).fault, Fault::integrity);
}

TEST_F(MemoryTest, ChangedPagesDoNotOpen) {
  ASSERT_EQ(memory.guest_write(guest, filled(1)), Fault::none);
  const auto good = memory.dram(kSpa);
  for (const auto change : {0, 1, 2, 3}) {
    auto bad = good;
    if (change == 0) bad.bytes[4095] ^= 1;
    if (change == 1) bad.tag[0] ^= 1;
    if (change == 2) ++bad.nonce;
    if (change == 3) bad.sealed = false;
    memory.set_dram(kSpa, bad);
    EXPECT_EQ(memory.guest_read(guest).fault, Fault::integrity) << change;
  }
  memory.set_dram(kSpa, good);
  EXPECT_TRUE(memory.guest_read(guest).ok());
}

/// What the RMP is for: memory alone does not see it, as on hardware.
TEST_F(MemoryTest, AnOlderPageOpensWhereTheBusIsTheHosts) {
  ASSERT_EQ(memory.guest_write(guest, filled(1)), Fault::none);
  const auto old = memory.dram(kSpa);
  ASSERT_EQ(memory.guest_write(guest, filled(2)), Fault::none);
  EXPECT_EQ(memory.host_write(kSpa, old.bytes), Fault::pf_rmp);
  memory.set_dram(kSpa, old);
  EXPECT_EQ(memory.guest_read(guest).page, filled(1));
}

TEST_F(MemoryTest, AnotherGuestOfThePageReadsNothing) {
  ASSERT_EQ(memory.guest_write(guest, filled(1)), Fault::none);
  ASSERT_EQ(memory.rmp().rmpupdate(kSpa, {}), RmpStatus::success);
  give(kSpa, kGpa, 2);
  EXPECT_EQ(memory.guest_read({.asid = 2, .gpa = kGpa, .spa = kSpa}).fault, Fault::integrity);
  EXPECT_EQ(memory.guest_read(guest).fault, Fault::npf_rmp);
  memory.remove_key(2);
  EXPECT_EQ(memory.guest_read({.asid = 2, .gpa = kGpa, .spa = kSpa}).fault, Fault::integrity);
}

TEST_F(MemoryTest, TheRmpStandsBeforeEveryAccess) {
  EXPECT_EQ(memory.host_write(kSpa, filled(1)), Fault::pf_rmp);
  EXPECT_EQ(memory.host_write(16 * kSmallPage, filled(1)), Fault::pf_rmp);
  EXPECT_EQ(memory.host_write(0x5000, filled(1)), Fault::none);
  EXPECT_EQ(memory.host_read(0x5000), filled(1));
  EXPECT_EQ(memory.guest_read({.asid = 1, .gpa = kGpa + 0x1000, .spa = kSpa}).fault, Fault::npf_rmp);
  EXPECT_EQ(memory.guest_write({.asid = 1, .vmpl = 1, .gpa = kGpa, .spa = kSpa}, filled(1)), Fault::npf_vmpl);
  EXPECT_EQ(memory.guest_write({.asid = 2, .gpa = kGpa, .spa = kSpa}, filled(1)), Fault::npf_rmp);
}

}  // namespace
}  // namespace cloister::lab_snp
