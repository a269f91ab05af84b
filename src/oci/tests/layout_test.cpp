#include "cloister/oci/layout.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::oci {
namespace {

Bytes text(std::string_view words) { return to_bytes(words); }

void write_text(const std::filesystem::path& path, std::string_view words) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream{path, std::ios::binary} << words;
}

const ImageOptions kOptions{.entrypoint = {"/bin/run"}, .cmd = {"-v"}, .env = {"A=b"}, .working_dir = "/data"};

std::vector<SourceFile> some_files() {
  return {{"bin/run", true, text("program")}, {"bin-more", false, text("x")}, {"data/a/b", false, text("abc")}};
}

TEST(OciLayout, ReadsWhatItWrote) {
  const test::TempDir dir;
  const auto built = build_image(some_files(), kOptions);
  ASSERT_TRUE(built) << built.error().text();
  ASSERT_TRUE(write_layout(*built, dir.path() / "layout"));
  const auto layout = Layout::open(dir.path() / "layout");
  ASSERT_TRUE(layout) << layout.error().text();
  EXPECT_EQ(*layout->find(), built->digest);
  EXPECT_EQ(*layout->find("latest"), built->digest);
  EXPECT_EQ(layout->find("other").error().code(), Errc::not_found);
  const auto image = load(built->digest, layout->blobs());
  ASSERT_TRUE(image) << image.error().text();
  EXPECT_EQ(image->config.command(), (std::vector<std::string>{"/bin/run", "-v"}));
  EXPECT_EQ(image->config.env, std::vector<std::string>{"A=b"});
  EXPECT_EQ(image->config.working_dir, "/data");
  EXPECT_TRUE(verify_layers(*image, layout->blobs()));
  EXPECT_EQ(crypto::sha256(test::read_file(layout->blob_path(built->digest))), built->digest);
}

TEST(OciLayout, IsReproducible) {
  auto shuffled = some_files();
  std::ranges::reverse(shuffled);
  const auto one = build_image(some_files(), kOptions);
  const auto other = build_image(shuffled, kOptions);
  EXPECT_EQ(one->digest, other->digest);
  EXPECT_EQ(one->blobs, other->blobs);
  EXPECT_EQ(one->index, other->index);
}

TEST(OciLayout, EveryFileCountsInTheDigest) {
  const auto base = build_image(some_files(), kOptions)->digest;
  auto files = some_files();
  files[0].executable = false;
  EXPECT_NE(build_image(files, kOptions)->digest, base);
  files = some_files();
  files[0].contents.push_back('x');
  EXPECT_NE(build_image(files, kOptions)->digest, base);
  auto options = kOptions;
  options.cmd = {"-q"};
  EXPECT_NE(build_image(some_files(), options)->digest, base);
}

TEST(OciLayout, RefusesPathsThatClash) {
  for (const auto* path : {"bin/run", "bin", "bin/run/x", "../x", "/x", ""}) {
    auto files = some_files();
    files.push_back({path, false, {}});
    EXPECT_EQ(build_image(files, kOptions).error().code(), Errc::invalid_argument) << path;
  }
}

TEST(OciLayout, WritesOnlyIntoAnEmptyDirectory) {
  const test::TempDir dir;
  write_text(dir.path() / "there", "x");
  EXPECT_EQ(write_layout(*build_image(some_files(), kOptions), dir.path()).error().code(), Errc::conflict);
}

TEST(OciLayout, RefusesOtherVersionsAndMissingFiles) {
  const test::TempDir dir;
  EXPECT_EQ(Layout::open(dir.path()).error().code(), Errc::not_found);
  write_text(dir.path() / "oci-layout", R"({"imageLayoutVersion":"2.0.0"})");
  write_text(dir.path() / "index.json", R"({"schemaVersion":2,"manifests":[]})");
  EXPECT_EQ(Layout::open(dir.path()).error().code(), Errc::unsupported);
  write_text(dir.path() / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  const auto layout = Layout::open(dir.path());
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->find().error().code(), Errc::not_found);
}

TEST(OciIndex, ChoosesByPlatformAndName) {
  const auto index = [](std::string_view entries) {
    return parse_index(as_bytes(R"({"schemaVersion":2,"manifests":[)" + std::string{entries} + "]}"));
  };
  const std::string digest = "\"digest\":\"sha256:" + std::string(64, '0') + "\",\"size\":5";
  const auto entry = [&digest](std::string_view type, std::string_view rest) {
    return R"({"mediaType":"application/vnd.oci.image.)" + std::string{type} + R"(.v1+json",)" + digest +
           std::string{rest} + "}";
  };
  EXPECT_EQ(index(entry("manifest", ""))->size(), 1U);
  EXPECT_EQ(index(entry("manifest", R"(,"platform":{"architecture":"amd64","os":"linux"})"))->size(), 1U);
  EXPECT_EQ(index(entry("manifest", R"(,"platform":{"architecture":"arm64","os":"linux"})"))->size(), 0U);
  EXPECT_EQ(index(entry("index", "")).error().code(), Errc::unsupported);
  EXPECT_EQ(index(entry("manifest", R"(,"annotations":{"org.opencontainers.image.ref.name":"v1"})"))->front().name,
            "v1");
}

TEST(OciFiles, AreReadFromAFolder) {
  const test::TempDir dir;
  write_text(dir.path() / "b/run", "program");
  write_text(dir.path() / "a", "x");
  std::filesystem::permissions(dir.path() / "b/run", std::filesystem::perms::owner_exec,
                               std::filesystem::perm_options::add);
  const auto files = files_below(dir.path());
  ASSERT_TRUE(files) << files.error().text();
  ASSERT_EQ(files->size(), 2U);
  EXPECT_EQ((*files)[0].path, "a");
  EXPECT_FALSE((*files)[0].executable);
  EXPECT_EQ((*files)[1].path, "b/run");
  EXPECT_TRUE((*files)[1].executable);
  EXPECT_EQ((*files)[1].contents, text("program"));
  EXPECT_EQ(files_below(dir.path(), {.entries = 1}).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(files_below(dir.path(), {.unpacked_bytes = 7}).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(files_below(dir.path() / "none").error().code(), Errc::not_found);
  std::filesystem::create_symlink("a", dir.path() / "link");
  EXPECT_EQ(files_below(dir.path()).error().code(), Errc::unsupported);
}

TEST(OciBlobs, ComeFromDescriptorsToo) {
  const test::TempDir dir;
  write_text(dir.path() / "blob", "contents");
  const int fd = ::open((dir.path() / "blob").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(*read_descriptor(fd, 8), text("contents"));
  EXPECT_EQ(read_descriptor(fd, 7).error().code(), Errc::limit_exceeded);
  ::close(fd);
  EXPECT_EQ(read_descriptor(fd, 8).error().code(), Errc::io_error);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(read_descriptor(ends[0], 8).error().code(), Errc::malformed);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace cloister::oci
