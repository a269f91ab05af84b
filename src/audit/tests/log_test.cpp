#include "cloister/audit/log.hpp"

#include <filesystem>
#include <fstream>

#include "cloister/merkle/kinds.hpp"
#include "cloister/storage/audit_rows.hpp"
#include "cloister/storage/files.hpp"
#include "fixture.hpp"

namespace cloister::audit {
namespace {

using testing::at;

class LogTest : public testing::LogFixture {
 protected:
  void SetUp() override {
    LogFixture::SetUp();
    open();
  }
  [[nodiscard]] merkle::SignedHead file_head() const {
    return *merkle::decode_signed_head(test::read_file(head_file()));
  }
  [[nodiscard]] Errc refusal() {
    const auto opened = try_open();
    EXPECT_FALSE(opened);
    return opened ? Errc::internal : opened.error().code();
  }
  /// Database and head file as they are now, to be put back later.
  void keep_copy() {
    log_.reset();
    database_.reset();
    std::filesystem::copy_file(database_file(), dir_.path() / "copy.db");
    std::filesystem::copy_file(head_file(), dir_.path() / "copy.head");
    open_database();
    open();
  }
  void restore_copy() {
    log_.reset();
    database_.reset();
    std::filesystem::copy_file(dir_.path() / "copy.db", database_file(),
                               std::filesystem::copy_options::overwrite_existing);
    open_database();
  }
  void tamper(storage::Sql sql) {
    auto transaction = *database_->write();
    const auto changed = transaction.run(sql);
    ASSERT_TRUE(changed) << changed.error().text();
    ASSERT_GT(*changed, 0U);
    ASSERT_TRUE(transaction.commit());
  }
};

TEST_F(LogTest, BeginsWithASignedEmptyHead) {
  const auto head = log_->head();
  EXPECT_EQ(head.head.tree_size, 0U);
  EXPECT_EQ(head.head.root, merkle::empty_root());
  EXPECT_EQ(head.head.log_id, log_->id());
  EXPECT_TRUE(merkle::verify(head, log_->key()));
  EXPECT_EQ(file_head(), head);
}

TEST_F(LogTest, HeadCoversWhatWasCommitted) {
  EXPECT_EQ(append("a"), 0U);
  EXPECT_EQ(append("b"), 1U);
  EXPECT_EQ(log_->head().head.tree_size, 0U) << "before it advances";
  const auto head = *log_->advance(at(5));
  EXPECT_EQ(head.head.tree_size, 2U);
  EXPECT_EQ(head.head.time, at(5));
  EXPECT_EQ(head.head.root, merkle::node_hash(merkle::leaf_hash(*log_->leaf(0)), merkle::leaf_hash(*log_->leaf(1))));
  EXPECT_TRUE(merkle::verify(head, log_->key()));
  EXPECT_EQ(log_->head(), head);
  EXPECT_EQ(file_head(), head);
  EXPECT_EQ(*log_->advance(at(9)), head) << "nothing to add, nothing to sign";
}

TEST_F(LogTest, LeafOfADroppedTransactionIsNotThere) {
  {
    auto transaction = *database_->write();
    ASSERT_TRUE(log_->append(transaction, {at(1), "test.act", "dropped", {}}));
  }
  EXPECT_EQ(append("kept"), 0U);
  EXPECT_EQ(log_->advance(at(2))->head.tree_size, 1U);
  EXPECT_EQ(merkle::decode_audit_leaf(*log_->leaf(0))->subject, "kept");
  EXPECT_EQ(log_->leaf(1).error().code(), Errc::not_found);
}

TEST_F(LogTest, RefusesALeafBeyondItsLimits) {
  auto transaction = *database_->write();
  EXPECT_EQ(log_->append(transaction, {at(1), "No Kind", "x", {}}).error().code(), Errc::invalid_argument);
}

TEST_F(LogTest, ProvesEveryLeafUnderEveryHead) {
  std::vector<merkle::SignedHead> heads;
  for (int i = 0; i < 11; ++i) {
    append_many(1);
    heads.push_back(*log_->advance(at(i)));
  }
  for (const auto& head : heads) {
    const auto size = head.head.tree_size;
    for (std::uint64_t index = 0; index < size; ++index) {
      const auto proof = log_->prove_inclusion(index, size);
      ASSERT_TRUE(proof) << proof.error().text();
      EXPECT_TRUE(merkle::verify_inclusion(*proof, merkle::leaf_hash(*log_->leaf(index)), head.head.root));
    }
    const auto newest = heads.back().head;
    const auto proof = log_->prove_consistency(size, newest.tree_size);
    ASSERT_TRUE(proof);
    EXPECT_TRUE(merkle::verify_consistency(*proof, head.head.root, newest.root));
  }
}

TEST_F(LogTest, ProvesNothingBeyondTheNewestHead) {
  append_many(2);
  ASSERT_TRUE(log_->advance(at(1)));
  append_many(1);
  EXPECT_EQ(log_->prove_inclusion(2, 3).error().code(), Errc::not_found);
  EXPECT_EQ(log_->prove_inclusion(0, 3).error().code(), Errc::not_found);
  EXPECT_EQ(log_->prove_inclusion(1, 1).error().code(), Errc::invalid_argument);
  EXPECT_EQ(log_->prove_inclusion(UINT64_MAX, UINT64_MAX).error().code(), Errc::not_found);
  EXPECT_EQ(log_->prove_consistency(1, 3).error().code(), Errc::not_found);
  EXPECT_EQ(log_->prove_consistency(0, 2).error().code(), Errc::invalid_argument);
  EXPECT_EQ(log_->leaf(UINT64_MAX).error().code(), Errc::not_found);
}

TEST_F(LogTest, FindsTheNewestLeafAboutASubject) {
  (void)append("job-1", "result.accepted");
  (void)append("job-2", "result.accepted");
  (void)append("job-1", "job.cancelled");
  (void)append("job-1", "result.accepted");
  EXPECT_EQ(*log_->find("result.accepted", "job-1"), 3U);
  EXPECT_EQ(*log_->find("result.accepted", "job-2"), 1U);
  EXPECT_EQ(log_->find("result.refused", "job-2").error().code(), Errc::not_found);
  EXPECT_EQ(log_->leaves(1, 2)->size(), 2U);
  EXPECT_EQ(log_->leaves(3, 100)->size(), 1U);
}

TEST_F(LogTest, GoesOnAfterARestart) {
  append_many(5);
  const auto before = *log_->advance(at(1));
  append_many(1);
  open_database();
  open();
  EXPECT_EQ(log_->head(), before);
  append_many(1);
  const auto after = *log_->advance(at(2));
  EXPECT_EQ(after.head.log_id, before.head.log_id);
  EXPECT_EQ(after.head.tree_size, 7U);
  EXPECT_TRUE(merkle::verify_consistency(*log_->prove_consistency(5, 7), before.head.root, after.head.root));
  EXPECT_TRUE(log_->check());
}

TEST_F(LogTest, TakesAHeadFileThatIsOlderThanTheDatabase) {
  append_many(2);
  ASSERT_TRUE(log_->advance(at(1)));
  std::filesystem::copy_file(head_file(), dir_.path() / "older");
  append_many(3);
  const auto head = *log_->advance(at(2));
  std::filesystem::rename(dir_.path() / "older", head_file());
  open_database();
  open();
  EXPECT_EQ(log_->head(), head);
  EXPECT_EQ(file_head(), head) << "the file catches up";
}

TEST_F(LogTest, RefusesADatabaseThatWasSetBack) {
  append_many(3);
  ASSERT_TRUE(log_->advance(at(1)));
  keep_copy();
  append_many(1);
  ASSERT_TRUE(log_->advance(at(2)));
  restore_copy();
  EXPECT_EQ(refusal(), Errc::database_behind_head);
}

TEST_F(LogTest, RefusesADatabaseThatWentAnotherWay) {
  append_many(3);
  ASSERT_TRUE(log_->advance(at(1)));
  keep_copy();
  (void)append("one way");
  ASSERT_TRUE(log_->advance(at(2)));
  const auto kept = test::read_file(head_file());
  restore_copy();
  std::filesystem::copy_file(dir_.path() / "copy.head", head_file(), std::filesystem::copy_options::overwrite_existing);
  open();
  (void)append("another way");
  (void)append("and further");
  ASSERT_TRUE(log_->advance(at(3)));
  open_database();
  std::ofstream{head_file(), std::ios::binary} << as_text(kept);
  EXPECT_EQ(refusal(), Errc::database_behind_head);
}

TEST_F(LogTest, RefusesANewDatabaseBesideAHeadFile) {
  append_many(1);
  ASSERT_TRUE(log_->advance(at(1)));
  log_.reset();
  database_.reset();
  std::filesystem::remove(database_file());
  open_database();
  EXPECT_EQ(refusal(), Errc::database_behind_head);
}

TEST_F(LogTest, RefusesToGoOnWithoutItsHeadFile) {
  open_database();
  std::filesystem::remove(head_file());
  open();
  EXPECT_TRUE(std::filesystem::exists(head_file())) << "a log without leaves may begin again";
  append_many(1);
  open_database();
  std::filesystem::remove(head_file());
  EXPECT_EQ(refusal(), Errc::database_behind_head);
}

TEST_F(LogTest, RefusesAHeadFileOfAnotherKeyOrNoHead) {
  const kms::SoftwareKms other{crypto::Secret<32>{ByteArray<32>{2}}, random_};
  auto forged = log_->head();
  forged.signature = *other.sign(kSigningKey, merkle::encode(forged.head));
  open_database();
  std::ofstream{head_file(), std::ios::binary} << as_text(merkle::encode(forged));
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
  std::ofstream{head_file(), std::ios::binary} << "no head";
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
}

TEST_F(LogTest, RefusesTheDatabaseOfAnotherMasterKey) {
  const kms::SoftwareKms other{crypto::Secret<32>{ByteArray<32>{2}}, random_};
  log_.reset();
  const auto opened = Log::open(*database_, other, random_, {head_file()}, at(0));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Errc::storage_corrupt);
}

TEST_F(LogTest, AcceptedRollbackBeginsANewLogThatNamesBothHeads) {
  append_many(3);
  const auto kept = *log_->advance(at(1));
  keep_copy();
  append_many(1);
  const auto lost = *log_->advance(at(2));
  restore_copy();
  open(true);
  EXPECT_NE(log_->id(), kept.head.log_id);
  EXPECT_EQ(log_->head().head.tree_size, 1U);
  const auto first = *merkle::decode_audit_leaf(*log_->leaf(0));
  EXPECT_EQ(first.kind, "log.rollback");
  EXPECT_EQ(*first.detail<std::string>("database_log"), kept.head.log_id);
  EXPECT_EQ(*first.detail<std::uint64_t>("database_size"), 3U);
  EXPECT_EQ(*first.detail<Bytes>("database_root"), to_bytes(ByteView{kept.head.root}));
  EXPECT_EQ(*first.detail<std::string>("file_log"), lost.head.log_id);
  EXPECT_EQ(*first.detail<std::uint64_t>("file_size"), 4U);
  EXPECT_EQ(*first.detail<Bytes>("file_root"), to_bytes(ByteView{lost.head.root}));
  const auto id = log_->id();
  open_database();
  open();
  EXPECT_EQ(log_->id(), id) << "from now on without being asked";
}

TEST_F(LogTest, NoLogBeginsWithoutTheRollbackThatItBeganBy) {
  append_many(3);
  const auto kept = *log_->advance(at(1));
  open_database();
  std::filesystem::remove(head_file());
  // The file cannot be written: as if the server had ended between the two.
  const auto draft = head_file().string() + ".new";
  std::filesystem::create_directory(draft);
  EXPECT_EQ(try_open(true).error().code(), Errc::io_error);
  std::filesystem::remove(draft);
  EXPECT_EQ(refusal(), Errc::database_behind_head) << "it has a leaf, and its head file is missing";
  open(true);
  const auto logs = *log_->logs();
  EXPECT_EQ(logs.size(), 3U);
  for (const auto& log : logs) {
    const auto snapshot = database_->read();
    const auto first = storage::audit_rows::leaves(*snapshot, log.id, 0, 1).value();
    ASSERT_FALSE(first.empty()) << log.id;
    const bool began_by_it = merkle::decode_audit_leaf(first[0])->kind == merkle::kRollbackKind;
    EXPECT_EQ(began_by_it, log.id != kept.head.log_id);
  }
}

TEST_F(LogTest, AcceptingNoRollbackChangesNothing) {
  append_many(1);
  ASSERT_TRUE(log_->advance(at(1)));
  const auto id = log_->id();
  open_database();
  open(true);
  EXPECT_EQ(log_->id(), id);
}

TEST_F(LogTest, FindsAChangedLeaf) {
  append_many(600);
  ASSERT_TRUE(log_->advance(at(1)));
  EXPECT_TRUE(log_->check());
  tamper("UPDATE audit_row SET leaf = (SELECT leaf FROM audit_row r WHERE r.position = 0) WHERE position = 555");
  EXPECT_EQ(log_->check().error().code(), Errc::storage_corrupt);
}

TEST_F(LogTest, RefusesChangedNodesHeadsAndMissingRows) {
  append_many(3);
  ASSERT_TRUE(log_->advance(at(1)));
  keep_copy();
  tamper("UPDATE audit_node SET hash = zeroblob(32) WHERE level = 0 AND position = 2");
  open_database();
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
  restore_copy();
  tamper("DELETE FROM audit_row WHERE position = 2");
  open_database();
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
  restore_copy();
  tamper("DELETE FROM audit_head");
  open_database();
  EXPECT_EQ(refusal(), Errc::storage_corrupt);
  restore_copy();
  tamper("DELETE FROM audit_head WHERE tree_size = 3");
  open_database();
  EXPECT_EQ(refusal(), Errc::database_behind_head);
}

TEST_F(LogTest, WritesTheHeadFileAgainWhenItCouldNot) {
  append_many(1);
  std::filesystem::remove(head_file());
  std::filesystem::create_directory(head_file());
  EXPECT_EQ(log_->advance(at(1)).error().code(), Errc::io_error);
  EXPECT_EQ(log_->head().head.tree_size, 0U) << "a head counts once it is outside too";
  std::filesystem::remove(head_file());
  EXPECT_EQ(log_->advance(at(2))->head.tree_size, 1U);
  EXPECT_EQ(file_head(), log_->head());
}

// --- another key ---

class HandOnTest : public testing::LogFixture {
 protected:
  [[nodiscard]] Result<bool> hand_on(const Log::With& with = [](storage::Transaction&) { return details(); }) {
    return Log::hand_on(*database_, kms_, heir_, random_, head_file(), testing::at(5), with);
  }
  static Result<Details> details() {
    return Details{{"why", std::string{"test"}}};
  }
  [[nodiscard]] Result<std::unique_ptr<Log>> open_by(const kms::Kms& kms) {
    return Log::open(*database_, kms, random_, {head_file(), false}, testing::at(6));
  }
  kms::SoftwareKms heir_{crypto::Secret<32>{ByteArray<32>{9}}, random_};
};

TEST_F(HandOnTest, EachLogNamesTheOtherUnderItsOwnKey) {
  open();
  append_many(3);
  (void)log_->advance(testing::at(2)).value();
  append_many(2);  // not under a head yet
  const auto old_log = log_->id();
  const auto old_key = log_->key();
  log_.reset();
  const auto moved = hand_on();
  ASSERT_TRUE(moved) << moved.error().text();
  EXPECT_TRUE(*moved);
  EXPECT_TRUE(*Log::is_of(*database_, heir_));
  EXPECT_FALSE(*Log::is_of(*database_, kms_));
  const auto heir = open_by(heir_);
  ASSERT_TRUE(heir) << heir.error().text();
  EXPECT_NE((*heir)->id(), old_log);
  EXPECT_NE((*heir)->key(), old_key);
  EXPECT_EQ((*heir)->head().head.tree_size, 1U);

  const auto snapshot = database_->read().value();
  const auto end = merkle::decode_signed_head(storage::audit_rows::last_head(snapshot, old_log).value().value()).value();
  EXPECT_TRUE(merkle::verify(end, old_key));
  EXPECT_EQ(end.head.tree_size, 6U);
  const auto last = merkle::decode_audit_leaf(storage::audit_rows::leaves(snapshot, old_log, 5, 1).value().at(0)).value();
  EXPECT_EQ(last.kind, "log.handed_on");
  EXPECT_EQ(last.subject, (*heir)->id());
  EXPECT_EQ(*last.detail<Bytes>("key"), to_bytes(ByteView{(*heir)->key()}));
  EXPECT_EQ(*last.detail<std::string>("why"), "test");
  const auto first = merkle::decode_audit_leaf((*heir)->leaf(0).value()).value();
  EXPECT_EQ(first.kind, "log.taken_over");
  EXPECT_EQ(first.subject, old_log);
  EXPECT_EQ(*first.detail<std::uint64_t>("before_size"), 6U);
  EXPECT_EQ(*first.detail<Bytes>("before_root"), to_bytes(ByteView{end.head.root}));
  EXPECT_EQ(*first.detail<Bytes>("before_key"), to_bytes(ByteView{old_key}));
  EXPECT_EQ(open_by(kms_).error().code(), Errc::storage_corrupt);  // the old key signs no more
}

TEST_F(HandOnTest, WhatFailsLeavesTheOldLog) {
  open();
  append_many(2);
  const auto before = log_->advance(testing::at(2)).value();
  log_.reset();
  const auto refused = hand_on([](storage::Transaction&) -> Result<Details> {
    return Error{Errc::unavailable, "HSM: gone"};
  });
  EXPECT_EQ(refused.error().code(), Errc::unavailable);
  open();
  EXPECT_EQ(log_->head(), before);
  log_.reset();
  EXPECT_EQ(Log::hand_on(*database_, kms_, kms_, random_, head_file(), testing::at(5), [](storage::Transaction&) { return details(); }).error().code(),
            Errc::invalid_argument);
}

/// The commit was the last that happened: the head file is still the old log's.
TEST_F(HandOnTest, ACrashBeforeTheHeadFileIsMadeUpFor) {
  open();
  append_many(2);
  (void)log_->advance(testing::at(2)).value();
  log_.reset();
  const auto kept = storage::read_small_file(head_file(), 4096).value().value();
  ASSERT_TRUE(hand_on());
  ASSERT_TRUE(storage::replace_file(head_file(), kept));
  EXPECT_EQ(open_by(heir_).error().code(), Errc::storage_corrupt);  // not passed over in silence
  int asked = 0;
  const auto again = hand_on([&asked](storage::Transaction&) {
    ++asked;
    return details();
  });
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_FALSE(*again);
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(open_by(heir_).ok());
  EXPECT_FALSE(*hand_on());  // and a third time nothing
}

TEST_F(HandOnTest, AHeadFileThatTheDatabaseDoesNotHoldIsRefused) {
  open();
  append_many(1);
  (void)log_->advance(testing::at(2)).value();
  log_.reset();
  ASSERT_TRUE(hand_on());
  const auto later = storage::read_small_file(head_file(), 4096).value().value();
  std::filesystem::remove(head_file());
  EXPECT_EQ(hand_on().error().code(), Errc::database_behind_head);
  merkle::AuditHead other{"log-other", 7, merkle::empty_root(), testing::at(3)};
  const auto signature = kms_.sign(kSigningKey, merkle::encode(other)).value();
  ASSERT_TRUE(storage::replace_file(head_file(), merkle::encode(merkle::SignedHead{other, signature})));
  EXPECT_EQ(hand_on().error().code(), Errc::database_behind_head);
  ASSERT_TRUE(storage::replace_file(head_file(), later));
  EXPECT_FALSE(*hand_on());
}

}  // namespace
}  // namespace cloister::audit
