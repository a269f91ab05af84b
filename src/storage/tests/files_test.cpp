#include "cloister/storage/files.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "support/support.hpp"

namespace cloister::storage {
namespace {

TEST(ReplaceFile, ReplacesTheWholeContentPrivately) {
  const test::TempDir dir;
  const auto file = dir.path() / "head";
  EXPECT_EQ(*read_small_file(file, 10), std::nullopt);
  ASSERT_TRUE(replace_file(file, to_bytes("longer one")));
  ASSERT_TRUE(replace_file(file, to_bytes("short")));
  EXPECT_EQ(**read_small_file(file, 5), to_bytes("short"));
  struct stat facts {};
  ASSERT_EQ(::stat(file.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0600U);
}

TEST(ReplaceFile, SurvivesWhatACrashLeft) {
  const test::TempDir dir;
  std::ofstream{dir.path() / "head.new"} << "half-written";
  ASSERT_TRUE(replace_file(dir.path() / "head", to_bytes("x")));
  EXPECT_EQ(**read_small_file(dir.path() / "head", 5), to_bytes("x"));
}

TEST(ReplaceFile, ReportsWhatItCannotDo) {
  const test::TempDir dir;
  EXPECT_EQ(replace_file(dir.path() / "none" / "head", {}).error().code(), Errc::io_error);
  EXPECT_EQ(read_small_file(dir.path(), 5).error().code(), Errc::io_error);
  ASSERT_TRUE(replace_file(dir.path() / "head", Bytes(6)));
  EXPECT_EQ(read_small_file(dir.path() / "head", 5).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::storage
