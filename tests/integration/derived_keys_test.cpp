// Derived keys from their conditions to the instance that opens them, and every refusal on the way.
#include <gtest/gtest.h>

#include <map>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hpke.hpp"
#include "cloister/kms/pkcs11.hpp"
#include "support/softhsm.hpp"
#include "world.hpp"

namespace cloister::test {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using Numbers = std::vector<std::uint64_t>;

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::internal : result.error().code();
}

constexpr std::string_view kPurpose = "disk";

/// A world whose version names two derived keys, and what its tenant's administrators and its instances do.
class DerivedKeys : public testing::Test {
 protected:
  void SetUp() override { use(register_version(256)); }

  /// Versions of the one challenge differ in their memory.
  model::Version register_version(std::uint32_t memory_mib) {
    auto spec = w.version.spec;
    spec.memory_mib = memory_mib;
    spec.derived_keys = {"disk", "backup"};
    auto version = w.registry->add(w.tenant, spec, "tester", w.clock.now());
    EXPECT_TRUE(version) << version.error().text();
    return *std::move(version);
  }
  void use(const model::Version& version) { w.version = version; }

  /// The lab's machine after an update or a downgrade, of which the published levels say nothing: still up to date.
  void set_machine(std::uint8_t tdx_microcode, std::uint16_t pce_svn = 13, std::uint8_t sgx_microcode = 3) {
    auto state = lab::TcbState::current(w.platform.created());
    state.machine.tee_tcb_svn[2] = tdx_microcode;
    state.machine.pcesvn = pce_svn;
    state.machine.sgx_components[0] = sgx_microcode;
    w.platform = w.platform.with(lab::Platform::Options{.tcb = state});
    w.collateral = w.platform.collateral(w.clock.now() - hours{1});
  }

  static model::ReleaseConditions any_version() {
    model::ReleaseConditions out;
    out.any_version = true;
    return out;
  }
  /// Any version, on a machine with that microcode at least.
  static model::ReleaseConditions from_microcode(std::uint8_t svn) {
    auto out = any_version();
    out.tcb.tdx_components = ByteArray<16>{0, 0, svn};
    return out;
  }
  Result<keybroker::DerivedKeys::Put> put(std::uint64_t version, const model::ReleaseConditions& conditions,
                                          std::string_view purpose = kPurpose, std::optional<TenantId> tenant = {}) {
    return keys.put(tenant.value_or(w.tenant), w.version.spec.challenge, purpose, version, conditions, "tester",
                    w.clock.now());
  }
  Result<void> revoke(std::uint64_t version) {
    return keys.revoke(w.tenant, w.version.spec.challenge, kPurpose, version, "tester", w.clock.now());
  }
  Result<keybroker::KeyDecision> decide(const World::Ready& ready, std::string_view purpose = kPurpose) {
    return keys.decide(ready.session, purpose, w.clock.now());
  }

  /// What an instance opens of what it was sent: keys by version.
  static std::map<std::uint64_t, std::string> opened(const World::Ready& ready,
                                                     const std::vector<protocol::SealedKey>& sealed) {
    std::map<std::uint64_t, std::string> out;
    for (const auto& key : sealed) {
      const auto info = protocol::key_release_info(ready.session.id(), key.purpose, key.version);
      const auto value = crypto::hpke_open(ready.td.payload_key, key.enc, info, {}, key.ciphertext);
      EXPECT_TRUE(value) << value.error().text();
      if (value) out[key.version] = codec::to_hex(value->reveal());
    }
    return out;
  }
  /// Decides and releases.
  std::map<std::uint64_t, std::string> received(const World::Ready& ready, std::string_view purpose = kPurpose) {
    auto decision = decide(ready, purpose);
    EXPECT_TRUE(decision) << decision.error().text();
    if (!decision) return {};
    const auto sealed = keys.release(ready.session, *std::move(decision), w.clock.now());
    EXPECT_TRUE(sealed) << sealed.error().text();
    return sealed ? opened(ready, *sealed) : std::map<std::uint64_t, std::string>{};
  }
  static Numbers numbers(const std::map<std::uint64_t, std::string>& keys_by_version) {
    Numbers out;
    for (const auto& [number, key] : keys_by_version) out.push_back(number);
    return out;
  }
  [[nodiscard]] std::string subject(const std::string& more = "") const {
    return w.tenant.str() + '/' + w.version.spec.challenge.str() + '/' + std::string{kPurpose} + more;
  }
  /// The newest leaf of that kind.
  [[nodiscard]] std::optional<merkle::AuditLeaf> leaf(std::string_view kind, const std::string& about) const {
    const auto index = w.log->find(kind, about);
    if (!index) return std::nullopt;
    auto decoded = merkle::decode_audit_leaf(*w.log->leaf(*index));
    EXPECT_TRUE(decoded);
    return *std::move(decoded);
  }
  void run(storage::Sql sql) {
    auto transaction = w.database->write();
    ASSERT_TRUE(transaction);
    ASSERT_TRUE(transaction->run(sql));
    ASSERT_TRUE(transaction->commit());
  }

