#include "cloister/lab/tcb_story.hpp"

#include <gtest/gtest.h>

#include "cloister/lab/platform.hpp"

namespace cloister::lab {
namespace {

const UnixTime kCreated = from_civil(2026, 3, 1, 12, 0, 0).value();
UnixTime day(int days) { return kCreated + std::chrono::days{days}; }

TcbStory told(std::vector<TcbEntry> acts) {
  TcbStory story{kCreated};
  for (auto& act : acts) EXPECT_TRUE(story.add(std::move(act)).ok());
  return story;
}
Advise advise(TcbPart part, std::string advisory = "LAB-SA-00002") { return {part, std::move(advisory)}; }

TEST(TcbStory, BeginsUpToDate) {
  const TcbStory story{kCreated};
  EXPECT_TRUE(story.up_to_date());
  EXPECT_EQ(story.machine(), TcbState::current(kCreated).machine);
  EXPECT_EQ(story.offered().published.levels, TcbState::current(kCreated).published.levels);
  EXPECT_EQ(story.next_advisory(), "LAB-SA-00002");
}

TEST(TcbStory, AdvisoryPutsALevelOnTop) {
  const auto before = TcbState::current(kCreated).published;
  const auto story = told({{day(1), advise(TcbPart::platform)}});
  const auto& after = story.newest().published;
  EXPECT_EQ(after.evaluation_data_number, before.evaluation_data_number + 1);
  ASSERT_EQ(after.levels.size(), before.levels.size() + 1);
  EXPECT_EQ(after.levels[0].status, evidence::TcbStatus::up_to_date);
  EXPECT_EQ(after.levels[0].tcb_date, day(1));
  EXPECT_TRUE(after.levels[0].advisory_ids.empty());
  EXPECT_EQ(after.levels[0].sgx[0].svn, before.levels[0].sgx[0].svn + 1);
  EXPECT_EQ(after.levels[1].status, evidence::TcbStatus::out_of_date);
  EXPECT_EQ(after.levels[1].advisory_ids, std::vector<std::string>{"LAB-SA-00002"});
  EXPECT_EQ(after.levels[2].advisory_ids, (std::vector<std::string>{"LAB-SA-00001", "LAB-SA-00002"}));
  EXPECT_EQ(after.modules, before.modules);
  EXPECT_EQ(after.qe_levels, before.qe_levels);
  EXPECT_FALSE(story.up_to_date());
  EXPECT_EQ(story.machine(), TcbState::current(kCreated).machine);
  EXPECT_EQ(story.next_advisory(), "LAB-SA-00003");
}

TEST(TcbStory, AdvisoryIsForOnePart) {
  const auto before = TcbState::current(kCreated).published;
  const auto module = told({{day(1), advise(TcbPart::module)}}).newest().published;
  EXPECT_EQ(module.levels, before.levels);
  for (std::size_t i = 0; i < before.modules.size(); ++i) {
    EXPECT_EQ(module.modules[i].levels[0].isv_svn, before.modules[i].levels[0].isv_svn + 1);
    EXPECT_EQ(module.modules[i].levels[1].status, evidence::TcbStatus::out_of_date);
  }
  const auto qe = told({{day(1), advise(TcbPart::qe)}}).newest().published;
  EXPECT_EQ(qe.levels, before.levels);
  EXPECT_EQ(qe.qe_levels[0].isv_svn, before.qe_levels[0].isv_svn + 1);
}

TEST(TcbStory, UpdateInstallsWhatWasPublished) {
  auto story = told({{day(1), advise(TcbPart::platform)}, {day(2), advise(TcbPart::module)}, {day(3), advise(TcbPart::qe)}});
  const auto before = story.machine();
  ASSERT_TRUE(story.add({day(4), Update{}}).ok());
  EXPECT_TRUE(story.up_to_date());
  EXPECT_EQ(story.machine().sgx_components[0], before.sgx_components[0] + 1);
  EXPECT_EQ(story.machine().tee_tcb_svn[0], before.tee_tcb_svn[0] + 1);
  EXPECT_EQ(story.machine().tee_tcb_svn[1], before.tee_tcb_svn[1]);  // the module's major version
  EXPECT_EQ(story.machine().tee_tcb_svn[2], before.tee_tcb_svn[2] + 1);
  EXPECT_EQ(story.machine().qe_isvsvn, before.qe_isvsvn + 1);
}

TEST(TcbStory, ModuleCanBeUpdatedAlone) {
  const auto story = told({{day(1), advise(TcbPart::platform)}, {day(2), advise(TcbPart::module)}, {day(3), UpdateModule{}}});
  auto expected = TcbState::current(kCreated).machine;
  expected.tee_tcb_svn[0] += 1;
  EXPECT_EQ(story.machine(), expected);
  EXPECT_FALSE(story.up_to_date());
}

TEST(TcbStory, WhatIsWithheldStaysOld) {
  auto story = told({{day(1), Withhold{}}, {day(2), advise(TcbPart::platform)}, {day(3), RevokePck{{1, 2}}}});
  EXPECT_EQ(story.withheld_since(), day(1));
  EXPECT_EQ(story.offered().published.evaluation_data_number, 17U);
  EXPECT_TRUE(story.offered().revoked_pcks.empty());
  EXPECT_EQ(story.newest().published.evaluation_data_number, 18U);
  ASSERT_TRUE(story.add({day(4), Release{}}).ok());
  EXPECT_FALSE(story.withheld_since().has_value());
  EXPECT_EQ(story.offered().published.evaluation_data_number, 18U);
  ASSERT_EQ(story.offered().revoked_pcks.size(), 1U);
  EXPECT_EQ(story.offered().revoked_pcks[0].at, day(3));
}

TEST(TcbStory, RefusesActsThatCannotBe) {
  auto story = told({{day(2), Update{}}});
  const auto refused = [&](UnixTime at, TcbAct act, std::string_view part) {
    const auto added = story.add({at, std::move(act)});
    ASSERT_FALSE(added.ok()) << part;
    EXPECT_EQ(added.error().code(), Errc::invalid_argument);
    EXPECT_NE(added.error().detail().find(part), std::string::npos) << added.error().detail();
  };
  refused(day(1), Update{}, "before the last act");
  refused(day(3), Release{}, "no collateral is withheld");
  refused(day(3), advise(TcbPart::qe, ""), "advisory");
  refused(day(3), advise(TcbPart::qe, std::string(65, 'a')), "advisory");
  refused(day(3), advise(TcbPart::qe, "a b"), "advisory");
  refused(day(3), RevokePck{{}}, "serial");
  refused(day(3), RevokePck{Bytes(21)}, "serial");
  ASSERT_TRUE(story.add({day(3), Withhold{}}).ok());
  refused(day(4), Withhold{}, "already");
  EXPECT_EQ(TcbStory{kCreated}.add({day(-1), Update{}}).error().code(), Errc::invalid_argument);
}

TEST(TcbStory, HasAnEnd) {
  TcbStory story{kCreated};
  for (std::size_t i = 0; i < TcbStory::kMaxActs; ++i) {
    ASSERT_TRUE(story.add({day(1), advise(TcbPart::platform, std::string(64, 'a'))}).ok());
  }
  EXPECT_EQ(story.add({day(1), Update{}}).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(story.newest().published.levels.front().sgx[0].svn, 203U);
  const auto text = write_tcb_story(story);
  EXPECT_LT(text.size(), TcbStory::kMaxSize);
  EXPECT_EQ(read_tcb_story(kCreated, text).value().acts(), story.acts());
}

TEST(TcbStory, ReadsAsItWasWritten) {
  auto story = told({{day(1), advise(TcbPart::module)}, {day(1), Withhold{}}, {day(2), UpdateModule{}}, {day(2), Update{}},
                     {day(3), RevokePck{{0x41, 0xFF}}}, {day(4), Release{}}});
  story.clock_offset = std::chrono::seconds{-5};
  const auto again = read_tcb_story(kCreated, write_tcb_story(story));
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_EQ(again->acts(), story.acts());
  EXPECT_EQ(again->machine(), story.machine());
  EXPECT_EQ(again->clock_offset, story.clock_offset);
}

TEST(TcbStory, RefusesWhatItDoesNotKnow) {
  const auto text = [](std::string_view acts, std::string_view more = "") {
    return R"({"version":1,"clock_offset_s":0,"acts":[)" + std::string{acts} + "]" + std::string{more} + "}";
  };
  EXPECT_TRUE(read_tcb_story(kCreated, text("")).ok());
  const std::vector<std::string> refused{
      "", "[]", text("", R"(,"more":1)"), R"({"version":2,"clock_offset_s":0,"acts":[]})", R"({"version":1,"acts":[]})",
      R"({"version":1,"clock_offset_s":1e99,"acts":[]})", R"({"version":1,"clock_offset_s":4000000000,"acts":[]})",
      text("1"), text(R"({"act":"update"})"), text(R"({"at":"soon","act":"update"})"),
      text(R"({"at":"2026-03-02T00:00:00Z","act":"explode"})"),
      text(R"({"at":"2026-03-02T00:00:00Z","act":"update","part":"qe"})"),
      text(R"({"at":"2026-03-02T00:00:00Z","act":"advise","part":"bios","advisory":"A"})"),
      text(R"({"at":"2026-03-02T00:00:00Z","act":"advise","part":"qe"})"),
      text(R"({"at":"2026-03-02T00:00:00Z","act":"revoke-pck","serial":"x"})"),
      text(R"({"at":"2026-03-02T00:00:00Z","act":"release"})"),
      text(R"({"at":"2025-03-02T00:00:00Z","act":"update"})"), std::string(TcbStory::kMaxSize + 1, ' ')};
  for (const auto& it : refused) {
    const auto story = read_tcb_story(kCreated, it);
    ASSERT_FALSE(story.ok()) << it;
    EXPECT_EQ(story.error().code(), Errc::configuration_invalid) << it;
  }
}

TEST(TcbStory, UpdatedMachineHasAnotherPckCertificate) {
  const auto story = told({{day(1), advise(TcbPart::platform)}, {day(2), Update{}}});
  const auto before = Platform::create(crypto::Secret<32>{ByteArray<32>{1}}, kCreated);
  auto state = TcbState{story.machine(), story.newest().published};
  const auto after = before.with({.tcb = state});
  EXPECT_EQ(after.root(), before.root());
  EXPECT_EQ(after.fmspc(), before.fmspc());
  EXPECT_NE(after.pck_certificate()->serial, before.pck_certificate()->serial);
  EXPECT_NE(after.pck_certificate()->public_key_info, before.pck_certificate()->public_key_info);
  EXPECT_EQ(before.with({}).pck_certificate()->tbs, before.pck_certificate()->tbs);
  EXPECT_EQ(before.created(), kCreated);
}

}  // namespace
}  // namespace cloister::lab
