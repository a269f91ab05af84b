#include <gtest/gtest.h>

#include "collateral_fetcher.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
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

TEST(CollateralFetcher, RefusesAnAddressOrAFolderThatCannotBe) {
  const test::TempDir folder;
  test::FakeClock clock{SyntheticPlatform::now()};
  log::NullLogger logger;
  const auto refused = [&](CollateralServices services) { return CollateralFetcher::open(services, clock, logger).error().code(); };
  EXPECT_EQ(refused({.folder = folder.path() / "cache", .services = {"pccs"}, .ca = {}}), Errc::invalid_argument);
  EXPECT_EQ(refused({.folder = folder.path() / "cache", .services = {}, .ca = folder.path() / "absent"}), Errc::io_error);
  EXPECT_EQ(refused({.folder = {}, .services = {}, .ca = {}}), Errc::configuration_invalid);
}

}  // namespace
}  // namespace cloister::server
