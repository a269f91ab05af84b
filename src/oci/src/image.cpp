#include "cloister/oci/image.hpp"

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "documents.hpp"

namespace cloister::oci {
namespace {

namespace json = codec::json;

constexpr std::string_view kSha256 = "sha256:";

/// The strings of a list that may be missing or null; none may hold a NUL, since they become arguments of a program.
std::vector<std::string> strings(json::Fields& fields, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& item : fields.optional_array(name)) {
    const auto* text = item.as_string();
    if (text == nullptr || text->find('\0') != std::string::npos) {
      fields.fail(Errc::malformed, name, "strings without NUL expected");
      return {};
    }
    out.push_back(*text);
  }
  return out;
}

/// The `config` object: image-spec v1.1, config.md, "Properties".
Result<void> read_execution(const json::Value& value, ImageConfig& out) {
  json::Fields fields{value, "image configuration.config"};
  out.entrypoint = strings(fields, "Entrypoint");
  out.cmd = strings(fields, "Cmd");
  out.env = strings(fields, "Env");
  out.working_dir = fields.optional_string("WorkingDir").value_or("");
  if (out.working_dir.empty()) out.working_dir = "/";
  if (out.working_dir.front() != '/' || out.working_dir.find('\0') != std::string::npos) {
    fields.fail(Errc::malformed, "WorkingDir", "an absolute path expected");
  }
  for (const auto& variable : out.env) {
    const auto equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos) fields.fail(Errc::malformed, "Env", "NAME=value expected");
  }
  return fields.finish_lenient();
}

Result<std::vector<Digest32>> read_diff_ids(const json::Value& value, const Limits& limits) {
  json::Fields fields{value, "image configuration.rootfs"};
  if (fields.string("type") != "layers") fields.fail(Errc::unsupported, "type", "'layers' expected");
  const auto& items = fields.array("diff_ids");
  CLOISTER_CHECK(fields.finish_lenient());
  if (items.size() > limits.layers) return Error{Errc::limit_exceeded, "image configuration: too many layers"};
  std::vector<Digest32> out;
  for (const auto& item : items) {
    const auto* text = item.as_string();
    if (text == nullptr) return Error{Errc::malformed, "image configuration.rootfs.diff_ids: digests expected"};
    CLOISTER_TRY(digest, parse_digest(*text));
    out.push_back(digest);
  }
  return out;
}

Result<void> check_layers(const Image& image, const Limits& limits) {
  const auto& layers = image.manifest.layers;
  if (layers.size() != image.config.diff_ids.size()) {
    return Error{Errc::malformed, "image: " + std::to_string(layers.size()) + " layers, but " +
                                      std::to_string(image.config.diff_ids.size()) + " diff ids"};
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].media_type != media_type::kLayer) {
      return Error{Errc::unsupported, "layer: '" + std::string{media_type::kLayer} +
                                          "' (not compressed) expected, got '" + layers[i].media_type.substr(0, 128) +
                                          "'"};
    }
    if (layers[i].size > limits.layer_bytes) return Error{Errc::limit_exceeded, "layer: too large"};
    // An uncompressed layer is its own archive, so both documents name the same bytes.
    if (layers[i].digest != image.config.diff_ids[i]) return Error{Errc::malformed, "layer: diff id is another digest"};
  }
  return {};
}

}  // namespace

std::string digest_text(const Digest32& digest) { return std::string{kSha256} + codec::to_hex(digest); }

Result<Digest32> parse_digest(std::string_view text) {
  if (!text.starts_with(kSha256)) return Error{Errc::unsupported, "digest: 'sha256:…' expected"};
  const auto hex = text.substr(kSha256.size());
  const bool upper = std::ranges::any_of(hex, [](char c) { return c >= 'A' && c <= 'F'; });
  if (upper) return Error{Errc::malformed, "digest: lower-case hex expected"};
  auto digest = codec::array_from_hex<32>(hex);
  if (!digest) return digest.error().in("digest");
  return digest;
}

Result<json::Value> parse_document(ByteView bytes, const Limits& limits, std::string_view what) {
  auto value = json::parse(as_text(bytes), {.bytes = static_cast<std::size_t>(limits.document_bytes)});
  if (!value) return value.error().in(what);
  return value;
}

Result<void> check_schema(json::Fields& fields, std::string_view expected_type) {
  (void)fields.integer("schemaVersion", 2, 2);
  const auto type = fields.optional_string("mediaType");
  if (type && *type != expected_type) {
    fields.fail(Errc::unsupported, "mediaType", "'" + std::string{expected_type} + "' expected");
  }
  return fields.finish_lenient();
}

