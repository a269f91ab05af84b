#include "renewal.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "cloister/evidence/collateral.hpp"
#include "cloister/lab_host/tcb.hpp"
#include "support/support.hpp"

namespace cloister::lab_host {
namespace {

const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);

TEST(CollateralRenewal, WritesItAgainBeforeItGrowsOld) {
  const test::TempDir temporary;
  const auto directory = temporary.path() / "state";
  test::FakeClock clock{kCreated};
  test::SeededRandom random{1};
  const auto state = open_state(directory, clock, random).value();
  const auto written = [&] { return test::read_text(directory / kCollateralFile); };
  CollateralRenewal renewal{directory, state.platform, clock};
  ASSERT_TRUE(renewal.renew());
  const auto first = written();

  clock.advance(kCollateralAge - std::chrono::seconds{1});
  ASSERT_TRUE(renewal.renew());
  EXPECT_EQ(written(), first);
  clock.advance(std::chrono::seconds{1});
  ASSERT_TRUE(renewal.renew());
  const auto second = written();
  EXPECT_NE(second, first);

  // A story that cannot be read leaves what is there, until it can be.
  clock.advance(kCollateralAge);
  std::ofstream{directory / kStoryFile} << "{";
  EXPECT_EQ(renewal.renew().error().code(), Errc::configuration_invalid);
  EXPECT_EQ(written(), second);
  std::filesystem::remove(directory / kStoryFile);
  ASSERT_TRUE(renewal.renew());
  EXPECT_NE(written(), second);

  // What is withheld stays as it was, whenever it is written.
  ASSERT_TRUE(change_tcb(directory, lab::Withhold{}, clock));
  const auto issued = [&] { return evidence::parse_quote_collateral(written()).value().tcb_info; };
  const auto withheld = issued();
  clock.advance(kCollateralAge);
  ASSERT_TRUE(renewal.renew());
  EXPECT_EQ(issued(), withheld);
}

}  // namespace
}  // namespace cloister::lab_host
