#include "cloister/storage/database.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "cloister/core/assert.hpp"
#include "cloister/crypto/hash.hpp"
#include "connection.hpp"
#include "descriptors.hpp"

namespace cloister::storage {
namespace {

constexpr Sql kTables{"SELECT COUNT(*), COUNT(*) FILTER (WHERE name = 'schema_migration') FROM sqlite_schema"};
constexpr Sql kApplied{"SELECT number, name, digest FROM schema_migration ORDER BY number"};
constexpr Sql kApply{"INSERT INTO schema_migration (number, name, digest) VALUES (?1, ?2, ?3)"};
constexpr Sql kBegin{"BEGIN IMMEDIATE"};
constexpr Sql kCommit{"COMMIT"};
constexpr Sql kRollback{"ROLLBACK"};
constexpr Sql kSavepoint{"SAVEPOINT member"};
constexpr Sql kReleaseSavepoint{"RELEASE member"};
constexpr Sql kRollbackTo{"ROLLBACK TO member"};
constexpr Sql kBeginPart{"SAVEPOINT part"};
constexpr Sql kReleasePart{"RELEASE part"};
constexpr Sql kRollbackToPart{"ROLLBACK TO part"};
constexpr Sql kBeginReading{"BEGIN"};
constexpr Sql kFirstRead{"SELECT 1 FROM sqlite_schema LIMIT 1"};
/// How many transactions may share one commit: the first of them waits for the last.
constexpr std::size_t kMaxGroup = 64;
constexpr int kReadersPatienceMs = 1000;
/// How often a turn is asked for that finds no transaction open.
constexpr int kEmptyingAttempts = 20;
/// Stores a number that nothing reads, on the first page.
constexpr Sql kProbe{"PRAGMA user_version = 0"};
constexpr const char* kMigrationTable =
    "CREATE TABLE IF NOT EXISTS schema_migration ("
    "number INTEGER PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL) STRICT";

/// One process has the database to itself while this lives.
Result<File> lock(const std::filesystem::path& file) {
  const auto path = file.string() + ".lock";
  File held{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!held.ok()) return io_failure(path, errno);
  if (::flock(held.get(), LOCK_EX | LOCK_NB) == 0) return held;
  if (errno != EWOULDBLOCK) return io_failure(path, errno);
  return Error{Errc::unavailable, file.string() + ": in use by another process"};
}

/// Makes an empty file that only its owner may read; SQLite gives the write-ahead log the same mode.
Result<void> make_file(const std::filesystem::path& file) {
  const File made{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!made.ok()) return io_failure(file, errno);
  return sync_directory(parent_of(file));
}

Result<void> check_ours(const Reading& reading) {
  CLOISTER_TRY(tables, reading.query(kTables));
  CLOISTER_TRY(found, tables.next());
  const auto all = tables.integer();
  const auto ours = tables.integer();
  CLOISTER_CHECK(tables.end_row());
  if (!found || (all != 0 && ours == 0)) return Error{Errc::storage_corrupt, "the database of another program"};
  return {};
}

/// How many of the steps the database has; refuses one that has others.
Result<std::size_t> count_applied(const Reading& reading, std::span<const Migration> steps) {
  CLOISTER_TRY(rows, reading.query(kApplied));
  for (std::size_t applied = 0;; ++applied) {
    CLOISTER_TRY(more, rows.next());
    if (!more) return applied;
    const auto number = rows.uint();
    const auto name = rows.text();
    const auto digest = rows.array<32>();
    CLOISTER_CHECK(rows.end_row());
    const auto step = "schema step " + std::to_string(number) + " (" + name + ")";
    if (applied == steps.size()) {
      return Error{Errc::database_newer, step + " found, this program knows " + std::to_string(steps.size())};
    }
    const auto& known = steps[applied];
    if (number != known.number || name != known.name || digest != crypto::sha256(as_bytes(known.sql))) {
      return Error{Errc::storage_corrupt, step + " is not the one that this program knows"};
    }
  }
}

}  // namespace

/// Transactions that share one commit.
struct Group {
  std::size_t members = 0;  // that have ended; those whose threads wait, and those that were rolled back
  std::size_t committed = 0;
  bool settled = false;
  Result<void> outcome;
  std::condition_variable changed;
};

struct Database::State {
  std::filesystem::path file;
  File lock;
  std::unique_ptr<Connection> writer;
  mutable std::mutex turn;  // guards what follows, and the outcome of groups
  std::condition_variable next_turn;
  bool writing = false;             // somebody has the writer
  std::optional<SteadyTime> since;  // when the open group began; nothing while there is none
  std::shared_ptr<Group> group;     // the open one, shared with those who wait for it
  Writes counts;
  std::atomic<std::thread::id> writing_thread;
  std::mutex mutex;  // guards the two below
  std::condition_variable returned;
  std::vector<std::unique_ptr<Connection>> idle;
  std::size_t readers = 0;  // idle ones and those out

