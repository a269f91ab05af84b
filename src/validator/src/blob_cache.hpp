#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::validator {

/// Blobs by digest in a directory of its own, of bounded size: those that were not used for the longest time go first.
/// What is handed out had the right contents; the guest checks it again. Thread-safe.
class BlobCache {
 public:
  /// Removes what an interrupted `put` left behind.
  BlobCache(std::filesystem::path directory, std::uint64_t max_bytes);
  /// The blob, open for reading, also after it had to go; nothing when it is not here, or not what its name says.
  [[nodiscard]] Result<std::optional<process::UniqueFd>> find(const Digest32& digest);
  /// Makes room, also where the disk is full. `digest_mismatch` for other bytes, `limit_exceeded` for more than all of
  /// the room, `io_error` when the disk has none.
  [[nodiscard]] Result<void> put(const Digest32& digest, ByteView bytes);

 private:
  [[nodiscard]] std::filesystem::path path_of(const Digest32& digest) const;
  [[nodiscard]] Result<void> write(const std::filesystem::path& path, ByteView bytes) const;
  /// Removes blobs until no more than `bytes` are left.
  void shrink_to(std::uint64_t bytes) const;
  const std::filesystem::path directory_;
  const std::uint64_t max_bytes_;
  std::mutex mutex_;  // of changes to the directory
};

}  // namespace cloister::validator
