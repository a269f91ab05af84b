#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::provider {

/// A file of a TD image (docs/protocol/launch.md, "Image"), in memory that nobody can change.
struct ImageFile {
  std::string path;
  std::uint32_t mode;
  process::UniqueFd memfd;
  process::SealedMapping mapping;

  [[nodiscard]] ByteView contents() const noexcept { return mapping.contents(); }
};
using TdImage = std::vector<ImageFile>;

inline constexpr std::size_t kMaxImageFileSize = 512U << 20;
/// Where an image keeps what a dynamic program loads: "lib/" and the file's name.
inline constexpr std::string_view kLibraryFolder = "lib/";

/// The image of a program of this machine, in the order that it is measured in: the program, named as its file is, mode
/// 0755; when it is linked dynamically, also its loader (0755) and all shared libraries that the loader finds for it
/// (0644), under `kLibraryFolder`. What it would open by dlopen(3) is not in it. Runs the loader (`--list`), not the
/// program.
[[nodiscard]] Result<TdImage> td_image_of_program(const std::filesystem::path& program);

/// The file name of the loader that an ELF program names (PT_INTERP), or nothing for a static one.
/// `malformed` for what is no 64-bit little-endian ELF program.
[[nodiscard]] Result<std::optional<std::filesystem::path>> elf_interpreter(ByteView program);

}  // namespace cloister::provider
