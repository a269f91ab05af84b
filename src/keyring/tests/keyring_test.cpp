#include "cloister/keyring/keyring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "cloister/codec/json.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/storage/access.hpp"
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

}  // namespace
}  // namespace cloister::keyring
