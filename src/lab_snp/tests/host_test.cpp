// A VMM command by command: what it gives, and that it gets everything back.
#include <gtest/gtest.h>

#include <algorithm>

#include "machine.hpp"

namespace cloister::lab_snp {
namespace {

using evidence::SnpProduct;
using measure::SnpPageType;

constexpr std::uint64_t kGpa = 0x7000;
constexpr Page kOnes{1, 1, 1};

class HostTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::size_t assigned() const {
    std::size_t out = 0;
    for (std::uint64_t spa = 0; machine.memory.has(spa); spa += kSmallPage)
      out += machine.memory.rmp().entry(spa)->assigned ? 1U : 0U;
    return out;
  }
  [[nodiscard]] HostedGuest activated(std::uint32_t asid = 1) {
    auto guest = host.create({}).value();
    EXPECT_TRUE(host.activate(guest, asid).ok());
    return guest;
  }
  [[nodiscard]] GuestSetup setup() const {
    return {.launch = {.firmware = image, .kernel = {}, .vcpus = 1}, .finish = {}};
  }
  const Bytes image = small_firmware();
  Machine machine;
  Host& host = machine.host;
};

TEST_F(HostTest, LaunchesByCommandsAsItDoesWhole) {
  auto guest = activated();
  const auto wanted = setup();
  ASSERT_TRUE(measure::for_each_snp_page(wanted.launch, [&](const measure::SnpLaunchPage& page) -> Result<void> {
                const auto spa = host.add_page(guest, page);
                EXPECT_EQ(machine.memory.rmp().entry(spa.value())->gpa, page.gpa);
                return {};
              }).ok());
  ASSERT_TRUE(host.finish(guest, {}).ok());
  EXPECT_EQ(machine.firmware.guest_status(guest.context)->launch_digest,
            measure::snp_launch_digest(wanted.launch).value());
  EXPECT_EQ(guest.vcpus.size(), 1U);
  EXPECT_TRUE(host.driver(guest)->report({}, host.carrier(guest)).value().value);
  Machine whole;
  const auto other = whole.host.start(wanted).value();
  EXPECT_EQ(other.pages, guest.pages);
  EXPECT_EQ(other.vcpus, guest.vcpus);
}

TEST_F(HostTest, GetsEverythingBackHoweverFarAGuestCame) {
  auto created = host.create({}).value();
  EXPECT_EQ(assigned(), 2U);  // context, and the page of answers
  host.end(created);
  auto launching = activated();
  ASSERT_TRUE(host.add_page(launching, {SnpPageType::normal, kGpa, kOnes}).ok());
  EXPECT_EQ(assigned(), 3U);
  host.end(launching);
  auto running = host.start(setup()).value();
  ASSERT_TRUE(host.give_page(running, kGpa).ok());
  host.end(running);
  EXPECT_EQ(assigned(), 0U);
  EXPECT_FALSE(machine.firmware.guest_status(running.context).has_value());
  // Address space identifiers and memory serve again, from the lowest page on.
  for (int i = 0; i < 100; ++i) {
    const auto again = host.start(setup());
    ASSERT_TRUE(again.ok()) << again.error().text();
    EXPECT_EQ(again->context, 0U);
    host.end(*again);
  }
}

TEST_F(HostTest, KeepsNothingOfWhatWasRefused) {
  EXPECT_EQ(host.create({.policy = 0}).error().detail(), "SNP_LAUNCH_START: POLICY_FAILURE");
  EXPECT_EQ(assigned(), 0U);
  auto inactive = host.create({}).value();
  EXPECT_EQ(host.add_page(inactive, {SnpPageType::normal, kGpa, kOnes}).error().detail(),
            "SNP_LAUNCH_UPDATE: INVALID_PAGE_STATE");
  EXPECT_EQ(host.activate(inactive, 0).error().detail(), "SNP_ACTIVATE: INVALID_ASID");
  EXPECT_EQ(inactive.asid, 0U);
  host.end(inactive);
  auto guest = activated();
  ASSERT_TRUE(host.add_page(guest, {SnpPageType::normal, kGpa, kOnes}).ok());
  const auto before = assigned();
  EXPECT_EQ(host.add_page(guest, {SnpPageType::normal, kGpa, kOnes}).error().detail(),
            "SNP_LAUNCH_UPDATE: INVALID_PAGE_STATE");
  EXPECT_EQ(host.add_page(guest, {SnpPageType::normal, kGpa + 1, kOnes}).error().detail(),
            "SNP_LAUNCH_UPDATE: INVALID_PAGE_STATE");
  EXPECT_EQ(assigned(), before);
  host.end(guest);
  auto refused = setup();
  refused.finish.id_block_enabled = true;
  EXPECT_EQ(host.start(refused).error().code(), Errc::measurement_mismatch);
  EXPECT_EQ(assigned(), 0U);
}

TEST_F(HostTest, GivesPagesThatTheGuestAcceptsAndTakesThemBack) {
  auto guest = host.start(setup()).value();
  const auto before = assigned();
  const auto spa = host.give_page(guest, kGpa).value();
  EXPECT_EQ(state_of(*machine.memory.rmp().entry(spa)), PageState::guest_valid);
  ASSERT_EQ(machine.memory.guest_write(Host::view(guest, kGpa), kOnes), Fault::none);
  EXPECT_EQ(machine.memory.guest_read(Host::view(guest, kGpa)).page, kOnes);
  EXPECT_NE(machine.memory.host_read(spa), kOnes);
  const auto view = Host::view(guest, kGpa);
  host.take_page(guest, kGpa);
  EXPECT_EQ(assigned(), before);
  EXPECT_EQ(machine.memory.guest_read(view).fault, Fault::npf_rmp);
  EXPECT_EQ(host.give_page(guest, kGpa).value(), spa);
}

TEST(HostMemory, IsBounded) {
  const auto options = PlatformOptions::at(SnpProduct::milan, tcb_of(SnpProduct::milan));
  for (std::size_t pages = 0; pages < 3; ++pages) {  // a context, a request, an answer
    Machine tiny{options, pages};
    EXPECT_EQ(tiny.host.create({}).error().code(), Errc::limit_exceeded);
    for (std::uint64_t spa = 0; tiny.memory.has(spa); spa += kSmallPage)
      EXPECT_FALSE(tiny.memory.rmp().entry(spa)->assigned);
  }
  Machine small{options, 4};
  auto guest = small.host.create({}).value();
  ASSERT_TRUE(small.host.activate(guest, 1).ok());
  ASSERT_TRUE(small.host.add_page(guest, {SnpPageType::normal, kGpa, kOnes}).ok());
  EXPECT_EQ(small.host.add_page(guest, {SnpPageType::normal, 2 * kGpa, kOnes}).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(small.host.give_page(guest, 2 * kGpa).error().code(), Errc::limit_exceeded);
  small.host.end(guest);
  EXPECT_TRUE(small.host.create({}).ok());
}

TEST(SmallFirmware, IsAsLargeAsItIsWanted) {
  for (const std::size_t more : {0U, 1U, 3U}) {
    const auto image = small_firmware(more);
    EXPECT_EQ(image.size(), (more + 1) * kSmallPage);
    EXPECT_EQ(measure::parse_snp_firmware(image)->sections, measure::parse_snp_firmware(small_firmware())->sections);
  }
  EXPECT_NE(small_firmware(2)[23 + 7], small_firmware(2)[kSmallPage + 23 + 7]);  // each page says which it is
}

}  // namespace
}  // namespace cloister::lab_snp