  State(std::filesystem::path path, File held, std::unique_ptr<Connection> connection)
      : file{std::move(path)}, lock{std::move(held)}, writer{std::move(connection)} {}
  [[nodiscard]] Result<void> take_turn();
  /// Begins a transaction, or a part of the one that is open; whether it is a part.
  [[nodiscard]] Result<bool> begin();
  /// Ends the part of whoever has the turn, `kept` or rolled back: leaves the commit to the next one who waits, or commits.
  /// The outcome of all.
  [[nodiscard]] Result<void> end_part(bool kept);
  /// Ends the open group, and the turn.
  void settle(Result<void> outcome) noexcept;
  [[nodiscard]] Result<std::unique_ptr<Connection>> take_reader();
  void give_back(std::unique_ptr<Connection> reader);
};

// --- parameters and rows ---

Param::Param(std::uint64_t value) : value_{static_cast<std::int64_t>(value)} { CLOISTER_ASSERT(value <= INT64_MAX); }

Rows::Rows(Rows&& other) noexcept
    : connection_{other.connection_},
      statement_{std::exchange(other.statement_, nullptr)},
      column_{other.column_},
      error_{std::move(other.error_)} {}

Rows::~Rows() {
  if (statement_ != nullptr) connection_->give_back(statement_);
}

Result<void> Rows::bind(std::initializer_list<Param> params, bool copy) {
  CLOISTER_ASSERT(static_cast<int>(params.size()) == sqlite3_bind_parameter_count(statement_));
  const auto lifetime = copy ? SQLITE_TRANSIENT : SQLITE_STATIC;
  struct Bind {
    sqlite3_stmt* statement;
    int index;
    sqlite3_destructor_type lifetime;
    int operator()(std::monostate) const { return sqlite3_bind_null(statement, index); }
    int operator()(std::int64_t value) const { return sqlite3_bind_int64(statement, index, value); }
    // An empty value is not NULL, which a null pointer would bind.
    int operator()(std::string_view value) const {
      return sqlite3_bind_text64(statement, index, value.empty() ? "" : value.data(), value.size(), lifetime,
                                 SQLITE_UTF8);
    }
    int operator()(ByteView value) const {
      if (value.empty()) return sqlite3_bind_zeroblob(statement, index, 0);
      return sqlite3_bind_blob64(statement, index, value.data(), value.size(), lifetime);
    }
  };
  int index = 0;
  for (const auto& param : params) {
    const int bound = std::visit(Bind{statement_, ++index, lifetime}, param.value_);
    if (bound != SQLITE_OK) return sqlite_error(connection_->handle(), bound);
  }
  return {};
}

Result<bool> Rows::next() {
  column_ = 0;
  error_.reset();
  const int stepped = sqlite3_step(statement_);
  if (stepped == SQLITE_ROW) return true;
  if (stepped == SQLITE_DONE) return false;
  return sqlite_error(connection_->handle(), stepped);
}

void Rows::fail(std::string detail) {
  if (!error_) error_.emplace(Errc::storage_corrupt, "column " + std::to_string(column_) + ": " + std::move(detail));
}

bool Rows::expect(int type, const char* name) {
  const auto column = column_++;
  if (column < sqlite3_column_count(statement_) && sqlite3_column_type(statement_, column) == type) return true;
  fail(std::string{name} + " expected");
  return false;
}

std::int64_t Rows::integer() {
  return expect(SQLITE_INTEGER, "an integer") ? sqlite3_column_int64(statement_, column_ - 1) : 0;
}

std::uint64_t Rows::uint() {
  const auto value = integer();
  if (value >= 0) return static_cast<std::uint64_t>(value);
  fail("a value of zero or more expected");
  return 0;
}

bool Rows::boolean() {
  const auto value = integer();
  if (value != 0 && value != 1) fail("0 or 1 expected");
  return value == 1;
}

std::string Rows::text() {
  if (!expect(SQLITE_TEXT, "a text")) return {};
  const auto* begin = sqlite3_column_text(statement_, column_ - 1);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_ - 1));
  return std::string{as_text({begin, size})};
}

