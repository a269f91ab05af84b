// Rows that were edited behind the server's back, one at a time, on a real database with its audit log.
#include "cloister/kbs/agreement.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/revocation/list.hpp"
#include "cloister/storage/broker_rules.hpp"
#include "support/support.hpp"

namespace cloister::kbs {
namespace {

using revocation::Kind;
namespace rules = storage::broker_rules;

const UnixTime kNow = from_civil(2026, 6, 1, 0, 0, 0).value();
const TenantId kTenant = TenantId::parse("acme").value();

class Agreement : public testing::Test {
 protected:
  Agreement() {
    open();
    chip = list().add({Kind::chip, std::string(32, 'a'), "stolen", std::nullopt}, "ops", kNow).value().id;
    token = list().add({Kind::token, "tok-1", "lost", std::nullopt}, "ops", kNow).value().id;
    set_policy("resource/keys", {std::string{rules::kResource}, "keys", "default/key", "package policy", kNow});
    set_values(R"({"svn":1})");
  }
  void open(bool accept = false) {
    log.reset();
    log = audit::Log::open(*database, *kms, random, {dir.path() / "audit-head.cbor", accept}, kNow).value();
  }
  [[nodiscard]] revocation::List list() { return {revocation::List::Services{*database, *log, random}, kTenant}; }
  void append(storage::Transaction& transaction, std::string_view kind, std::string_view subject, audit::Details details) {
    details.emplace_back("tenant", kTenant.str());
    ASSERT_TRUE(log->append(transaction, {kNow, std::string{kind}, std::string{subject}, std::move(details)}).ok());
  }
  static Bytes digest(std::string_view text) { return to_bytes(ByteView{crypto::sha256(as_bytes(text))}); }
  /// As the rule book does it.
  void set_policy(std::string_view subject, const rules::Policy& policy) {
    auto transaction = database->write().value();
    ASSERT_TRUE(rules::set(transaction, kTenant, policy).ok());
    append(transaction, kPolicyChanged, subject, {{"policy", digest(policy.text)}, {"scope", policy.scope}});
    ASSERT_TRUE(transaction.commit().ok());
    ASSERT_TRUE(log->cover(kNow).ok());
  }
  void set_values(std::string_view values) {
    auto transaction = database->write().value();
    ASSERT_TRUE(rules::set_reference_values(transaction, kTenant, values).ok());
    append(transaction, kReferenceChanged, "svn", {{"value", digest("1")}, {"values", digest(values)}});
    ASSERT_TRUE(transaction.commit().ok());
    ASSERT_TRUE(log->cover(kNow).ok());
  }
  void run(storage::Sql sql, std::initializer_list<storage::Param> params = {}) {
    auto transaction = database->write().value();
    const auto changed = transaction.run(sql, params);
    ASSERT_TRUE(changed.ok()) << changed.error().text();
    ASSERT_GT(*changed, 0U);
    ASSERT_TRUE(transaction.commit().ok());
  }
  /// What is said of the database as it is; after it was accepted, nothing.
  [[nodiscard]] std::string said(UnixTime now = kNow) {
    const auto checked = check_agreement(*database, *log, false, now);
    if (checked) return "";
    if (checked.error().code() != Errc::database_behind_head) return checked.error().text();
    EXPECT_TRUE(check_agreement(*database, *log, true, now).ok());
    EXPECT_TRUE(check_agreement(*database, *log, false, now).ok());
    const auto last = log->head().head.tree_size - 1;
    const auto leaf = merkle::decode_audit_leaf(log->leaf(last).value()).value();
    EXPECT_EQ(*leaf.detail<std::string>("by"), "accept-rollback");
    return checked.error().detail();
  }

