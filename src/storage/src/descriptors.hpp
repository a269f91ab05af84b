#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::storage {

/// An open file descriptor.
class File {
 public:
  explicit File(int descriptor) noexcept : descriptor_{descriptor} {}
  File(File&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  File& operator=(File&&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] bool ok() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

[[nodiscard]] inline Error io_failure(const std::filesystem::path& path, int error) {
  return Error{Errc::io_error, path.string() + ": " + std::generic_category().message(error)};
}

[[nodiscard]] inline std::filesystem::path parent_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path{"."};
}

[[nodiscard]] inline Result<void> write_all(const std::filesystem::path& path, int file, ByteView bytes) {
  while (!bytes.empty()) {
    const auto wrote = ::write(file, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return io_failure(path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

/// Makes the names in a directory durable.
[[nodiscard]] inline Result<void> sync_directory(const std::filesystem::path& directory) {
  const File opened{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!opened.ok() || ::fsync(opened.get()) != 0) return io_failure(directory, errno);
  return {};
}

}  // namespace cloister::storage
