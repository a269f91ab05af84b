#include "cloister/storage/blobs.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "support/support.hpp"

namespace cloister::storage {
namespace {

class BlobStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { open({}); }
  void open(const BlobStore::Limits& limits) {
    auto opened = BlobStore::open(directory(), limits);
    ASSERT_TRUE(opened) << opened.error().text();
    store_ = *std::move(opened);
  }
  [[nodiscard]] std::filesystem::path directory() const { return dir_.path() / "blobs"; }
  [[nodiscard]] std::size_t files() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{directory()}) {
      if (entry.is_regular_file()) ++count;
    }
    return count;
  }
  [[nodiscard]] std::filesystem::path only_file() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator{directory()}) {
      if (entry.is_regular_file()) return entry.path();
    }
    return {};
  }
  test::TempDir dir_;
  std::unique_ptr<BlobStore> store_;
  Bytes content_ = to_bytes("some content of a blob");
  Digest32 digest_ = crypto::sha256(content_);
};

TEST_F(BlobStoreTest, KeepsBlobsAcrossRestarts) {
  ASSERT_TRUE(store_->put(digest_, content_));
  EXPECT_EQ(store_->used(), content_.size());
  open({});
  EXPECT_EQ(*store_->get(digest_), content_);
  EXPECT_EQ(**store_->size(digest_), content_.size());
  EXPECT_EQ(store_->used(), content_.size());
  struct stat facts {};
  ASSERT_EQ(::stat(only_file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0600U);
}

TEST_F(BlobStoreTest, PuttingTwiceIsOnce) {
  ASSERT_TRUE(store_->put(digest_, content_));
  ASSERT_TRUE(store_->put(digest_, content_));
  auto writer = *store_->begin(digest_);
  ASSERT_TRUE(writer.append(content_));
  ASSERT_TRUE(writer.commit());
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(store_->used(), content_.size());
}

TEST_F(BlobStoreTest, RefusesContentOfAnotherDigest) {
  const auto other = to_bytes("other");
  EXPECT_EQ(store_->put(digest_, other).error().code(), Errc::digest_mismatch);
  EXPECT_EQ(files(), 0U);
  EXPECT_EQ(store_->used(), 0U);
  ASSERT_TRUE(store_->put(digest_, content_));
  EXPECT_EQ(store_->put(digest_, other).error().code(), Errc::digest_mismatch);
  EXPECT_EQ(*store_->get(digest_), content_);
}

TEST_F(BlobStoreTest, TakesABlobInParts) {
  auto writer = *store_->begin(digest_);
  ASSERT_TRUE(writer.append(ByteView{content_}.first(5)));
  EXPECT_EQ(*store_->size(digest_), std::nullopt) << "not visible before commit";
  ASSERT_TRUE(writer.append(ByteView{content_}.subspan(5)));
  ASSERT_TRUE(writer.commit());
  EXPECT_EQ(*store_->get(digest_), content_);
}

TEST_F(BlobStoreTest, DroppedWriterLeavesNothing) {
  {
    auto writer = *store_->begin(digest_);
    ASSERT_TRUE(writer.append(content_));
    auto moved = std::move(writer);
    EXPECT_EQ(store_->used(), content_.size());
  }
  EXPECT_EQ(files(), 0U);
  EXPECT_EQ(store_->used(), 0U);
}

TEST_F(BlobStoreTest, RemovesWhatAnEarlierProcessLeft) {
  std::ofstream{directory() / "incoming" / "0"} << "half";
  open({});
  EXPECT_EQ(files(), 0U);
  EXPECT_EQ(store_->used(), 0U);
}

TEST_F(BlobStoreTest, EnforcesLimitAndQuota) {
  open({.blob_bytes = content_.size(), .total_bytes = content_.size() + 4});
  const Bytes longer(content_.size() + 1);
  EXPECT_EQ(store_->put(crypto::sha256(longer), longer).error().code(), Errc::limit_exceeded);
  ASSERT_TRUE(store_->put(digest_, content_));
  const Bytes five(5);
  EXPECT_EQ(store_->put(crypto::sha256(five), five).error().code(), Errc::limit_exceeded);
  const Bytes four(4);
  EXPECT_TRUE(store_->put(crypto::sha256(four), four));
  ASSERT_TRUE(store_->remove(digest_));
  EXPECT_TRUE(store_->put(crypto::sha256(five), five));
}

TEST_F(BlobStoreTest, ReadsRanges) {
  ASSERT_TRUE(store_->put(digest_, content_));
  EXPECT_EQ(as_text(*store_->read(digest_, 5, 7)), "content");
  EXPECT_EQ(as_text(*store_->read(digest_, 18, 100)), "blob");
  EXPECT_TRUE(store_->read(digest_, content_.size(), 1)->empty());
  EXPECT_EQ(store_->read(digest_, content_.size() + 1, 1).error().code(), Errc::invalid_argument);
  EXPECT_EQ(store_->read(Digest32{}, 0, 1).error().code(), Errc::not_found);
}

TEST_F(BlobStoreTest, FindsWhatTheDiskChanged) {
  ASSERT_TRUE(store_->put(digest_, content_));
  std::ofstream{only_file()} << "changed";
  EXPECT_EQ(store_->get(digest_).error().code(), Errc::storage_corrupt);
}

TEST_F(BlobStoreTest, ListsAndRemoves) {
  const Bytes empty;
  ASSERT_TRUE(store_->put(digest_, content_));
  ASSERT_TRUE(store_->put(crypto::sha256(empty), empty));
  auto entries = *store_->list();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_LT(entries[0].digest, entries[1].digest);
  ASSERT_TRUE(store_->remove(digest_));
  ASSERT_TRUE(store_->remove(digest_)) << "twice";
  entries = *store_->list();
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].size, 0U);
  EXPECT_EQ(*store_->size(digest_), std::nullopt);
}

}  // namespace
}  // namespace cloister::storage
