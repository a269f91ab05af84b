#pragma once

namespace cloister::storage {

/// SQLite's own file system (`sqlite3_vfs`), of which the write-ahead log takes in one call what is written to it in a row:
/// SQLite writes each page in two pieces, and the kernel takes longer for the calls than for the bytes. Nothing is handed over
/// later than before a sync, before anything else is asked of the file, or when the file is closed; what SQLite relies on
/// (synchronous=FULL: no other connection reads a frame of the log before its commit was synced) is as without. The name to
/// open connections with, or null where it could not be made. Thread-safe.
[[nodiscard]] const char* joined_writes();

}  // namespace cloister::storage
