#include "cloister/storage/access.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::bytes32;
using testing::id;

class SessionsTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<void> add(std::string_view name, std::string_view subject = "inst-1") {
    Sessions::Record session;
    session.id = id<SessionId>(name);
    session.tenant = id<TenantId>("acme");
    session.subject = subject;
    session.created = at(1);
    session.expires = at(60);
    session.state = crypto::SecretBytes::copy_of(as_bytes("state of " + std::string{name}));
    return commit([&](Transaction& t) { return sessions_.add(t, session); });
  }
  Sealer sealer_{kms_, random_};
  Sessions sessions_{sealer_};
};

TEST_F(SessionsTest, AreKeptWithTheirState) {
  ASSERT_TRUE(add("ses-1"));
  const auto session = sessions_.get(read(), id<SessionId>("ses-1"));
  ASSERT_TRUE(session) << session.error().text();
  EXPECT_EQ(session->subject, "inst-1");
  EXPECT_EQ(session->tenant, id<TenantId>("acme"));
  EXPECT_EQ(session->created, at(1));
  EXPECT_EQ(session->expires, at(60));
  EXPECT_FALSE(session->revoked);
  EXPECT_EQ(as_text(session->state.reveal()), "state of ses-1");
  EXPECT_EQ(sessions_.get(read(), id<SessionId>("ses-2")).error().code(), Errc::not_found);
  EXPECT_EQ(add("ses-1").error().code(), Errc::conflict);
}

TEST_F(SessionsTest, StateOfOneDoesNotOpenInAnother) {
  ASSERT_TRUE(add("ses-1"));
  ASSERT_TRUE(add("ses-2"));
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("UPDATE session SET state = (SELECT state FROM session s WHERE s.id = 'ses-1') WHERE id = 'ses-2'");
  }));
  EXPECT_EQ(sessions_.get(read(), id<SessionId>("ses-2")).error().code(), Errc::decryption_failed);
}

TEST_F(SessionsTest, AreRevokedAloneOrByTheirSubject) {
  ASSERT_TRUE(add("ses-1"));
  ASSERT_TRUE(add("ses-2"));
  ASSERT_TRUE(add("ses-3", "inst-2"));
  ASSERT_TRUE(commit([&](Transaction& t) { return sessions_.revoke(t, id<SessionId>("ses-1")); }));
  ASSERT_TRUE(commit([&](Transaction& t) { return sessions_.revoke(t, id<SessionId>("ses-1")); })) << "twice";
  EXPECT_TRUE(sessions_.get(read(), id<SessionId>("ses-1"))->revoked);
  EXPECT_FALSE(sessions_.get(read(), id<SessionId>("ses-2"))->revoked);
  EXPECT_EQ(*commit([&](Transaction& t) { return sessions_.revoke_subject(t, "inst-1"); }), 1U);
  EXPECT_TRUE(sessions_.get(read(), id<SessionId>("ses-2"))->revoked);
  EXPECT_FALSE(sessions_.get(read(), id<SessionId>("ses-3"))->revoked);
  EXPECT_EQ(commit([&](Transaction& t) { return sessions_.revoke(t, id<SessionId>("ses-9")); }).error().code(),
            Errc::not_found);
}

class NoncesTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<void> consume(std::uint8_t nonce, std::string_view purpose, int when) {
    return commit([&](Transaction& t) { return nonces::consume(t, bytes32(nonce), purpose, at(when)); });
  }
  void issue(std::uint8_t nonce, int expires) {
    ASSERT_TRUE(commit([&](Transaction& t) { return nonces::issue(t, bytes32(nonce), "attest", at(expires)); }));
  }
};

TEST_F(NoncesTest, ServeOnce) {
  issue(1, 60);
  EXPECT_TRUE(consume(1, "attest", 59));
  EXPECT_EQ(consume(1, "attest", 59).error().code(), Errc::nonce_invalid);
}

