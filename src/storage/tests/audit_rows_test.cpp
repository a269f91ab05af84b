#include "cloister/storage/audit_rows.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;

class AuditRowsTest : public testing::DatabaseTest {
 protected:
  void begin(std::string_view log) {
    auto transaction = database_->write();
    ASSERT_TRUE(audit_rows::begin_log(*transaction, log, at(0)));
    ASSERT_TRUE(transaction->commit());
  }
  Result<void> append(std::string_view log, std::string_view kind, std::uint8_t leaf) {
    CLOISTER_TRY(transaction, database_->write());
    CLOISTER_CHECK(audit_rows::append(transaction, log, kind, "subject", Bytes{leaf}));
    return transaction.commit();
  }
  std::vector<std::uint64_t> rules(std::string_view log) {
    std::vector<std::uint64_t> out;
    const auto snapshot = database_->read();
    const auto found = audit_rows::rule_leaves(*snapshot, log, 0, 100);
    EXPECT_TRUE(found.ok()) << found.error().text();
    for (const auto& one : *found) out.push_back(one.index);
    return out;
  }
};

TEST_F(AuditRowsTest, EachLogCountsItsOwnLeaves) {
  begin("a");
  begin("b");
  for (std::uint8_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(append("a", "kind", i));
    if (i < 2) {
      ASSERT_TRUE(append("b", "kind", static_cast<std::uint8_t>(10 + i)));
    }
  }
  const auto snapshot = database_->read();
  EXPECT_EQ(*audit_rows::count(*snapshot, "a"), 5U);
  EXPECT_EQ(*audit_rows::leaves(*snapshot, "a", 3, 10), (std::vector<Bytes>{{3}, {4}}));
  EXPECT_EQ(*audit_rows::leaves(*snapshot, "b", 0, 10), (std::vector<Bytes>{{10}, {11}}));
  EXPECT_EQ(*audit_rows::find(*snapshot, "b", "kind", "subject"), 1U);
}

TEST_F(AuditRowsTest, ALeafOfNoLogIsRefused) {
  EXPECT_EQ(append("none", "kind", 1).error().code(), Errc::conflict);
}

TEST_F(AuditRowsTest, EveryKindByWhichGuestsAreJudgedIsFoundAndNoOther) {
  begin("a");
  std::uint8_t leaf = 0;
  for (const auto* kind : {"release", "policy.changed", "policy.removed", "policy", "reference_value.changed", "reference_value.removed",
                           "refused", "revocation.added", "revocation.lifted", "revocation.addee"}) {
    ASSERT_TRUE(append("a", kind, leaf++));
  }
  EXPECT_EQ(rules("a"), (std::vector<std::uint64_t>{1, 2, 4, 5, 7, 8}));
}

/// A database whose index is by a list of kinds.
TEST_F(AuditRowsTest, OfAnOlderDatabaseAreFoundToo) {
  ASSERT_NO_FATAL_FAILURE(open_before("rule_leaves_by_comparison"));
  begin("a");
  ASSERT_TRUE(append("a", "release", 1));
  ASSERT_TRUE(append("a", "policy.changed", 2));
  open();
  ASSERT_TRUE(append("a", "revocation.added", 3));
  EXPECT_EQ(rules("a"), (std::vector<std::uint64_t>{1, 2}));
}

}  // namespace
}  // namespace cloister::storage
