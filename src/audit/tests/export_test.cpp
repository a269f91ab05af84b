// Logs as they are exported: pages that make a file which anybody can check, also of logs that were given up.
#include "cloister/merkle/export.hpp"

#include <filesystem>

#include "cloister/codec/json.hpp"
#include "fixture.hpp"

namespace cloister::audit {
namespace {

using testing::at;

class LogExport : public testing::LogFixture {
 protected:
  void SetUp() override {
    LogFixture::SetUp();
    open();
  }
  struct Exported {
    std::string text;
    int pages = 0;
  };
  [[nodiscard]] Exported exported(Log::ExportQuery query) const {
    Exported out;
    for (;;) {
      const auto page = log_->export_page(query);
      EXPECT_TRUE(page) << page.error().text();
      if (!page) return out;
      if (out.pages++ == 0) out.text = codec::json::write(merkle::to_json(page->header)) + '\n';
      for (const auto& entry : page->entries) out.text += codec::json::write(merkle::to_json(entry)) + '\n';
      if (page->next == page->to) return out;
      EXPECT_GT(page->next, query.from);
      query.from = page->next;
      query.to = page->to;
    }
  }
  /// The head that the export ends with, once it was checked against what was kept.
  [[nodiscard]] std::optional<merkle::SignedHead> check(const std::string& text, std::vector<merkle::KeptHead> kept = {}) const {
    merkle::ExportCheck check{{log_->key()}, std::move(kept)};
    check.feed(text);
    const auto& finding = check.finish();
    EXPECT_FALSE(finding) << (finding ? finding->detail : "");
    return finding ? std::optional<merkle::SignedHead>{} : check.head();
  }
};

TEST_F(LogExport, IsWholeWhereverItBegins) {
  std::vector<merkle::KeptHead> kept;
  for (int i = 0; i < 9; ++i) {
    append_many(i);
    kept.push_back({"kept", *log_->advance(at(i))});
  }
  append_many(3);  // which no head covers
  const auto newest = log_->head();
  EXPECT_EQ(check(exported({}).text, kept), newest);
  for (std::uint64_t from = 0; from <= newest.head.tree_size; ++from) {
    EXPECT_EQ(check(exported({.from = from}).text, {{"newest", newest}}), newest);
  }
  for (const auto& one : kept) {
    const auto size = one.head.head.tree_size;
    EXPECT_EQ(check(exported({.to = size}).text, {one}), one.head);
    EXPECT_EQ(check(exported({.from = size, .to = size}).text, {one}), one.head);
  }
}

TEST_F(LogExport, OfAnEmptyLogIsItsHead) { EXPECT_EQ(check(exported({}).text), log_->head()); }

TEST_F(LogExport, OfALargeLogComesInPages) {
  const std::string large(10'000, 'x');
  for (int i = 0; i < 300; ++i) {
    auto transaction = *database_->write();
    ASSERT_TRUE(log_->append(transaction, {at(1), "test.act", "s", {{"large", large}}}));
    ASSERT_TRUE(transaction.commit());
    if (i % 7 == 0) {
      ASSERT_TRUE(log_->advance(at(2)));
    }
  }
  const auto head = *log_->advance(at(3));
  const auto out = exported({});
  EXPECT_EQ(check(out.text), head);
  EXPECT_GT(out.pages, 4);
  const auto page = log_->export_page({});
  std::size_t bytes = 0;
  for (const auto& entry : page->entries) bytes += codec::json::write(merkle::to_json(entry)).size();
  EXPECT_LT(bytes, 2U << 20);
}

TEST_F(LogExport, RefusesWhatThereIsNot) {
  append_many(3);
  ASSERT_TRUE(log_->advance(at(1)));
  append_many(2);
  const auto refusal = [this](const Log::ExportQuery& query) { return log_->export_page(query).error().code(); };
  EXPECT_EQ(refusal({.log = "log-none"}), Errc::not_found);
  EXPECT_EQ(refusal({.from = 4}), Errc::invalid_argument);
  EXPECT_EQ(refusal({.to = 2}), Errc::not_found) << "no head covers exactly two";
  EXPECT_EQ(refusal({.to = 5}), Errc::not_found);
  EXPECT_EQ(refusal({.to = UINT64_MAX}), Errc::not_found);
}

TEST_F(LogExport, RefusesALogWithAHole) {
  append_many(3);
  ASSERT_TRUE(log_->advance(at(1)));
  auto transaction = *database_->write();
  ASSERT_TRUE(transaction.run("DELETE FROM audit_row"));
  ASSERT_TRUE(transaction.commit());
  EXPECT_EQ(log_->export_page({}).error().code(), Errc::storage_corrupt);
}

TEST_F(LogExport, LogsThatWereGivenUpAreStillThere) {
  append_many(3);
  const auto kept = *log_->advance(at(1));
  append_many(1);  // which no head covers, and never will
  open_database();
  std::filesystem::remove(head_file());
  open(true);
  append_many(1);
  const auto now = *log_->advance(at(2));
  const auto logs = *log_->logs();
  ASSERT_EQ(logs.size(), 2U);
  EXPECT_EQ(logs[0].id, kept.head.log_id);
  EXPECT_EQ(logs[0].leaves, 4U);
  EXPECT_EQ(logs[0].size, 3U);
  EXPECT_EQ(logs[1].id, log_->id());
  EXPECT_EQ(logs[1].size, 2U);
  EXPECT_EQ(check(exported({.log = kept.head.log_id}).text, {{"kept", kept}}), kept);
  EXPECT_EQ(check(exported({}).text), now);
  // The head of the one before is none of this one's.
  merkle::ExportCheck check{{log_->key()}, {{"kept", kept}}};
  check.feed(exported({}).text);
  ASSERT_TRUE(check.finish());
  EXPECT_EQ(check.finish()->fault, merkle::ExportFault::earlier_head_of_another_log);
}

}  // namespace
}  // namespace cloister::audit