TEST_F(NoncesTest, ServeForTheirPurposeInTimeAndOnlyIfIssued) {
  issue(1, 60);
  EXPECT_EQ(consume(1, "login", 1).error().code(), Errc::nonce_invalid);
  EXPECT_EQ(consume(1, "attest", 60).error().code(), Errc::nonce_invalid);
  EXPECT_EQ(consume(2, "attest", 1).error().code(), Errc::nonce_invalid);
  EXPECT_TRUE(consume(1, "attest", 1)) << "a refusal does not use it up";
}

TEST_F(NoncesTest, AreNotUsedUpWithoutCommit) {
  issue(1, 60);
  {
    auto transaction = write();
    ASSERT_TRUE(nonces::consume(transaction, bytes32(1), "attest", at(1)));
    EXPECT_FALSE(nonces::consume(transaction, bytes32(1), "attest", at(1)));
  }
  EXPECT_TRUE(consume(1, "attest", 1));
}

TEST_F(NoncesTest, AreSweptWhenExpiredAndNeverIssuedTwice) {
  issue(1, 10);
  issue(2, 20);
  const auto again = [](Transaction& t) { return nonces::issue(t, bytes32(1), "attest", at(99)); };
  EXPECT_EQ(commit(again).error().code(), Errc::conflict);
  EXPECT_EQ(*commit([](Transaction& t) { return nonces::sweep(t, at(10)); }), 1U);
  EXPECT_TRUE(consume(2, "attest", 11));
}

class TokensTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<void> add(std::string name, std::string_view tenant, int created,
                                 std::optional<UnixTime> expires = std::nullopt) {
    const tokens::Record token{std::move(name), "admin", id<TenantId>(tenant), "Ada", at(created), expires, false};
    return commit([&](Transaction& t) { return tokens::add(t, token); });
  }
};

TEST_F(TokensTest, AreListedAndRevoked) {
  ASSERT_TRUE(add("tok-1", "acme", 1));
  ASSERT_TRUE(add("tok-2", "acme", 2, at(9)));
  ASSERT_TRUE(add("tok-3", "other", 3));
  const auto mine = *tokens::list(read(), id<TenantId>("acme"));
  ASSERT_EQ(mine.size(), 2U);
  EXPECT_EQ(mine[0].id, "tok-2");
  EXPECT_EQ(mine[0].expires, at(9));
  EXPECT_EQ(mine[1].expires, std::nullopt);
  EXPECT_EQ(mine[1].role, "admin");
  EXPECT_EQ(mine[1].name, "Ada");
  EXPECT_EQ(tokens::list(read())->size(), 3U);
  ASSERT_TRUE(commit([](Transaction& t) { return tokens::revoke(t, "tok-1"); }));
  EXPECT_TRUE(tokens::get(read(), "tok-1")->revoked);
  EXPECT_FALSE(tokens::get(read(), "tok-2")->revoked);
  EXPECT_EQ(tokens::get(read(), "tok-9").error().code(), Errc::not_found);
  EXPECT_EQ(commit([](Transaction& t) { return tokens::revoke(t, "tok-9"); }).error().code(), Errc::not_found);
  EXPECT_EQ(add("tok-1", "acme", 1).error().code(), Errc::conflict);
  EXPECT_EQ(add("No Id", "acme", 1).error().code(), Errc::invalid_argument);
}

class SettingsTest : public testing::DatabaseTest {};

TEST_F(SettingsTest, AreReplaced) {
  EXPECT_EQ(settings::get(read(), "server_id").error().code(), Errc::not_found);
  ASSERT_TRUE(commit([](Transaction& t) { return settings::set(t, "server_id", Bytes{1}); }));
  ASSERT_TRUE(commit([](Transaction& t) { return settings::set(t, "server_id", Bytes{2, 3}); }));
  open();
  EXPECT_EQ(*settings::get(read(), "server_id"), (Bytes{2, 3}));
}

}  // namespace
}  // namespace cloister::storage
