#include <gtest/gtest.h>

#include <fstream>

#include "collateral_fetcher.hpp"
#include "collateral_files.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"
#include "support/vendor_service.hpp"

namespace cloister::server {
namespace {

using test::SyntheticPlatform;

TEST(CollateralFetcher, FetchesOnceAndRefreshesAheadOfTheEnd) {
  const test::TempDir folder;
  test::FakeClock clock{SyntheticPlatform::now()};
  log::NullLogger logger;
  test::VendorService service;
  const auto built = SyntheticPlatform{}.build();
  service.put(built.collateral);
  const auto quote = evidence::parse_quote(built.quote).value();
  const CollateralServices services{.folder = folder.path() / "cache", .services = {service.url()}, .ca = {}};
  {
    const auto fetcher = CollateralFetcher::open(services, clock, logger);
    ASSERT_TRUE(fetcher.ok()) << fetcher.error().text();
    const auto found = (*fetcher)->find(quote);
    ASSERT_TRUE(found.ok()) << found.error().text();
    EXPECT_TRUE(evidence::parse_documents(*found).ok());
    EXPECT_TRUE((*fetcher)->find(quote).ok());
    EXPECT_EQ(service.requests(), 4);
  }
  const auto again = CollateralFetcher::open(services, clock, logger);
  EXPECT_TRUE((*again)->find(quote).ok());
  EXPECT_EQ(service.requests(), 4);
  clock.advance(std::chrono::hours{25});
  EXPECT_EQ(*(*again)->refresh(), 0U);
  EXPECT_EQ(service.requests(), 8);
}

TEST(CollateralFetcher, FetchesAChipsCertificateOnceEver) {
  const test::TempDir folder;
  test::FakeClock clock{test::SyntheticSnp::now()};
  log::NullLogger logger;
  test::VendorService service;
  const auto built = test::milan_chip().build();
  for (auto& document : test::documents_of(built.endorsements)) service.documents.put(std::move(document));
  const auto report = evidence::parse_snp_report(built.report).value();
  const CollateralServices services{
      .folder = folder.path() / "cache", .services = {}, .kds_services = {service.url()}, .ca = {}};
  for (int start = 0; start < 2; ++start) {
    const auto fetcher = CollateralFetcher::open(services, clock, logger);
    ASSERT_TRUE(fetcher.ok()) << fetcher.error().text();
    const auto found = (*fetcher)->find(report, {});
    ASSERT_TRUE(found.ok()) << found.error().text();
    EXPECT_EQ(found->certificates.size(), 3U);
    EXPECT_EQ(found->crls.size(), 1U);
    EXPECT_EQ(service.requests(), 3);
  }
}

TEST(CollateralFiles, HaveWhatTheyHaveForReports) {
  const test::TempDir folder;
  const auto chip = test::milan_chip().build();
  const auto report = evidence::parse_snp_report(chip.report).value();
  const auto write = [&](const char* name, std::string_view text) {
    std::ofstream{folder.path() / name, std::ios::binary} << text;
  };
  write("collateral.json", evidence::write_quote_collateral(SyntheticPlatform{}.build().collateral));
  const auto files = CollateralFiles::open(folder.path());
  ASSERT_TRUE(files.ok()) << files.error().text();
  const auto none = (*files)->find(report, {});
  ASSERT_TRUE(none.ok()) << none.error().text();
  EXPECT_TRUE(none->certificates.empty());
  write("vcek.der", as_text(chip.endorsements.certificates[0]->der));
  const auto some = (*files)->find(report, {});
  ASSERT_TRUE(some.ok()) << some.error().text();
  EXPECT_EQ(some->certificates.size(), 1U);
}

TEST(CollateralFetcher, RefusesAnAddressOrAFolderThatCannotBe) {
  const test::TempDir folder;
  test::FakeClock clock{SyntheticPlatform::now()};
  log::NullLogger logger;
  const auto refused = [&](CollateralServices services) { return CollateralFetcher::open(services, clock, logger).error().code(); };
  EXPECT_EQ(refused({.folder = folder.path() / "cache", .services = {"pccs"}, .ca = {}}), Errc::invalid_argument);
  EXPECT_EQ(refused({.folder = folder.path() / "cache", .services = {}, .kds_services = {"kds"}, .ca = {}}),
            Errc::invalid_argument);
  EXPECT_EQ(refused({.folder = folder.path() / "cache", .services = {}, .ca = folder.path() / "absent"}), Errc::io_error);
  EXPECT_EQ(refused({.folder = {}, .services = {}, .ca = {}}), Errc::configuration_invalid);
}

}  // namespace
}  // namespace cloister::server
