#include "cloister/lab_host/snp_state.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "support/support.hpp"

namespace cloister::lab_host {
namespace {

using evidence::SnpProduct;

const UnixTime kCreated = *from_civil(2026, 3, 1, 12, 0, 0);

/// Making the keys takes seconds: one test does all.
TEST(SnpState, KeepsItsKeysAndRefusesWhatIsNotWhole) {
  const test::TempDir temporary;
  const auto state = temporary.path() / "state";
  test::FakeClock clock{kCreated};
  test::SeededRandom random{1};
  const auto open = [&] { return open_snp_authority(state, clock, random); };
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
