#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::storage {

class BlobStore;

/// A blob on its way in. Without a successful `commit` it leaves nothing behind. One thread at a time.
class BlobWriter {
 public:
  BlobWriter(BlobWriter&& other) noexcept;
  BlobWriter& operator=(BlobWriter&&) = delete;
  ~BlobWriter();

  /// `limit_exceeded` when the blob grows beyond the store's limit, or the store beyond its quota. After a failure
  /// the blob can only be dropped.
  [[nodiscard]] Result<void> append(ByteView part);
  /// Puts the blob in place, on disk when this returns. `digest_mismatch` unless it has the expected digest.
  [[nodiscard]] Result<void> commit();

 private:
  friend class BlobStore;
  BlobWriter(BlobStore& store, std::filesystem::path temporary, int file, const Digest32& expected);
  BlobStore* store_;
  std::filesystem::path temporary_;
  int file_;
  Digest32 expected_;
  crypto::Sha256 hash_;
  std::uint64_t size_ = 0;
};

/// Immutable blobs in a directory, named by their SHA-256. Thread-safe; the directory belongs to one process.
class BlobStore {
 public:
  struct Limits {
    std::uint64_t blob_bytes = 1ULL << 30;
    std::uint64_t total_bytes = 16ULL << 30;  // blobs on their way in count
  };
  /// Makes the directory where it is missing, and removes what an earlier process left half-written.
  [[nodiscard]] static Result<std::unique_ptr<BlobStore>> open(const std::filesystem::path& directory,
                                                               const Limits& limits);

  /// Begins a blob of that digest.
  [[nodiscard]] Result<BlobWriter> begin(const Digest32& digest);
  /// A whole blob. Storing what is there already succeeds.
  [[nodiscard]] Result<void> put(const Digest32& digest, ByteView bytes);

  /// Its size, or nothing when it is not here.
  [[nodiscard]] Result<std::optional<std::uint64_t>> size(const Digest32& digest) const;
  /// At most `length` bytes from `offset`; fewer at the end. `not_found`; `invalid_argument` beyond the end.
  [[nodiscard]] Result<Bytes> read(const Digest32& digest, std::uint64_t offset, std::size_t length) const;
  /// Where the blob of that digest is, or would be: for sending it as a file. It does not change while it is there.
  [[nodiscard]] std::filesystem::path path_of(const Digest32& digest) const;
  /// The whole blob, its digest checked again; `storage_corrupt` when the disk changed it.
  [[nodiscard]] Result<Bytes> get(const Digest32& digest) const;

  struct Entry {
    Digest32 digest{};
    std::uint64_t size = 0;
  };
  /// Sorted by digest.
  [[nodiscard]] Result<std::vector<Entry>> list() const;
  /// Succeeds also when it is not here.
  [[nodiscard]] Result<void> remove(const Digest32& digest);
  [[nodiscard]] std::uint64_t used() const;

 private:
  friend class BlobWriter;
  BlobStore(std::filesystem::path directory, const Limits& limits)
      : directory_{std::move(directory)}, limits_{limits} {}
  /// Whether the blob is new here.
  [[nodiscard]] Result<bool> place(const std::filesystem::path& temporary, int file, const Digest32& actual,
                                   const Digest32& expected);
  [[nodiscard]] Result<void> reserve(std::uint64_t bytes);
  void release(std::uint64_t bytes);
  std::filesystem::path directory_;
  Limits limits_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::uint64_t next_temporary_ = 0;
};

}  // namespace cloister::storage
