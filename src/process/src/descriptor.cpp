#include "cloister/process/descriptor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>

namespace cloister::process {
namespace {

constexpr std::chrono::seconds kSealPatience{5};
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

Result<UniqueFd> new_memfd(const std::string& name) {
  UniqueFd memfd{::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!memfd.valid()) return errno_error("memfd_create");
  return memfd;
}

Result<void> write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_error("write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<UniqueFd> sealed(UniqueFd memfd) {
  CLOISTER_CHECK(seal(memfd.get(), kSealPatience));
  if (::lseek(memfd.get(), 0, SEEK_SET) != 0) return errno_error("lseek");
  return memfd;
}

Result<std::size_t> regular_size(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return errno_error("fstat");
  if (!S_ISREG(status.st_mode)) return Error{Errc::invalid_argument, "a regular file expected"};
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void UniqueFd::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);  // EINTR included, Linux has closed it
  fd_ = -1;
}

Error errno_error(std::string what) {
  return Error{Errc::io_error, std::move(what) + ": " + std::generic_category().message(errno)};
}

Result<std::pair<UniqueFd, UniqueFd>> stream_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return errno_error("socketpair");
  return std::pair{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

Result<std::pair<UniqueFd, UniqueFd>> pipe_pair() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe2");
  return std::pair{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

Result<UniqueFd> duplicate(int fd) {
  UniqueFd copy{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
  if (!copy.valid()) return errno_error("duplicate descriptor");
  return copy;
}

Result<UniqueFd> open_file(const std::filesystem::path& path) {
  UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // non-blocking: a FIFO must not hold us
  if (!fd.valid()) return errno_error("open " + path.string());
  if (auto size = regular_size(fd.get()); !size) return size.error().in(path.string());
  return fd;
}

Result<void> wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.at() - std::chrono::steady_clock::now());
    const auto timeout = std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 3'600'000);
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(timeout));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return errno_error("poll");
    if (std::chrono::steady_clock::now() >= deadline.at()) return Error{Errc::deadline_exceeded};
  }
}

Result<void> seal(int memfd, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (::fcntl(memfd, F_ADD_SEALS, kSeals) != 0) {
    if (errno != EBUSY || std::chrono::steady_clock::now() >= until) return errno_error("seal memfd");
    ::poll(nullptr, 0, 10);  // nothing tells when the kernel lets go of a page
  }
  return {};
}

Result<UniqueFd> sealed_memfd(const std::string& name, ByteView contents) {
  CLOISTER_TRY(memfd, new_memfd(name));
  CLOISTER_CHECK(write_all(memfd.get(), contents));
  return sealed(std::move(memfd));
}

Result<UniqueFd> sealed_copy(const std::string& name, int source, std::size_t max_bytes) {
  CLOISTER_TRY(size, regular_size(source));
  const auto too_large = [max_bytes] {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(max_bytes) + " bytes expected"};
  };
  if (size > max_bytes) return too_large();
  CLOISTER_TRY(memfd, new_memfd(name));
  Bytes chunk(std::min<std::size_t>(size + 1, 1U << 20));
  for (std::size_t offset = 0;;) {
    const auto got = ::pread(source, chunk.data(), chunk.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("pread");
    if (got == 0) break;
    offset += static_cast<std::size_t>(got);
    if (offset > max_bytes) return too_large();  // it grew meanwhile
    CLOISTER_CHECK(write_all(memfd.get(), ByteView{chunk}.first(static_cast<std::size_t>(got))));
  }
  return sealed(std::move(memfd));
}

Result<SealedMapping> SealedMapping::of(int memfd) {
  const int seals = ::fcntl(memfd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return Error{Errc::invalid_argument, "a sealed memfd expected"};
  CLOISTER_TRY(size, regular_size(memfd));
  if (size == 0) return SealedMapping{ByteView{}};
  void* const start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, memfd, 0);
  if (start == MAP_FAILED) return errno_error("mmap");
  return SealedMapping{ByteView{static_cast<const std::uint8_t*>(start), size}};
}

SealedMapping& SealedMapping::operator=(SealedMapping&& other) noexcept {
  std::swap(contents_, other.contents_);
  return *this;
}

SealedMapping::~SealedMapping() {
  if (!contents_.empty()) ::munmap(const_cast<std::uint8_t*>(contents_.data()), contents_.size());
}

}  // namespace cloister::process
