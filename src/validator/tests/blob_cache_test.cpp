#include "blob_cache.hpp"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::validator {
namespace {

namespace fs = std::filesystem;

class BlobCacheTest : public testing::Test {
 protected:
  Digest32 put(BlobCache& cache, const Bytes& bytes) {
    const auto digest = crypto::sha256(bytes);
    const auto done = cache.put(digest, bytes);
    EXPECT_TRUE(done) << done.error().text();
    age();
    return digest;
  }
  /// Everything that is there was last used a minute earlier than it was.
  void age() {
    for (const auto& entry : fs::directory_iterator{directory}) {
      fs::last_write_time(entry, fs::last_write_time(entry) - std::chrono::minutes{1});
    }
  }
  bool has(BlobCache& cache, const Digest32& digest) {
    auto found = cache.find(digest);
    EXPECT_TRUE(found) << found.error().text();
    return found && found->has_value();
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{directory}, fs::directory_iterator{}));
  }

  test::TempDir dir;
  fs::path directory = dir.path() / "blobs";
};

TEST_F(BlobCacheTest, GivesBackWhatItWasGiven) {
  BlobCache cache{directory, 1000};
  const Bytes bytes(100, 7);
  const auto digest = put(cache, bytes);
  auto found = cache.find(digest);
  ASSERT_TRUE(found && *found);
  Bytes read(200);
  EXPECT_EQ(::read((*found)->get(), read.data(), read.size()), 100);
  read.resize(100);
  EXPECT_EQ(read, bytes);
  EXPECT_FALSE(has(cache, Digest32{1}));
}

TEST_F(BlobCacheTest, RefusesOtherBytes) {
  BlobCache cache{directory, 1000};
  EXPECT_EQ(cache.put(Digest32{1}, Bytes{1}).error().code(), Errc::digest_mismatch);
}

TEST_F(BlobCacheTest, DoesNotHandOutWhatWasChanged) {
  BlobCache cache{directory, 1000};
  const auto digest = put(cache, Bytes(100, 7));
  std::ofstream{directory / codec::to_hex(digest)} << "something else";
  EXPECT_FALSE(has(cache, digest));
  put(cache, Bytes(100, 7));
  EXPECT_TRUE(has(cache, digest));
}

TEST_F(BlobCacheTest, RemovesWhatWasNotUsedForTheLongestTime) {
  BlobCache cache{directory, 250};
  const auto first = put(cache, Bytes(100, 1));
  const auto second = put(cache, Bytes(100, 2));
  EXPECT_TRUE(has(cache, first));  // used now
  age();
  const auto third = put(cache, Bytes(100, 3));
  EXPECT_TRUE(has(cache, first));
  EXPECT_FALSE(has(cache, second));
  EXPECT_TRUE(has(cache, third));
}

TEST_F(BlobCacheTest, RefusesABlobThatNeverFitsAndKeepsTheOthers) {
  BlobCache cache{directory, 250};
  const auto small = put(cache, Bytes(100, 1));
  const Bytes large(251, 2);
  EXPECT_EQ(cache.put(crypto::sha256(large), large).error().code(), Errc::limit_exceeded);
  EXPECT_TRUE(has(cache, small));
}

TEST_F(BlobCacheTest, KeepsWhatIsOpenReadableAfterItHadToGo) {
  BlobCache cache{directory, 150};
  auto open = cache.find(put(cache, Bytes(100, 1)));
  ASSERT_TRUE(open && *open);
  put(cache, Bytes(100, 2));
  EXPECT_EQ(files(), 1U);
  Bytes read(100);
  EXPECT_EQ(::read((*open)->get(), read.data(), read.size()), 100);
  EXPECT_EQ(read, Bytes(100, 1));
}

TEST_F(BlobCacheTest, RemovesWhatAnInterruptedWriteLeft) {
  fs::create_directories(directory);
  std::ofstream{directory / "half.new"} << "half";
  const BlobCache cache{directory, 1000};
  EXPECT_EQ(files(), 0U);
}

/// A disk of its own, of 1 MiB.
class SmallDisk : public BlobCacheTest {
 protected:
  void SetUp() override {
    fs::create_directories(directory);
    mounted_ = ::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted_) GTEST_SKIP() << "only root can make a small disk";
  }
  void TearDown() override {
    if (mounted_) ::umount2(directory.c_str(), MNT_DETACH);
  }

 private:
  bool mounted_ = false;
};

TEST_F(SmallDisk, MakesRoomWhenItIsFull) {
  BlobCache cache{directory, std::uint64_t{1} << 30};
  const auto first = put(cache, Bytes(700U << 10, 1));
  const auto second = put(cache, Bytes(700U << 10, 2));
  EXPECT_FALSE(has(cache, first));
  EXPECT_TRUE(has(cache, second));
}

TEST_F(SmallDisk, FailsCleanlyWhenNothingHelps) {
  BlobCache cache{directory, std::uint64_t{1} << 30};
  const Bytes large(2U << 20, 1);
  EXPECT_EQ(cache.put(crypto::sha256(large), large).error().code(), Errc::io_error);
  EXPECT_EQ(files(), 0U);
}

}  // namespace
}  // namespace cloister::validator
