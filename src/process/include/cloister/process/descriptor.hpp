#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister::process {

/// Owns one file descriptor, or none; closes it at the end. Not thread-safe.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_{fd} {}
  UniqueFd(UniqueFd&& other) noexcept : fd_{other.release()} {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  /// The descriptor, or -1.
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
  /// The descriptor, which the caller owns from now on.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// `io_error` with "what: " and the text of errno as it is now.
[[nodiscard]] Error errno_error(std::string what);

/// Both ends of a UNIX stream connection, close-on-exec.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> stream_pair();
/// A pipe, close-on-exec: the end to read, the end to write.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> pipe_pair();
/// Another descriptor of the same open file, close-on-exec.
[[nodiscard]] Result<UniqueFd> duplicate(int fd);

/// Opens a regular file for reading, close-on-exec; anything else is refused with `invalid_argument`.
[[nodiscard]] Result<UniqueFd> open_file(const std::filesystem::path& path);

/// Waits until one of `events` (poll(2)) or a hang-up is there; `deadline_exceeded` when it is not in time.
[[nodiscard]] Result<void> wait_for(int fd, short events, Deadline deadline);

/// Seals a memfd against writing, growing, shrinking and unsealing (fcntl(2), F_ADD_SEALS). The kernel refuses for as
/// long as anything holds one of its pages, as it does itself for a moment when it moves memory: that is waited for.
[[nodiscard]] Result<void> seal(int memfd, std::chrono::milliseconds patience);
/// A memfd with these contents, which nobody can change any more: sealed against writing, growing, shrinking and
/// unsealing (memfd_create(2), fcntl(2) F_ADD_SEALS). Its offset is 0. `name` shows in /proc only.
[[nodiscard]] Result<UniqueFd> sealed_memfd(const std::string& name, ByteView contents);
/// A sealed memfd with what `source` (a regular file or memfd) holds from offset 0 to its end, read once, without
/// moving its offset. More than `max_bytes`: `limit_exceeded`; not a regular file: `invalid_argument`.
[[nodiscard]] Result<UniqueFd> sealed_copy(const std::string& name, int source, std::size_t max_bytes);

/// The contents of a sealed memfd, mapped. Views stay valid as long as this lives: nobody can shrink what is sealed.
class SealedMapping {
 public:
  /// `invalid_argument` when `memfd` is not sealed as `sealed_memfd` seals.
  [[nodiscard]] static Result<SealedMapping> of(int memfd);
  SealedMapping(SealedMapping&& other) noexcept : contents_{std::exchange(other.contents_, {})} {}
  SealedMapping& operator=(SealedMapping&& other) noexcept;
  SealedMapping(const SealedMapping&) = delete;
  SealedMapping& operator=(const SealedMapping&) = delete;
  ~SealedMapping();
  [[nodiscard]] ByteView contents() const noexcept { return contents_; }

 private:
  explicit SealedMapping(ByteView contents) noexcept : contents_{contents} {}
  ByteView contents_;
};

}  // namespace cloister::process
