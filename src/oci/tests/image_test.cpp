#include "cloister/oci/image.hpp"

#include <gtest/gtest.h>

#include <map>

#include "cloister/crypto/hash.hpp"
#include "cloister/oci/layout.hpp"

namespace cloister::oci {
namespace {

const std::string kZeros(64, '0');
const std::string kDigest = "sha256:" + kZeros;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

const std::string kManifestText =
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":)"
    R"("application/vnd.oci.image.config.v1+json","digest":")" +
    kDigest + R"(","size":7},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":")" + kDigest +
    R"(","size":9}],"annotations":{"any":"thing"}})";

const std::string kConfigText =
    R"({"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":["A=b"],"Entrypoint":)"
    R"(["/run"],"Cmd":["-v"],"WorkingDir":"/w","User":"x"},"rootfs":{"type":"layers","diff_ids":[")" +
    kDigest + R"("]}})";

TEST(OciManifest, ReadsDescriptors) {
  const auto manifest = parse_manifest(as_bytes(kManifestText));
  ASSERT_TRUE(manifest) << manifest.error().text();
  EXPECT_EQ(manifest->config.size, 7U);
  ASSERT_EQ(manifest->layers.size(), 1U);
  EXPECT_EQ(manifest->layers[0].media_type, media_type::kLayer);
  EXPECT_EQ(manifest->layers[0].digest, Digest32{});
  EXPECT_TRUE(parse_manifest(
      as_bytes(replaced(kManifestText, R"("mediaType":"application/vnd.oci.image.manifest.v1+json",)", ""))));
}

TEST(OciManifest, RefusesOtherDocuments) {
  const auto code = [](std::string_view from, std::string_view to) {
    const auto manifest = parse_manifest(as_bytes(replaced(kManifestText, from, to)));
    return manifest ? Errc::internal : manifest.error().code();
  };
  EXPECT_EQ(code("\"schemaVersion\":2", "\"schemaVersion\":1"), Errc::malformed);
  EXPECT_EQ(code("image.manifest.v1", "image.index.v1"), Errc::unsupported);
  EXPECT_EQ(code("image.config.v1", "empty.v1"), Errc::unsupported);
  EXPECT_EQ(code("\"size\":7", "\"size\":-7"), Errc::malformed);
  EXPECT_EQ(code("\"size\":7", "\"size\":7.0"), Errc::malformed);
  EXPECT_EQ(code(",\"size\":7", ""), Errc::missing_member);
  EXPECT_EQ(code("sha256:0", "sha512:0"), Errc::unsupported);
  EXPECT_EQ(code("sha256:0", "sha256:"), Errc::malformed);
  EXPECT_EQ(code("sha256:0", "sha256:A"), Errc::malformed);
  EXPECT_EQ(code("\"config\":{", "\"config\":[{"), Errc::malformed);
  EXPECT_EQ(code("\"annotations\"", "\"layers\""), Errc::duplicate_member);
}

TEST(OciManifest, BoundsLayers) {
  EXPECT_EQ(parse_manifest(as_bytes(kManifestText), {.layers = 0}).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(parse_manifest(as_bytes(kManifestText), {.document_bytes = 10}).error().code(), Errc::limit_exceeded);
}

TEST(OciConfig, ReadsWhatIsRun) {
  const auto config = parse_config(as_bytes(kConfigText));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->command(), (std::vector<std::string>{"/run", "-v"}));
  EXPECT_EQ(config->env, std::vector<std::string>{"A=b"});
  EXPECT_EQ(config->working_dir, "/w");
  EXPECT_EQ(config->diff_ids.size(), 1U);
}

TEST(OciConfig, AbsentAndNullMeanNothing) {
  const auto config = parse_config(as_bytes(
      R"({"architecture":"amd64","os":"linux","config":{"Cmd":null,"WorkingDir":""},"rootfs":{"type":"layers","diff_ids":[]}})"));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_TRUE(config->command().empty());
  EXPECT_EQ(config->working_dir, "/");
}

