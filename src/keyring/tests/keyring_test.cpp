#include "cloister/keyring/keyring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "cloister/codec/json.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/keyring/data_keys.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/storage/access.hpp"
#include "cloister/storage/resources.hpp"
#include "support/support.hpp"

namespace cloister::keyring {
namespace {

constexpr std::chrono::seconds kLifetime{300};
const UnixTime kStart = from_civil(2026, 6, 1, 0, 0, 0).value();

class Keys : public testing::Test {
 protected:
  Keys() { restart(); }

  /// As a new process on the same data.
  void restart() {
    ring.reset();
    log.reset();
    sealer.reset();
    database.reset();
    kms.reset();
    kms = kms::SoftwareKms::open(dir.path() / "master.key", random).value();
    database = storage::Database::open(dir.path() / "cloister.db").value();
    sealer = std::make_unique<storage::Sealer>(*kms, random);
    log = audit::Log::open(*database, *kms, random, {dir.path() / "audit-head.cbor", false}, kStart).value();
    ring = Keyring::open({*database, *sealer, *log, random}, kLifetime, kStart).value();
  }
  [[nodiscard]] std::vector<std::string> published(UnixTime now) const {
    std::vector<std::string> out;
    for (const auto& key : ring->published(now)) out.push_back(key.key_id);
    return out;
  }
  [[nodiscard]] Bytes stored() const {
    const auto snapshot = database->read();
    return storage::settings::get(*snapshot, "attestation-token-keys").value();
  }

  test::TempDir dir;
  test::SeededRandom random{5};
  std::unique_ptr<kms::SoftwareKms> kms;
  std::unique_ptr<storage::Database> database;
  std::unique_ptr<storage::Sealer> sealer;
  std::unique_ptr<audit::Log> log;
  std::unique_ptr<Keyring> ring;
};

TEST_F(Keys, AreTheOneThatSignsAndTheNext) {
  const auto keys = published(kStart);
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0], ring->current()->key_id);
  EXPECT_NE(keys[1], keys[0]);
  for (const auto& key : ring->published(kStart)) EXPECT_EQ(key.key_id, crypto::jose::thumbprint(key.key));
}

TEST_F(Keys, TheirMakingIsInTheLogOnce) {
  const auto keys = published(kStart);
  restart();
  const auto made = log->find("token_key.made", keys[0]);
  ASSERT_TRUE(made) << made.error().text();
  const auto leaf = merkle::decode_audit_leaf(log->leaf(*made).value()).value();
  EXPECT_EQ(leaf.time, kStart);
  EXPECT_EQ(*leaf.detail<std::string>("next"), keys[1]);
  EXPECT_EQ(log->leaf(*made + 1).error().code(), Errc::not_found);
}