ByteView Rows::blob() {
  if (!expect(SQLITE_BLOB, "a blob")) return {};
  const auto* begin = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column_ - 1));
  return {begin, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_ - 1))};
}

Bytes Rows::bytes() { return to_bytes(blob()); }

bool Rows::take_null() {
  if (column_ >= sqlite3_column_count(statement_)) return false;
  if (sqlite3_column_type(statement_, column_) != SQLITE_NULL) return false;
  ++column_;
  return true;
}

std::optional<UnixTime> Rows::optional_time() {
  if (take_null()) return std::nullopt;
  return time();
}

std::optional<std::string> Rows::optional_text() {
  if (take_null()) return std::nullopt;
  return text();
}

Result<void> Rows::end_row() {
  if (column_ != sqlite3_column_count(statement_)) fail("columns were left unread");
  if (error_) return *error_;
  return {};
}

// --- views ---

Result<Rows> Reading::query(Sql sql, std::initializer_list<Param> params) const {
  CLOISTER_ASSERT(connection_ != nullptr);
  CLOISTER_TRY(statement, connection_->take(sql));
  Rows rows{connection_, statement};
  CLOISTER_CHECK(rows.bind(params, true));
  return rows;
}

Snapshot::~Snapshot() {
  if (connection_ == nullptr) return;
  std::unique_ptr<Connection> reader{connection_};
  // A reader whose transaction does not end is closed, which ends it.
  if (reader->execute(kRollback))
    database_->state_->give_back(std::move(reader));
  else
    database_->state_->give_back(nullptr);
}

Transaction::~Transaction() {
  if (connection_ == nullptr) return;
  auto& state = *database_->state_;
  if (!nested_) {
    // Fails where SQLite has rolled back by itself after a failure. Should a transaction stay open, nobody begins
    // another one: writes are refused from then on.
    (void)connection_->execute(kRollback);
    state.settle({});
    return;
  }
  const bool open = sqlite3_get_autocommit(connection_->handle()) == 0;
  if (open && connection_->execute(kRollbackTo) && connection_->execute(kReleaseSavepoint)) {
    (void)state.end_part(false);  // its outcome is that of the others
    return;
  }
  if (open) (void)connection_->execute(kRollback);
  state.settle(Error{Errc::storage_failure, "a transaction of the same commit failed, and took it along"});
}

Result<std::uint64_t> Transaction::run(Sql sql, std::initializer_list<Param> params) {
  CLOISTER_ASSERT(connection_ != nullptr);
  CLOISTER_TRY(statement, connection_->take(sql));
  Rows rows{connection_, statement};
  CLOISTER_CHECK(rows.bind(params, false));
  CLOISTER_TRY(row, rows.next());
  CLOISTER_ASSERT(!row);
  return static_cast<std::uint64_t>(sqlite3_changes64(connection_->handle()));
}

