#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// OCI images (image-spec v1.1): what a manifest and a configuration say, verified by digest. Only what can be run here
/// is accepted: SHA-256 digests, image manifests, Linux, uncompressed tar layers.
namespace cloister::oci {

struct Limits {
  std::uint64_t document_bytes = 4U << 20;    // manifest, configuration and index, each
  std::uint64_t layer_bytes = 1ULL << 30;     // each layer
  std::uint64_t unpacked_bytes = 4ULL << 30;  // contents of all files of all layers
  std::size_t layers = 128;
  std::size_t entries = 200'000;  // of all layers
};

namespace media_type {
inline constexpr std::string_view kIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kLayer = "application/vnd.oci.image.layer.v1.tar";
}  // namespace media_type

/// "sha256:" and 64 lower-case hex digits.
[[nodiscard]] std::string digest_text(const Digest32& digest);
/// Only that form; other algorithms are `unsupported`.
[[nodiscard]] Result<Digest32> parse_digest(std::string_view text);

/// What a document says about a blob.
struct Descriptor {
  std::string media_type;
  Digest32 digest{};
  std::uint64_t size = 0;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // lowest first
};

struct ImageConfig {
  std::string architecture;
  std::string os;
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // "NAME=value"
  std::string working_dir;       // absolute; "/" when the image says nothing
  std::vector<Digest32> diff_ids;

  /// Entry point and its arguments: what is run.
  [[nodiscard]] std::vector<std::string> command() const;
};

/// Bytes of an image manifest or configuration. Members that the specification does not know are ignored, as it
/// demands. Errors: those of `json::parse`, `malformed`, `missing_member`, `unsupported`, `limit_exceeded`.
[[nodiscard]] Result<Manifest> parse_manifest(ByteView bytes, const Limits& limits = {});
[[nodiscard]] Result<ImageConfig> parse_config(ByteView bytes, const Limits& limits = {});

/// Gets the blob of a digest from wherever it is: a directory, descriptors, memory. It need not check the digest; it
/// fails when the blob has more than `max_bytes`.
using BlobSource = std::function<Result<Bytes>(const Digest32& digest, std::uint64_t max_bytes)>;

/// The blob of a descriptor; `malformed` when size or digest differ from what the descriptor says.
[[nodiscard]] Result<Bytes> fetch(const Descriptor& descriptor, const BlobSource& blobs);
/// All of a file by its descriptor, from its beginning; the descriptor's offset is not used. Regular files only.
[[nodiscard]] Result<Bytes> read_descriptor(int fd, std::uint64_t max_bytes);

/// A verified image: manifest and configuration are the ones of `digest`.
struct Image {
  Digest32 digest{};  // SHA-256 of the manifest: the image digest of measurements and policies
  Manifest manifest;
  ImageConfig config;
};

/// Fetches and verifies manifest and configuration of an image. Refused besides: layers of another media type
/// (`unsupported`), layers that do not agree with the configuration's, an image with nothing to run.
[[nodiscard]] Result<Image> load(const Digest32& image, const BlobSource& blobs, const Limits& limits = {});
/// Fetches every layer and verifies size and digest, without unpacking.
[[nodiscard]] Result<void> verify_layers(const Image& image, const BlobSource& blobs);

}  // namespace cloister::oci
