#include "cloister/oci/unpack.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>

#include "cloister/crypto/hash.hpp"
#include "cloister/oci/tar.hpp"
#include "support/support.hpp"

namespace cloister::oci {
namespace {

using tar::Entry;
using tar::Kind;

Entry file(std::string path, std::string_view contents = "x", std::uint32_t mode = 0644) {
  return {std::move(path), Kind::file, mode, {}, as_bytes(contents)};
}
Entry directory(std::string path, std::uint32_t mode = 0755) {
  return {std::move(path), Kind::directory, mode, {}, {}};
}
Entry symlink(std::string path, std::string target) {
  return {std::move(path), Kind::symlink, 0777, std::move(target), {}};
}
Entry hardlink(std::string path, std::string target) {
  return {std::move(path), Kind::hardlink, 0644, std::move(target), {}};
}

class Unpack : public testing::Test {
 protected:
  /// Adds a layer on top.
  void layer(const std::vector<Entry>& entries) {
    auto archive = tar::write(entries);
    const auto digest = crypto::sha256(archive);
    image.manifest.layers.push_back({std::string{media_type::kLayer}, digest, archive.size()});
    blobs[digest] = std::move(archive);
  }
  Result<void> run(const Limits& limits = {}) {
    const BlobSource source = [this](const Digest32& digest, std::uint64_t) -> Result<Bytes> {
      return blobs.at(digest);
    };
    return unpack(image, source, root, limits);
  }
  Errc refusal(const Limits& limits = {}) {
    const auto result = run(limits);
    return result ? Errc::internal : result.error().code();
  }
  std::string read(std::string_view path) const { return test::read_text(root / path); }
  bool there(std::string_view path) const {
    return std::filesystem::symlink_status(root / path).type() != std::filesystem::file_type::not_found;
  }
  unsigned mode(std::string_view path) const {
    struct stat status {};
    return ::lstat((root / path).c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
  }

  test::TempDir dir;
  std::filesystem::path root = dir.path() / "root";
  Image image;
  std::map<Digest32, Bytes> blobs;
};

TEST_F(Unpack, MakesFilesDirectoriesAndLinks) {
  layer({directory(""), directory("bin", 0555), file("bin/run", "program", 04755), file("deep/er/f", "abc", 0200),
         symlink("bin/alias", "run"), symlink("etc/alt/r", "/bin/run"), symlink("top", "/"),
         hardlink("twin", "bin/run")});
  ASSERT_TRUE(run());
  EXPECT_EQ(read("bin/run"), "program");
  EXPECT_EQ(mode("bin/run"), 0755U);
  EXPECT_EQ(mode("bin"), 0755U);
  EXPECT_EQ(mode("deep/er/f"), 0600U);
  EXPECT_EQ(read("bin/alias"), "program");
  EXPECT_EQ(read("etc/alt/r"), "program");
  EXPECT_EQ(std::filesystem::read_symlink(root / "etc/alt/r"), "../../bin/run");
  EXPECT_EQ(std::filesystem::read_symlink(root / "top"), ".");
  EXPECT_EQ(read("twin"), "program");
  EXPECT_EQ(std::filesystem::hard_link_count(root / "twin"), 2U);
}

TEST_F(Unpack, UpperLayersReplace) {
  layer({file("a", "old"), file("d/x", "old"), directory("e"), file("e/y"), symlink("l", "a"), hardlink("h", "a")});
  layer({file("a", "new"), file("d", "file now"), symlink("e", "a"), file("l", "own"), directory("a2")});
  ASSERT_TRUE(run());
  EXPECT_EQ(read("a"), "new");
  EXPECT_EQ(read("h"), "old");
  EXPECT_EQ(read("d"), "file now");
  EXPECT_EQ(read("e"), "new");
  EXPECT_EQ(read("l"), "own");
}

TEST_F(Unpack, WhiteoutsHideLowerLayersOnly) {
  layer({file("a/x"), file("a/y"), file("b/x"), file("b/sub/y"), file("c"), file("d/x")});
  layer({file("b/new"), file("a/.wh.x", ""), file("b/.wh..wh..opq", ""), file(".wh.c", ""), file("c", "again"),
         file(".wh.d", ""), file("none/.wh.z", ""), file(".wh.none", "")});
  ASSERT_TRUE(run());
  EXPECT_FALSE(there("a/x"));
  EXPECT_TRUE(there("a/y"));
  EXPECT_FALSE(there("b/x"));
  EXPECT_FALSE(there("b/sub"));
  EXPECT_TRUE(there("b/new"));
  EXPECT_EQ(read("c"), "again");
  EXPECT_FALSE(there("d"));
  EXPECT_FALSE(there("none"));
  EXPECT_FALSE(there("b/.wh..wh..opq"));
}

TEST_F(Unpack, RefusesWhiteoutsThatNameNothing) {
  for (const auto* path : {".wh.", ".wh..", ".wh...", ".wh..wh.aufs", "a/.wh..wh.plnk", ".wh.a/b"}) {
    image.manifest.layers.clear();
    layer({file(path)});
    EXPECT_EQ(refusal(), Errc::malformed) << path;
    std::filesystem::remove_all(root);
  }
}

TEST_F(Unpack, NeverWritesThroughALink) {
  std::filesystem::create_directory(dir.path() / "outside");
  layer({symlink("l", "d"), directory("d")});
  layer({file("l/x")});
  EXPECT_EQ(refusal(), Errc::malformed);
  EXPECT_FALSE(there("d/x"));
}

TEST_F(Unpack, NeverRemovesThroughALink) {
  layer({symlink("l", "d"), file("d/x")});
  layer({file("l/.wh.x", "")});
  EXPECT_EQ(refusal(), Errc::malformed);
  EXPECT_TRUE(there("d/x"));
}

TEST_F(Unpack, ReplacesALinkAndNotItsTarget) {
  layer({file("a", "kept"), symlink("l", "a"), hardlink("h", "a")});
  layer({file("l", "new"), file("h", "new")});
  ASSERT_TRUE(run());
  EXPECT_EQ(read("a"), "kept");
}

TEST_F(Unpack, RefusesLinksThatMayLeadOutside) {
  for (const auto* target :
       {"..", "../x", "../../etc/passwd", "a/../b", "./a/../../..", "/..", "/../etc", "/a/../.."}) {
    image.manifest.layers.clear();
    layer({symlink("l", target)});
    EXPECT_EQ(refusal(), Errc::malformed) << target;
    EXPECT_FALSE(there("l"));
    std::filesystem::remove_all(root);
  }
  image.manifest.layers.clear();
  layer({symlink("a/b/l", "../../../x")});
  EXPECT_EQ(refusal(), Errc::malformed);
  std::filesystem::remove_all(root);
  image.manifest.layers.clear();
  layer({symlink("a/b/l", "../../x")});
  EXPECT_EQ(refusal(), Errc::internal);
}

TEST_F(Unpack, RefusesHardLinksToAnythingButFilesInside) {
  for (const auto* target : {"none", "d", "s", "s/x", "h"}) {
    image.manifest.layers.clear();
    layer({directory("d"), file("d/x"), symlink("s", "d"), hardlink("h", target)});
    EXPECT_NE(refusal(), Errc::internal) << target;
    std::filesystem::remove_all(root);
  }
}

TEST_F(Unpack, RefusesLayersWithOtherContents) {
  layer({file("a")});
  blobs.begin()->second[600] ^= 1;
  EXPECT_EQ(refusal(), Errc::malformed);
  EXPECT_FALSE(there("a"));
}

TEST_F(Unpack, WritesNothingOfALayerThatIsBrokenFurtherOn) {
  auto archive = tar::write({file("a")});
  archive.resize(archive.size() - 512);
  const auto digest = crypto::sha256(archive);
  image.manifest.layers.push_back({std::string{media_type::kLayer}, digest, archive.size()});
  blobs[digest] = archive;
  EXPECT_EQ(refusal(), Errc::truncated);
  EXPECT_FALSE(there("a"));
}

TEST_F(Unpack, KeepsTheLimitsOverAllLayers) {
  layer({file("a", "12345")});
  layer({file("b", "12345")});
  EXPECT_EQ(refusal({.unpacked_bytes = 9}), Errc::limit_exceeded);
  std::filesystem::remove_all(root);
  EXPECT_EQ(refusal({.entries = 1}), Errc::limit_exceeded);
  std::filesystem::remove_all(root);
  EXPECT_EQ(refusal({.layer_bytes = 1000}), Errc::limit_exceeded);
  std::filesystem::remove_all(root);
  EXPECT_EQ(refusal({.unpacked_bytes = 10, .entries = 2}), Errc::internal);
}

TEST_F(Unpack, NeedsAnEmptyDirectory) {
  std::filesystem::create_directories(root / "x");
  layer({file("a")});
  EXPECT_EQ(refusal(), Errc::conflict);
}

}  // namespace
}  // namespace cloister::oci
