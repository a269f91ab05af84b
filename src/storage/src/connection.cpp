#include "connection.hpp"

#include <algorithm>
#include <string>

#include "joined_writes.hpp"

namespace cloister::storage {
namespace {

constexpr const char* kSettings =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA secure_delete = ON;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA wal_autocheckpoint = 4000;"  // pages: what is written again and again is moved once
    "PRAGMA journal_size_limit = 67108864;";

/// SQLite counts what it allocates behind one lock for all connections, unless it is told before its first use in the process
/// that nobody asks for the sum. In a process that has used it already it goes on counting.
void configure_once() {
  static const int configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(configured);
}

}  // namespace

Error sqlite_error(sqlite3* handle, int code) {
  const std::string detail =
      "SQLite: " + std::string{handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code)};
  switch (code & 0xFF) {  // the primary result code
    case SQLITE_CONSTRAINT:
      return Error{Errc::conflict, detail};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
      return Error{Errc::storage_corrupt, detail};
    case SQLITE_TOOBIG:
      return Error{Errc::limit_exceeded, detail};
    default:
      return Error{Errc::storage_failure, detail};
  }
}

Result<std::unique_ptr<Connection>> Connection::open(const std::filesystem::path& file, bool readonly) {
  configure_once();
  sqlite3* handle = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int opened = sqlite3_open_v2(file.c_str(), &handle, kFlags, joined_writes());
  std::unique_ptr<Connection> connection{new Connection{handle}};
  if (opened != SQLITE_OK) return sqlite_error(handle, opened).in(file.string());
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  const int defended = sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  if (defended != SQLITE_OK) return sqlite_error(handle, defended).in(file.string());
  if (auto set = connection->execute_text(kSettings); !set) return set.error().in(file.string());
  // In KiB: the writer's pages are those that are written next, readers have eight of these.
  CLOISTER_CHECK(connection->execute_text(readonly ? "PRAGMA query_only = ON; PRAGMA cache_size = -4096" : "PRAGMA cache_size = -16384"));
  return connection;
}

Result<void> Connection::execute_text(const char* sql) {
  const int done = sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr);
  if (done != SQLITE_OK) return sqlite_error(handle(), done);
  return {};
}

Result<void> Connection::execute(Sql sql) {
  CLOISTER_TRY(statement, take(sql));
  int stepped = SQLITE_ROW;
  while (stepped == SQLITE_ROW) stepped = sqlite3_step(statement);
  auto done = stepped == SQLITE_DONE ? Result<void>{} : Result<void>{sqlite_error(handle(), stepped)};
  give_back(statement);
  return done;
}

Result<sqlite3_stmt*> Connection::take(Sql sql) {
  auto& slots = statements_[sql.text().data()];
  const auto free = std::ranges::find(slots, false, &Slot::in_use);
  if (free != slots.end()) {
    free->in_use = true;
    return free->statement.get();
  }
  sqlite3_stmt* raw = nullptr;
  const int prepared = sqlite3_prepare_v3(handle(), sql.text().data(), static_cast<int>(sql.text().size()),
                                          SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  StatementPtr statement{raw};
  if (prepared != SQLITE_OK) return sqlite_error(handle(), prepared);
  texts_.emplace(raw, sql.text().data());
  slots.push_back({std::move(statement), true});
  return raw;
}

void Connection::give_back(sqlite3_stmt* statement) noexcept {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  for (auto& slot : statements_[texts_.at(statement)]) {
    if (slot.statement.get() == statement) slot.in_use = false;
  }
}

}  // namespace cloister::storage