  World w;
  keybroker::DerivedKeys& keys = w.broker->derived_keys();
};

// --- who gets which version ---

TEST_F(DerivedKeys, GoToTheInstanceAloneAndAreWhatTheDocumentationSays) {
  ASSERT_TRUE(put(1, any_version()));
  const auto ready = w.ready();
  auto decision = decide(ready);
  ASSERT_TRUE(decision) << decision.error().text();
  EXPECT_EQ(decision->session(), ready.session.id());
  EXPECT_EQ(decision->challenge(), w.version.spec.challenge);
  EXPECT_EQ(decision->purpose(), kPurpose);
  EXPECT_EQ(decision->policy_digest(), ready.session.policy_digest());
  ASSERT_EQ(decision->versions().size(), 1U);
  EXPECT_EQ(decision->versions()[0].conditions, keybroker::digest(any_version()));
  const auto sealed = keys.release(ready.session, *std::move(decision), w.clock.now());
  ASSERT_TRUE(sealed) << sealed.error().text();
  const auto info = keybroker::derivation_info(w.tenant, w.version.spec.challenge, kPurpose, 1);
  EXPECT_EQ(opened(ready, *sealed),
            (std::map<std::uint64_t, std::string>{{1, codec::to_hex(w.kms->derive(info)->reveal())}}));
  const auto stranger = crypto::X25519Key::generate(w.random);
  const auto& one = sealed->at(0);
  EXPECT_FALSE(crypto::hpke_open(stranger, one.enc, protocol::key_release_info(ready.session.id(), kPurpose, 1), {},
                                 one.ciphertext));
  EXPECT_FALSE(crypto::hpke_open(ready.td.payload_key, one.enc,
                                 protocol::key_release_info(ready.session.id(), kPurpose, 2), {}, one.ciphertext));
}

TEST_F(DerivedKeys, AreTheSameAfterAnUpgradeThatIsAllowed) {
  const auto first = w.version;
  const auto second = register_version(512);
  const auto third = register_version(1024);
  model::ReleaseConditions both;
  both.versions = {first.id, second.id};
  ASSERT_TRUE(put(1, both));
  const auto before = received(w.ready());
  EXPECT_EQ(numbers(before), Numbers{1});
  use(second);
  EXPECT_EQ(received(w.ready()), before);
  use(third);
  EXPECT_EQ(code_of(decide(w.ready())), Errc::measurement_not_accepted);
}

TEST_F(DerivedKeys, AreAllowedByWhatAnInstanceMeasuresAs) {
  const auto second = register_version(512);
  model::ReleaseConditions by_image;  // both versions run it
  by_image.measurements = {{std::nullopt, w.version.reference.image_digest, std::nullopt}};
  model::ReleaseConditions by_all;  // of the second alone
  by_all.measurements = {{second.reference.mrtd, second.reference.image_digest, second.reference.configuration_digest}};
  ASSERT_TRUE(put(1, by_image));
  ASSERT_TRUE(put(2, by_all));
  EXPECT_EQ(numbers(received(w.ready())), Numbers{1});
  use(second);
  EXPECT_EQ(numbers(received(w.ready())), (Numbers{1, 2}));
}

