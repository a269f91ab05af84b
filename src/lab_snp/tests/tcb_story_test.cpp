#include "cloister/lab_snp/tcb_story.hpp"

#include <gtest/gtest.h>

#include <random>

#include "machine.hpp"

namespace cloister::lab_snp {
namespace {

using evidence::SnpProduct;
using evidence::SnpTcb;
using evidence::VekKind;

UnixTime day(int days) { return kCreated + std::chrono::days{days}; }

SnpTcb newer(SnpProduct product) {
  auto out = usual_tcb(product);
  ++out.microcode;
  ++out.snp;
  return out;
}

Errc code_of(const Result<void>& result) { return result ? Errc::internal : result.error().code(); }

TEST(SnpStory, BeginsWithTheUsualTcbAndNothingRevoked) {
  const TcbStory story{kCreated};
  for (const auto product : kLabProducts) {
    const auto& platform = story.platform(product);
    EXPECT_EQ(platform.product, product);
    for (const auto* tcb : {&platform.current, &platform.committed, &platform.reported, &story.reached(product)}) {
      EXPECT_EQ(*tcb, usual_tcb(product));
    }
    for (const auto kind : {VekKind::vcek, VekKind::vlek}) EXPECT_FALSE(story.revoked(product, kind));
  }
}

TEST(SnpStory, FirmwareIsLoadedThenCommittedAndThereIsNoWayBack) {
  TcbStory story{kCreated};
  const auto old = usual_tcb(SnpProduct::milan);
  const auto fresh = newer(SnpProduct::milan);
  ASSERT_TRUE(story.add({day(1), SnpProduct::milan, Load{fresh}}));
  EXPECT_EQ(story.platform(SnpProduct::milan).current, fresh);
  EXPECT_EQ(story.platform(SnpProduct::milan).reported, old);
  ASSERT_TRUE(story.add({day(2), SnpProduct::milan, Load{old}}));  // provisional: back again
  EXPECT_EQ(story.reached(SnpProduct::milan), fresh);
  EXPECT_EQ(code_of(story.add({day(3), SnpProduct::milan, SetReported{fresh}})), Errc::invalid_argument);
  ASSERT_TRUE(story.add({day(3), SnpProduct::milan, Load{fresh}}));
  ASSERT_TRUE(story.add({day(3), SnpProduct::milan, Commit{}}));
  EXPECT_EQ(story.platform(SnpProduct::milan).committed, fresh);
  EXPECT_EQ(story.platform(SnpProduct::milan).reported, fresh);
  const auto refused = story.add({day(4), SnpProduct::milan, Load{old}});
  EXPECT_EQ(code_of(refused), Errc::invalid_argument);
  EXPECT_NE(refused.error().detail().find("snp is below what is committed: 24 < 25"), std::string::npos) << refused.error().detail();
  ASSERT_TRUE(story.add({day(4), SnpProduct::milan, SetReported{old}}));  // a host may hide what it has
  EXPECT_EQ(story.platform(SnpProduct::milan).reported, old);
  EXPECT_EQ(story.platform(SnpProduct::genoa).current, usual_tcb(SnpProduct::genoa));
  EXPECT_EQ(story.acts().size(), 5U);  // what was refused is no act
}

TEST(SnpStory, AnAuthorityIsRevokedOnceAndOfItsProductAlone) {
  TcbStory story{kCreated};
  ASSERT_TRUE(story.add({day(1), SnpProduct::genoa, RevokeIssuer{VekKind::vlek}}));
  EXPECT_EQ(story.revoked(SnpProduct::genoa, VekKind::vlek), day(1));
  EXPECT_FALSE(story.revoked(SnpProduct::genoa, VekKind::vcek));
  EXPECT_FALSE(story.revoked(SnpProduct::milan, VekKind::vlek));
  EXPECT_EQ(code_of(story.add({day(2), SnpProduct::genoa, RevokeIssuer{VekKind::vlek}})), Errc::invalid_argument);
}

TEST(SnpStory, AListThatIsWithheldStaysAsItWas) {
  TcbStory story{kCreated};
  const auto act = [&](int at, TcbAct what) { return story.add({day(at), SnpProduct::turin, std::move(what)}); };
  EXPECT_EQ(code_of(act(1, ReleaseList{})), Errc::invalid_argument);
  ASSERT_TRUE(act(1, RevokeIssuer{VekKind::vcek}));
  ASSERT_TRUE(act(1, WithholdList{}));
  ASSERT_TRUE(act(1, RevokeIssuer{VekKind::vlek}));
  EXPECT_EQ(story.withheld_since(SnpProduct::turin), day(1));
  EXPECT_FALSE(story.withheld_since(SnpProduct::milan));
  EXPECT_TRUE(story.shown_revoked(SnpProduct::turin, VekKind::vcek));
  EXPECT_FALSE(story.shown_revoked(SnpProduct::turin, VekKind::vlek));
  EXPECT_TRUE(story.revoked(SnpProduct::turin, VekKind::vlek));
  EXPECT_EQ(code_of(act(1, WithholdList{})), Errc::invalid_argument);
  ASSERT_TRUE(act(1, ReleaseList{}));
  ASSERT_TRUE(act(1, WithholdList{}));  // within one second: the acts' order counts
  EXPECT_TRUE(story.shown_revoked(SnpProduct::turin, VekKind::vlek));
}

TEST(SnpStory, RefusesWhatCannotBe) {
  TcbStory story{kCreated};
  auto with_fmc = usual_tcb(SnpProduct::milan);
  with_fmc.fmc = 1;
  auto without = usual_tcb(SnpProduct::turin);
  without.fmc.reset();
  EXPECT_EQ(code_of(story.add({day(1), SnpProduct::milan, Load{with_fmc}})), Errc::invalid_argument);
  EXPECT_EQ(code_of(story.add({day(1), SnpProduct::turin, SetReported{without}})), Errc::invalid_argument);
  EXPECT_EQ(code_of(story.add({day(1), SnpProduct::venice, Commit{}})), Errc::invalid_argument);
  EXPECT_EQ(code_of(story.add({day(-1), SnpProduct::milan, Commit{}})), Errc::invalid_argument);
  ASSERT_TRUE(story.add({day(2), SnpProduct::milan, Commit{}}));
  EXPECT_EQ(code_of(story.add({day(1), SnpProduct::milan, Commit{}})), Errc::invalid_argument);
  for (std::size_t i = 1; i < TcbStory::kMaxActs; ++i) ASSERT_TRUE(story.add({day(2), SnpProduct::milan, Commit{}}));
  EXPECT_EQ(code_of(story.add({day(2), SnpProduct::milan, Commit{}})), Errc::limit_exceeded);
}

TEST(SnpStory, TheListSaysWhatIsShown) {
  TcbStory story{kCreated};
  const auto list = [&](UnixTime now) { return crypto::x509::parse_crl(issue_crl(authority(), story, SnpProduct::milan, now)).value(); };
  const auto& ask = authority().issuer(SnpProduct::milan, VekKind::vcek)->serial;
  const auto& asvk = authority().issuer(SnpProduct::milan, VekKind::vlek)->serial;
  EXPECT_TRUE(list(day(1)).revoked.empty());
  ASSERT_TRUE(story.add({day(2), SnpProduct::milan, RevokeIssuer{VekKind::vcek}}));
  ASSERT_TRUE(story.add({day(3), SnpProduct::milan, WithholdList{}}));
  ASSERT_TRUE(story.add({day(4), SnpProduct::milan, RevokeIssuer{VekKind::vlek}}));
  auto shown = list(day(5));
  EXPECT_TRUE(crypto::x509::verify_signature(shown, *authority().root(SnpProduct::milan)));
  EXPECT_EQ(shown.this_update, day(3));
  EXPECT_TRUE(shown.revokes(ask));
  EXPECT_FALSE(shown.revokes(asvk));
  EXPECT_EQ(shown.revoked[0].at, day(2));
  ASSERT_TRUE(story.add({day(5), SnpProduct::milan, ReleaseList{}}));
  shown = list(day(6));
  EXPECT_EQ(shown.this_update, day(6));
  EXPECT_TRUE(shown.revokes(ask) && shown.revokes(asvk));
}

TEST(SnpStory, ReadsWhatItWrites) {
  TcbStory story{kCreated};
  for (const auto product : kLabProducts) {
    ASSERT_TRUE(story.add({day(2), product, Load{newer(product)}}));
    ASSERT_TRUE(story.add({day(2), product, Commit{}}));
    ASSERT_TRUE(story.add({day(2), product, SetReported{usual_tcb(product)}}));
    ASSERT_TRUE(story.add({day(2), product, WithholdList{}}));
    ASSERT_TRUE(story.add({day(2), product, RevokeIssuer{VekKind::vcek}}));
    ASSERT_TRUE(story.add({day(2), product, RevokeIssuer{VekKind::vlek}}));
    ASSERT_TRUE(story.add({day(2), product, ReleaseList{}}));
  }
  const auto again = read_tcb_story(kCreated, write_tcb_story(story));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->acts(), story.acts());
  EXPECT_EQ(again->platform(SnpProduct::turin).reported, usual_tcb(SnpProduct::turin));
}

TEST(SnpStory, ReadsNothingElse) {
  const auto read = [](const std::string& acts, const std::string& more = "") {
    const auto got = read_tcb_story(kCreated, R"({"version":1,"acts":[)" + acts + "]" + more + "}");
    return got ? Errc::internal : got.error().code();
  };
  const std::string at = R"("at":"2026-03-02T00:00:00Z")";
  const std::string commit = "{" + at + R"(,"product":"Milan","act":"commit"})";
  ASSERT_EQ(read(commit), Errc::internal);
  for (const auto& wrong : {
           "{" + at + R"(,"product":"Rome","act":"commit"})",
           "{" + at + R"(,"product":"Milan-B0","act":"commit"})",
           "{" + at + R"(,"product":"Venice","act":"commit"})",
           "{" + at + R"(,"product":"Milan","act":"advise"})",
           "{" + at + R"(,"product":"Milan","act":"commit","tcb":"04000000000018db"})",
           "{" + at + R"(,"product":"Milan","act":"load"})",
           "{" + at + R"(,"product":"Milan","act":"load","tcb":"04000000000018"})",
           "{" + at + R"(,"product":"Milan","act":"load","tcb":"04000100000018db"})",  // a reserved byte
           "{" + at + R"(,"product":"Milan","act":"load","tcb":"00000000000018db"})",  // below what is committed
           "{" + at + R"(,"product":"Milan","act":"revoke","issuer":"ark"})",
           std::string{R"({"at":"yesterday","product":"Milan","act":"commit"})"},
           std::string{R"({"at":"2026-01-01T00:00:00Z","product":"Milan","act":"commit"})"},
           std::string{"1"},
       }) {
    EXPECT_EQ(read(wrong), Errc::configuration_invalid) << wrong;
  }
  EXPECT_EQ(read(commit, R"(,"more":1)"), Errc::configuration_invalid);
  EXPECT_EQ(read_tcb_story(kCreated, R"({"version":2,"acts":[]})").error().code(), Errc::configuration_invalid);
  EXPECT_EQ(read_tcb_story(kCreated, std::string(TcbStory::kMaxSize + 1, ' ')).error().code(), Errc::configuration_invalid);
}

/// Whatever is tried, in whatever order: what is reported is committed, and what is committed runs or ran; committed TCBs only rise.
TEST(SnpStory, TcbsStayInOrderWhateverIsTried) {
  std::mt19937 choose{7};
  for (int round = 0; round < 50; ++round) {
    TcbStory story{kCreated};
    for (int step = 0; step < 100; ++step) {
      const auto product = kLabProducts[choose() % kLabProducts.size()];
      auto tcb = usual_tcb(product);
      tcb.microcode = static_cast<std::uint8_t>(tcb.microcode + choose() % 5 - 2);
      tcb.snp = static_cast<std::uint8_t>(tcb.snp + choose() % 5 - 2);
      const std::array<TcbAct, 3> acts{Load{tcb}, Commit{}, SetReported{tcb}};
      const auto before = story.platform(product);
      const auto count = story.acts().size();
      const auto done = story.add({day(1), product, acts[choose() % acts.size()]});
      const auto& after = story.platform(product);
      EXPECT_EQ(story.acts().size(), count + (done ? 1 : 0));
      EXPECT_TRUE(evidence::snp_tcb_gaps(after.committed, after.reported).empty());
      EXPECT_TRUE(evidence::snp_tcb_gaps(after.current, after.committed).empty());
      EXPECT_TRUE(evidence::snp_tcb_gaps(after.committed, before.committed).empty());
      EXPECT_TRUE(evidence::snp_tcb_gaps(story.reached(product), after.current).empty());
    }
  }
}

}  // namespace
}  // namespace cloister::lab_snp
