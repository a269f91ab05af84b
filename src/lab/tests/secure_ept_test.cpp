#include "cloister/lab/secure_ept.hpp"

#include <gtest/gtest.h>

namespace cloister::lab::tdx {
namespace {

constexpr std::uint64_t kGpa = 0x200000;
constexpr Hpa kPage{0x5000};
constexpr Status kWrongState{Code::ept_entry_state_incorrect, Operand::rcx};
constexpr Status kWalkFailed{Code::ept_walk_failed, Operand::rcx};

/// Tables down to the entries of `lowest` around `kGpa`.
SecureEpt mapped_to(unsigned lowest) {
  SecureEpt sept;
  for (unsigned level = SecureEpt::kTopLevel; level > lowest; --level) {
    EXPECT_TRUE(sept.add_table(kGpa - kGpa % span_of(level), level, Hpa{level * kFrameSize}).ok());
  }
  return sept;
}

/// The entry of 4 KiB (a table: of 2 MiB) in the wanted state.
SecureEpt in(SeptState state) {
  auto sept = mapped_to(is_table(state) ? 1 : 0);
  const unsigned level = is_table(state) ? 1 : 0;
  if (is_table(state)) {
    EXPECT_TRUE(sept.add_table(kGpa, 1, kPage).ok());
  }
  if (state == SeptState::mapped || state == SeptState::blocked) {
    EXPECT_TRUE(sept.add_page(kGpa, kPage).ok());
  }
  if (state == SeptState::pending || state == SeptState::pending_blocked) {
    EXPECT_TRUE(sept.augment(kGpa, 0, kPage).ok());
  }
  if (is_blocked(state)) {
    EXPECT_TRUE(sept.block(kGpa, level, 7).ok());
  }
  EXPECT_EQ(sept.entry(kGpa, level).state, state);
  return sept;
}

/// The architecture's table of states and calls, row by row.
struct Row {
  SeptState state;
  Code add_table, add_page, augment, block, unblock, remove_page, remove_table, accept;
  Access access;
};
class SeptTable : public ::testing::TestWithParam<Row> {};

TEST_P(SeptTable, AllowsWhatTheArchitectureAllows) {
  constexpr auto kOk = Code::success;
  const auto& row = GetParam();
  const unsigned level = is_table(row.state) ? 1 : 0;
  const auto expect = [&](Code code, SeptState after, auto&& call) {
    auto sept = in(row.state);
    const auto before = sept.entry(kGpa, level);
    EXPECT_EQ(call(sept).code(), code);
    if (code == kOk) {
      EXPECT_EQ(sept.entry(kGpa, level).state, after);
    } else {
      EXPECT_EQ(sept.entry(kGpa, level), before);
    }
  };
  const bool table = is_table(row.state);
  const bool pending = row.state == SeptState::pending || row.state == SeptState::pending_blocked;
  const auto unblocked = table ? SeptState::table : pending ? SeptState::pending : SeptState::mapped;
  const auto blocked = table ? SeptState::table_blocked : pending ? SeptState::pending_blocked : SeptState::blocked;
  expect(row.add_table, SeptState::table, [&](SecureEpt& sept) { return sept.add_table(kGpa, level, kPage); });
  if (!table) expect(row.add_page, SeptState::mapped, [&](SecureEpt& sept) { return sept.add_page(kGpa, kPage); });
  expect(row.augment, SeptState::pending, [&](SecureEpt& sept) { return sept.augment(kGpa, level, kPage); });
  expect(row.block, blocked, [&](SecureEpt& sept) { return sept.block(kGpa, level, 1); });
  expect(row.unblock, unblocked, [&](SecureEpt& sept) { return sept.unblock(kGpa, level); });
  expect(row.remove_page, SeptState::free, [&](SecureEpt& sept) { return sept.remove_page(kGpa, level); });
  if (table) expect(row.remove_table, SeptState::free, [&](SecureEpt& sept) { return sept.remove_table(kGpa, level); });
  expect(row.accept, SeptState::mapped, [&](SecureEpt& sept) { return sept.accept(kGpa, level); });
  EXPECT_EQ(in(row.state).access(kGpa, false), row.access);
}

constexpr auto kYes = Code::success;
constexpr auto kNo = Code::ept_entry_state_incorrect;
constexpr auto kAlready = Code::gpa_range_already_blocked;
constexpr auto kExit = Code::ept_violation;
INSTANTIATE_TEST_SUITE_P(
    States, SeptTable,
    ::testing::Values(
        //   state                       table page  aug   block     unblock page- table- accept                      access
        Row{SeptState::free,            kYes, kYes, kYes, kNo,      kNo,    kNo,  kNo,   kExit,                      Access::ept_violation},
        Row{SeptState::table,           kNo,  kNo,  kNo,  kYes,     kNo,    kNo,  kYes,  Code::page_size_mismatch,   Access::ept_violation},
        Row{SeptState::table_blocked,   kNo,  kNo,  kNo,  kAlready, kYes,   kNo,  kYes,  Code::page_size_mismatch,   Access::ept_violation},
        Row{SeptState::mapped,          kNo,  kNo,  kNo,  kYes,     kNo,    kYes, kNo,   Code::page_already_accepted, Access::granted},
        Row{SeptState::blocked,         kNo,  kNo,  kNo,  kAlready, kYes,   kYes, kNo,   kExit,                      Access::ept_violation},
        Row{SeptState::pending,         kNo,  kNo,  kNo,  kYes,     kNo,    kYes, kNo,   kYes,                       Access::virtualization_exception},
        Row{SeptState::pending_blocked, kNo,  kNo,  kNo,  kAlready, kYes,   kYes, kNo,   kExit,                      Access::ept_violation}));

TEST(SecureEpt, IsBuiltFromTheTop) {
  SecureEpt sept;
  EXPECT_EQ(sept.add_table(0, 2, kPage), kWalkFailed);
  EXPECT_EQ(sept.add_page(kGpa, kPage), kWalkFailed);
  EXPECT_TRUE(sept.add_table(0, 3, kPage).ok());
  EXPECT_EQ(sept.add_table(0, 3, kPage), kWrongState);
}

TEST(SecureEpt, BlockedTableHidesEverythingBelow) {
  auto sept = in(SeptState::mapped);
  ASSERT_TRUE(sept.block(kGpa, 1, 1).ok());
  EXPECT_EQ(sept.access(kGpa, false), Access::ept_violation);
  EXPECT_EQ(sept.remove_page(kGpa, 0), kWalkFailed);
  EXPECT_EQ(sept.accept(kGpa, 0).code(), Code::ept_violation);
  ASSERT_TRUE(sept.unblock(kGpa, 1).ok());
  EXPECT_EQ(sept.access(kGpa, false), Access::granted);
}

TEST(SecureEpt, TableWithAnEntryInUseStays) {
  auto sept = in(SeptState::mapped);
  EXPECT_EQ(sept.remove_table(kGpa, 1), (Status{Code::ept_page_not_free, Operand::rcx}));
  EXPECT_EQ(sept.remove_table(0, 3), (Status{Code::ept_page_not_free, Operand::rcx}));
  ASSERT_TRUE(sept.remove_page(kGpa, 0).ok());
  EXPECT_TRUE(sept.remove_table(kGpa, 1).ok());
  EXPECT_TRUE(sept.remove_table(0, 2).ok());
  EXPECT_TRUE(sept.remove_table(0, 3).ok());
  EXPECT_TRUE(sept.all().empty());
}

TEST(SecureEpt, LargePageIsAcceptedWhole) {
  auto sept = mapped_to(1);
  ASSERT_TRUE(sept.augment(kGpa, 1, kPage).ok());
  EXPECT_EQ(sept.access(kGpa + 0x1FF000, false), Access::virtualization_exception);
  EXPECT_EQ(sept.accept(kGpa + 0x1000, 0).code(), Code::ept_violation);  // the host has to split it first
  ASSERT_TRUE(sept.accept(kGpa, 1).ok());
  EXPECT_EQ(sept.access(kGpa + 0x1FF000, false), Access::granted);
  EXPECT_EQ(sept.accept(kGpa + 0x1000, 0).code(), Code::page_already_accepted);
}

TEST(SecureEpt, PendingPageExitsWhereTheTdWantsNoException) {
  EXPECT_EQ(in(SeptState::pending).access(kGpa, true), Access::ept_violation);
}

TEST(SecureEpt, AddressesAreAlignedPrivateAndOfALevel) {
  EXPECT_TRUE(SecureEpt::valid(0x201000, 0, 0, 1));
  EXPECT_FALSE(SecureEpt::valid(0x201000, 1, 0, 1));
  EXPECT_FALSE(SecureEpt::valid(0x200000, 2, 0, 1));
  EXPECT_FALSE(SecureEpt::valid(0x200000, 0, 1, 3));
  EXPECT_FALSE(SecureEpt::valid(SecureEpt::kGpaLimit, 0, 0, 1));
  EXPECT_EQ(SecureEpt{}.access(SecureEpt::kGpaLimit, false), Access::ept_violation);
}

TEST(Pamt, GivesEveryPageToOneOwner) {
  Pamt pamt{std::uint64_t{1} << 23};
  EXPECT_EQ(pamt.check_free(Hpa{0x1800}, 0, Operand::r8), (Status{Code::operand_invalid, Operand::r8}));
  EXPECT_EQ(pamt.check_free(Hpa{0x1000}, 1, Operand::r8), (Status{Code::operand_invalid, Operand::r8}));
  EXPECT_EQ(pamt.check_free(Hpa{1U << 23}, 0, Operand::r8), (Status{Code::operand_addr_range_error, Operand::r8}));
  ASSERT_TRUE(pamt.check_free(Hpa{0x200000}, 1, Operand::r8).ok());
  pamt.assign(Hpa{0x200000}, {PageType::reg, Hpa{0}, 1});
  for (const std::uint64_t inside : {0x200000U, 0x201000U, 0x3FF000U}) {
    EXPECT_EQ(pamt.check_free(Hpa{inside}, 0, Operand::r8).code(), Code::page_metadata_incorrect);
  }
  EXPECT_TRUE(pamt.check_free(Hpa{0x400000}, 0, Operand::r8).ok());
  EXPECT_TRUE(pamt.check_free(Hpa{0x1FF000}, 0, Operand::r8).ok());
  pamt.assign(Hpa{0x401000}, {PageType::ept, Hpa{0}});
  EXPECT_EQ(pamt.check_free(Hpa{0x400000}, 1, Operand::r8).code(), Code::page_metadata_incorrect);
  EXPECT_EQ(pamt.children(Hpa{0}), 513U);
  pamt.release(Hpa{0x200000});
  EXPECT_EQ(pamt.children(Hpa{0}), 1U);
  EXPECT_TRUE(pamt.check_free(Hpa{0x201000}, 0, Operand::r8).ok());
}

}  // namespace
}  // namespace cloister::lab::tdx