TEST_F(DerivedKeys, AreRefusedToWhatIsNotInTheList) {
  const auto& reference = w.version.reference;
  auto mrtd = reference.mrtd;
  auto image = reference.image_digest;
  auto configuration = reference.configuration_digest;
  mrtd[47] ^= 1;
  image[31] ^= 1;
  configuration[31] ^= 1;
  const model::AllowedMeasurement others[] = {{mrtd, reference.image_digest, reference.configuration_digest},
                                              {reference.mrtd, image, reference.configuration_digest},
                                              {reference.mrtd, reference.image_digest, configuration}};
  std::uint64_t version = 0;
  for (const auto& other : others) {
    model::ReleaseConditions conditions;
    conditions.measurements = {other};
    ASSERT_TRUE(put(++version, conditions));
  }
  model::ReleaseConditions by_name;
  by_name.versions = {*VersionId::parse("ver-other")};
  ASSERT_TRUE(put(++version, by_name));
  const auto ready = w.ready();
  const auto refused = decide(ready);
  ASSERT_EQ(code_of(refused), Errc::measurement_not_accepted);
  for (const auto* word : {"example/disk", "version 1", "version 4", "allowed"}) {
    EXPECT_NE(refused.error().detail().find(word), std::string::npos) << refused.error().detail();
  }
  const auto told = leaf(keybroker::kKeyRefused, subject());
  ASSERT_TRUE(told);
  EXPECT_EQ(*told->detail<std::string>("code"), "measurement_not_accepted");
  EXPECT_EQ(*told->detail<std::string>("session"), ready.session.id().str());
  EXPECT_FALSE(leaf(keybroker::kKeyReleased, subject("/1")));
}

TEST_F(DerivedKeys, FollowARaisedFloorUpButNotDown) {
  ASSERT_TRUE(put(1, from_microcode(4)));
  const auto before = received(w.ready());
  ASSERT_EQ(numbers(before), Numbers{1});
  ASSERT_TRUE(put(2, from_microcode(5)));
  EXPECT_EQ(received(w.ready()), before) << "a machine that is not updated has the old version alone";
  set_machine(5);
  const auto updated = received(w.ready());
  EXPECT_EQ(numbers(updated), (Numbers{1, 2}));
  EXPECT_EQ(updated.at(1), before.at(1)) << "so that what was written before opens";
  EXPECT_NE(updated.at(2), updated.at(1));
  set_machine(4);
  EXPECT_EQ(received(w.ready()), before) << "and after a downgrade nothing of the new one";
  ASSERT_TRUE(revoke(1));
  const auto refused = decide(w.ready());
  ASSERT_EQ(code_of(refused), Errc::tcb_too_low);
  EXPECT_NE(
      refused.error().detail().find("version 2: TDX TCB component 2 is 4, at least 5 demanded; revoked versions: 1"),
      std::string::npos)
      << refused.error().detail();
}

TEST_F(DerivedKeys, EveryMemberOfTheFloorCounts) {
  const auto ready = w.ready();
  const auto& tcb = ready.session.tcb();
  ASSERT_TRUE(tcb.tcb_date);
  EXPECT_EQ(tcb.tdx_components[2], 4);
  EXPECT_EQ(tcb.sgx_components[0], 3);
  EXPECT_EQ(tcb.pce_svn, 13);
  const auto with = [](auto set) {
    auto out = any_version();
    set(out.tcb);
    return out;
  };
  const auto component = [](ByteArray<16> at, std::size_t index) {
    ++at[index];
    return at;
  };
  const model::ReleaseConditions met = with([&](model::TcbFloor& f) {
    f = {tcb.tdx_components, tcb.sgx_components, tcb.pce_svn, tcb.tcb_date};
  });
  ASSERT_TRUE(put(1, met, "backup"));
  EXPECT_EQ(numbers(received(ready, "backup")), Numbers{1}) << "the floor itself is reached";
  // Each is its own version 1, of one purpose after the other.
  const std::pair<model::ReleaseConditions, std::string_view> above[] = {
      {with([&](model::TcbFloor& f) { f.tdx_components = component(tcb.tdx_components, 0); }), "TDX TCB component 0"},
      {with([&](model::TcbFloor& f) { f.tdx_components = component(tcb.tdx_components, 15); }), "TDX TCB component 15"},
      {with([&](model::TcbFloor& f) { f.sgx_components = component(tcb.sgx_components, 0); }), "SGX TCB component 0"},
      {with([&](model::TcbFloor& f) { f.sgx_components = component(tcb.sgx_components, 15); }), "SGX TCB component 15"},
      {with([&](model::TcbFloor& f) { f.pce_svn = static_cast<std::uint16_t>(tcb.pce_svn + 1); }),
       "PCESVN is 13, at least 14"},
      {with([&](model::TcbFloor& f) { f.tcb_date = *tcb.tcb_date + seconds{1}; }), "or later demanded"}};
  for (const auto& [conditions, word] : above) {
    run("DELETE FROM derived_key WHERE purpose = 'disk'");
    auto transaction = *w.database->write();
    storage::DerivedKeys rows{*w.sealer};
    ASSERT_TRUE(
        rows.add(transaction, w.tenant, w.version.spec.challenge, kPurpose, {1, conditions, w.clock.now(), {}}));
    ASSERT_TRUE(transaction.commit());
    const auto refused = decide(ready);
    ASSERT_EQ(code_of(refused), Errc::tcb_too_low) << word;
    EXPECT_NE(refused.error().detail().find(word), std::string::npos) << refused.error().detail();
  }
}

