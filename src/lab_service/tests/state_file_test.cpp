#include "state_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::lab_service {
namespace {

namespace fs = std::filesystem;

class StateFile : public testing::Test {
 protected:
  [[nodiscard]] Result<LabState> open() { return open_state(file_, random_, 2048); }
  void write(std::string_view text, mode_t mode = 0600) {
    std::ofstream{file_} << text;
    ::chmod(file_.c_str(), mode);
  }
  cloister::test::TempDir dir_;
  fs::path file_ = dir_.path() / "seed";
  SystemRandom random_;
};

TEST_F(StateFile, IsMadeOnceAndKept) {
  const auto first = open();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(fs::status(file_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  const fs::path keys = file_.native() + ".amd-keys.pem";
  EXPECT_EQ(fs::status(keys).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  const auto second = open();
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(crypto::equal(first->seed.reveal(), second->seed.reveal()));
  EXPECT_TRUE(same_bytes(lab_snp::write_authority_keys(first->authority).reveal(),
                         lab_snp::write_authority_keys(second->authority).reveal()));
}

TEST_F(StateFile, MayBeHex) {
  write(std::string(62, '0') + "7f\n");
  const auto state = open();
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state->seed.reveal()[31], 0x7F);
}

TEST_F(StateFile, IsItsOwnersAlone) {
  write(std::string(32, 'x'), 0640);
  EXPECT_EQ(open().error().code(), Errc::configuration_invalid);
}

TEST_F(StateFile, IsNothingElse) {
  for (const auto& text : {std::string(31, 'x'), std::string(33, 'x'), std::string(64, 'g'), std::string(70000, 'x')}) {
    write(text);
    EXPECT_EQ(open().error().code(), Errc::configuration_invalid) << text.size();
  }
  fs::remove(file_);
  fs::create_directory(file_);
  EXPECT_FALSE(open().ok());
}

TEST_F(StateFile, SaysWhereItCannotBeToldWhetherItIsThere) {
  fs::create_symlink(file_, file_);  // leads to itself
  const auto state = open();
  EXPECT_EQ(state.error().code(), Errc::io_error);
  EXPECT_NE(state.error().detail().find(file_.string()), std::string::npos);
}

TEST_F(StateFile, RefusesKeysThatAreNone) {
  ASSERT_TRUE(open().ok());
  const fs::path keys = file_.native() + ".amd-keys.pem";
  std::ofstream{keys} << "nothing";
  EXPECT_EQ(open().error().code(), Errc::configuration_invalid);
}

}  // namespace
}  // namespace cloister::lab_service
