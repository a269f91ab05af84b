#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

struct sqlite3_stmt;

namespace cloister::storage {

/// The text of one statement; only a literal can become one, so that SQL is never put together from data.
class Sql {
 public:
  consteval Sql(const char* text) : text_{text} {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// A value to bind. Views what it was made from, which must live until the call that it is given to returns.
class Param {
 public:
  Param(std::nullptr_t) {}
  Param(std::int64_t value) : value_{value} {}
  Param(std::uint64_t value);  // at most INT64_MAX (asserted)
  Param(std::int32_t value) : value_{std::int64_t{value}} {}
  Param(std::uint32_t value) : value_{std::int64_t{value}} {}
  Param(bool value) : value_{std::int64_t{value}} {}
  Param(UnixTime time) : value_{to_micros(time)} {}
  Param(const char* text) : value_{std::string_view{text}} {}
  Param(std::string_view text) : value_{text} {}
  Param(const std::string& text) : value_{std::string_view{text}} {}
  Param(ByteView bytes) : value_{bytes} {}
  Param(const Bytes& bytes) : value_{ByteView{bytes}} {}
  template <std::size_t N>
  Param(const ByteArray<N>& bytes) : value_{ByteView{bytes}} {}
  template <class Tag>
  Param(const Id<Tag>& id) : value_{std::string_view{id.str()}} {}
  template <class T>
  Param(const std::optional<T>& value) {
    if (value) value_ = Param{*value}.value_;
  }

 private:
  friend class Rows;
  std::variant<std::monostate, std::int64_t, std::string_view, ByteView> value_;
};

class Connection;

/// The rows of a running statement. Columns are read in order; the first that is not of its type sticks as
/// `storage_corrupt`, later ones read as empty, and `end_row` reports it.
///
///   CLOISTER_TRY(rows, reading.query(kSelect, {id}));
///   CLOISTER_TRY(found, rows.next());
///   if (found) { auto name = rows.text(); auto size = rows.uint(); CLOISTER_CHECK(rows.end_row()); }
///
/// Must be gone before the transaction or snapshot that it came from. One thread at a time.
class Rows {
 public:
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  ~Rows();

  /// Steps to the next row; false at the end.
  [[nodiscard]] Result<bool> next();

  [[nodiscard]] std::int64_t integer();
  [[nodiscard]] std::uint64_t uint();
  [[nodiscard]] bool boolean();
  [[nodiscard]] UnixTime time() { return from_micros(integer()); }
  [[nodiscard]] std::string text();
  [[nodiscard]] Bytes bytes();
  template <std::size_t N>
  [[nodiscard]] ByteArray<N> array() {
    const auto view = blob();
    if (view.size() != N) {
      if (!error_) fail("a blob of " + std::to_string(N) + " bytes expected, got " + std::to_string(view.size()));
      return {};
    }
    return to_array<N>(view);
  }
  template <class IdType>
  [[nodiscard]] IdType id() {
    auto parsed = IdType::parse(text());
    if (parsed) return *std::move(parsed);
    fail(parsed.error().detail());
    return {};
  }
  /// Consumes the next column if it is NULL.
  [[nodiscard]] bool take_null();
  [[nodiscard]] std::optional<UnixTime> optional_time();
  [[nodiscard]] std::optional<std::string> optional_text();

  /// Records a problem of the caller's own with this row.
  void fail(std::string detail);
  /// The first problem of this row; also when columns were left unread.
  [[nodiscard]] Result<void> end_row();

 private:
  friend class Reading;
  friend class Transaction;
  Rows(Connection* connection, sqlite3_stmt* statement) : connection_{connection}, statement_{statement} {}
  /// `copy`: the values may go before the statement ends.
  [[nodiscard]] Result<void> bind(std::initializer_list<Param> params, bool copy);
  [[nodiscard]] bool expect(int type, const char* name);
  [[nodiscard]] ByteView blob();
  Connection* connection_;
  sqlite3_stmt* statement_;
  int column_ = 0;
  std::optional<Error> error_;
};

class Database;

/// A consistent view of the database. Move-only; one thread at a time.
class Reading {
 public:
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  /// A statement that reads.
  [[nodiscard]] Result<Rows> query(Sql sql, std::initializer_list<Param> params = {}) const;

 protected:
  explicit Reading(Connection* connection) : connection_{connection} {}
  Reading(Reading&& other) noexcept : connection_{std::exchange(other.connection_, nullptr)} {}
  ~Reading() = default;
  Connection* connection_;
};

/// Sees what was committed when it was made; blocks nobody. Short-lived: a reader that stays keeps the log from
/// being checkpointed.
class Snapshot final : public Reading {
 public:
  Snapshot(Snapshot&&) noexcept = default;
  Snapshot& operator=(Snapshot&&) = delete;
  ~Snapshot();

 private:
  friend class Database;
  Snapshot(Database& database, Connection* connection) : Reading{connection}, database_{&database} {}
  Database* database_;
};

/// The one writer. Without a successful `commit` it has no effect. Ends on the thread that began it. Transactions whose
/// threads wait for each other share one commit of the disk: all of those are there after a crash, or none. What a
/// transaction reads may be another's that is not on disk yet: whoever tells somebody of it commits first, also when nothing
/// was changed.
class Transaction final : public Reading {
 public:
  Transaction(Transaction&&) noexcept = default;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  /// A statement that gives no rows. Returns how many rows it changed. `conflict` when it violates a constraint.
  [[nodiscard]] Result<std::uint64_t> run(Sql sql, std::initializer_list<Param> params = {});
  /// Runs `part()`, which gives a Result and writes through this transaction: what it wrote is undone when it fails, and the
  /// rest goes on. Its Result; the outer error is of the storage, and nothing can be committed after it.
  template <class Part>
  [[nodiscard]] Result<std::invoke_result_t<Part&>> attempt(Part part) {
    CLOISTER_CHECK(begin_part());
    auto done = part();
    CLOISTER_CHECK(end_part(done.ok()));
    return Result<std::invoke_result_t<Part&>>{std::move(done)};
  }
  /// On disk when it returns success. After a failure nothing is. May wait for the transactions of others, which begin
  /// in the meantime: whoever calls it holds no lock that somebody takes within a transaction.
  [[nodiscard]] Result<void> commit();

 private:
  friend class Database;
  Transaction(Database& database, Connection* connection, bool nested)
      : Reading{connection}, database_{&database}, nested_{nested} {}
  [[nodiscard]] Result<void> begin_part();
  [[nodiscard]] Result<void> end_part(bool kept);
  Database* database_;
  bool nested_;  // others are in the transaction before it: it has a savepoint
};

/// One step of the schema; numbers begin at 1 and have no gaps. Never changed once released.
struct Migration {
  std::uint32_t number;
  std::string_view name;
  const char* sql;
};
/// The schema of this build.
[[nodiscard]] std::span<const Migration> migrations() noexcept;

/// An SQLite database (WAL, synchronous=FULL, foreign keys on) that one process has to itself. Thread-safe: one
/// writer at a time, readers beside it. A thread that holds a Transaction must read through it and not ask for
/// another (asserted).
class Database {
 public:
  /// Opens or makes the file (mode 0600) and brings its schema up to `steps`. `unavailable` when another process has
  /// it; `database_newer` when a newer build wrote it; `storage_corrupt` when it is no database of ours, or a step
  /// that it has differs from the one of that number here.
  [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file,
                                                              std::span<const Migration> steps = migrations());
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// Waits for the writer before it; `storage_failure`, and nothing is written, when `slow`.
  [[nodiscard]] Result<Transaction> write();
  /// Whether one writer has been at it for `kWriterPatience`: the disk does not take what it commits.
  [[nodiscard]] bool slow() const;
  static constexpr std::chrono::seconds kWriterPatience{5};
  /// Waits while `kReaders` snapshots are out; for no writer.
  [[nodiscard]] Result<Snapshot> read();
  static constexpr std::size_t kReaders = 8;

  /// Writes and commits a page of nothing: success means that what is written now gets to the disk. Waits for the
  /// writer before it; costs a sync.
  [[nodiscard]] Result<void> probe();
  /// How many transactions were committed, by how many commits of the disk, and how many threads wait to write.
  struct Writes {
    std::uint64_t transactions = 0;
    std::uint64_t commits = 0;
    std::size_t waiting = 0;
  };
  [[nodiscard]] Writes writes() const;
  /// Empties the write-ahead log into the database, so that nothing which was overwritten is left in either. Waits for
  /// readers of older states, a second at most: false when there still was one, and the log is as it was.
  [[nodiscard]] Result<bool> empty_log();
  struct Sizes {
    std::uint64_t database = 0;  // bytes of the file
    std::uint64_t log = 0;       // bytes of its write-ahead log
    std::uint64_t free = 0;      // bytes that an ordinary user can still write on that file system
  };
  [[nodiscard]] Result<Sizes> sizes() const;

 private:
  friend class Snapshot;
  friend class Transaction;
  struct State;
  explicit Database(std::unique_ptr<State> state);
  [[nodiscard]] Result<void> migrate(std::span<const Migration> steps);
  std::unique_ptr<State> state_;
};

}  // namespace cloister::storage
