#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// Small files that are replaced whole.
namespace cloister::storage {

/// Puts `bytes` in the file's place (mode 0600): a reader finds the old content or the new, also after a crash. On
/// disk when this returns. One writer at a time.
[[nodiscard]] Result<void> replace_file(const std::filesystem::path& file, ByteView bytes);
/// The whole file, or nothing when there is none; `limit_exceeded` beyond `max` bytes.
[[nodiscard]] Result<std::optional<Bytes>> read_small_file(const std::filesystem::path& file, std::size_t max);

}  // namespace cloister::storage
