#include "cloister/builder/builder.hpp"

#include <algorithm>
#include <string_view>

#include "cloister/measure/td_image.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/provider/td_image.hpp"

namespace cloister::builder {
namespace {

/// A folder is all that its image has: what it runs must be a program in there.
Result<void> check_entrypoint(const std::vector<oci::SourceFile>& files, const std::vector<std::string>& entrypoint) {
  const std::string_view program = entrypoint.empty() ? std::string_view{} : entrypoint.front();
  const auto found = std::ranges::find_if(
      files, [&](const oci::SourceFile& file) { return program.starts_with('/') && file.path == program.substr(1); });
  if (found == files.end()) {
    return Error{Errc::invalid_argument, "entry point: the path of a file of the folder expected, such as /run; got '" +
                                             std::string{program} + "'"};
  }
  if (!found->executable) {
    return Error{Errc::invalid_argument, "entry point: " + found->path + " is not executable; chmod +x it"};
  }
  return {};
}

}  // namespace

Result<oci::BuiltImage> image_of_program(const std::filesystem::path& program) {
  auto image = provider::td_image_of_program(program);
  if (!image) return image.error().in(program.string());
  std::vector<oci::SourceFile> files;
  for (const auto& file : *image) {
    files.push_back({file.path, (file.mode & 0111) != 0, to_bytes(file.contents())});
  }
  const auto& name = image->front().path;
  CLOISTER_TRY(loader, provider::elf_interpreter(image->front().contents()));
  oci::ImageOptions options;
  options.entrypoint = {"/" + name};
  if (loader) {
    const auto folder = "/" + std::string{provider::kLibraryFolder.substr(0, provider::kLibraryFolder.size() - 1)};
    options.entrypoint = {folder + "/" + loader->filename().string(), "--inhibit-cache", "--library-path", folder,
                          "/" + name};
  }
  return oci::build_image(std::move(files), options);
}

Result<oci::BuiltImage> image_of_folder(const std::filesystem::path& folder, std::vector<std::string> entrypoint) {
  oci::Limits limits;
  limits.unpacked_bytes = limits.layer_bytes;  // they become one layer
  CLOISTER_TRY(files, oci::files_below(folder, limits));
  CLOISTER_CHECK(check_entrypoint(files, entrypoint));
  oci::ImageOptions options;
  options.entrypoint = std::move(entrypoint);
  return oci::build_image(std::move(files), options);
}

Result<Digest48> guest_mrtd(const std::filesystem::path& guest_program) {
  auto image = provider::td_image_of_program(guest_program);
  if (!image) return image.error().in(guest_program.string());
  std::vector<measure::TdFile> files;
  for (const auto& file : *image) files.push_back({file.path, file.mode, file.contents()});
  return measure::mrtd_of_td_image(files);
}

PlannedVersion plan_version(const model::ChallengeSpec& spec, const Digest48& guest_mrtd,
                            const std::vector<ByteArray<32>>& server_keys) {
  PlannedVersion out;
  out.id = protocol::version_id_of(spec);
  protocol::Configuration configuration;
  configuration.role = protocol::Role::instance;
  configuration.version = out.id;
  configuration.image_digest = spec.image_digest;
  configuration.server_keys = server_keys;
  configuration.demand = spec.server_evidence;
  out.configuration = protocol::encode(configuration);
  out.reference = {guest_mrtd, spec.image_digest, protocol::configuration_digest(out.configuration)};
  return out;
}

}  // namespace cloister::builder
