#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::lab_host {

/// The platform's directory, locked, and the platform that its seed makes.
struct State {
  process::UniqueFd lock;
  lab::Platform platform;
  std::string root_pem;
};

inline constexpr std::string_view kSeedFile = "seed";
inline constexpr std::string_view kRootFile = "root.pem";
inline constexpr std::string_view kCollateralFile = "collateral.json";
inline constexpr std::string_view kControlSocket = "control.sock";
inline constexpr std::string_view kScratchFolder = "td";

[[nodiscard]] Result<State> open_state(const std::filesystem::path& directory, const Clock& clock, Random& random);

/// Replaces the file whole or not at all, and only once the new contents are on disk.
[[nodiscard]] Result<void> replace_file(const std::filesystem::path& path, ByteView contents, unsigned mode);

}  // namespace cloister::lab_host
