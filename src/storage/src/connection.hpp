#pragma once

#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::storage {

/// What an SQLite result code means here, with the connection's message.
[[nodiscard]] Error sqlite_error(sqlite3* handle, int code);

/// One SQLite connection and the statements that were prepared on it. One thread at a time.
class Connection {
 public:
  static constexpr int kBusyTimeoutMs = 5000;
  /// `readonly`: statements that write are refused.
  [[nodiscard]] static Result<std::unique_ptr<Connection>> open(const std::filesystem::path& file, bool readonly);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() = default;

  /// Runs a text of any number of statements, without parameters.
  [[nodiscard]] Result<void> execute_text(const char* sql);
  /// Runs one statement without parameters to its end, prepared once; its rows are not looked at.
  [[nodiscard]] Result<void> execute(Sql sql);
  /// A statement to run, which must be given back.
  [[nodiscard]] Result<sqlite3_stmt*> take(Sql sql);
  void give_back(sqlite3_stmt* statement) noexcept;
  [[nodiscard]] sqlite3* handle() const noexcept { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  using StatementPtr = std::unique_ptr<sqlite3_stmt, Finalize>;
  /// A statement's text is a literal, so its address names it. More than one stand there where a statement ran inside
  /// a loop over its own rows.
  struct Slot {
    StatementPtr statement;
    bool in_use = false;
  };

  explicit Connection(sqlite3* handle) : handle_{handle} {}
  std::unique_ptr<sqlite3, Close> handle_;
  std::unordered_map<const char*, std::vector<Slot>> statements_;
  std::unordered_map<sqlite3_stmt*, const char*> texts_;
};

}  // namespace cloister::storage