TEST_F(Keys, AreNotMadeWithoutTheLog) {
  ring.reset();
  auto transaction = database->write();
  ASSERT_TRUE(transaction->run("DELETE FROM setting").ok());
  ASSERT_TRUE(transaction->run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
  ASSERT_TRUE(transaction->commit().ok());
  EXPECT_EQ(Keyring::open({*database, *sealer, *log, random}, kLifetime, kStart).error().code(), Errc::storage_failure);
  const auto snapshot = database->read();
  EXPECT_EQ(storage::settings::get(*snapshot, "attestation-token-keys").error().code(), Errc::not_found);
}

TEST_F(Keys, OverlapWhenTheyRotate) {
  const auto before = published(kStart);
  const auto token = crypto::jose::sign_es256(ring->current()->key, before[0], "JWT", codec::json::Object{});
  EXPECT_EQ(ring->rotate(kStart, "admin").value(), before[1]);  // published before it signs
  EXPECT_EQ(ring->current()->key_id, before[1]);
  // The last token of the previous key was made now, and lives as long as any.
  const auto last = kStart + kLifetime - std::chrono::microseconds{1};
  const auto during = published(last);
  ASSERT_EQ(during.size(), 3U);
  EXPECT_EQ(during[0], before[1]);
  EXPECT_EQ(during[2], before[0]);
  EXPECT_TRUE(verify_signature(crypto::jose::parse_signed(token).value(), ring->published(last)[2]).ok());
  EXPECT_EQ(published(kStart + kLifetime).size(), 2U);
}

TEST_F(Keys, SurviveARestart) {
  static_cast<void>(ring->rotate(kStart, "admin").value());
  const auto before = published(kStart);
  const auto text = crypto::jose::sign_es256(ring->current()->key, "", "JWT", codec::json::Object{});
  restart();
  EXPECT_EQ(published(kStart), before);
  EXPECT_EQ(ring->current()->key_id, before[0]);
  EXPECT_TRUE(verify_signature(crypto::jose::parse_signed(text).value(), ring->published(kStart)[0]).ok());
  EXPECT_EQ(ring->rotate(kStart, "admin").value(), before[1]);
}

TEST_F(Keys, WaitWhereTooManyCouldStillBeValid) {
  for (std::size_t i = 0; i < kMaxPrevious; ++i) EXPECT_TRUE(ring->rotate(kStart, "admin").ok());
  const auto keys = published(kStart);
  EXPECT_EQ(keys.size(), kMaxPrevious + 2);
  EXPECT_EQ(ring->rotate(kStart, "admin").error().code(), Errc::rate_limited);
  EXPECT_EQ(published(kStart), keys);
  EXPECT_TRUE(ring->rotate(kStart + kLifetime, "admin").ok());
  EXPECT_EQ(published(kStart + kLifetime).size(), 3U);
}

TEST_F(Keys, RotateInTheAuditLog) {
  const auto size = log->advance(kStart)->head.tree_size;
  const auto previous = ring->current()->key_id;
  const auto current = ring->rotate(kStart, "tester").value();
  EXPECT_EQ(log->advance(kStart)->head.tree_size, size + 1);
  const auto leaf = merkle::decode_audit_leaf(log->leaf(size).value()).value();
  EXPECT_EQ(leaf.kind, "token_key.rotated");
  EXPECT_EQ(leaf.subject, current);
  EXPECT_EQ(*leaf.detail<std::string>("by"), "tester");
  EXPECT_EQ(*leaf.detail<std::string>("previous"), previous);
}

TEST_F(Keys, AreSealedAtRestAndBoundToTheirPlace) {
  auto value = codec::json::parse(as_text(stored())).value();
  const auto swap = [&](codec::json::Value changed) {
    auto transaction = database->write().value();
    CLOISTER_ASSERT(storage::settings::set(transaction, "attestation-token-keys", as_bytes(codec::json::write(changed))).ok());
    CLOISTER_ASSERT(transaction.commit().ok());
    return Keyring::open({*database, *sealer, *log, random}, kLifetime, kStart).error().code();
  };
  auto exchanged = value;
  exchanged.set("current", *value.find("next")).set("next", *value.find("current"));
  EXPECT_EQ(swap(exchanged), Errc::decryption_failed);
  EXPECT_EQ(swap(codec::json::Value{codec::json::Object{{"version", 2}}}), Errc::storage_corrupt);
  auto extended = value;
  extended.set("more", 1);
  EXPECT_EQ(swap(extended), Errc::storage_corrupt);
}

TEST_F(Keys, MaySignWhileTheyRotate) {
  constexpr std::size_t kSignatures = 50;
  std::atomic<std::size_t> verified = 0;
  std::jthread signing{[&] {
    for (std::size_t i = 0; i < kSignatures; ++i) {
      const auto key = ring->current();
      const auto text = crypto::jose::sign_es256(key->key, key->key_id, "JWT", codec::json::Object{});
      const auto token = crypto::jose::parse_signed(text).value();
      const auto keys = ring->published(kStart);
      const auto found = std::ranges::find(keys, *token.key_id, &crypto::jose::Jwk::key_id);
      if (found != keys.end() && verify_signature(token, *found).ok()) ++verified;
    }
  }};
  for (std::size_t i = 0; i < kMaxPrevious; ++i) EXPECT_TRUE(ring->rotate(kStart, "admin").ok());
  signing.join();
  EXPECT_EQ(verified, kSignatures);
}

// --- keys that stored values are sealed under ------------------------------------------------------------------------

class DataKeysOfTenants : public Keys {
 protected:
  void put(const std::string& path) {
    storage::Resources resources{*sealer};
    auto transaction = database->write().value();
    ASSERT_TRUE(resources.put(transaction, acme, path, as_bytes("value"), kStart));
    ASSERT_TRUE(transaction.commit());
  }
  [[nodiscard]] std::optional<merkle::AuditLeaf> leaf(std::string_view kind, std::string_view subject) const {
    const auto index = log->find(kind, subject);
    if (!index) return std::nullopt;
    return merkle::decode_audit_leaf(log->leaf(*index).value()).value();
  }
  TenantId acme = TenantId::parse("acme").value();
};

TEST_F(DataKeysOfTenants, RotateInStepsThatGoOnAfterARestart) {
  for (int i = 0; i < 200; ++i) put("a/b/" + std::to_string(i));
  const auto before = DataKeys{*ring}.status(acme).value();
  EXPECT_EQ(before.remaining, 0U);
  const auto rotated = DataKeys{*ring}.rotate(acme, kStart, "admin").value();
  EXPECT_NE(rotated.active, before.active);
  EXPECT_EQ(rotated.remaining, 200U);
  EXPECT_EQ(*leaf("data_key.rotated", "acme")->detail<std::string>("key"), *rotated.active);
  const auto first = DataKeys{*ring}.step(acme, kStart, "admin").value();
  EXPECT_EQ(first.resealed, 128U);
  EXPECT_EQ(first.left.remaining, 72U);
  EXPECT_EQ(first.retired, 0U);
  restart();
  const auto second = DataKeys{*ring}.step(acme, kStart, "admin").value();
  EXPECT_EQ(second.resealed, 72U);
  EXPECT_EQ(second.retired, 1U);
  EXPECT_EQ(second.left.older, 0U);
  EXPECT_EQ(*leaf("data_key.retired", "acme")->detail<std::uint64_t>("keys"), 1U);
  const auto size = log->advance(kStart)->head.tree_size;
  const auto third = DataKeys{*ring}.step(acme, kStart, "admin").value();
  EXPECT_EQ(third.resealed + third.retired, 0U);
  EXPECT_EQ(log->advance(kStart)->head.tree_size, size) << "where nothing was done nothing is said";
  const auto snapshot = database->read().value();
  EXPECT_EQ(as_text(storage::Resources{*sealer}.get(snapshot, acme, "a/b/199")->value.reveal()), "value");
}

TEST_F(DataKeysOfTenants, WhoHasStoredNothingHasNone) {
  EXPECT_FALSE(DataKeys{*ring}.status(acme)->active);
  EXPECT_EQ(DataKeys{*ring}.rotate(acme, kStart, "admin").error().code(), Errc::not_found);
  EXPECT_EQ(DataKeys{*ring}.step(acme, kStart, "admin")->retired, 0U);
}

TEST_F(DataKeysOfTenants, TheServersOwnValuesMoveToo) {
  const auto keys = published(kStart);
  const auto old = stored();
  ASSERT_TRUE(DataKeys{*ring}.rotate(server_tenant(), kStart, "admin"));
  EXPECT_EQ(DataKeys{*ring}.step(server_tenant(), kStart, "admin")->retired, 1U);
  EXPECT_NE(stored(), old);
  EXPECT_EQ(published(kStart), keys);
  EXPECT_EQ(ring->rotate(kStart, "admin").value(), keys[1]) << "with what it keeps in memory";
  restart();
  EXPECT_EQ(ring->current()->key_id, keys[1]);
}

TEST_F(DataKeysOfTenants, NothingRotatesThatTheLogDoesNotTake) {
  put("a/b/c");
  const auto before = DataKeys{*ring}.status(acme).value();
  {
    auto transaction = database->write().value();
    ASSERT_TRUE(transaction.run("ALTER TABLE audit_row RENAME TO elsewhere").ok());
    ASSERT_TRUE(transaction.commit().ok());
  }
  EXPECT_FALSE(DataKeys{*ring}.rotate(acme, kStart, "admin").ok());
  EXPECT_EQ(DataKeys{*ring}.status(acme)->active, before.active);
}

}  // namespace
}  // namespace cloister::keyring
