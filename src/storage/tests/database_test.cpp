#include "cloister/storage/database.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <limits>

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;

constexpr Sql kMake{"CREATE TABLE thing (a INTEGER, b TEXT, c BLOB) STRICT"};
constexpr Sql kInsert{"INSERT INTO thing (a, b, c) VALUES (?1, ?2, ?3)"};
constexpr Sql kSelect{"SELECT a, b, c FROM thing ORDER BY rowid"};
constexpr Sql kCount{"SELECT COUNT(*) FROM thing"};

class DatabaseFile : public testing::DatabaseTest {
 protected:
  void SetUp() override {}
  /// Runs SQL on the file as another program would.
  void tamper(const char* sql) const {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &handle), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(handle, sql, nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_close(handle);
  }
  [[nodiscard]] Errc refusal(std::span<const Migration> steps = migrations()) const {
    const auto opened = Database::open(file(), steps);
    EXPECT_FALSE(opened);
    return opened ? Errc::internal : opened.error().code();
  }
};

TEST_F(DatabaseFile, IsMadeWithMode0600AndKeepsItsSchema) {
  open();
  struct stat facts {};
  ASSERT_EQ(::stat(file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0600U);
  open();
  EXPECT_TRUE(database_->read());
}

TEST_F(DatabaseFile, IsDurableAndGuarded) {
  open();
  auto transaction = write();
  const auto pragma = [&](Sql sql) {
    auto rows = *transaction.query(sql);
    EXPECT_TRUE(*rows.next());
    return rows.integer();
  };
  EXPECT_EQ(pragma("PRAGMA synchronous"), 2) << "FULL";
  EXPECT_EQ(pragma("PRAGMA foreign_keys"), 1);
  auto mode = *transaction.query("PRAGMA journal_mode");
  ASSERT_TRUE(*mode.next());
  EXPECT_EQ(mode.text(), "wal");
}

TEST_F(DatabaseFile, TellsItsSizeAndTakesAProbe) {
  open();
  const auto before = *database_->sizes();
  EXPECT_GE(before.database + before.log, 4096U);
  EXPECT_GT(before.free, 0U);
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("INSERT INTO setting (name, value) VALUES ('large', ?1)", {Bytes(1U << 20)});
  }));
  const auto after = *database_->sizes();
  EXPECT_GE(after.database + after.log, before.database + before.log + (1U << 20));
  EXPECT_TRUE(database_->probe());
}

TEST_F(DatabaseFile, BelongsToOneProcess) {
  open();
  EXPECT_EQ(refusal(), Errc::unavailable);
  database_.reset();
  EXPECT_TRUE(Database::open(file()));
}

TEST_F(DatabaseFile, OfANewerProgramIsRefused) {
  open();
  database_.reset();
  tamper("INSERT INTO schema_migration (number, name, digest) VALUES (999, 'future', x'00')");
  EXPECT_EQ(refusal(), Errc::storage_corrupt) << "a step of a wrong digest length";
  tamper("UPDATE schema_migration SET digest = zeroblob(32) WHERE number = 999");
  EXPECT_EQ(refusal(), Errc::database_newer);
}

TEST_F(DatabaseFile, WithAChangedMigrationIsRefused) {
  open();
  database_.reset();
  tamper("UPDATE schema_migration SET digest = zeroblob(32) WHERE number = 1");
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
}

TEST_F(DatabaseFile, WithARenamedMigrationIsRefused) {
  open();
  database_.reset();
  tamper("UPDATE schema_migration SET name = 'other' WHERE number = 1");
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
}

TEST_F(DatabaseFile, OfAnotherProgramIsRefusedAndLeftAlone) {
  tamper("CREATE TABLE theirs (a)");
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
  tamper("INSERT INTO theirs VALUES (1)");
}

TEST_F(DatabaseFile, ThatIsNoDatabaseIsRefused) {
  std::ofstream{file()} << std::string(4096, 'x');
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
}

