#pragma once

#include <cstddef>
#include <cstdint>

/// What a disk does that is in trouble. `disk.cpp` stands before the C library's `fsync`, `fdatasync` and `statvfs` in
/// the test program that it is linked into, for whoever calls them there.
namespace cloister::test {

/// While it lives, no sync of this process ends. One at a time.
class SlowDisk {
 public:
  SlowDisk();
  ~SlowDisk();
  SlowDisk(const SlowDisk&) = delete;
  SlowDisk& operator=(const SlowDisk&) = delete;
  /// Waits until a sync is held.
  static void wait_until_held();
};

/// While it lives, every file system has so many bytes free. One at a time.
class FreeSpace {
 public:
  explicit FreeSpace(std::uint64_t bytes);
  ~FreeSpace();
  FreeSpace(const FreeSpace&) = delete;
  FreeSpace& operator=(const FreeSpace&) = delete;
};

}  // namespace cloister::test