TEST_F(DerivedKeys, DifferByPurpose) {
  ASSERT_TRUE(put(1, any_version()));
  ASSERT_TRUE(put(1, any_version(), "backup"));
  const auto ready = w.ready();
  EXPECT_NE(received(ready), received(ready, "backup"));
}

TEST_F(DerivedKeys, OfAnotherTenantAreNobodysHere) {
  const auto other = *TenantId::parse("other");
  ASSERT_TRUE(put(1, any_version(), kPurpose, other));
  const auto ready = w.ready();
  EXPECT_EQ(code_of(decide(ready)), Errc::permission_denied) << "its own tenant has made none";
  ASSERT_TRUE(put(1, any_version()));
  const auto theirs = keybroker::derivation_info(other, w.version.spec.challenge, kPurpose, 1);
  EXPECT_NE(received(ready).at(1), codec::to_hex(w.kms->derive(theirs)->reveal()));
  ASSERT_TRUE(keys.revoke(other, w.version.spec.challenge, kPurpose, 1, "tester", w.clock.now()));
  EXPECT_EQ(numbers(received(ready)), Numbers{1}) << "a revocation is the tenant's own too";
  EXPECT_EQ(keys.list(other)->size(), 1U);
  EXPECT_EQ(code_of(keys.get(*TenantId::parse("third"), w.version.spec.challenge, kPurpose)), Errc::not_found);
}

// --- refusals that are not about conditions ---

TEST_F(DerivedKeys, ThatNobodyMadeOrThatTheVersionDoesNotNameAreRefused) {
  const auto ready = w.ready();
  const auto none = decide(ready);
  ASSERT_EQ(code_of(none), Errc::permission_denied);
  EXPECT_NE(none.error().detail().find("cloister derived-key create"), std::string::npos) << none.error().detail();
  EXPECT_TRUE(leaf(keybroker::kKeyRefused, subject()));
  ASSERT_TRUE(put(1, any_version(), "swap"));
  EXPECT_EQ(code_of(decide(ready, "swap")), Errc::permission_denied);
  EXPECT_TRUE(leaf(keybroker::kKeyRefused, ready.session.id().str()));
}

TEST_F(DerivedKeys, AreRefusedToAnExpiredSession) {
  ASSERT_TRUE(put(1, any_version()));
  const auto ready = w.ready();
  auto decision = decide(ready);
  ASSERT_TRUE(decision);
  w.clock.advance(hours{1});
  EXPECT_EQ(code_of(decide(ready)), Errc::session_expired);
  EXPECT_TRUE(leaf(keybroker::kKeyRefused, ready.session.id().str()));
  EXPECT_EQ(code_of(keys.release(ready.session, *std::move(decision), w.clock.now())), Errc::session_expired);
  EXPECT_FALSE(leaf(keybroker::kKeyReleased, subject("/1")));
}

TEST_F(DerivedKeys, ADecisionServesItsOwnSessionAlone) {
  ASSERT_TRUE(put(1, any_version()));
  const auto first = w.ready();
  const auto second = w.ready();
  auto decision = decide(first);
  ASSERT_TRUE(decision);
  EXPECT_EQ(code_of(keys.release(second.session, *std::move(decision), w.clock.now())), Errc::permission_denied);
  EXPECT_TRUE(leaf(keybroker::kKeyRefused, subject()));
}

