#include "cloister/lab_host/snp_state.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "support/support.hpp"

namespace cloister::lab_host {
namespace {

using evidence::SnpProduct;

const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);

/// Acts are kept, and by the clock of the platform that is there, if one is.
void tell_a_story(const std::filesystem::path& state, test::FakeClock& clock) {
  using lab_snp::usual_tcb;
  const auto change = [&](SnpProduct product, const SnpCommand& command) { return change_snp_tcb(state, product, command, clock); };
  auto newer = usual_tcb(SnpProduct::milan);
  const auto loaded = change(SnpProduct::milan, LoadLevels{});
  ASSERT_TRUE(loaded.ok()) << loaded.error().text();
  ++newer.snp;
  ++newer.microcode;
  EXPECT_EQ(loaded->story.platform(SnpProduct::milan).current, newer);
  ASSERT_TRUE(change(SnpProduct::milan, LoadLevels{{.microcode = 0xFF}}).ok());
  newer.microcode = 0xFF;
  EXPECT_EQ(change(SnpProduct::milan, LoadLevels{}).error().code(), Errc::invalid_argument);
  ASSERT_TRUE(change(SnpProduct::milan, lab_snp::Commit{}).ok());
  ASSERT_TRUE(change(SnpProduct::milan, ReportLevels{{.bootloader = 1}}).ok());
  EXPECT_EQ(change(SnpProduct::milan, ReportLevels{{.tee = 9}}).error().code(), Errc::invalid_argument);
  ASSERT_TRUE(change(SnpProduct::turin, LoadLevels{{.fmc = 2}}).ok());
  const auto kept = view_snp_tcb(state, clock);
  ASSERT_TRUE(kept.ok()) << kept.error().text();
  EXPECT_EQ(kept->story.acts().size(), 5U);
  EXPECT_EQ(kept->story.platform(SnpProduct::milan).committed, newer);
  EXPECT_EQ(kept->story.platform(SnpProduct::milan).reported.bootloader, 1);
  EXPECT_EQ(kept->story.platform(SnpProduct::turin).current.fmc, 2);
  EXPECT_EQ(change(SnpProduct::milan, ReportLevels{})->story.platform(SnpProduct::milan).reported, newer);

  const auto whole = test::read_text(state / "snp/tcb.json");
  std::ofstream{state / "snp/tcb.json"} << "{";
  EXPECT_EQ(view_snp_tcb(state, clock).error().code(), Errc::configuration_invalid);
  EXPECT_EQ(change(SnpProduct::milan, lab_snp::Commit{}).error().code(), Errc::configuration_invalid);
  EXPECT_EQ(test::read_text(state / "snp/tcb.json"), "{");
  std::ofstream{state / "snp/tcb.json"} << whole;
}

/// Making the keys takes seconds: one test does all.
TEST(SnpState, KeepsItsKeysAndRefusesWhatIsNotWhole) {
  const test::TempDir temporary;
  const auto state = temporary.path() / "state";
  test::FakeClock clock{kCreated};
  test::SeededRandom random{1};
  const auto open = [&] { return open_snp_authority(state, clock, random); };
  EXPECT_EQ(view_snp_tcb(state, clock).error().code(), Errc::not_found);
  EXPECT_EQ(change_snp_tcb(state, SnpProduct::milan, lab_snp::Commit{}, clock).error().code(), Errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(state));
  const auto first = open();
  ASSERT_TRUE(first.ok()) << first.error().text();
  EXPECT_EQ(first->root(SnpProduct::milan)->not_before, kCreated);

  clock.advance(std::chrono::hours{1000});
  const auto again = open();
  ASSERT_TRUE(again.ok()) << again.error().text();
  for (const auto product : {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin}) {
    EXPECT_EQ(again->root(product)->tbs, first->root(product)->tbs);
    EXPECT_EQ(again->chip_id(product), first->chip_id(product));
  }
  const auto shown = crypto::x509::parse_chain(test::read_text(state / "snp/ark-turin.pem"));
  EXPECT_EQ(shown->front()->der, first->root(SnpProduct::turin)->der);
  struct stat status {};
  ASSERT_EQ(::stat((state / "snp/authority.pem").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);

  tell_a_story(state, clock);

  const auto code = [&] { return open().error().code(); };
  ASSERT_EQ(::chmod((state / "snp/authority.pem").c_str(), 0644), 0);
  EXPECT_EQ(code(), Errc::configuration_invalid);
  ASSERT_EQ(::chmod((state / "snp/authority.pem").c_str(), 0600), 0);
  const auto created = test::read_text(state / "snp/created");
  std::ofstream{state / "snp/created"} << "yesterday";
  EXPECT_EQ(code(), Errc::configuration_invalid);
  std::ofstream{state / "snp/created"} << created;
  EXPECT_TRUE(open().ok());
  std::ofstream{state / "snp/authority.pem"} << "no keys";
  EXPECT_EQ(code(), Errc::configuration_invalid);
  ASSERT_EQ(::chmod((state / "seed").c_str(), 0644), 0);
  EXPECT_EQ(code(), Errc::configuration_invalid);
  ASSERT_EQ(::chmod((state / "seed").c_str(), 0600), 0);
  ASSERT_EQ(::chmod(state.c_str(), 0777), 0);
  EXPECT_EQ(code(), Errc::configuration_invalid);
}

}  // namespace
}  // namespace cloister::lab_host
