#include "cloister/storage/blobs.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "cloister/codec/text.hpp"
#include "descriptors.hpp"

namespace cloister::storage {
namespace {

constexpr std::string_view kTemporaryFolder = "incoming";
constexpr std::size_t kDigestDigits = 64;

Result<void> make_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return sync_directory(parent_of(path));
  if (errno != EEXIST) return io_failure(path, errno);
  return {};
}

/// Fills all of `out` from `offset`; a file that ends before is `storage_corrupt`.
Result<void> read_at(const std::filesystem::path& path, int file, std::uint64_t offset, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const auto got = ::pread(file, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_failure(path, errno);
    if (got == 0) return Error{Errc::storage_corrupt, path.string() + ": ends early"};
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

struct Opened {
  File file;
  std::uint64_t size;
};

/// Nothing when there is no such file.
Result<std::optional<Opened>> open_blob(const std::filesystem::path& path) {
  File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (!file.ok() && errno == ENOENT) return std::optional<Opened>{};
  struct stat facts {};
  if (!file.ok() || ::fstat(file.get(), &facts) != 0) return io_failure(path, errno);
  return std::optional{Opened{std::move(file), static_cast<std::uint64_t>(facts.st_size)}};
}

Result<Opened> need_blob(const std::filesystem::path& path, const Digest32& digest) {
  CLOISTER_TRY(opened, open_blob(path));
  if (!opened) return Error{Errc::not_found, "blob " + codec::to_hex(digest)};
  return std::move(*opened);
}

}  // namespace

// --- writing ---

BlobWriter::BlobWriter(BlobStore& store, std::filesystem::path temporary, int file, const Digest32& expected)
    : store_{&store}, temporary_{std::move(temporary)}, file_{file}, expected_{expected} {}

BlobWriter::BlobWriter(BlobWriter&& other) noexcept
    : store_{std::exchange(other.store_, nullptr)},
      temporary_{std::move(other.temporary_)},
      file_{std::exchange(other.file_, -1)},
      expected_{other.expected_},
      hash_{std::move(other.hash_)},
      size_{other.size_} {}

BlobWriter::~BlobWriter() {
  if (store_ == nullptr) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
  store_->release(size_);
}

Result<void> BlobWriter::append(ByteView part) {
  if (part.size() > store_->limits_.blob_bytes - size_) {
    return Error{Errc::limit_exceeded,
                 "a blob of at most " + std::to_string(store_->limits_.blob_bytes) + " bytes expected"};
  }
  CLOISTER_CHECK(store_->reserve(part.size()));
  size_ += part.size();
  hash_.update(part);
  return write_all(temporary_, file_, part);
}

Result<void> BlobWriter::commit() {
  auto* store = std::exchange(store_, nullptr);
  const File file{std::exchange(file_, -1)};
  auto placed = store->place(temporary_, file.get(), hash_.finish(), expected_);
  // What is not a new blob now takes no space: it was refused, or there already.
  if (!placed || !*placed) {
    ::unlink(temporary_.c_str());
    store->release(size_);
  }
  if (!placed) return std::move(placed).error();
  return {};
}

// --- the store ---

Result<std::unique_ptr<BlobStore>> BlobStore::open(const std::filesystem::path& directory, const Limits& limits) {
  CLOISTER_CHECK(make_directory(directory));
  const auto incoming = directory / kTemporaryFolder;
  CLOISTER_CHECK(make_directory(incoming));
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator{incoming, failure}) {
    if (::unlink(entry.path().c_str()) != 0) return io_failure(entry.path(), errno);
  }
  if (failure) return io_failure(incoming, failure.value());
  std::unique_ptr<BlobStore> store{new BlobStore{directory, limits}};
  CLOISTER_TRY(entries, store->list());
  for (const auto& entry : entries) store->used_ += entry.size;
  return store;
}

std::filesystem::path BlobStore::path_of(const Digest32& digest) const {
  const auto name = codec::to_hex(digest);
  return directory_ / name.substr(0, 2) / name;
}

Result<void> BlobStore::reserve(std::uint64_t bytes) {
  const std::lock_guard held{mutex_};
  if (used_ > limits_.total_bytes || bytes > limits_.total_bytes - used_) {
    return Error{Errc::limit_exceeded,
                 "blobs of at most " + std::to_string(limits_.total_bytes) + " bytes together expected"};
  }
  used_ += bytes;
  return {};
}

void BlobStore::release(std::uint64_t bytes) {
  const std::lock_guard held{mutex_};
  used_ -= bytes;
}

std::uint64_t BlobStore::used() const {
  const std::lock_guard held{mutex_};
  return used_;
}

Result<BlobWriter> BlobStore::begin(const Digest32& digest) {
  std::uint64_t number = 0;
  {
    const std::lock_guard held{mutex_};
    number = next_temporary_++;
  }
  auto path = directory_ / kTemporaryFolder / std::to_string(number);
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return io_failure(path, errno);
  return BlobWriter{*this, std::move(path), file, digest};
}

Result<bool> BlobStore::place(const std::filesystem::path& temporary, int file, const Digest32& actual,
                              const Digest32& expected) {
  if (actual != expected) {
    return Error{Errc::digest_mismatch,
                 "SHA-256 " + codec::to_hex(expected) + " expected, got " + codec::to_hex(actual)};
  }
  if (::fsync(file) != 0) return io_failure(temporary, errno);
  const auto path = path_of(expected);
  CLOISTER_CHECK(make_directory(path.parent_path()));
  // A link, and no rename, tells whether the blob is new; the temporary name goes either way.
  const bool made = ::link(temporary.c_str(), path.c_str()) == 0;
  if (!made && errno != EEXIST) return io_failure(path, errno);
  if (auto synced = sync_directory(path.parent_path()); !synced) {
    if (made) ::unlink(path.c_str());
    return std::move(synced).error();
  }
  if (made) ::unlink(temporary.c_str());
  return made;
}

Result<void> BlobStore::put(const Digest32& digest, ByteView bytes) {
  CLOISTER_TRY(present, size(digest));
  if (present && crypto::sha256(bytes) == digest) return {};
  CLOISTER_TRY(writer, begin(digest));
  CLOISTER_CHECK(writer.append(bytes));
  return writer.commit();
}

Result<std::optional<std::uint64_t>> BlobStore::size(const Digest32& digest) const {
  CLOISTER_TRY(opened, open_blob(path_of(digest)));
  if (!opened) return std::optional<std::uint64_t>{};
  return std::optional{opened->size};
}

Result<Bytes> BlobStore::read(const Digest32& digest, std::uint64_t offset, std::size_t length) const {
  const auto path = path_of(digest);
  CLOISTER_TRY(opened, need_blob(path, digest));
  if (offset > opened.size) {
    return Error{Errc::invalid_argument, "an offset of at most " + std::to_string(opened.size) + " expected"};
  }
  Bytes out(static_cast<std::size_t>(std::min<std::uint64_t>(length, opened.size - offset)));
  CLOISTER_CHECK(read_at(path, opened.file.get(), offset, out));
  return out;
}

Result<Bytes> BlobStore::get(const Digest32& digest) const {
  CLOISTER_TRY(bytes, read(digest, 0, SIZE_MAX));
  if (crypto::sha256(bytes) != digest) {
    return Error{Errc::storage_corrupt, "blob " + codec::to_hex(digest) + " does not have its digest any more"};
  }
  return bytes;
}

Result<std::vector<BlobStore::Entry>> BlobStore::list() const {
  std::vector<Entry> entries;
  std::error_code failure;
  for (const auto& found : std::filesystem::recursive_directory_iterator{directory_, failure}) {
    const auto name = found.path().filename().string();
    if (name.size() != kDigestDigits || !found.is_regular_file(failure)) continue;
    const auto digest = codec::array_from_hex<32>(name);
    if (!digest) continue;
    entries.push_back({*digest, static_cast<std::uint64_t>(found.file_size(failure))});
    if (failure) break;
  }
  if (failure) return io_failure(directory_, failure.value());
  std::ranges::sort(entries, {}, &Entry::digest);
  return entries;
}

Result<void> BlobStore::remove(const Digest32& digest) {
  const auto path = path_of(digest);
  CLOISTER_TRY(opened, open_blob(path));
  if (!opened || ::unlink(path.c_str()) != 0) return {};
  release(opened->size);
  return sync_directory(path.parent_path());
}

}  // namespace cloister::storage
