#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <iterator>

#include "fixture.hpp"

namespace cloister::storage {
namespace {

/// A write-ahead log as SQLite opens it.
class JoinedWrites : public testing::DatabaseTest {
 protected:
  void SetUp() override {
    testing::DatabaseTest::SetUp();  // which registers the file system
    files_ = sqlite3_vfs_find("cloister-joined-writes");
    ASSERT_NE(files_, nullptr);
    memory_.resize(static_cast<std::size_t>(files_->szOsFile) / sizeof(void*) + 1);
    std::ofstream{dir_.path() / "other.db"};  // whose mode SQLite gives the log
    path_ = (dir_.path() / "other.db-wal").string();
    path_ += std::string(2, '\0');  // SQLite looks for parameters behind a name
    constexpr int kFlags = SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    ASSERT_EQ(files_->xOpen(files_, path_.c_str(), log(), kFlags, nullptr), SQLITE_OK);
  }
  void TearDown() override {
    close();
    testing::DatabaseTest::TearDown();
  }
  void close() {
    if (log()->pMethods == nullptr) return;
    EXPECT_EQ(log()->pMethods->xClose(log()), SQLITE_OK);
    log()->pMethods = nullptr;
  }
  [[nodiscard]] sqlite3_file* log() { return reinterpret_cast<sqlite3_file*>(memory_.data()); }
  [[nodiscard]] int append(std::string_view text, sqlite3_int64 at) {
    return log()->pMethods->xWrite(log(), text.data(), static_cast<int>(text.size()), at);
  }
  /// What the system has of it.
  [[nodiscard]] std::string on_disk() const {
    std::ifstream in{path_.c_str(), std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  sqlite3_vfs* files_ = nullptr;
  std::vector<void*> memory_;
  std::string path_;
};

TEST_F(JoinedWrites, AreHandedOverBeforeASync) {
  EXPECT_EQ(append("one, ", 0), SQLITE_OK);
  EXPECT_EQ(append("two", 5), SQLITE_OK);
  EXPECT_EQ(on_disk(), "") << "held, to be one call";
  EXPECT_EQ(log()->pMethods->xSync(log(), SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(on_disk(), "one, two");
}

TEST_F(JoinedWrites, AreHandedOverBeforeAWriteElsewhere) {
  EXPECT_EQ(append("abcdef", 0), SQLITE_OK);
  EXPECT_EQ(append("X", 2), SQLITE_OK);
  EXPECT_EQ(on_disk(), "abcdef");
  close();
  EXPECT_EQ(on_disk(), "abXdef");
}

TEST_F(JoinedWrites, AreSeenByWhateverElseIsAsked) {
  EXPECT_EQ(append("abcdef", 0), SQLITE_OK);
  sqlite3_int64 size = 0;
  EXPECT_EQ(log()->pMethods->xFileSize(log(), &size), SQLITE_OK);
  EXPECT_EQ(size, 6);
  EXPECT_EQ(append("gh", 6), SQLITE_OK);
  std::string read(3, ' ');
  EXPECT_EQ(log()->pMethods->xRead(log(), read.data(), 3, 5), SQLITE_OK);
  EXPECT_EQ(read, "fgh");
  EXPECT_EQ(append("ij", 8), SQLITE_OK);
  EXPECT_EQ(log()->pMethods->xTruncate(log(), 9), SQLITE_OK);
  EXPECT_EQ(on_disk(), "abcdefghi");
}

TEST_F(JoinedWrites, OfMoreThanIsHeldAreHandedOverInPieces) {
  constexpr sqlite3_int64 kPage = 65'536;
  for (sqlite3_int64 i = 0; i < 5; ++i) {
    EXPECT_EQ(append(std::string(kPage, static_cast<char>('a' + i)), i * kPage), SQLITE_OK);
    EXPECT_EQ(on_disk().size(), static_cast<std::size_t>(i * kPage)) << "the last one is held";
  }
  close();
  EXPECT_EQ(on_disk().size(), 5U * kPage);
  EXPECT_EQ(on_disk().substr(kPage - 1, 2), "ab");
}

TEST_F(JoinedWrites, OfMoreThanAPageOfSQLitesAreRefused) {
  EXPECT_EQ(append("abc", 0), SQLITE_OK);
  EXPECT_EQ(append(std::string((96U << 10U) + 1, 'x'), 3), SQLITE_IOERR_WRITE);
  close();
  EXPECT_EQ(on_disk(), "abc");
}

/// No file grows beyond that while this lives, and what tries gets an error instead of a signal.
class LimitedFiles {
 public:
  explicit LimitedFiles(rlim_t size) : handler_{std::signal(SIGXFSZ, SIG_IGN)} {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{size, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  LimitedFiles(const LimitedFiles&) = delete;
  LimitedFiles& operator=(const LimitedFiles&) = delete;
  ~LimitedFiles() {
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before_), 0);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST_F(JoinedWrites, ThatTheDiskDoesNotTakeFailTheSyncAndAreForgotten) {
  EXPECT_EQ(append("abc", 0), SQLITE_OK);
  EXPECT_EQ(log()->pMethods->xSync(log(), SQLITE_SYNC_NORMAL), SQLITE_OK);
  {
    const LimitedFiles limited{3};
    EXPECT_EQ(append("def", 3), SQLITE_OK) << "nobody knows yet";
    EXPECT_NE(log()->pMethods->xSync(log(), SQLITE_SYNC_NORMAL), SQLITE_OK);
  }
  EXPECT_EQ(log()->pMethods->xSync(log(), SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(on_disk(), "abc");
}

constexpr Sql kMake{"CREATE TABLE large (a INTEGER, b BLOB) STRICT"};
constexpr Sql kInsert{"INSERT INTO large (a, b) VALUES (?1, randomblob(200000))"};
constexpr Sql kCount{"SELECT COUNT(*) FROM large WHERE length(b) = 200000"};

TEST_F(JoinedWrites, CarryATransactionThatIsLargerThanWhatIsCached) {
  {
    auto transaction = write();
    ASSERT_TRUE(transaction.run(kMake));
    for (std::uint32_t i = 0; i < 150; ++i) ASSERT_TRUE(transaction.run(kInsert, {i}));
    auto rows = *transaction.query(kCount);
    ASSERT_TRUE(*rows.next());
    EXPECT_EQ(rows.integer(), 150);
  }
  // Nothing of it was kept; the next one is, and others find it in the file.
  {
    auto transaction = write();
    ASSERT_TRUE(transaction.run(kMake));
    for (std::uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(transaction.run(kInsert, {i}));
    ASSERT_TRUE(transaction.commit());
  }
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open_v2(file().c_str(), &handle, SQLITE_OPEN_READONLY, "unix"), SQLITE_OK);
  const auto answer = [&](const char* sql) {
    std::string out;
    const auto keep = [](void* to, int, char** values, char**) {
      *static_cast<std::string*>(to) += values[0];
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(handle, sql, keep, &out, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
    return out;
  };
  EXPECT_EQ(answer("SELECT COUNT(*) FROM large"), "100");
  EXPECT_EQ(answer("PRAGMA integrity_check"), "ok");
  sqlite3_close(handle);
}

TEST_F(JoinedWrites, OfATransactionThatTheDiskDoesNotTakeLeaveNothing) {
  {
    auto transaction = write();
    ASSERT_TRUE(transaction.run(kMake));
    ASSERT_TRUE(transaction.commit());
  }
  {
    const LimitedFiles limited{std::filesystem::file_size(file().string() + "-wal") + 100'000};
    auto transaction = write();
    ASSERT_TRUE(transaction.run(kInsert, {1})) << "in memory until the commit";
    const auto refused = transaction.commit();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::storage_failure);
  }
  auto transaction = write();
  ASSERT_TRUE(transaction.run(kInsert, {2}));
  ASSERT_TRUE(transaction.commit());
  auto snapshot = *database_->read();
  auto rows = *snapshot.query(kCount);
  ASSERT_TRUE(*rows.next());
  EXPECT_EQ(rows.integer(), 1);
}

}  // namespace
}  // namespace cloister::storage