  test::TempDir dir;
  SystemRandom random;
  std::unique_ptr<kms::SoftwareKms> kms = kms::SoftwareKms::open(dir.path() / "master.key", random).value();
  std::unique_ptr<storage::Database> database = storage::Database::open(dir.path() / "cloister.db").value();
  std::unique_ptr<audit::Log> log;
  std::string chip;
  std::string token;
};

TEST_F(Agreement, IsThereOfWhatWasChangedInTheOpen) {
  EXPECT_EQ(said(), "");
  ASSERT_TRUE(list().lift(chip, "ops", kNow).ok());
  set_values(R"({"svn":2})");
  EXPECT_EQ(said(), "");
  open();
  EXPECT_EQ(said(), "");
}

TEST_F(Agreement, MissesARevocationThatIsGone) {
  run("DELETE FROM revocation WHERE id = ?1", {chip});
  EXPECT_NE(said().find("revocation " + chip + ": leaf 0 of the audit log says that it holds"), std::string::npos);
}

TEST_F(Agreement, LetsRevocationsEnd) {
  run("DELETE FROM revocation WHERE id = ?1", {token});
  EXPECT_EQ(said(kNow + revocation::kShortLifetime), "");
  EXPECT_NE(said(kNow + revocation::kShortLifetime - std::chrono::seconds{1}).find(token), std::string::npos);
}

TEST_F(Agreement, SeesARevocationThatIsAnother) {
  run("UPDATE revocation SET value = ?2 WHERE id = ?1", {chip, std::string(32, 'b')});
  EXPECT_NE(said().find("revocation " + chip + ", of a chip: it is not what leaf 0"), std::string::npos);
}

TEST_F(Agreement, SeesEachMemberOfARevocation) {
  run("UPDATE revocation SET kind = 'measurement' WHERE id = ?1", {chip});
  EXPECT_NE(said(), "");
  run("UPDATE revocation SET tenant = 'other' WHERE id = ?1", {chip});
  EXPECT_NE(said(), "");
  run("UPDATE revocation SET expires = 1 WHERE id = ?1", {token});
  EXPECT_NE(said(), "");
}

TEST_F(Agreement, SeesARevocationThatNobodyMade) {
  run("INSERT INTO revocation (id, tenant, kind, value, reason, revoked_by, created, expires) VALUES ('rev-x', '', 'token', 'tok-9', 'r', 'x', 1, NULL)");
  EXPECT_NE(said().find("revocation rev-x, of a token: it is in the database, and nothing"), std::string::npos);
}

TEST_F(Agreement, SeesARevocationThatIsBack) {
  ASSERT_TRUE(list().lift(chip, "ops", kNow).ok());
  run("INSERT INTO revocation (id, tenant, kind, value, reason, revoked_by, created, expires) VALUES (?1, 'acme', 'chip', ?2, 'r', 'x', 1, NULL)",
      {chip, std::string(32, 'a')});
  EXPECT_NE(said().find("says that it was removed"), std::string::npos);
}

TEST_F(Agreement, SeesAPolicyThatIsAnother) {
  run("UPDATE broker_policy SET text = 'package policy\nallow = true'");
  EXPECT_NE(said().find("policy resource/keys of the tenant acme: it is not what leaf 2"), std::string::npos);
  run("UPDATE broker_policy SET scope = 'default'");
  EXPECT_NE(said().find("policy resource/keys"), std::string::npos);
  run("UPDATE broker_policy SET tenant = 'other'");
  EXPECT_EQ(std::ranges::count(said(), '\n'), 1);  // one that is gone, and one that nobody set
}

TEST_F(Agreement, MissesAPolicyThatIsGone) {
  run("DELETE FROM broker_policy");
  EXPECT_NE(said().find("policy resource/keys of the tenant acme: leaf 2 of the audit log says that it holds"), std::string::npos);
}

TEST_F(Agreement, SeesReferenceValuesThatAreOthers) {
  run("UPDATE reference_values SET text = ?1", {R"({"svn":1,"mr_td":["aa"]})"});
  EXPECT_NE(said().find("reference values of the tenant acme: it is not what leaf 3"), std::string::npos);
  run("UPDATE reference_values SET tenant = 'other'");
  EXPECT_EQ(std::ranges::count(said(), '\n'), 1);
}

TEST_F(Agreement, MissesReferenceValuesThatAreGone) {
  run("DELETE FROM reference_values");
  EXPECT_NE(said().find("reference values of the tenant acme: leaf 3"), std::string::npos);
}

// Who edits the leaf with the row has its hash against them.
TEST_F(Agreement, BelievesNoLeafThatIsNotUnderTheHead) {
  const auto leaf = merkle::decode_audit_leaf(log->leaf(0).value()).value();
  auto other = leaf;
  other.kind = revocation::kLifted;
  run("UPDATE audit_row SET leaf = ?1, kind = 'revocation.lifted' WHERE position = 0", {merkle::encode(other).value()});
  run("DELETE FROM revocation WHERE id = ?1", {chip});
  EXPECT_TRUE(said().starts_with("storage_corrupt: leaf 0 of audit log ")) << said();
  run("UPDATE audit_row SET leaf = ?1 WHERE position = 0", {Bytes{1, 2, 3}});
  EXPECT_TRUE(said().starts_with("storage_corrupt: leaf 0 of audit log ")) << said();
}

TEST_F(Agreement, ReachesIntoTheLogsBefore) {
  std::filesystem::remove(dir.path() / "audit-head.cbor");
  const auto before = log->id();
  open(true);  // a new log goes on from the one before
  ASSERT_NE(log->id(), before);
  EXPECT_EQ(said(), "");
  run("DELETE FROM revocation WHERE id = ?1", {chip});
  EXPECT_NE(said().find(chip), std::string::npos);
  EXPECT_EQ(log->find(revocation::kLifted, chip).value(), 1U);
}

TEST_F(Agreement, ReachesIntoTheLogOfTheKeysBefore) {
  auto other = kms::SoftwareKms::open(dir.path() / "other.key", random).value();
  log.reset();
  const auto moved = audit::Log::hand_on(*database, *kms, *other, random, dir.path() / "audit-head.cbor", kNow,
                                         [](storage::Transaction&) -> Result<audit::Details> { return audit::Details{}; });
  ASSERT_TRUE(moved.ok()) << moved.error().text();
  kms = std::move(other);
  open();
  EXPECT_EQ(said(), "");
  run("DELETE FROM broker_policy");
  EXPECT_NE(said().find("policy resource/keys of the tenant acme: leaf 2"), std::string::npos);
  // Whoever edits the leaf in the log of before has the root against them that the next one begins with.
  run("UPDATE audit_row SET kind = 'revocation.lifted', leaf = ?1 WHERE log = 1 AND position = 0",
      {merkle::encode(merkle::AuditLeaf{kNow, std::string{revocation::kLifted}, chip, {}}).value()});
  EXPECT_TRUE(said().starts_with("storage_corrupt: leaf 0 of audit log ")) << said();
}

TEST_F(Agreement, TakesLeavesOfBeforeThatKnewNotAllValues) {
  auto transaction = database->write().value();
  append(transaction, kReferenceChanged, "svn", {{"value", digest("2")}});
  ASSERT_TRUE(transaction.commit().ok());
  run("UPDATE reference_values SET text = ?1", {R"({"svn":2})"});
  EXPECT_EQ(said(), "");
}

TEST_F(Agreement, ShowsTheFirstTen) {
  auto many = list();
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(many.add({Kind::token, "tok-x" + std::to_string(i), "r", std::nullopt}, "ops", kNow).ok());
  run("DELETE FROM revocation WHERE value LIKE 'tok-x%'");
  const auto detail = said();
  EXPECT_EQ(std::ranges::count(detail, '\n'), 10);
  EXPECT_NE(detail.find("and 2 more"), std::string::npos);
}

}  // namespace
}  // namespace cloister::kbs
