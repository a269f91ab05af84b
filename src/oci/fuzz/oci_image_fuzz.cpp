// Manifests, configurations and indexes of strangers: what is accepted keeps the promises of its type.
#include <cstdlib>

#include "cloister/oci/layout.hpp"

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const ByteView bytes{data, size};
  const oci::Limits limits{.document_bytes = 1U << 16, .layers = 8};
  if (const auto manifest = oci::parse_manifest(bytes, limits)) {
    require(!manifest->layers.empty() && manifest->layers.size() <= limits.layers);
    require(manifest->config.media_type == oci::media_type::kConfig);
    require(*oci::parse_digest(oci::digest_text(manifest->config.digest)) == manifest->config.digest);
  }
  if (const auto config = oci::parse_config(bytes, limits)) {
    require(config->working_dir.front() == '/' && config->diff_ids.size() <= limits.layers);
    for (const auto& variable : config->env) require(variable.find('=') != std::string::npos);
    require(config->command().size() == config->entrypoint.size() + config->cmd.size());
  }
  if (const auto index = oci::parse_index(bytes, limits)) {
    for (const auto& entry : *index) require(entry.manifest.media_type == oci::media_type::kManifest);
  }
  return 0;
}
