#include "cloister/revocation/list.hpp"

#include <gtest/gtest.h>

#include "cloister/kms/software.hpp"
#include "cloister/merkle/log.hpp"
#include "support/support.hpp"

namespace cloister::revocation {
namespace {

using test::TempDir;

const UnixTime kNow = from_civil(2026, 6, 1, 0, 0, 0).value();
const std::string kChip(32, 'a');
const std::string kMeasurement(96, 'b');

class ListTest : public testing::Test {
 protected:
  ListTest() { restart(); }
  /// As a new process on the same data.
  void restart() {
    list.reset();
    everywhere.reset();
    log.reset();
    database.reset();
    database = storage::Database::open(dir.path() / "cloister.db").value();
    log = audit::Log::open(*database, *kms, random, {dir.path() / "audit-head.cbor", false}, kNow).value();
    list.emplace(List::Services{*database, *log, random}, tenant);
    everywhere.emplace(List::Services{*database, *log, random}, std::nullopt);
    EXPECT_TRUE(list->load().ok());
    EXPECT_TRUE(everywhere->load().ok());
  }
  [[nodiscard]] Result<List::Record> add(Kind kind, std::string value, std::optional<std::chrono::seconds> lifetime = std::nullopt,
                                         std::string reason = "stolen") {
    return list->add({kind, std::move(value), std::move(reason), lifetime}, "ops", kNow);
  }
  [[nodiscard]] static bool refused(const List& by, const Subjects& guest, UnixTime now = kNow) {
    const auto done = by.check(guest, now);
    EXPECT_TRUE(done || done.error().code() == Errc::attestation_revoked);
    return !done;
  }
  [[nodiscard]] merkle::AuditLeaf leaf(std::string_view kind, std::string_view subject) const {
    return merkle::decode_audit_leaf(log->leaf(log->find(kind, subject).value()).value()).value();
  }

