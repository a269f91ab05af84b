#include "cloister/storage/files.hpp"

#include <sys/stat.h>

#include <cstdio>

#include "descriptors.hpp"

namespace cloister::storage {
namespace {

Result<void> write_whole(const std::filesystem::path& path, ByteView bytes) {
  const File file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!file.ok()) return io_failure(path, errno);
  CLOISTER_CHECK(write_all(path, file.get(), bytes));
  if (::fsync(file.get()) != 0) return io_failure(path, errno);
  return {};
}

}  // namespace

Result<void> replace_file(const std::filesystem::path& file, ByteView bytes) {
  const std::filesystem::path temporary = file.string() + ".new";
  CLOISTER_CHECK(write_whole(temporary, bytes));
  if (::rename(temporary.c_str(), file.c_str()) != 0) return io_failure(file, errno);
  return sync_directory(parent_of(file));
}

Result<std::optional<Bytes>> read_small_file(const std::filesystem::path& file, std::size_t max) {
  const File opened{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!opened.ok() && errno == ENOENT) return std::optional<Bytes>{};
  if (!opened.ok()) return io_failure(file, errno);
  // One byte more than allowed tells whether there is more.
  Bytes content(max + 1);
  std::size_t size = 0;
  while (size < content.size()) {
    const auto got = ::read(opened.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_failure(file, errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > max) {
    return Error{Errc::limit_exceeded, file.string() + ": at most " + std::to_string(max) + " bytes expected"};
  }
  content.resize(size);
  return std::optional{std::move(content)};
}

}  // namespace cloister::storage