TEST_F(DerivedKeys, ThatAreRevokedGoToNobody) {
  ASSERT_TRUE(put(1, any_version()));
  ASSERT_TRUE(put(2, any_version()));
  const auto ready = w.ready();
  auto decision = decide(ready);
  ASSERT_TRUE(decision);
  ASSERT_TRUE(revoke(1));
  EXPECT_EQ(code_of(keys.release(ready.session, *std::move(decision), w.clock.now())), Errc::permission_denied)
      << "revoked between decision and release";
  EXPECT_FALSE(leaf(keybroker::kKeyReleased, subject("/2"))) << "all or none";
  EXPECT_EQ(numbers(received(ready)), Numbers{2});
  ASSERT_TRUE(revoke(2));
  EXPECT_EQ(code_of(decide(ready)), Errc::permission_denied);
  EXPECT_TRUE(leaf(keybroker::kKeyRevoked, subject("/2")));
  const auto size = w.log->leaves(0, 1000)->size();
  EXPECT_TRUE(revoke(2)) << "again is nothing new";
  EXPECT_EQ(w.log->leaves(0, 1000)->size(), size);
  EXPECT_EQ(code_of(revoke(3)), Errc::not_found);
  const auto again = put(2, any_version());
  ASSERT_EQ(code_of(again), Errc::conflict) << "nor is it made anew";
  EXPECT_NE(again.error().detail().find("is revoked; the next version is 3"), std::string::npos);
}

// --- administration ---

TEST_F(DerivedKeys, ConditionsOfAVersionNeverChange) {
  const auto made = put(1, from_microcode(4));
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->made);
  w.clock.advance(seconds{5});
  const auto again = put(1, from_microcode(4));
  ASSERT_TRUE(again) << "a retry is the same version";
  EXPECT_FALSE(again->made);
  EXPECT_EQ(again->version, made->version);
  const auto other = put(1, from_microcode(5));
  ASSERT_EQ(code_of(other), Errc::conflict);
  EXPECT_NE(other.error().detail().find("the next version is 2"), std::string::npos) << other.error().detail();
  EXPECT_EQ(code_of(put(3, from_microcode(5))), Errc::conflict) << "leaves one out";
  EXPECT_EQ(code_of(put(0, from_microcode(5))), Errc::invalid_argument);
  EXPECT_EQ(code_of(put(2, from_microcode(3))), Errc::conflict) << "lower";
  EXPECT_EQ(code_of(put(2, any_version())), Errc::conflict) << "no floor any more";
  EXPECT_TRUE(put(2, from_microcode(4))) << "kept: the key is rotated";
  EXPECT_TRUE(put(3, from_microcode(5)));
  EXPECT_EQ(code_of(put(1, any_version(), "Disk")), Errc::invalid_argument);
  const auto key = keys.get(w.tenant, w.version.spec.challenge, kPurpose);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->versions.size(), 3U);
  EXPECT_EQ(code_of(keys.get(w.tenant, w.version.spec.challenge, "swap")), Errc::not_found);
}

TEST_F(DerivedKeys, HaveSixteenVersionsAtMostThatAreNotRevoked) {
  for (std::uint64_t version = 1; version <= model::kMaxLiveVersions; ++version)
    ASSERT_TRUE(put(version, any_version()));
  const auto one_more = put(17, any_version());
  ASSERT_EQ(code_of(one_more), Errc::conflict);
  EXPECT_NE(one_more.error().detail().find("revoke one"), std::string::npos);
  ASSERT_TRUE(revoke(1));
  EXPECT_TRUE(put(17, any_version()));
  EXPECT_EQ(received(w.ready()).size(), model::kMaxLiveVersions);
}

