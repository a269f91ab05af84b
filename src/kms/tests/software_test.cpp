#include "cloister/kms/software.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::kms {
namespace {

class SoftwareKmsTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path file() const { return dir_.path() / "master.key"; }
  void write(std::size_t size, unsigned mode) const {
    std::ofstream{file(), std::ios::binary} << std::string(size, 'k');
    ASSERT_EQ(::chmod(file().c_str(), static_cast<mode_t>(mode)), 0);
  }
  test::TempDir dir_;
  test::SeededRandom random_{7};
};

Bytes bytes(std::string_view text) { return to_bytes(text); }

TEST_F(SoftwareKmsTest, MakesAKeyOfMode0600AndReadsItAgain) {
  auto first = SoftwareKms::open(file(), random_);
  ASSERT_TRUE(first) << first.error().text();
  struct stat facts {};
  ASSERT_EQ(::stat(file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0600U);
  EXPECT_EQ(facts.st_size, 32);
  auto second = SoftwareKms::open(file(), random_);
  ASSERT_TRUE(second);
  EXPECT_TRUE(crypto::equal((*first)->derive(bytes("x"))->reveal(), (*second)->derive(bytes("x"))->reveal()));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{dir_.path()}, {}), 1) << "no temporary file is left";
}

TEST_F(SoftwareKmsTest, RefusesEveryWiderMode) {
  for (const auto mode : {0640U, 0604U, 0620U, 0602U, 0610U, 0601U, 0700U, 04600U, 02600U, 01600U}) {
    write(32, mode);
    const auto opened = SoftwareKms::open(file(), random_);
    ASSERT_FALSE(opened) << std::oct << mode;
    EXPECT_EQ(opened.error().code(), Errc::configuration_invalid) << std::oct << mode;
  }
  write(32, 0400U);
  EXPECT_TRUE(SoftwareKms::open(file(), random_));
}

TEST_F(SoftwareKmsTest, RefusesEveryOtherLengthAndKeepsTheFile) {
  for (const std::size_t size : {0U, 1U, 31U, 33U, 64U}) {
    write(size, 0600U);
    const auto opened = SoftwareKms::open(file(), random_);
    ASSERT_FALSE(opened) << size;
    EXPECT_EQ(opened.error().code(), Errc::configuration_invalid) << size;
    EXPECT_EQ(std::filesystem::file_size(file()), size);
  }
}

TEST_F(SoftwareKmsTest, RefusesWhatIsNoRegularFile) {
  std::filesystem::create_directory(file());
  EXPECT_FALSE(SoftwareKms::open(file(), random_));
  std::filesystem::remove(file());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  EXPECT_FALSE(SoftwareKms::open(file(), random_));
  std::filesystem::remove(file());
  ASSERT_TRUE(SoftwareKms::open(dir_.path() / "other.key", random_));
  std::filesystem::create_symlink(dir_.path() / "other.key", file());
  const auto linked = SoftwareKms::open(file(), random_);
  ASSERT_FALSE(linked);
  EXPECT_EQ(linked.error().code(), Errc::configuration_invalid);
}

TEST_F(SoftwareKmsTest, RefusesAFolderThatIsMissing) {
  const auto opened = SoftwareKms::open(dir_.path() / "no" / "key", random_);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Errc::io_error);
}

TEST_F(SoftwareKmsTest, ThoseWhoStartAtOnceShareOneKey) {
  SystemRandom random;
  std::array<Digest32, 8> derived{};
  std::atomic<int> failures = 0;
  std::vector<std::thread> starters;
  for (auto& out : derived) {
    starters.emplace_back([&] {
      auto kms = SoftwareKms::open(file(), random);
      if (!kms) {
        ++failures;
        return;
      }
      out = to_array<32>((*kms)->derive(bytes("x"))->reveal());
    });
  }
  for (auto& starter : starters) starter.join();
  EXPECT_EQ(failures, 0);
  for (const auto& out : derived) EXPECT_EQ(out, derived[0]);
}

}  // namespace
}  // namespace cloister::kms
