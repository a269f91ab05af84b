#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// Tar archives as layers are made of them: ustar (POSIX.1-2017, pax), with pax extended headers and GNU long names.
namespace cloister::oci::tar {

enum class Kind { file, directory, symlink, hardlink };

/// Paths are relative and clean: components joined by "/", none of them empty, "." or ".."; at most 4096 bytes, 64
/// components, 255 bytes each. Only the root directory itself has an empty path.
struct Entry {
  std::string path;
  Kind kind = Kind::file;
  std::uint32_t mode = 0644;  // permission bits, at most 0777
  std::string link;           // target of a symbolic link as it is; clean path of a hard link
  ByteView contents;          // of a file; points into the archive
};

/// Reads entries forward. Owner, times and unknown extended headers are ignored, set-id and sticky bits dropped.
/// Devices, pipes and sparse files are `unsupported`; a path that is not clean is `malformed`. The archive must outlive
/// the entries.
class Reader {
 public:
  explicit Reader(ByteView archive) noexcept : rest_{archive} {}
  /// The next entry; nothing after the last, once the end mark and nothing but zeros behind it was seen.
  [[nodiscard]] Result<std::optional<Entry>> next();

 private:
  [[nodiscard]] Result<ByteView> take(std::uint64_t size);
  [[nodiscard]] Result<std::optional<Entry>> end();
  ByteView rest_;
  bool ended_ = false;
};

/// A reproducible archive: the entries in the given order, owner 0, time 0. Paths that do not fit into ustar get a pax
/// header. Paths must be clean, names of links not empty (asserted).
[[nodiscard]] Bytes write(const std::vector<Entry>& entries);

/// True when `path` is clean and not empty, as `Entry` says.
[[nodiscard]] bool clean_path(std::string_view path) noexcept;

}  // namespace cloister::oci::tar
