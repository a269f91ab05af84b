#include "joined_writes.hpp"

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

namespace cloister::storage {
namespace {

constexpr const char* kName = "cloister-joined-writes";
/// What is held back at most; a large transaction is handed over in pieces of this. SQLite's own file takes less than 128 KiB
/// in a call.
constexpr std::size_t kMostHeld = std::size_t{96} << 10;

sqlite3_vfs* system_files() { return sqlite3_vfs_find("unix"); }

/// The write-ahead log: what SQLite sees, followed in memory by the system's own file.
struct JoinedFile {
  sqlite3_file seen;
  std::vector<std::uint8_t> held;
  sqlite3_int64 at = 0;  // where `held` belongs in the file

  [[nodiscard]] sqlite3_file* inner() noexcept;

  /// Hands over what is held; what could not be is forgotten, as after a failed write.
  [[nodiscard]] int flush() noexcept {
    if (held.empty()) return SQLITE_OK;
    const int done = inner()->pMethods->xWrite(inner(), held.data(), static_cast<int>(held.size()), at);
    held.clear();
    return done;
  }

  [[nodiscard]] int write(std::span<const std::uint8_t> bytes, sqlite3_int64 offset) noexcept {
    if (bytes.size() > kMostHeld) return SQLITE_IOERR_WRITE;  // no page of SQLite's is so large
    const bool follows = offset == at + static_cast<sqlite3_int64>(held.size());
    if (!follows || held.size() + bytes.size() > kMostHeld) {
      if (const int done = flush(); done != SQLITE_OK) return done;
    }
    if (held.empty()) at = offset;
    try {
      held.insert(held.end(), bytes.begin(), bytes.end());
    } catch (const std::bad_alloc&) {
      held.clear();
      return SQLITE_IOERR_NOMEM;
    }
    return SQLITE_OK;
  }
};

static_assert(std::is_standard_layout_v<JoinedFile> && alignof(JoinedFile) == alignof(sqlite3_file));

sqlite3_file* JoinedFile::inner() noexcept { return reinterpret_cast<sqlite3_file*>(this + 1); }

JoinedFile& ours(sqlite3_file* file) noexcept { return *reinterpret_cast<JoinedFile*>(file); }

/// After what is held was handed over: the system's own.
template <auto Method, class... Args>
int after_flush(sqlite3_file* file, Args... args) {
  auto& joined = ours(file);
  if (const int done = joined.flush(); done != SQLITE_OK) return done;
  return (joined.inner()->pMethods->*Method)(joined.inner(), args...);
}

int close_file(sqlite3_file* file) {
  auto& joined = ours(file);
  const int flushed = joined.flush();
  const int closed = joined.inner()->pMethods->xClose(joined.inner());
  joined.~JoinedFile();
  return flushed != SQLITE_OK ? flushed : closed;
}

int write_file(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  return ours(file).write({static_cast<const std::uint8_t*>(bytes), static_cast<std::size_t>(size)}, offset);
}

int sector_size(sqlite3_file* file) { return ours(file).inner()->pMethods->xSectorSize(ours(file).inner()); }

int characteristics(sqlite3_file* file) { return ours(file).inner()->pMethods->xDeviceCharacteristics(ours(file).inner()); }

/// Version 1: a log is neither shared memory nor mapped.
constexpr sqlite3_io_methods kMethods = {
    1,
    close_file,
    after_flush<&sqlite3_io_methods::xRead, void*, int, sqlite3_int64>,
    write_file,
    after_flush<&sqlite3_io_methods::xTruncate, sqlite3_int64>,
    after_flush<&sqlite3_io_methods::xSync, int>,
    after_flush<&sqlite3_io_methods::xFileSize, sqlite3_int64*>,
    after_flush<&sqlite3_io_methods::xLock, int>,
    after_flush<&sqlite3_io_methods::xUnlock, int>,
    after_flush<&sqlite3_io_methods::xCheckReservedLock, int*>,
    after_flush<&sqlite3_io_methods::xFileControl, int, void*>,
    sector_size,
    characteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

int open_file(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
  auto* const system = system_files();
  if ((flags & SQLITE_OPEN_WAL) == 0) return system->xOpen(system, name, file, flags, out_flags);
  auto* const joined = new (file) JoinedFile{};
  joined->inner()->pMethods = nullptr;
  const int opened = system->xOpen(system, name, joined->inner(), flags, out_flags);
  if (opened != SQLITE_OK) {
    // Where the system's open failed and left methods there, it is to be closed all the same.
    if (joined->inner()->pMethods != nullptr) static_cast<void>(joined->inner()->pMethods->xClose(joined->inner()));
    joined->~JoinedFile();
    file->pMethods = nullptr;
    return opened;
  }
  joined->seen.pMethods = &kMethods;
  return SQLITE_OK;
}

/// Everything but opening is the system's own, which takes what it needs out of this copy.
bool make() {
  auto* const system = system_files();
  if (system == nullptr) return false;
  static sqlite3_vfs files = *system;
  files.pNext = nullptr;
  files.zName = kName;
  files.szOsFile = static_cast<int>(sizeof(JoinedFile)) + system->szOsFile;
  files.xOpen = open_file;
  return sqlite3_vfs_register(&files, 0) == SQLITE_OK;
}

}  // namespace

const char* joined_writes() {
  static const bool made = make();
  return made ? kName : nullptr;
}

}  // namespace cloister::storage