TEST_F(DatabaseFile, GrowsByLaterMigrationsAndGoesBackToNone) {
  constexpr std::array kTwo{Migration{1, "one", "CREATE TABLE one (a) STRICT"},
                            Migration{2, "two", "CREATE TABLE two (a INTEGER) STRICT"}};
  constexpr std::array kSteps{Migration{1, "one", "CREATE TABLE one (a INTEGER) STRICT"},
                              Migration{2, "two", "CREATE TABLE two (a INTEGER) STRICT"}};
  EXPECT_EQ(refusal(kTwo), Errc::storage_failure) << "a column without a type is not STRICT";
  ASSERT_TRUE(Database::open(file(), std::span{kSteps}.first(1)));
  auto grown = Database::open(file(), kSteps);
  ASSERT_TRUE(grown) << grown.error().text();
  EXPECT_TRUE((*grown)->write()->run("INSERT INTO two (a) VALUES (1)"));
  grown->reset();
  EXPECT_EQ(refusal(std::span{kSteps}.first(1)), Errc::database_newer);
}

TEST_F(DatabaseFile, FailedMigrationLeavesNothingBehind) {
  constexpr std::array kBroken{Migration{1, "one", "CREATE TABLE one (a INTEGER) STRICT; CREATE TABLE one (b)"}};
  constexpr std::array kWhole{Migration{1, "one", "CREATE TABLE one (a INTEGER) STRICT"}};
  EXPECT_EQ(refusal(kBroken), Errc::storage_failure);
  EXPECT_TRUE(Database::open(file(), kWhole));
}

class TransactionTest : public testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    ASSERT_TRUE(commit([](Transaction& t) { return t.run(kMake); }));
  }
  [[nodiscard]] std::int64_t count(const Reading& reading) const {
    auto rows = *reading.query(kCount);
    EXPECT_TRUE(*rows.next());
    return rows.integer();
  }
  [[nodiscard]] Result<std::uint64_t> insert(Transaction& t, std::int64_t a = 1) const {
    return t.run(kInsert, {a, "text", Bytes{1}});
  }
};

TEST_F(TransactionTest, HasNoEffectWithoutCommit) {
  {
    auto transaction = write();
    ASSERT_TRUE(insert(transaction));
    EXPECT_EQ(count(transaction), 1) << "it sees its own writes";
    EXPECT_EQ(count(read()), 0);
  }
  EXPECT_EQ(count(read()), 0);
  auto transaction = write();
  ASSERT_TRUE(insert(transaction));
  ASSERT_TRUE(transaction.commit());
  EXPECT_EQ(count(read()), 1);
}

TEST_F(TransactionTest, SnapshotKeepsWhatItSaw) {
  const auto before = read();
  ASSERT_TRUE(commit([&](Transaction& t) { return insert(t); }));
  EXPECT_EQ(count(before), 0);
  EXPECT_EQ(count(read()), 1);
}

TEST_F(TransactionTest, SnapshotDoesNotWrite) {
  const auto snapshot = read();
  auto rows = snapshot.query(kInsert, {1, "x", nullptr});
  ASSERT_TRUE(rows);
  EXPECT_FALSE(rows->next());
}

