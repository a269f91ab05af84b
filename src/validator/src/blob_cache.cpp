#include "blob_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::validator {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinished = ".new";

Result<Digest32> digest_of(int fd) {
  crypto::Sha256 hash;
  Bytes buffer(256U << 10);
  for (;;) {
    const auto n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return process::errno_error("blob");
    if (n == 0) return hash.finish();
    hash.update(ByteView{buffer}.first(static_cast<std::size_t>(n)));
  }
}

}  // namespace

BlobCache::BlobCache(fs::path directory, std::uint64_t max_bytes)
    : directory_{std::move(directory)}, max_bytes_{max_bytes} {
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator{directory_, failure}) {
    if (entry.path().extension() == kUnfinished) fs::remove(entry.path(), failure);
  }
}

fs::path BlobCache::path_of(const Digest32& digest) const { return directory_ / codec::to_hex(digest); }

Result<std::optional<process::UniqueFd>> BlobCache::find(const Digest32& digest) {
  const auto path = path_of(digest);
  process::UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.valid() && errno == ENOENT) return std::optional<process::UniqueFd>{};
  if (!file.valid()) return process::errno_error(path.string());
  CLOISTER_TRY(found, digest_of(file.get()));
  if (found != digest) return std::optional<process::UniqueFd>{};
  ::lseek(file.get(), 0, SEEK_SET);
  ::futimens(file.get(), nullptr);  // used now: the last to go
  return std::optional{std::move(file)};
}

Result<void> BlobCache::put(const Digest32& digest, ByteView bytes) {
  if (crypto::sha256(bytes) != digest) {
    return Error{Errc::digest_mismatch, "blob " + codec::to_hex(digest) + " arrived with other contents"};
  }
  if (bytes.size() > max_bytes_) {
    return Error{Errc::limit_exceeded, "blob " + codec::to_hex(digest) + " has " + std::to_string(bytes.size()) +
                                           " bytes, the blob cache at most " + std::to_string(max_bytes_)};
  }
  const std::lock_guard lock{mutex_};
  std::error_code failure;
  fs::create_directories(directory_, failure);
  shrink_to(max_bytes_ - bytes.size());
  const auto path = path_of(digest);
  auto written = write(path, bytes);
  if (written) return written;
  // The disk may be full for reasons that are not ours; all that can be given up is given up once.
  shrink_to(0);
  return write(path, bytes);
}

Result<void> BlobCache::write(const fs::path& path, ByteView bytes) const {
  const auto unfinished = path.string() + std::string{kUnfinished};
  const auto failed = [&] {
    auto error = process::errno_error(unfinished);
    ::unlink(unfinished.c_str());
    return error;
  };
  const process::UniqueFd file{::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  if (!file.valid()) return failed();
  for (auto rest = bytes; !rest.empty();) {
    const auto n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    rest = rest.subspan(static_cast<std::size_t>(n));
  }
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return failed();
  return {};
}

void BlobCache::shrink_to(std::uint64_t bytes) const {
  struct Blob {
    fs::path path;
    std::uint64_t size;
    fs::file_time_type used;
  };
  std::vector<Blob> blobs;
  std::uint64_t total = 0;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator{directory_, failure}) {
    if (!entry.is_regular_file(failure)) continue;
    blobs.push_back({entry.path(), entry.file_size(failure), entry.last_write_time(failure)});
    total += blobs.back().size;
  }
  std::ranges::sort(blobs, {}, &Blob::used);
  for (const auto& blob : blobs) {
    if (total <= bytes) return;
    fs::remove(blob.path, failure);
    total -= blob.size;
  }
}

}  // namespace cloister::validator
