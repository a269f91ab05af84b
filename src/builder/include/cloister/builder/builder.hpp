#pragma once

#include <filesystem>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/oci/layout.hpp"

namespace cloister::builder {

/// An image that runs one program of this machine: the program as "/NAME", and where it is linked dynamically its loader
/// and libraries under "/lib", with an entry point that uses exactly these.
[[nodiscard]] Result<oci::BuiltImage> image_of_program(const std::filesystem::path& program);
/// An image of the files below a folder, the same for the same names, contents and executable bits. `invalid_argument`
/// unless `entrypoint` begins with the absolute path of an executable file of it; what `oci::files_below` refuses.
[[nodiscard]] Result<oci::BuiltImage> image_of_folder(const std::filesystem::path& folder,
                                                      std::vector<std::string> entrypoint);

/// MRTD of every TD that runs this guest program.
[[nodiscard]] Result<Digest48> guest_mrtd(const std::filesystem::path& guest_program);

/// A version as it will be registered: its name, its measured configuration, and what TDs report that run it.
struct PlannedVersion {
  VersionId id;
  Bytes configuration;
  model::ReferenceValue reference;
};
/// `server_keys`: the server's static keys, current then next.
[[nodiscard]] PlannedVersion plan_version(const model::ChallengeSpec& spec, const Digest48& guest_mrtd,
                                          const std::vector<ByteArray<32>>& server_keys);

}  // namespace cloister::builder