TEST_F(DerivedKeys, EveryActHasItsLeaf) {
  ASSERT_TRUE(put(1, from_microcode(4)));
  ASSERT_TRUE(put(2, from_microcode(4)));
  const auto created = leaf(keybroker::kKeyCreated, subject("/1"));
  ASSERT_TRUE(created);
  EXPECT_EQ(*created->detail<std::string>("by"), "tester");
  EXPECT_EQ(*created->detail<Bytes>("conditions"), to_bytes(ByteView{keybroker::digest(from_microcode(4))}));
  EXPECT_TRUE(leaf(keybroker::kKeyRaised, subject("/2")));
  const auto ready = w.ready();
  ASSERT_EQ(received(ready).size(), 2U);
  for (const auto* number : {"/1", "/2"}) {
    const auto released = leaf(keybroker::kKeyReleased, subject(number));
    ASSERT_TRUE(released);
    EXPECT_EQ(*released->detail<std::string>("session"), ready.session.id().str());
    EXPECT_EQ(*released->detail<std::string>("instance"), ready.session.instance().str());
    EXPECT_EQ(*released->detail<std::string>("challenge_version"), w.version.id.str());
    EXPECT_EQ(*released->detail<Bytes>("policy"), to_bytes(ByteView{ready.session.policy_digest()}));
    EXPECT_EQ(*released->detail<Bytes>("conditions"), to_bytes(ByteView{keybroker::digest(from_microcode(4))}));
  }
}

TEST_F(DerivedKeys, WithoutARecordNothingIsDone) {
  ASSERT_TRUE(put(1, any_version()));
  const auto ready = w.ready();
  auto decision = decide(ready);
  ASSERT_TRUE(decision);
  run("CREATE TRIGGER no_records BEFORE INSERT ON audit_row BEGIN SELECT RAISE(ABORT, 'no records'); END");
  EXPECT_FALSE(keys.release(ready.session, *std::move(decision), w.clock.now()));
  EXPECT_FALSE(put(2, any_version()));
  EXPECT_FALSE(revoke(1));
  EXPECT_FALSE(decide(ready, "backup"));
  run("DROP TRIGGER no_records");
  const auto key = keys.get(w.tenant, w.version.spec.challenge, kPurpose);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->versions, (std::vector{model::DerivedKeyVersion{1, any_version(), w.clock.now(), std::nullopt}}));
  EXPECT_EQ(numbers(received(ready)), Numbers{1});
}

// --- a database that somebody else wrote to ---

TEST_F(DerivedKeys, ARevocationThatWasTakenBackIsFound) {
  ASSERT_TRUE(put(1, any_version()));
  run("CREATE TABLE kept AS SELECT * FROM derived_key");
  ASSERT_TRUE(revoke(1));
  run("UPDATE derived_key SET state = (SELECT state FROM kept)");
  const auto ready = w.ready();
  EXPECT_EQ(code_of(decide(ready)), Errc::storage_corrupt);
  EXPECT_EQ(code_of(put(2, any_version())), Errc::storage_corrupt);
  EXPECT_EQ(code_of(keys.list(w.tenant)), Errc::storage_corrupt);
  EXPECT_EQ(code_of(keys.get(w.tenant, w.version.spec.challenge, kPurpose)), Errc::storage_corrupt);
  EXPECT_TRUE(revoke(1)) << "mends it";
  EXPECT_EQ(code_of(decide(ready)), Errc::permission_denied);
}

TEST_F(DerivedKeys, ANumberIsNotUsedTwiceThoughItsRowIsGone) {
  ASSERT_TRUE(put(1, from_microcode(4)));
  ASSERT_TRUE(put(2, from_microcode(5)));
  run("DELETE FROM derived_key WHERE version = 2");
  EXPECT_EQ(code_of(put(2, from_microcode(4))), Errc::storage_corrupt);
  run("DELETE FROM derived_key");
  EXPECT_EQ(code_of(put(1, any_version())), Errc::storage_corrupt);
}

TEST_F(DerivedKeys, ARowThatWasMovedIsFound) {
  ASSERT_TRUE(put(1, any_version(), "backup"));
  run("UPDATE derived_key SET purpose = 'disk'");
  const auto ready = w.ready();
  EXPECT_EQ(code_of(decide(ready)), Errc::storage_corrupt);
  EXPECT_FALSE(leaf(keybroker::kKeyRefused, subject())) << "a trouble of the server's refuses nobody";
}

