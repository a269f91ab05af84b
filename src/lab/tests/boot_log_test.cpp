#include "cloister/lab/boot_log.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/measure/rtmr.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr std::uint32_t kPlatformConfig = 0x8000000A;  // EV_EFI_PLATFORM_FIRMWARE_BLOB2
constexpr std::uint32_t kIpl = 13;                     // EV_IPL

class MeasuredBoot : public ::testing::Test {
 protected:
  MeasuredBoot() {
    EXPECT_TRUE(log_.measure(0, kPlatformConfig, as_bytes("TD HOB"), as_bytes("TdxTable")).ok());
    log_.note(0, as_bytes("StartupLocality"));
    EXPECT_TRUE(log_.separate(0).ok());
    EXPECT_TRUE(log_.measure(1, kIpl, as_bytes("kernel"), as_bytes("bzImage")).ok());
    EXPECT_TRUE(log_.measure(2, kIpl, as_bytes("console=ttyS0"), as_bytes("kernel_cmdline: console=ttyS0")).ok());
  }
  Platform platform_ = Platform::create(crypto::Secret<32>{ByteArray<32>{1}}, from_civil(2026, 3, 1, 12, 0, 0).value());
  Bytes program_ = Bytes(100, 0x33);
  std::vector<measure::TdFile> files_{{"firmware", 0755, program_}};
  Td td_ = platform_.launch({}, files_).value();
  BootLog log_{td_};
};

TEST_F(MeasuredBoot, LogReplaysToTheRegistersOfTheQuote) {
  const auto area = log_.area(64U << 10).value();
  const auto quote = evidence::parse_quote(platform_.quote(*td_.tdg_mr_report({})).value()).value();
  EXPECT_EQ(measure::replay(evidence::parse_ccel(area).value()), quote.td()->rtmr);
  EXPECT_EQ(measure::replay(log_.events()), td_.rtmrs());
}

TEST_F(MeasuredBoot, SeparatorIsTheKnownOne) {
  EXPECT_TRUE(log_.separate(3).ok());
  EXPECT_EQ(codec::to_hex(td_.rtmrs()[3]),
            "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4");
}

TEST_F(MeasuredBoot, LogThatLiesReplaysElsewhere) {
  for (const std::size_t event : {0U, 2U, 3U, 4U}) {
    auto changed = log_.events();
    changed[event].digest[0] ^= 1;
    EXPECT_NE(measure::replay(changed), td_.rtmrs()) << "event " << event;
    auto missing = log_.events();
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(event));
    EXPECT_NE(measure::replay(missing), td_.rtmrs()) << "event " << event;
  }
  auto swapped = log_.events();
  std::swap(swapped[0], swapped[2]);
  EXPECT_NE(measure::replay(swapped), td_.rtmrs());
  // What stands beside the digests is not in them.
  auto renamed = log_.events();
  renamed[3].data = to_bytes("another kernel");
  EXPECT_EQ(measure::replay(renamed), td_.rtmrs());
}

TEST_F(MeasuredBoot, OnlyWhatWasExtendedIsLogged) {
  const auto before = log_.events();
  EXPECT_FALSE(log_.measure(4, kIpl, {}, {}).ok());
  EXPECT_EQ(log_.events(), before);
}

TEST_F(MeasuredBoot, AreaMayBeTooSmall) { EXPECT_EQ(log_.area(128).error().code(), Errc::limit_exceeded); }

}  // namespace
}  // namespace cloister::lab::tdx
