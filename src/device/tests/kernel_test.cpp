// The seam itself, on the real kernel: files, errors, a device without that ioctl.
#include "cloister/device/kernel.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "support/support.hpp"

namespace cloister::device {
namespace {

TEST(LinuxKernel, ReadsAndWritesFiles) {
  LinuxKernel kernel;
  const test::TempDir dir;
  const auto path = dir.path() / "file";
  std::ofstream{path} << std::string(10'000, 'x');
  {
    auto file = KernelFile::open(kernel, path, O_RDONLY);
    ASSERT_TRUE(file);
    EXPECT_EQ(file->read_all(10'000)->size(), 10'000U);
  }
  EXPECT_EQ(KernelFile::open(kernel, path, O_RDONLY)->read_all(9'999).error().code(), Errc::limit_exceeded);
  EXPECT_TRUE(KernelFile::open(kernel, path, O_WRONLY | O_TRUNC)->write_once(as_bytes("abc")));
  EXPECT_EQ(test::read_text(path), "abc");
  EXPECT_FALSE(KernelFile::open(kernel, path, O_RDONLY)->write_once(as_bytes("abc")));
}

TEST(LinuxKernel, SaysWhyNot) {
  LinuxKernel kernel;
  const test::TempDir dir;
  EXPECT_EQ(KernelFile::open(kernel, dir.path() / "none", O_RDONLY).error().code(), Errc::unsupported);
  EXPECT_FALSE(kernel.exists(dir.path() / "none"));
  EXPECT_EQ(kernel.mkdir(dir.path() / "made"), 0);
  EXPECT_TRUE(kernel.exists(dir.path() / "made"));
  EXPECT_EQ(kernel.mkdir(dir.path() / "made"), -EEXIST);
  kernel.rmdir(dir.path() / "made");
  EXPECT_FALSE(kernel.exists(dir.path() / "made"));
  const auto null = KernelFile::open(kernel, "/dev/null", O_RDWR);
  ASSERT_TRUE(null);
  EXPECT_EQ(null->ioctl(0xC0205300, nullptr), ENOTTY);
}

TEST(KernelError, TellsWhatIsMissingFromWhatIsBusyAndWhatFailed) {
  for (const int error : {ENOENT, ENODEV, ENXIO, ENOTTY}) EXPECT_EQ(kernel_error("/d", error).code(), Errc::unsupported);
  for (const int error : {EACCES, EPERM}) EXPECT_EQ(kernel_error("/d", error).code(), Errc::permission_denied);
  for (const int error : {EBUSY, EAGAIN, ETIMEDOUT}) EXPECT_EQ(kernel_error("/d", error).code(), Errc::unavailable);
  for (const int error : {EIO, EFBIG, EINVAL}) EXPECT_EQ(kernel_error("/d", error).code(), Errc::tee_failure);
}

}  // namespace
}  // namespace cloister::device
