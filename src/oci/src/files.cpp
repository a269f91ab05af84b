#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "cloister/oci/image.hpp"

namespace cloister::oci {

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Error system_error(std::string_view action, std::string_view subject, int code) {
  const auto text = std::generic_category().message(code);
  return Error{code == ENOENT ? Errc::not_found : Errc::io_error,
               std::string{action}.append(" '").append(subject).append("': ").append(text)};
}

Result<Bytes> read_descriptor(int fd, std::uint64_t max_bytes) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return system_error("stat", "descriptor", errno);
  if (!S_ISREG(status.st_mode)) return Error{Errc::malformed, "a regular file expected"};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) {
    return Error{Errc::limit_exceeded,
                 "at most " + std::to_string(max_bytes) + " bytes expected, got " + std::to_string(size)};
  }
  Bytes bytes(static_cast<std::size_t>(size));
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto n = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", "descriptor", errno);
    if (n == 0) return Error{Errc::truncated, "the file became shorter while it was read"};
    at += static_cast<std::size_t>(n);
  }
  return bytes;
}

Result<Bytes> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  // Non-blocking, so that a pipe of that name is refused and not waited for.
  const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd.ok()) return system_error("open", path.native(), errno);
  auto bytes = read_descriptor(fd.get(), max_bytes);
  if (!bytes) return bytes.error().in(path.native());
  return bytes;
}

Result<void> write_all(int fd, ByteView bytes, std::string_view subject) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("write", subject, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> write_new_file(const std::filesystem::path& path, ByteView bytes) {
  const Fd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)};
  if (!fd.ok()) return system_error("create", path.native(), errno);
  return write_all(fd.get(), bytes, path.native());
}

Result<void> make_empty_directory(const std::filesystem::path& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure) return system_error("make directory", path.native(), failure.value());
  const bool empty = std::filesystem::is_empty(path, failure);
  if (failure) return system_error("read directory", path.native(), failure.value());
  if (!empty) return Error{Errc::conflict, "an empty directory expected: '" + path.native() + "'"};
  return {};
}

}  // namespace cloister::oci