Result<void> Transaction::begin_part() {
  CLOISTER_ASSERT(connection_ != nullptr);
  return connection_->execute(kBeginPart);
}

Result<void> Transaction::end_part(bool kept) {
  if (sqlite3_get_autocommit(connection_->handle()) != 0) {
    return Error{Errc::storage_failure, "the transaction was rolled back after a failure in a part of it"};
  }
  if (!kept) CLOISTER_CHECK(connection_->execute(kRollbackToPart));
  return connection_->execute(kReleasePart);
}

Result<void> Transaction::commit() {
  CLOISTER_ASSERT(connection_ != nullptr);
  if (sqlite3_get_autocommit(connection_->handle()) != 0) {
    return Error{Errc::storage_failure, "the transaction was rolled back after a failure before"};
  }
  if (nested_) CLOISTER_CHECK(connection_->execute(kReleaseSavepoint));
  connection_ = nullptr;
  return database_->state_->end_part(true);
}

// --- the database ---

Result<void> Database::State::take_turn() {
  std::unique_lock held{turn};
  ++counts.waiting;
  while (writing) {
    const auto limit = *since + kWriterPatience;
    if (std::chrono::steady_clock::now() >= limit) {
      --counts.waiting;
      return Error{Errc::storage_failure, "the disk has not taken a commit for " +
                                              std::to_string(kWriterPatience.count()) + " s; nothing was written"};
    }
    next_turn.wait_until(held, limit);
  }
  --counts.waiting;
  writing = true;
  if (!since) since = std::chrono::steady_clock::now();
  return {};
}

Result<bool> Database::State::begin() {
  const bool nested = group != nullptr;  // which only whoever has the turn changes
  if (auto begun = writer->execute(nested ? kSavepoint : kBegin); !begun) {
    if (nested) {
      static_cast<void>(end_part(false));
    } else {
      settle({});
    }
    return std::move(begun).error();
  }
  if (!nested) {
    const std::lock_guard held{turn};
    group = std::make_shared<Group>();
  }
  writing_thread = std::this_thread::get_id();
  return nested;
}

Result<void> Database::State::end_part(bool kept) {
  const auto mine = group;
  {
    std::unique_lock held{turn};
    ++mine->members;
    if (kept) ++mine->committed;
    if (counts.waiting > 0 && mine->members < kMaxGroup) {
      writing = false;
      writing_thread = std::thread::id{};
      next_turn.notify_one();
      if (kept) mine->changed.wait(held, [&] { return mine->settled; });
      return kept ? mine->outcome : Result<void>{};
    }
  }
  auto outcome = writer->execute(kCommit);
  if (!outcome) (void)writer->execute(kRollback);
  settle(std::move(outcome));
  return mine->outcome;
}

void Database::State::settle(Result<void> outcome) noexcept {
  {
    const std::lock_guard held{turn};
    if (group) {
      if (outcome && group->committed > 0) {
        counts.transactions += group->committed;
        ++counts.commits;
      }
      group->settled = true;
      group->outcome = std::move(outcome);
      group->changed.notify_all();
      group.reset();
    }
    writing = false;
    since.reset();
    writing_thread = std::thread::id{};
  }
  next_turn.notify_one();
}

Result<std::unique_ptr<Connection>> Database::State::take_reader() {
  {
    std::unique_lock held{mutex};
    returned.wait(held, [&] { return !idle.empty() || readers < kReaders; });
    if (!idle.empty()) {
      auto reader = std::move(idle.back());
      idle.pop_back();
      return reader;
    }
    ++readers;
  }
  auto opened = Connection::open(file, true);
  if (!opened) give_back(nullptr);
  return opened;
}

void Database::State::give_back(std::unique_ptr<Connection> reader) {
  {
    const std::lock_guard held{mutex};
    if (reader) {
      idle.push_back(std::move(reader));
    } else {
      --readers;
    }
  }
  returned.notify_one();
}