TEST_F(DerivedKeys, ASpecificationThatWasChangedIsFound) {
  auto spec = w.version.spec;
  spec.derived_keys.clear();
  const auto without = w.registry->add(w.tenant, spec, "tester", w.clock.now());
  ASSERT_TRUE(without) << without.error().text();
  ASSERT_TRUE(put(1, any_version()));
  run("CREATE TABLE kept AS SELECT * FROM version");
  run("UPDATE version SET spec = (SELECT spec FROM kept WHERE kept.spec LIKE '%derived_keys%')");
  use(*without);
  EXPECT_EQ(code_of(decide(w.ready())), Errc::storage_corrupt) << "its own does not name the key";
}

// --- all that a version names ---

TEST_F(DerivedKeys, ComeWithTheSecretsAllOrNone) {
  ASSERT_TRUE(put(1, any_version()));
  const auto ready = w.ready();
  EXPECT_EQ(code_of(w.broker->release_all(ready.session, w.clock.now())), Errc::permission_denied) << "no backup key";
  EXPECT_FALSE(leaf(keybroker::kSecretReleased, "example/salt"));
  EXPECT_FALSE(leaf(keybroker::kKeyReleased, subject("/1")));
  ASSERT_TRUE(put(1, any_version(), "backup"));
  ASSERT_TRUE(put(2, any_version()));
  const auto release = w.broker->release_all(ready.session, w.clock.now());
  ASSERT_TRUE(release) << release.error().text();
  EXPECT_EQ(release->secrets.size(), 1U);
  ASSERT_EQ(release->keys.size(), 3U);
  EXPECT_EQ(release->keys[0].purpose, "disk");
  EXPECT_EQ(release->keys[1].version, 2U);
  EXPECT_EQ(release->keys[2].purpose, "backup");
}

// --- an HSM ---

/// The same keys with their root in an HSM; everything else is the world's.
class DerivedKeysOfHsm : public DerivedKeys {
 protected:
  void SetUp() override {
    CLOISTER_SOFTHSM_OR_SKIP(module);
    hsm = std::make_unique<SoftHsm>(module);
    DerivedKeys::SetUp();
    kms::Pkcs11Kms::Options options;
    options.make_keys = true;
    options.pause = std::chrono::milliseconds{0};
    auto opened_kms = kms::Pkcs11Kms::open(hsm->uri(), options, w.random);
    ASSERT_TRUE(opened_kms) << opened_kms.error().text();
    of_hsm = *std::move(opened_kms);
  }
  std::unique_ptr<SoftHsm> hsm;
  std::unique_ptr<kms::Pkcs11Kms> of_hsm;
};

TEST_F(DerivedKeysOfHsm, AreWhatTheTokenComputesForAnybodyWhoIsLoggedIn) {
  ASSERT_TRUE(put(1, any_version()));
  const auto ready = w.ready();
  keybroker::DerivedKeys broker{*w.database, *w.sealer, *of_hsm, *w.log, w.random};
  auto decision = broker.decide(ready.session, kPurpose, w.clock.now());
  ASSERT_TRUE(decision) << decision.error().text();
  const auto sealed = broker.release(ready.session, *std::move(decision), w.clock.now());
  ASSERT_TRUE(sealed) << sealed.error().text();
  const auto info = keybroker::derivation_info(w.tenant, w.version.spec.challenge, kPurpose, 1);
  auto input = codec::cbor::Writer{}.array(3).text("cloister/kms/hsm/1").text("derive").bytes(info).take();
  input.push_back(1);
  const Administrator admin{hsm->uri()};
  EXPECT_EQ(opened(ready, *sealed).at(1), codec::to_hex(admin.hmac("cloister/root", input)));
}

TEST_F(DerivedKeysOfHsm, AreNotReleasedWithoutTheRoot) {
  ASSERT_TRUE(put(1, any_version()));
  const auto ready = w.ready();
  keybroker::DerivedKeys broker{*w.database, *w.sealer, *of_hsm, *w.log, w.random};
  auto decision = broker.decide(ready.session, kPurpose, w.clock.now());
  ASSERT_TRUE(decision);
  Administrator{hsm->uri()}.destroy("cloister/root");
  EXPECT_EQ(code_of(broker.release(ready.session, *std::move(decision), w.clock.now())), Errc::hsm_key_missing);
  EXPECT_FALSE(leaf(keybroker::kKeyReleased, subject("/1")));
}

}  // namespace
}  // namespace cloister::test