  TempDir dir;
  SystemRandom random;
  std::unique_ptr<kms::SoftwareKms> kms = kms::SoftwareKms::open(dir.path() / "master.key", random).value();
  std::unique_ptr<storage::Database> database;
  std::unique_ptr<audit::Log> log;
  TenantId tenant = TenantId::parse("acme").value();
  std::optional<List> list;
  std::optional<List> everywhere;
};

TEST_F(ListTest, RefusesByEachKindAndByNothingElse) {
  const Subjects guest{std::string(64, '1'), "tok-1", {kMeasurement, std::string(96, 'c')}, {kChip, std::string(12, 'd')}};
  EXPECT_FALSE(refused(*list, guest));
  for (const auto& [kind, value] : {std::pair{Kind::session, guest.session}, {Kind::token, guest.token},
                                    {Kind::measurement, guest.measurements[1]}, {Kind::chip, guest.chips[1]}}) {
    const auto added = add(kind, value);
    ASSERT_TRUE(added.ok()) << added.error().text();
    EXPECT_TRUE(refused(*list, guest)) << to_string(kind);
    EXPECT_FALSE(refused(*list, {std::string(64, '2'), "tok-2", {std::string(96, '3')}, {std::string(32, '4')}}));
    EXPECT_FALSE(refused(*list, {}));
    EXPECT_FALSE(refused(*everywhere, guest));  // which is another list
    ASSERT_TRUE(list->lift(added->id, "ops", kNow).ok());
    EXPECT_FALSE(refused(*list, guest));
  }
}

TEST_F(ListTest, SaysNothingOfWhatItWas) {
  ASSERT_TRUE(add(Kind::chip, kChip, std::nullopt, "a reason of ours").ok());
  const auto text = list->check({"", "", {}, {kChip}}, kNow).error().text();
  for (const auto* word : {"chip", "a reason", "rev-", "ops", kChip.c_str()}) EXPECT_EQ(text.find(word), std::string::npos) << word;
}

TEST_F(ListTest, OutlivesARestart) {
  ASSERT_TRUE(add(Kind::chip, "A" + kChip.substr(1)).ok());  // in any letters
  ASSERT_TRUE(everywhere->add({Kind::measurement, kMeasurement, "weak", std::nullopt}, "root", kNow).ok());
  restart();
  EXPECT_TRUE(refused(*list, {"", "", {}, {kChip}}));
  EXPECT_FALSE(refused(*list, {"", "", {kMeasurement}, {}}));
  EXPECT_TRUE(refused(*everywhere, {"", "", {kMeasurement}, {}}));
  const auto entries = list->entries(kNow).value();
  ASSERT_EQ(entries.size(), 1U);
  ASSERT_TRUE(list->lift(entries[0].id, "ops", kNow).ok());
  restart();
  EXPECT_FALSE(refused(*list, {"", "", {}, {kChip}}));
}

TEST_F(ListTest, EntriesOfSessionsAndTokensEndAndOthersStay) {
  EXPECT_EQ(add(Kind::token, "tok-1")->expires, kNow + kShortLifetime);
  EXPECT_EQ(add(Kind::session, std::string(64, '1'))->expires, kNow + kShortLifetime);
  EXPECT_EQ(add(Kind::measurement, kMeasurement)->expires, std::nullopt);
  EXPECT_EQ(add(Kind::chip, kChip, std::chrono::hours{2})->expires, kNow + std::chrono::hours{2});
  EXPECT_TRUE(refused(*list, {"", "", {}, {kChip}}, kNow + std::chrono::seconds{7199}));
  EXPECT_FALSE(refused(*list, {"", "", {}, {kChip}}, kNow + std::chrono::hours{2}));
  EXPECT_FALSE(refused(*list, {"", "tok-1", {}, {}}, kNow + kShortLifetime));
  EXPECT_TRUE(refused(*list, {"", "", {kMeasurement}, {}}, kNow + kMaxLifetime));
  // What has ended can be revoked again.
  const auto later = list->add({Kind::chip, kChip, "again", std::nullopt}, "ops", kNow + std::chrono::hours{2});
  EXPECT_TRUE(later.ok()) << later.error().text();
}

TEST_F(ListTest, RefusesWhatNamesNothing) {
  const std::pair<Kind, std::string> wrong[] = {{Kind::session, "kbs-session"},        {Kind::session, std::string(32, '1')},
                                                {Kind::token, ""},                     {Kind::token, "Tok 1"},
                                                {Kind::measurement, std::string(94, 'b')}, {Kind::measurement, std::string(96, '0')},
                                                {Kind::chip, "x"},                     {Kind::chip, std::string(128, '0')},
                                                {Kind::chip, std::string(64, 'a')},    {Kind::chip, ""}};
  for (const auto& [kind, value] : wrong) {
    EXPECT_EQ(add(kind, value).error().code(), Errc::invalid_argument) << to_string(kind) << ' ' << value;
  }
  for (const auto& reason : {std::string{}, std::string{"two\nlines"}, std::string(kMaxReason + 1, 'x'), std::string{"\xFF"}}) {
    EXPECT_EQ(add(Kind::chip, kChip, std::nullopt, reason).error().code(), Errc::invalid_argument) << reason;
  }
  for (const auto lifetime : {std::chrono::seconds{3599}, std::chrono::seconds{kMaxLifetime} + std::chrono::seconds{1}}) {
    EXPECT_EQ(add(Kind::chip, kChip, lifetime).error().code(), Errc::invalid_argument) << lifetime.count();
  }
  EXPECT_TRUE(list->entries(kNow)->empty());
}

TEST_F(ListTest, RevokesOnceAndLiftsOnce) {
  const auto id = add(Kind::chip, kChip)->id;
  EXPECT_EQ(add(Kind::chip, kChip).error().code(), Errc::conflict);
  EXPECT_EQ(everywhere->lift(id, "ops", kNow).error().code(), Errc::not_found);
  EXPECT_TRUE(list->lift(id, "ops", kNow).ok());
  EXPECT_EQ(list->lift(id, "ops", kNow).error().code(), Errc::not_found);
}

TEST_F(ListTest, EveryChangeIsInTheLog) {
  const auto added = add(Kind::chip, kChip, std::chrono::hours{2}).value();
  const auto told = leaf(kAdded, added.id);
  EXPECT_EQ(*told.detail<std::string>("tenant"), "acme");
  EXPECT_EQ(*told.detail<std::string>("kind"), "chip");
  EXPECT_EQ(*told.detail<std::string>("value"), kChip);
  EXPECT_EQ(*told.detail<std::string>("reason"), "stolen");
  EXPECT_EQ(*told.detail<std::string>("by"), "ops");
  EXPECT_EQ(*told.detail<std::uint64_t>("expires"), static_cast<std::uint64_t>(to_micros(kNow + std::chrono::hours{2})));
  ASSERT_TRUE(list->lift(added.id, "other", kNow).ok());
  EXPECT_EQ(*leaf(kLifted, added.id).detail<std::string>("by"), "other");
  const auto all = everywhere->add({Kind::chip, kChip, "recalled", std::nullopt}, "root", kNow).value();
  EXPECT_EQ(leaf(kAdded, all.id).detail<std::string>("tenant"), nullptr);
}

// Whoever keeps a head from now on proves it, and a database from before is refused.
TEST_F(ListTest, EveryChangeIsUnderAHeadWhenItIsAnswered) {
  const auto covered = [&](std::string_view kind, const std::string& id) { return log->find(kind, id).value() < log->head().head.tree_size; };
  const auto added = add(Kind::chip, kChip).value();
  EXPECT_TRUE(covered(kAdded, added.id));
  ASSERT_TRUE(list->lift(added.id, "ops", kNow).ok());
  EXPECT_TRUE(covered(kLifted, added.id));
}

TEST_F(ListTest, WhereNoHeadCanBeSignedItHoldsAndSaysSo) {
  const auto run = [&](storage::Sql sql) {
    auto transaction = database->write();
    ASSERT_TRUE(transaction->run(sql).ok());
    ASSERT_TRUE(transaction->commit().ok());
  };
  run("ALTER TABLE audit_node RENAME TO elsewhere");
  const auto added = add(Kind::chip, kChip);
  ASSERT_FALSE(added.ok());
  EXPECT_NE(added.error().detail().find("is done and in the audit log"), std::string::npos) << added.error().detail();
  EXPECT_TRUE(refused(*list, {"", "", {}, {kChip}}));
  run("ALTER TABLE elsewhere RENAME TO audit_node");
  EXPECT_TRUE(log->cover(kNow).ok());
}

TEST_F(ListTest, NothingChangesThatTheLogDoesNotTake) {
  const auto kept = add(Kind::chip, kChip).value();
  auto transaction = database->write();
  ASSERT_TRUE(transaction->run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
  ASSERT_TRUE(transaction->commit().ok());
  EXPECT_FALSE(add(Kind::measurement, kMeasurement).ok());
  EXPECT_FALSE(list->lift(kept.id, "ops", kNow).ok());
  EXPECT_FALSE(refused(*list, {"", "", {kMeasurement}, {}}));
  EXPECT_TRUE(refused(*list, {"", "", {}, {kChip}}));
}

TEST_F(ListTest, IsBounded) {
  auto transaction = database->write();
  for (std::size_t i = 0; i < kMaxEntries; ++i) {
    ASSERT_TRUE(storage::revocations::add(*transaction, tenant, {"rev-" + std::to_string(i), "token", "tok-" + std::to_string(i), "r", "ops", kNow, std::nullopt}).ok());
  }
  ASSERT_TRUE(transaction->commit().ok());
  restart();
  EXPECT_TRUE(refused(*list, {"", "tok-9999", {}, {}}));
  EXPECT_EQ(add(Kind::chip, kChip).error().code(), Errc::limit_exceeded);
  EXPECT_FALSE(refused(*list, {"", "", {}, {kChip}}));
  ASSERT_TRUE(list->lift("rev-1", "ops", kNow).ok());
  EXPECT_TRUE(add(Kind::chip, kChip).ok());
}

}  // namespace
}  // namespace cloister::revocation
