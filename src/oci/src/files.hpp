#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::oci {

/// A descriptor that is closed with its owner; negative when there is none.
class Fd {
 public:
  explicit Fd(int fd) noexcept : fd_{fd} {}
  Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool ok() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// `io_error` (or `not_found` for ENOENT) with what was done, to what, and errno's text.
[[nodiscard]] Error system_error(std::string_view action, std::string_view subject, int code);

[[nodiscard]] Result<Bytes> read_file(const std::filesystem::path& path, std::uint64_t max_bytes);
[[nodiscard]] Result<void> write_all(int fd, ByteView bytes, std::string_view subject);
/// Writes a file that must not be there yet.
[[nodiscard]] Result<void> write_new_file(const std::filesystem::path& path, ByteView bytes);
/// Makes the directory with its parents; it must then be empty.
[[nodiscard]] Result<void> make_empty_directory(const std::filesystem::path& path);

}  // namespace cloister::oci