Result<void> Database::migrate(std::span<const Migration> steps) {
  std::size_t applied = 0;
  {
    CLOISTER_TRY(transaction, write());
    CLOISTER_CHECK(check_ours(transaction));
    CLOISTER_CHECK(state_->writer->execute_text(kMigrationTable));
    CLOISTER_TRY(count, count_applied(transaction, steps));
    CLOISTER_CHECK(transaction.commit());
    applied = count;
  }
  for (const auto& step : steps.subspan(applied)) {
    CLOISTER_TRY(transaction, write());
    if (auto done = state_->writer->execute_text(step.sql); !done) return done.error().in(step.name);
    CLOISTER_CHECK(transaction.run(kApply, {step.number, step.name, crypto::sha256(as_bytes(step.sql))}));
    CLOISTER_CHECK(transaction.commit());
  }
  return {};
}

Database::Database(std::unique_ptr<State> state) : state_{std::move(state)} {}

Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file, std::span<const Migration> steps) {
  CLOISTER_TRY(held, lock(file));
  CLOISTER_CHECK(make_file(file));
  CLOISTER_TRY(writer, Connection::open(file, false));
  std::unique_ptr<Database> database{new Database{std::make_unique<State>(file, std::move(held), std::move(writer))}};
  if (auto migrated = database->migrate(steps); !migrated) return migrated.error().in(file.string());
  return database;
}

Result<Transaction> Database::write() {
  CLOISTER_ASSERT(state_->writing_thread.load() != std::this_thread::get_id());
  CLOISTER_CHECK(state_->take_turn());
  CLOISTER_TRY(nested, state_->begin());
  return Transaction{*this, state_->writer.get(), nested};
}

bool Database::slow() const {
  const std::lock_guard held{state_->turn};
  const auto& since = state_->since;
  return since && std::chrono::steady_clock::now() - *since >= kWriterPatience;
}

Result<Snapshot> Database::read() {
  CLOISTER_TRY(reader, state_->take_reader());
  // The view is that of the first read, so one is made now.
  auto begun = reader->execute(kBeginReading);
  if (begun) begun = reader->execute(kFirstRead);
  Snapshot snapshot{*this, reader.release()};
  if (!begun) return std::move(begun).error();
  return snapshot;
}

Result<void> Database::probe() {
  CLOISTER_TRY(transaction, write());
  CLOISTER_CHECK(state_->writer->execute(kProbe));
  return transaction.commit();
}

Database::Writes Database::writes() const {
  const std::lock_guard held{state_->turn};
  return state_->counts;
}

Result<bool> Database::empty_log() {
  CLOISTER_ASSERT(state_->writing_thread.load() != std::this_thread::get_id());
  for (int attempt = 0; attempt < kEmptyingAttempts; ++attempt) {
    CLOISTER_CHECK(state_->take_turn());
    if (state_->group) {
      // Others wait for a commit that is still to come: it comes now, or with the next of them.
      static_cast<void>(state_->end_part(false));
      continue;
    }
    auto* const handle = state_->writer->handle();
    sqlite3_busy_timeout(handle, kReadersPatienceMs);
    const int done = sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    auto failure = sqlite_error(handle, done);
    sqlite3_busy_timeout(handle, Connection::kBusyTimeoutMs);
    state_->settle({});
    if (done == SQLITE_OK) return true;
    if ((done & 0xFF) == SQLITE_BUSY) return false;
    return failure;
  }
  return false;
}

Result<Database::Sizes> Database::sizes() const {
  const auto size_of = [](const std::filesystem::path& file) {
    std::error_code absent;
    const auto size = std::filesystem::file_size(file, absent);
    return absent ? 0 : size;
  };
  std::error_code failure;
  const auto space = std::filesystem::space(parent_of(state_->file), failure);
  if (failure) return Error{Errc::io_error, state_->file.string() + ": " + failure.message()};
  return Sizes{size_of(state_->file), size_of(state_->file.string() + "-wal"), space.available};
}

}  // namespace cloister::storage
