#include "config.hpp"

#include <gtest/gtest.h>

namespace cloister::server {
namespace {

constexpr std::string_view kLeast = R"(data = "d"
guest = "g"
collateral = "/c"
)";

TEST(Config, HasDefaultsAndResolvesPaths) {
  auto config = parse_config(kLeast, "/etc/cloister");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->data, "/etc/cloister/d");
  EXPECT_EQ(config->collateral, "/c");
  EXPECT_EQ(config->address, "127.0.0.1");
  EXPECT_FALSE(config->trust);
  EXPECT_EQ(config->lease, std::chrono::seconds{30});
}

TEST(Config, ReadsEverySetting) {
  auto config = parse_config(std::string{kLeast} + R"(listen = "[::1]:0"
trust = "t"
session_lifetime = "10m"
lease = "5s"
log_level = "debug"
[tls]
certificate = "c.pem"
key = "k.pem"
)", "/e");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->address, "::1");
  EXPECT_EQ(config->port, 0);
  EXPECT_EQ(config->tls_key, "/e/k.pem");
  EXPECT_EQ(config->session_lifetime, std::chrono::minutes{10});
  EXPECT_EQ(config->log_level, log::Level::debug);
}

TEST(Config, ReportsEveryMistakeAtOnce) {
  auto config = parse_config(R"(data = 3
listen = "nowhere"
lease = "1y"
log_level = "loud"
colour = "red"
[tls]
certificate = "c"
)", "/e");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code(), Errc::configuration_invalid);
  for (const auto* part : {"data: ", "guest: missing", "collateral: missing", "listen: ", "lease: ", "log_level: ",
                           "colour: no such setting", "tls.key: missing"}) {
    EXPECT_NE(config.error().detail().find(part), std::string::npos) << part << " in\n" << config.error().detail();
  }
}

TEST(Config, NamesThePlaceOfASyntaxError) {
  auto config = parse_config("data = \n", "/e");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().detail().find("line 1"), std::string::npos);
}

TEST(Duration, NeedsAUnit) {
  EXPECT_EQ(*parse_duration("250ms"), std::chrono::milliseconds{250});
  for (const auto* text : {"", "5", "s", "-1s", "0s", "1 s", "99999999999h"}) EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace cloister::server
