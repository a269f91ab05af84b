#include "disk.hpp"

#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace cloister::test {
namespace {

struct Syncs {
  std::mutex mutex;
  std::condition_variable changed;
  bool slow = false;
  std::size_t held = 0;

  void pass() {
    std::unique_lock lock{mutex};
    if (!slow) return;
    ++held;
    changed.notify_all();
    changed.wait(lock, [this] { return !slow; });
    --held;
  }
};

Syncs& syncs() {
  static Syncs the;
  return the;
}

constexpr std::uint64_t kAsItIs = UINT64_MAX;
std::atomic<std::uint64_t> free_bytes = kAsItIs;

}  // namespace

SlowDisk::SlowDisk() {
  const std::lock_guard lock{syncs().mutex};
  syncs().slow = true;
}

SlowDisk::~SlowDisk() {
  const std::lock_guard lock{syncs().mutex};
  syncs().slow = false;
  syncs().changed.notify_all();
}

void SlowDisk::wait_until_held() {
  std::unique_lock lock{syncs().mutex};
  syncs().changed.wait(lock, [] { return syncs().held > 0; });
}

FreeSpace::FreeSpace(std::uint64_t bytes) { free_bytes = bytes; }
FreeSpace::~FreeSpace() { free_bytes = kAsItIs; }

}  // namespace cloister::test

extern "C" {

int fsync(int fd) {
  cloister::test::syncs().pass();
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

int fdatasync(int fd) {
  cloister::test::syncs().pass();
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

int statvfs(const char* path, struct statvfs* out) noexcept {
  struct statfs found {};
  if (::statfs(path, &found) != 0) return -1;
  *out = {};
  out->f_bsize = static_cast<unsigned long>(found.f_bsize);
  out->f_frsize = out->f_bsize;
  out->f_blocks = found.f_blocks;
  out->f_bfree = found.f_bfree;
  out->f_bavail = found.f_bavail;
  const auto bytes = cloister::test::free_bytes.load();
  if (bytes != cloister::test::kAsItIs) out->f_bavail = out->f_bfree = bytes / out->f_frsize;
  return 0;
}
}