Result<Descriptor> parse_descriptor(const json::Value& value, std::string where) {
  json::Fields fields{value, where};
  Descriptor out;
  out.media_type = fields.string("mediaType");
  const auto digest = fields.string("digest");
  out.size = static_cast<std::uint64_t>(fields.integer("size", 0));
  CLOISTER_CHECK(fields.finish_lenient());
  auto parsed = parse_digest(digest);
  if (!parsed) return parsed.error().in(where);
  out.digest = *parsed;
  return out;
}

Result<Manifest> parse_manifest(ByteView bytes, const Limits& limits) {
  CLOISTER_TRY(value, parse_document(bytes, limits, "image manifest"));
  json::Fields fields{value, "image manifest"};
  const auto& config = fields.object("config");
  const auto& layers = fields.array("layers");
  CLOISTER_CHECK(check_schema(fields, media_type::kManifest));
  if (layers.empty()) return Error{Errc::malformed, "image manifest.layers: at least one expected"};
  if (layers.size() > limits.layers) return Error{Errc::limit_exceeded, "image manifest: too many layers"};
  Manifest out;
  CLOISTER_TRY(config_descriptor, parse_descriptor(config, "image manifest.config"));
  if (config_descriptor.media_type != media_type::kConfig) {
    return Error{Errc::unsupported,
                 "image manifest.config.mediaType: '" + std::string{media_type::kConfig} + "' expected"};
  }
  out.config = std::move(config_descriptor);
  for (const auto& layer : layers) {
    CLOISTER_TRY(descriptor, parse_descriptor(layer, "image manifest.layers"));
    out.layers.push_back(std::move(descriptor));
  }
  return out;
}

Result<ImageConfig> parse_config(ByteView bytes, const Limits& limits) {
  CLOISTER_TRY(value, parse_document(bytes, limits, "image configuration"));
  json::Fields fields{value, "image configuration"};
  ImageConfig out;
  out.architecture = fields.string("architecture");
  out.os = fields.string("os");
  const auto* execution = fields.optional_object("config");
  const auto& rootfs = fields.object("rootfs");
  CLOISTER_CHECK(fields.finish_lenient());
  const json::Value nothing{json::Object{}};
  CLOISTER_CHECK(read_execution(execution != nullptr ? *execution : nothing, out));
  CLOISTER_TRY(diff_ids, read_diff_ids(rootfs, limits));
  out.diff_ids = std::move(diff_ids);
  return out;
}

std::vector<std::string> ImageConfig::command() const {
  auto out = entrypoint;
  out.insert(out.end(), cmd.begin(), cmd.end());
  return out;
}

Result<Bytes> fetch(const Descriptor& descriptor, const BlobSource& blobs) {
  auto bytes = blobs(descriptor.digest, descriptor.size);
  if (!bytes) return bytes.error().in("blob " + digest_text(descriptor.digest));
  if (bytes->size() != descriptor.size) {
    return Error{Errc::malformed, "blob " + digest_text(descriptor.digest) + ": " + std::to_string(descriptor.size) +
                                      " bytes expected, got " + std::to_string(bytes->size())};
  }
  if (crypto::sha256(*bytes) != descriptor.digest) {
    return Error{Errc::malformed, "blob " + digest_text(descriptor.digest) + ": other contents"};
  }
  return bytes;
}

Result<Image> load(const Digest32& image, const BlobSource& blobs, const Limits& limits) {
  auto manifest = blobs(image, limits.document_bytes);
  if (!manifest) return manifest.error().in("manifest " + digest_text(image));
  if (crypto::sha256(*manifest) != image) {
    return Error{Errc::malformed, "manifest " + digest_text(image) + ": other contents"};
  }
  Image out;
  out.digest = image;
  CLOISTER_TRY(parsed, parse_manifest(*manifest, limits));
  out.manifest = std::move(parsed);
  if (out.manifest.config.size > limits.document_bytes) {
    return Error{Errc::limit_exceeded, "image configuration: too large"};
  }
  CLOISTER_TRY(config_bytes, fetch(out.manifest.config, blobs));
  CLOISTER_TRY(config, parse_config(config_bytes, limits));
  out.config = std::move(config);
  if (out.config.os != "linux") return Error{Errc::unsupported, "image configuration.os: 'linux' expected"};
  if (out.config.command().empty()) return Error{Errc::malformed, "image configuration: neither Entrypoint nor Cmd"};
  CLOISTER_CHECK(check_layers(out, limits));
  return out;
}

Result<void> verify_layers(const Image& image, const BlobSource& blobs) {
  for (const auto& layer : image.manifest.layers) {
    CLOISTER_TRY(bytes, fetch(layer, blobs));
    static_cast<void>(bytes);
  }
  return {};
}

}  // namespace cloister::oci
