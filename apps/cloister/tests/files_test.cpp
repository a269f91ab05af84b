#include "files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <future>

#include "cloister/core/random.hpp"
#include "keys.hpp"
#include "support/support.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

unsigned mode_of(const fs::path& path) {
  struct stat facts {};
  EXPECT_EQ(::stat(path.c_str(), &facts), 0) << path;
  return facts.st_mode & 0777U;
}

/// A umask for as long as it lives.
class Umask {
 public:
  explicit Umask(mode_t mask) : before_{::umask(mask)} {}
  ~Umask() { ::umask(before_); }
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;

 private:
  mode_t before_;
};

/// No file may have contents: what a disk is like that is full. Ends with this object.
class FullDisk {
 public:
  FullDisk() {
    ::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

class Files : public testing::Test {
 protected:
  [[nodiscard]] fs::path path(const std::string& name = "file") const { return dir_.path() / name; }
  [[nodiscard]] std::size_t count() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{dir_.path()}, fs::directory_iterator{}));
  }

 private:
  test::TempDir dir_;
};

TEST_F(Files, ForTheOwnerAreReadableByNobodyElse) {
  const Umask open_to_all{0};
  ASSERT_TRUE(write_file(path(), "secret", Readers::owner));
  EXPECT_EQ(mode_of(path()), 0600U);
  EXPECT_EQ(test::read_text(path()), "secret");
}

TEST_F(Files, ForTheOwnerAreSoEvenWhereTheyWereOpen) {
  ASSERT_TRUE(write_file(path(), "open", Readers::everyone));
  ASSERT_EQ(::chmod(path().c_str(), 0644), 0);
  ASSERT_TRUE(write_file(path(), "secret", Readers::owner));
  EXPECT_EQ(mode_of(path()), 0600U);
  EXPECT_EQ(test::read_text(path()), "secret");
}

TEST_F(Files, ForEveryoneFollowTheUmask) {
  const Umask mask{027};
  ASSERT_TRUE(write_file(path(), "text", Readers::everyone));
  EXPECT_EQ(mode_of(path()), 0640U);
}

TEST_F(Files, StayAsTheyWereWhenWritingFails) {
  ASSERT_TRUE(write_file(path(), "before", Readers::owner));
  {
    const FullDisk full;
    const auto written = write_file(path(), "after", Readers::owner);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code(), Errc::io_error);
  }
  EXPECT_EQ(test::read_text(path()), "before");
  EXPECT_EQ(count(), 1U);
}

TEST_F(Files, MayBePipes) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  const int reader = ::open(path("pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  EXPECT_TRUE(write_file(path("pipe"), "text", Readers::owner));
  char text[8] = {};
  EXPECT_EQ(::read(reader, text, sizeof text), 4);
  EXPECT_STREQ(text, "text");
  ::close(reader);
  EXPECT_EQ(count(), 1U);
}

TEST_F(Files, InAFolderThatIsNotThereAreRefused) {
  const auto written = write_file(path("absent") / "file", "text", Readers::owner);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().detail().find("absent/file"), std::string::npos);
}

TEST_F(Files, OfSecretsAreNeverOverwritten) {
  ASSERT_TRUE(create_secret_file(path(), to_bytes("first")));
  ASSERT_TRUE(create_secret_file(path(), to_bytes("second")));
  EXPECT_EQ(test::read_text(path()), "first");
  EXPECT_EQ(mode_of(path()), 0600U);
  EXPECT_EQ(count(), 1U);
}

TEST_F(Files, OfSecretsAreWholeOrNotThere) {
  {
    const FullDisk full;
    EXPECT_FALSE(create_secret_file(path(), to_bytes("secret")));
    EXPECT_FALSE(load_or_make_secret(path("client.secret")));
  }
  EXPECT_EQ(count(), 0U);
  EXPECT_TRUE(load_or_make_secret(path("client.secret")));
}

TEST_F(Files, OfSecretsAreMadeOnceAndReadAgain) {
  const auto first = load_or_make_secret(path());
  const auto second = load_or_make_secret(path());
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(same_bytes(first->reveal(), second->reveal()));
  EXPECT_EQ(mode_of(path()), 0600U);
  EXPECT_EQ(count(), 1U);
}

TEST_F(Files, OfSecretsAreTheSameForAllWhoMakeThemAtOnce) {
  const auto make = [this] {
    const auto made = load_or_make_secret(path());
    return made ? to_bytes(made->reveal()) : Bytes{};
  };
  std::vector<std::future<Bytes>> makers;
  for (int i = 0; i < 8; ++i) makers.push_back(std::async(std::launch::async, make));
  const auto first = makers.front().get();
  EXPECT_EQ(first.size(), 32U);
  for (std::size_t i = 1; i < makers.size(); ++i) EXPECT_EQ(makers[i].get(), first);
  EXPECT_EQ(count(), 1U);
}

TEST_F(Files, OfSecretsThatOthersMayReadAreRefused) {
  ASSERT_TRUE(load_or_make_secret(path()));
  ASSERT_EQ(::chmod(path().c_str(), 0640), 0);
  const auto secret = load_or_make_secret(path());
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().code(), Errc::configuration_invalid);
  EXPECT_NE(secret.error().detail().find("chmod 600"), std::string::npos);
}

TEST_F(Files, OfSecretsOfAnotherLengthAreRefusedAndKept) {
  ASSERT_TRUE(write_file(path(), "", Readers::owner));
  EXPECT_FALSE(load_or_make_secret(path()));
  EXPECT_EQ(fs::file_size(path()), 0U);
  ASSERT_TRUE(write_file(path(), std::string(33, 'x'), Readers::owner));
  const auto secret = load_or_make_secret(path());
  ASSERT_FALSE(secret);
  EXPECT_NE(secret.error().detail().find("32 bytes expected"), std::string::npos);
}

TEST_F(Files, OfSecretsAreNotFoundThroughLinks) {
  ASSERT_TRUE(load_or_make_secret(path("there")));
  fs::create_symlink("there", path("link"));
  EXPECT_FALSE(load_or_make_secret(path("link")));
}

}  // namespace
}  // namespace cloister::cli
