#include "cloister/device/kernel.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace cloister::device {
namespace {

/// A call again until no signal interrupts it; its value, or -errno.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto value = call();
    if (value >= 0) return value;
    if (errno != EINTR) return static_cast<decltype(value)>(-errno);
  }
}

}  // namespace

int LinuxKernel::open(const std::filesystem::path& path, int flags) {
  return uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC); });
}

long LinuxKernel::read(int descriptor, std::span<std::uint8_t> out) {
  return uninterrupted([&] { return ::read(descriptor, out.data(), out.size()); });
}

long LinuxKernel::write(int descriptor, ByteView bytes) {
  return uninterrupted([&] { return ::write(descriptor, bytes.data(), bytes.size()); });
}

/// Not again: a request to firmware may have been sent.
int LinuxKernel::ioctl(int descriptor, unsigned long request, void* argument) {
  const int value = ::ioctl(descriptor, request, argument);
  return value >= 0 ? value : -errno;
}

void LinuxKernel::close(int descriptor) { ::close(descriptor); }

int LinuxKernel::mkdir(const std::filesystem::path& path) { return ::mkdir(path.c_str(), 0700) == 0 ? 0 : -errno; }

void LinuxKernel::rmdir(const std::filesystem::path& path) { ::rmdir(path.c_str()); }

bool LinuxKernel::exists(const std::filesystem::path& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0;
}

Error kernel_error(const std::filesystem::path& path, int error) {
  const auto meaning = [error] {
    switch (error) {
      case ENOENT:
      case ENOTDIR:
      case ENODEV:
      case ENXIO:
      case ENOTTY:
      case ENOTSUP:
        return Errc::unsupported;
      case EACCES:
      case EPERM:
        return Errc::permission_denied;
      case EBUSY:
      case EAGAIN:
      case EINTR:
      case ETIMEDOUT:
        return Errc::unavailable;
      default:
        return Errc::tee_failure;
    }
  };
  return Error{meaning(), path.string() + ": " + std::generic_category().message(error)};
}

Result<KernelFile> KernelFile::open(Kernel& kernel, const std::filesystem::path& path, int flags) {
  const int descriptor = kernel.open(path, flags);
  if (descriptor < 0) return kernel_error(path, -descriptor);
  return KernelFile{kernel, path, descriptor};
}

KernelFile::KernelFile(KernelFile&& other) noexcept
    : kernel_{other.kernel_}, path_{std::move(other.path_)}, descriptor_{std::exchange(other.descriptor_, -1)} {}

KernelFile::~KernelFile() {
  if (descriptor_ >= 0) kernel_->close(descriptor_);
}

Result<Bytes> KernelFile::read_all(std::size_t limit) const {
  Bytes out;
  for (;;) {
    std::array<std::uint8_t, 4096> piece{};
    const auto got = kernel_->read(descriptor_, piece);
    if (got < 0) return kernel_error(path_, static_cast<int>(-got));
    if (got == 0) return out;
    const auto size = std::min(static_cast<std::size_t>(got), piece.size());
    if (size > limit - out.size()) {
      return Error{Errc::limit_exceeded, path_.string() + ": at most " + std::to_string(limit) + " bytes expected"};
    }
    append(out, ByteView{piece}.first(size));
  }
}

Result<void> KernelFile::write_once(ByteView bytes) const {
  const auto put = kernel_->write(descriptor_, bytes);
  if (put < 0) return kernel_error(path_, static_cast<int>(-put));
  if (static_cast<std::size_t>(put) != bytes.size()) {
    return Error{Errc::tee_failure, path_.string() + ": " + std::to_string(put) + " of " + std::to_string(bytes.size()) +
                                        " bytes were taken"};
  }
  return {};
}

}  // namespace cloister::device
