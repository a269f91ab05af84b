#include "cloister/device/select.hpp"

#include <gtest/gtest.h>

#include "cloister/device/snp_device.hpp"
#include "cloister/device/tdx_device.hpp"
#include "cloister/process/frame_socket.hpp"
#include "recorded_kernel.hpp"
#include "support/support.hpp"

namespace cloister::device {
namespace {

int no_ioctl(unsigned long, void*) { return -ENOTTY; }

class SelectTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::optional<DeviceKind> selected(std::optional<DeviceKind> wanted = std::nullopt, int lab = -1) {
    const auto found = select_device(wanted, lab, kernel_, random_);
    if (!found) return std::nullopt;
    return found->kind;
  }
  testing::RecordedKernel kernel_;
  test::SeededRandom random_{1};
};

TEST_F(SelectTest, TakesTheFirstThatIsThere) {
  EXPECT_EQ(selected(), std::nullopt);
  EXPECT_EQ(select_device(std::nullopt, -1, kernel_, random_).error().code(), Errc::unsupported);
  auto pair = process::stream_pair();
  ASSERT_TRUE(pair);
  EXPECT_EQ(selected(std::nullopt, pair->first.release()), DeviceKind::lab_socket);  // which closes it
  kernel_.devices[kSevGuest] = no_ioctl;
  EXPECT_EQ(selected(std::nullopt, pair->second.get()), DeviceKind::sev_guest);
  kernel_.devices[kTdxGuest] = no_ioctl;
  EXPECT_EQ(selected(std::nullopt, pair->second.get()), DeviceKind::tdx_guest);
  kernel_.provider = "sev_guest\n";
  const auto found = select_device(std::nullopt, pair->second.get(), kernel_, random_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, DeviceKind::configfs_tsm);
  EXPECT_NE(dynamic_cast<SnpDevice*>(found->device.get()), nullptr);
  kernel_.provider = "tdx_guest\n";
  EXPECT_NE(dynamic_cast<TdxDevice*>(select_device({}, -1, kernel_, random_)->device.get()), nullptr);
}

TEST_F(SelectTest, PassesOverConfigfsWithoutAProviderItKnows) {
  kernel_.devices[kTdxGuest] = no_ioctl;
  kernel_.provider = "arm_cca_guest\n";
  EXPECT_EQ(selected(), DeviceKind::tdx_guest);
  kernel_.provider = "tdx_guest\n";
  kernel_.refused["/sys/kernel/config/tsm/report"] = ENXIO;
  EXPECT_EQ(selected(), DeviceKind::tdx_guest);
}

TEST_F(SelectTest, TakesTheOneThatWasAskedForAndNoOther) {
  kernel_.provider = "tdx_guest\n";
  kernel_.devices[kSevGuest] = no_ioctl;
  EXPECT_EQ(selected(DeviceKind::sev_guest), DeviceKind::sev_guest);
  EXPECT_EQ(select_device(DeviceKind::lab_socket, -1, kernel_, random_).error().code(), Errc::unsupported);
  kernel_.provider = "arm_cca_guest\n";
  EXPECT_EQ(select_device(DeviceKind::configfs_tsm, -1, kernel_, random_).error().code(), Errc::unsupported);
  const test::TempDir dir;
  LinuxKernel real;
  const int file = real.open(dir.path(), 0);
  EXPECT_EQ(select_device(DeviceKind::lab_socket, file, kernel_, random_).error().code(), Errc::unsupported) << "no socket";
  real.close(file);
}

TEST_F(SelectTest, KindsHaveNames) {
  for (const auto kind : {DeviceKind::configfs_tsm, DeviceKind::tdx_guest, DeviceKind::sev_guest, DeviceKind::lab_socket}) {
    EXPECT_EQ(*parse_device_kind(to_string(kind)), kind);
  }
  EXPECT_EQ(parse_device_kind("tdx").error().code(), Errc::invalid_argument);
}

TEST_F(SelectTest, TheLabIsRefusedBesideARealTee) {
  EXPECT_TRUE(refuse_lab_beside_tee(kernel_));
  for (const auto* path : {"/dev/tdx_guest", "/dev/sev-guest", "/dev/tdx-guest", "/dev/tdx-attest"}) {
    kernel_.devices = {{path, no_ioctl}};
    const auto refused = refuse_lab_beside_tee(kernel_);
    ASSERT_FALSE(refused) << path;
    EXPECT_EQ(refused.error().code(), Errc::lab_beside_tee);
    EXPECT_NE(refused.error().detail().find(path), std::string::npos);
  }
}

}  // namespace
}  // namespace cloister::device
