#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cloister/oci/image.hpp"

/// Image layouts: directories with `oci-layout`, `index.json` and `blobs/sha256/` (image-spec v1.1, image-layout.md).
namespace cloister::oci {

/// One image that the index names.
struct IndexEntry {
  Descriptor manifest;
  std::string name;  // annotation org.opencontainers.image.ref.name, or empty
};

/// Entries for images that Linux on amd64 can run; nested indexes are `unsupported`.
[[nodiscard]] Result<std::vector<IndexEntry>> parse_index(ByteView bytes, const Limits& limits = {});

/// A layout on disk. Reads files when asked; holds none open.
class Layout {
 public:
  /// Reads and checks `oci-layout` and `index.json`.
  [[nodiscard]] static Result<Layout> open(const std::filesystem::path& directory, const Limits& limits = {});

  [[nodiscard]] const std::vector<IndexEntry>& images() const noexcept { return images_; }
  /// The image of that name, or the only one when `name` is empty; `not_found` when there is none or more than one.
  [[nodiscard]] Result<Digest32> find(std::string_view name = {}) const;
  /// Blobs of this directory; the source does not depend on this object.
  [[nodiscard]] BlobSource blobs() const;
  /// Where the blob of a digest is.
  [[nodiscard]] std::filesystem::path blob_path(const Digest32& digest) const;

 private:
  Layout(std::filesystem::path directory, std::vector<IndexEntry> images)
      : directory_{std::move(directory)}, images_{std::move(images)} {}
  std::filesystem::path directory_;
  std::vector<IndexEntry> images_;
};

/// One file of an image to be made.
struct SourceFile {
  std::string path;  // clean, see tar.hpp
  bool executable = false;
  Bytes contents;
};

/// The regular files below a folder, sorted by path. Symbolic links and other kinds of files are refused.
[[nodiscard]] Result<std::vector<SourceFile>> files_below(const std::filesystem::path& folder,
                                                          const Limits& limits = {});

/// What an image runs.
struct ImageOptions {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;
  std::string working_dir = "/";
  std::string name = "latest";
};

/// An image in memory.
struct BuiltImage {
  Digest32 digest{};
  std::vector<std::pair<Digest32, Bytes>> blobs;  // layer, configuration, manifest
  Bytes index;

  [[nodiscard]] BlobSource source() const;  // refers to this object, which must outlive it
};

/// Makes an image of one layer. The same files and options give the same bytes, whatever the order of `files` and
/// wherever and whenever they are made. `invalid_argument` for a path that is not clean or stands twice, or a file that
/// another one needs as a directory.
[[nodiscard]] Result<BuiltImage> build_image(std::vector<SourceFile> files, const ImageOptions& options);
/// Writes a layout with this one image. The directory is made if it is missing; it must be empty.
[[nodiscard]] Result<void> write_layout(const BuiltImage& image, const std::filesystem::path& directory);

}  // namespace cloister::oci