TEST(OciConfig, RefusesWhatCannotBeRun) {
  const auto code = [](std::string_view from, std::string_view to) {
    const auto config = parse_config(as_bytes(replaced(kConfigText, from, to)));
    return config ? Errc::internal : config.error().code();
  };
  EXPECT_EQ(code("\"A=b\"", "\"A\""), Errc::malformed);
  EXPECT_EQ(code("\"A=b\"", "\"=b\""), Errc::malformed);
  EXPECT_EQ(code("\"A=b\"", "1"), Errc::malformed);
  EXPECT_EQ(code("\"/run\"", "\"/r\\u0000\""), Errc::malformed);
  EXPECT_EQ(code("\"/w\"", "\"w\""), Errc::malformed);
  EXPECT_EQ(code("\"layers\"", "\"other\""), Errc::unsupported);
  EXPECT_EQ(code("\"rootfs\"", "\"root\""), Errc::missing_member);
  EXPECT_EQ(code("sha256", "md5"), Errc::unsupported);
}

class OciImage : public testing::Test {
 protected:
  OciImage() {
    auto built = build_image({{"run", true, to_bytes(std::string_view{"program"})}},
                             {.entrypoint = {"/run"}, .cmd = {}, .env = {}});
    digest = built->digest;
    for (auto& [key, bytes] : built->blobs) blobs[key] = bytes, order.push_back(key);
  }
  BlobSource source() {
    return [this](const Digest32& wanted, std::uint64_t max_bytes) -> Result<Bytes> {
      const auto found = blobs.find(wanted);
      if (found == blobs.end()) return Error{Errc::not_found, "no such blob"};
      if (found->second.size() > max_bytes) return Error{Errc::limit_exceeded, "too large"};
      return found->second;
    };
  }
  /// Stores a manifest made from the image's by one replacement, and its new digest.
  void change_manifest(std::string_view from, std::string_view to) {
    const auto bytes = to_bytes(replaced(std::string{as_text(blobs.at(digest))}, from, to));
    digest = crypto::sha256(bytes);
    blobs[digest] = bytes;
  }
  Errc refusal(const Limits& limits = {}) {
    const auto image = load(digest, source(), limits);
    return image ? Errc::internal : image.error().code();
  }

  Digest32 digest{};
  std::map<Digest32, Bytes> blobs;
  std::vector<Digest32> order;  // layer, configuration, manifest
};

TEST_F(OciImage, LoadsByDigest) {
  const auto image = load(digest, source());
  ASSERT_TRUE(image) << image.error().text();
  EXPECT_EQ(image->digest, digest);
  EXPECT_EQ(image->config.command(), std::vector<std::string>{"/run"});
  EXPECT_TRUE(verify_layers(*image, source()));
}

TEST_F(OciImage, RefusesOtherContents) {
  for (const auto& key : {order[2], order[1]}) {
    auto kept = blobs[key];
    blobs[key][10] ^= 1;
    EXPECT_EQ(refusal(), Errc::malformed);
    blobs[key] = kept;
  }
  const auto image = load(digest, source());
  ASSERT_TRUE(image);
  blobs[order[0]][10] ^= 1;
  EXPECT_EQ(verify_layers(*image, source()).error().code(), Errc::malformed);
  blobs[order[0]].pop_back();
  EXPECT_EQ(verify_layers(*image, source()).error().code(), Errc::malformed);
  blobs.erase(order[0]);
  EXPECT_EQ(verify_layers(*image, source()).error().code(), Errc::not_found);
}

TEST_F(OciImage, RefusesAWrongSize) {
  change_manifest("\"size\":", "\"size\":1");
  EXPECT_EQ(refusal(), Errc::malformed);
}

TEST_F(OciImage, RefusesCompressedLayers) {
  change_manifest("layer.v1.tar", "layer.v1.tar+gzip");
  EXPECT_EQ(refusal(), Errc::unsupported);
}

TEST_F(OciImage, RefusesLayersThatTheConfigurationDoesNotName) {
  const auto kept = digest;
  change_manifest("\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:",
                  "\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"" + kDigest +
                      "\",\"size\":0},{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:");
  EXPECT_EQ(refusal(), Errc::malformed);
  digest = kept;
  EXPECT_EQ(refusal(), Errc::internal);
}

TEST_F(OciImage, BoundsSizes) {
  EXPECT_EQ(refusal({.layer_bytes = 100}), Errc::limit_exceeded);
  EXPECT_EQ(refusal({.document_bytes = 100}), Errc::limit_exceeded);
}

TEST(OciImageWithoutCommand, IsRefused) {
  const auto built = build_image({{"data", false, {}}}, {.entrypoint = {}, .cmd = {}, .env = {}});
  EXPECT_EQ(load(built->digest, built->source()).error().code(), Errc::malformed);
}

}  // namespace
}  // namespace cloister::oci