TEST_F(TransactionTest, KeepsEveryValueAsItIs) {
  const std::string text{"a\0b\xC3\xA4", 5};
  const Bytes blob{0, 255, 0};
  ASSERT_TRUE(commit([&](Transaction& t) {
    return t.run(kInsert, {std::numeric_limits<std::int64_t>::min(), text, blob});
  }));
  ASSERT_TRUE(commit([&](Transaction& t) { return t.run(kInsert, {at(1), std::string_view{}, ByteView{}}); }));
  ASSERT_TRUE(commit([&](Transaction& t) { return t.run(kInsert, {nullptr, std::optional<std::string>{}, nullptr}); }));
  const auto snapshot = read();
  auto rows = *snapshot.query(kSelect);
  ASSERT_TRUE(*rows.next());
  EXPECT_EQ(rows.integer(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(rows.text(), text);
  EXPECT_EQ(rows.bytes(), blob);
  EXPECT_TRUE(rows.end_row());
  ASSERT_TRUE(*rows.next());
  EXPECT_EQ(rows.time(), at(1));
  EXPECT_EQ(rows.text(), "");
  EXPECT_EQ(rows.bytes(), Bytes{});
  EXPECT_TRUE(rows.end_row());
  ASSERT_TRUE(*rows.next());
  EXPECT_EQ(rows.optional_time(), std::nullopt);
  EXPECT_EQ(rows.optional_text(), std::nullopt);
  EXPECT_TRUE(rows.take_null());
  EXPECT_TRUE(rows.end_row());
  EXPECT_FALSE(*rows.next());
}

TEST_F(TransactionTest, BindsDataAndNeverRunsIt) {
  const std::string hostile = "'); DROP TABLE thing; --";
  ASSERT_TRUE(commit([&](Transaction& t) { return t.run(kInsert, {1, hostile, nullptr}); }));
  const auto snapshot = read();
  auto rows = *snapshot.query(kSelect);
  ASSERT_TRUE(*rows.next());
  EXPECT_EQ(rows.integer(), 1);
  EXPECT_EQ(rows.text(), hostile);
}

TEST_F(TransactionTest, ColumnsOfAnotherTypeAreCorruption) {
  ASSERT_TRUE(commit([&](Transaction& t) { return t.run(kInsert, {-1, "No Id", Bytes{1}}); }));
  const auto snapshot = read();
  const auto refused = [&](auto&& use) {
    auto rows = *snapshot.query(kSelect);
    EXPECT_TRUE(*rows.next());
    use(rows);
    const auto ended = rows.end_row();
    return !ended && ended.error().code() == Errc::storage_corrupt;
  };
  EXPECT_FALSE(refused([](Rows& r) { (void)r.integer(), (void)r.text(), (void)r.bytes(); }));
  EXPECT_TRUE(refused([](Rows& r) { (void)r.uint(), (void)r.text(), (void)r.bytes(); })) << "negative";
  EXPECT_TRUE(refused([](Rows& r) { (void)r.boolean(), (void)r.text(), (void)r.bytes(); }));
  EXPECT_TRUE(refused([](Rows& r) { (void)r.text(), (void)r.text(), (void)r.bytes(); }));
  EXPECT_TRUE(refused([](Rows& r) { (void)r.integer(), (void)r.id<JobId>(), (void)r.bytes(); }));
  EXPECT_TRUE(refused([](Rows& r) { (void)r.integer(), (void)r.text(), (void)r.array<2>(); }));
  EXPECT_TRUE(refused([](Rows& r) { (void)r.integer(), (void)r.text(); })) << "one left";
  EXPECT_TRUE(refused([](Rows& r) { (void)r.integer(), (void)r.text(), (void)r.bytes(), (void)r.text(); }))
      << "too many";
}

TEST_F(TransactionTest, ConstraintsAreConflicts) {
  auto transaction = write();
  EXPECT_EQ(transaction
                .run("INSERT INTO version (id, challenge, spec, configuration, reference, active, registered) "
                     "VALUES ('v', 'none', '{}', x'', '{}', 1, 0)")
                .error()
                .code(),
            Errc::conflict)
      << "a foreign key";
  ASSERT_TRUE(transaction.run("INSERT INTO setting (name, value) VALUES ('a', x'')"));
  EXPECT_EQ(transaction.run("INSERT INTO setting (name, value) VALUES ('a', x'')").error().code(), Errc::conflict);
  EXPECT_TRUE(transaction.commit()) << "what succeeded before stays";
}

TEST_F(TransactionTest, StatementMayRunInsideALoopOverItself) {
  ASSERT_TRUE(commit([&](Transaction& t) { return insert(t, 1); }));
  ASSERT_TRUE(commit([&](Transaction& t) { return insert(t, 2); }));
  const auto snapshot = read();
  std::vector<std::int64_t> seen;
  auto outer = *snapshot.query(kSelect);
  while (*outer.next()) {
    auto inner = *snapshot.query(kSelect);
    while (*inner.next()) seen.push_back(inner.integer());
  }
  EXPECT_EQ(seen, (std::vector<std::int64_t>{1, 2, 1, 2}));
}

TEST_F(TransactionTest, IsNotBegunTwiceByOneThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto first = database_->write();
        (void)database_->write();
      },
      "writing_thread");
}

}  // namespace
}  // namespace cloister::storage
