#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::device {

/// The system calls that TEE devices are made of, and nothing more: what is encoded for them and decoded from them lies
/// above, and is tested against recordings. Each returns what the call returns, or -errno. Implementations are
/// thread-safe.
class Kernel {
 public:
  virtual ~Kernel() = default;
  [[nodiscard]] virtual int open(const std::filesystem::path& path, int flags) = 0;
  [[nodiscard]] virtual long read(int descriptor, std::span<std::uint8_t> out) = 0;
  [[nodiscard]] virtual long write(int descriptor, ByteView bytes) = 0;
  [[nodiscard]] virtual int ioctl(int descriptor, unsigned long request, void* argument) = 0;
  virtual void close(int descriptor) = 0;
  [[nodiscard]] virtual int mkdir(const std::filesystem::path& path) = 0;
  virtual void rmdir(const std::filesystem::path& path) = 0;
  [[nodiscard]] virtual bool exists(const std::filesystem::path& path) = 0;
};

/// The kernel that this process runs on.
class LinuxKernel final : public Kernel {
 public:
  [[nodiscard]] int open(const std::filesystem::path& path, int flags) override;
  [[nodiscard]] long read(int descriptor, std::span<std::uint8_t> out) override;
  [[nodiscard]] long write(int descriptor, ByteView bytes) override;
  [[nodiscard]] int ioctl(int descriptor, unsigned long request, void* argument) override;
  void close(int descriptor) override;
  [[nodiscard]] int mkdir(const std::filesystem::path& path) override;
  void rmdir(const std::filesystem::path& path) override;
  [[nodiscard]] bool exists(const std::filesystem::path& path) override;
};

/// What an errno of a TEE device means: `unsupported` (no such device or attribute), `permission_denied`,
/// `unavailable` (busy; may work later), `tee_failure`.
[[nodiscard]] Error kernel_error(const std::filesystem::path& path, int error);

/// An open descriptor of a Kernel's; closed at the end. The kernel outlives it.
class KernelFile {
 public:
  [[nodiscard]] static Result<KernelFile> open(Kernel& kernel, const std::filesystem::path& path, int flags);
  KernelFile(KernelFile&& other) noexcept;
  KernelFile& operator=(KernelFile&&) = delete;
  KernelFile(const KernelFile&) = delete;
  ~KernelFile();

  /// Everything up to the end; `limit_exceeded` beyond `limit` bytes.
  [[nodiscard]] Result<Bytes> read_all(std::size_t limit) const;
  /// One write(2), as attributes of the kernel's demand it; anything but the whole of it is an error.
  [[nodiscard]] Result<void> write_once(ByteView bytes) const;
  /// 0, or the errno: the argument may tell more.
  [[nodiscard]] int ioctl(unsigned long request, void* argument) const { return -kernel_->ioctl(descriptor_, request, argument); }

 private:
  KernelFile(Kernel& kernel, std::filesystem::path path, int descriptor)
      : kernel_{&kernel}, path_{std::move(path)}, descriptor_{descriptor} {}
  Kernel* kernel_;
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace cloister::device
