#pragma once

#include <filesystem>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::validator {

/// Blobs by digest in a directory. What is handed out was whole when it was put; the guest checks it again.
class BlobCache {
 public:
  explicit BlobCache(std::filesystem::path directory) : directory_{std::move(directory)} {}
  /// The blob, open for reading; nothing when it is not here, or not what its name says any more.
  [[nodiscard]] Result<std::optional<process::UniqueFd>> find(const Digest32& digest) const;
  /// `digest_mismatch` for other bytes.
  [[nodiscard]] Result<void> put(const Digest32& digest, ByteView bytes) const;

 private:
  [[nodiscard]] std::filesystem::path path_of(const Digest32& digest) const;
  std::filesystem::path directory_;
};

}  // namespace cloister::validator
