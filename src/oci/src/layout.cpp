#include "cloister/oci/layout.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/oci/tar.hpp"
#include "documents.hpp"
#include "files.hpp"

namespace cloister::oci {
namespace {

namespace json = codec::json;

constexpr std::string_view kLayoutVersion = "1.0.0";
constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";
constexpr std::string_view kArchitecture = "amd64";
constexpr std::string_view kOs = "linux";

std::filesystem::path blobs_below(const std::filesystem::path& directory) { return directory / "blobs" / "sha256"; }

/// True when the platform is not given, or is ours.
Result<bool> runs_here(json::Fields& entry) {
  const auto* platform = entry.optional_object("platform");
  if (platform == nullptr) return true;
  json::Fields fields{*platform, "image index.manifests.platform"};
  const bool ours = fields.string("architecture") == kArchitecture && fields.string("os") == kOs;
  CLOISTER_CHECK(fields.finish_lenient());
  return ours;
}

std::string ref_name(json::Fields& entry) {
  const auto* annotations = entry.optional_object("annotations");
  const auto* name = annotations == nullptr ? nullptr : annotations->find(kRefName);
  const auto* text = name == nullptr ? nullptr : name->as_string();
  return text == nullptr ? std::string{} : *text;
}

json::Value descriptor(std::string_view type, const Digest32& digest, std::size_t size) {
  json::Value out{json::Object{}};
  out.set("mediaType", type).set("digest", digest_text(digest)).set("size", std::uint64_t{size});
  return out;
}

json::Value strings(const std::vector<std::string>& items) {
  json::Array out;
  for (const auto& item : items) out.emplace_back(item);
  return out;
}

/// Sorted entries, every file preceded by the directories above it.
Result<std::vector<tar::Entry>> entries_of(const std::vector<SourceFile>& files) {
  std::vector<tar::Entry> entries;
  std::set<std::string> directories;
  for (const auto& file : files) {
    if (!tar::clean_path(file.path)) return Error{Errc::invalid_argument, "path '" + file.path + "' is not clean"};
    for (auto slash = file.path.find('/'); slash != std::string::npos; slash = file.path.find('/', slash + 1)) {
      const auto parent = file.path.substr(0, slash);
      if (directories.insert(parent).second) entries.push_back({parent, tar::Kind::directory, 0755, {}, {}});
    }
    entries.push_back({file.path, tar::Kind::file, file.executable ? 0755U : 0644U, {}, file.contents});
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    if ((i > 0 && files[i].path == files[i - 1].path) || directories.contains(files[i].path)) {
      return Error{Errc::invalid_argument, "path '" + files[i].path + "' stands twice"};
    }
  }
  return entries;
}

json::Value config_of(const ImageOptions& options, const Digest32& layer) {
  json::Value execution{json::Object{}};
  if (!options.env.empty()) execution.set("Env", strings(options.env));
  if (!options.entrypoint.empty()) execution.set("Entrypoint", strings(options.entrypoint));
  if (!options.cmd.empty()) execution.set("Cmd", strings(options.cmd));
  execution.set("WorkingDir", options.working_dir);
  json::Value rootfs{json::Object{}};
  rootfs.set("type", "layers").set("diff_ids", json::Array{json::Value{digest_text(layer)}});
  json::Value out{json::Object{}};
  out.set("architecture", kArchitecture).set("os", kOs);
  out.set("config", std::move(execution)).set("rootfs", std::move(rootfs));
  return out;
}

}  // namespace

Result<std::vector<IndexEntry>> parse_index(ByteView bytes, const Limits& limits) {
  CLOISTER_TRY(value, parse_document(bytes, limits, "image index"));
  json::Fields fields{value, "image index"};
  const auto& manifests = fields.array("manifests");
  CLOISTER_CHECK(check_schema(fields, media_type::kIndex));
  std::vector<IndexEntry> out;
  for (const auto& item : manifests) {
    IndexEntry entry;
    CLOISTER_TRY(manifest, parse_descriptor(item, "image index.manifests"));
    json::Fields more{item, "image index.manifests"};
    CLOISTER_TRY(ours, runs_here(more));
    entry.name = ref_name(more);
    CLOISTER_CHECK(more.finish_lenient());
    if (!ours) continue;
    if (manifest.media_type != media_type::kManifest) {
      return Error{Errc::unsupported, "image index.manifests.mediaType: '" + std::string{media_type::kManifest} +
                                          "' expected, got '" + manifest.media_type.substr(0, 128) + "'"};
    }
    entry.manifest = std::move(manifest);
    out.push_back(std::move(entry));
  }
  return out;
}

Result<Layout> Layout::open(const std::filesystem::path& directory, const Limits& limits) {
  CLOISTER_TRY(mark, read_file(directory / "oci-layout", limits.document_bytes));
  CLOISTER_TRY(value, parse_document(mark, limits, "oci-layout"));
  json::Fields fields{value, "oci-layout"};
  const auto version = fields.string("imageLayoutVersion");
  CLOISTER_CHECK(fields.finish_lenient());
  if (version != kLayoutVersion) return Error{Errc::unsupported, "oci-layout: version 1.0.0 expected"};
  CLOISTER_TRY(index, read_file(directory / "index.json", limits.document_bytes));
  CLOISTER_TRY(images, parse_index(index, limits));
  return Layout{directory, std::move(images)};
}

Result<Digest32> Layout::find(std::string_view name) const {
  const IndexEntry* found = nullptr;
  for (const auto& image : images_) {
    if (!name.empty() && image.name != name) continue;
    if (found != nullptr && found->manifest.digest != image.manifest.digest) {
      return Error{Errc::not_found, "the layout has more than one such image"};
    }
    found = &image;
  }
  if (found == nullptr) return Error{Errc::not_found, "the layout has no such image"};
  return found->manifest.digest;
}

BlobSource Layout::blobs() const {
  return [folder = blobs_below(directory_)](const Digest32& digest, std::uint64_t max_bytes) {
    return read_file(folder / codec::to_hex(digest), max_bytes);
  };
}

std::filesystem::path Layout::blob_path(const Digest32& digest) const {
  return blobs_below(directory_) / codec::to_hex(digest);
}

Result<std::vector<SourceFile>> files_below(const std::filesystem::path& folder, const Limits& limits) {
  std::vector<SourceFile> out;
  std::uint64_t bytes_left = limits.unpacked_bytes;
  std::error_code failure;
  std::filesystem::recursive_directory_iterator walk{folder, failure};
  for (const std::filesystem::recursive_directory_iterator end; !failure && walk != end; walk.increment(failure)) {
    const auto& path = walk->path();
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return system_error("stat", path.native(), errno);
    if (S_ISDIR(status.st_mode)) continue;
    if (!S_ISREG(status.st_mode)) {
      return Error{Errc::unsupported, "'" + path.native() + "': only regular files can be put into an image"};
    }
    if (out.size() == limits.entries) return Error{Errc::limit_exceeded, "too many files"};
    CLOISTER_TRY(contents, read_file(path, bytes_left));
    bytes_left -= contents.size();
    out.push_back(
        {path.lexically_relative(folder).generic_string(), (status.st_mode & S_IXUSR) != 0, std::move(contents)});
  }
  if (failure) return system_error("read directory", folder.native(), failure.value());
  std::ranges::sort(out, {}, &SourceFile::path);
  return out;
}

BlobSource BuiltImage::source() const {
  return [this](const Digest32& wanted, std::uint64_t max_bytes) -> Result<Bytes> {
    const auto blob = std::ranges::find(blobs, wanted, &std::pair<Digest32, Bytes>::first);
    if (blob == blobs.end()) return Error{Errc::not_found, "no such blob"};
    if (blob->second.size() > max_bytes) return Error{Errc::limit_exceeded, "the blob is too large"};
    return blob->second;
  };
}

Result<BuiltImage> build_image(std::vector<SourceFile> files, const ImageOptions& options) {
  std::ranges::sort(files, {}, &SourceFile::path);
  CLOISTER_TRY(entries, entries_of(files));
  BuiltImage out;
  const auto keep = [&out](Bytes bytes) {
    const auto hash = crypto::sha256(bytes);
    out.blobs.emplace_back(hash, std::move(bytes));
    return hash;
  };
  auto layer = tar::write(entries);
  const auto layer_size = layer.size();
  const auto layer_digest = keep(std::move(layer));
  auto config = to_bytes(json::write(config_of(options, layer_digest)));
  const auto config_size = config.size();
  const auto config_digest = keep(std::move(config));

  json::Value manifest{json::Object{}};
  manifest.set("schemaVersion", 2).set("mediaType", media_type::kManifest);
  manifest.set("config", descriptor(media_type::kConfig, config_digest, config_size));
  manifest.set("layers", json::Array{descriptor(media_type::kLayer, layer_digest, layer_size)});
  auto manifest_bytes = to_bytes(json::write(manifest));
  const auto manifest_size = manifest_bytes.size();
  out.digest = keep(std::move(manifest_bytes));

  json::Value annotations{json::Object{}};
  annotations.set(kRefName, options.name);
  auto entry = descriptor(media_type::kManifest, out.digest, manifest_size);
  entry.set("annotations", std::move(annotations));
  json::Value index{json::Object{}};
  index.set("schemaVersion", 2).set("mediaType", media_type::kIndex).set("manifests", json::Array{std::move(entry)});
  out.index = to_bytes(json::write(index));
  return out;
}

Result<void> write_layout(const BuiltImage& image, const std::filesystem::path& directory) {
  CLOISTER_CHECK(make_empty_directory(directory));
  const auto folder = blobs_below(directory);
  CLOISTER_CHECK(make_empty_directory(folder));
  for (const auto& [digest, bytes] : image.blobs) {
    CLOISTER_CHECK(write_new_file(folder / codec::to_hex(digest), bytes));
  }
  json::Value mark{json::Object{}};
  mark.set("imageLayoutVersion", kLayoutVersion);
  CLOISTER_CHECK(write_new_file(directory / "oci-layout", as_bytes(json::write(mark))));
  return write_new_file(directory / "index.json", image.index);
}

}  // namespace cloister::oci
