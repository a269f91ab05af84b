#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "cloister/kms/software.hpp"
#include "cloister/storage/challenges.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/evidence.hpp"
#include "cloister/storage/fleet.hpp"
#include "cloister/storage/sealing.hpp"
#include "support/support.hpp"

namespace cloister::storage::testing {

inline UnixTime at(std::int64_t seconds) { return from_micros(1'700'000'000'000'000 + seconds * 1'000'000); }

template <class IdType>
IdType id(std::string_view text) {
  return *IdType::parse(text);
}

inline ByteArray<32> bytes32(std::uint8_t first) {
  ByteArray<32> out{};
  out[0] = first;
  return out;
}

inline model::Version version(std::string_view name, std::string_view challenge = "chal") {
  model::Version version;
  version.id = id<VersionId>(name);
  version.spec.challenge = id<ChallengeId>(challenge);
  version.spec.image_digest = bytes32(7);
  version.configuration = Bytes{1, 2, 3};
  version.reference.mrtd[0] = 9;
  version.registered = at(0);
  return version;
}

inline model::Instance instance(std::string_view name, std::string_view version_name, int created = 0) {
  model::Instance out;
  out.id = id<InstanceId>(name);
  out.version = id<VersionId>(version_name);
  out.validator = id<ValidatorId>("val");
  out.created = at(created);
  return out;
}

inline evidence::Stored shown(std::string_view session) {
  return {{Bytes{1}, Bytes{2}, Bytes{3}, Bytes{4}, Bytes{5}, id<SessionId>(session), at(1), at(100)}, Bytes{6}};
}

inline TenantId tenant(std::string_view name) { return TenantId::parse(name).value(); }

/// A database of its own in a directory of its own.
class DatabaseTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    database_.reset();
    auto opened = Database::open(file());
    ASSERT_TRUE(opened) << opened.error().text();
    database_ = *std::move(opened);
  }
  /// A new database as it was before the migration of that name: to be brought up to date by `open`.
  void open_before(std::string_view migration) {
    database_.reset();
    std::filesystem::remove(file());
    const auto all = migrations();
    const auto before = std::ranges::find(all, migration, &Migration::name) - all.begin();
    ASSERT_LT(static_cast<std::size_t>(before), all.size());
    auto old = Database::open(file(), all.first(static_cast<std::size_t>(before)));
    ASSERT_TRUE(old) << old.error().text();
    database_ = *std::move(old);
  }
  [[nodiscard]] std::filesystem::path file() const { return dir_.path() / "cloister.db"; }
  [[nodiscard]] Transaction write() { return *database_->write(); }
  [[nodiscard]] Snapshot read() { return *database_->read(); }

  /// Runs `act(transaction)` and commits if it succeeded.
  template <class Act>
  auto commit(Act act) -> decltype(act(std::declval<Transaction&>())) {
    auto transaction = database_->write();
    if (!transaction) return transaction.error();
    auto done = act(*transaction);
    if (!done) return done;
    if (auto committed = transaction->commit(); !committed) return committed.error();
    return done;
  }

  test::TempDir dir_;
  test::SeededRandom random_{42};
  kms::SoftwareKms kms_{crypto::Secret<32>{bytes32(1)}, random_};
  std::unique_ptr<Database> database_;
};

/// With version "ver" of challenge "chal", validator "val", and instances of it made on demand.
class FleetDatabaseTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    ASSERT_TRUE(commit([](Transaction& t) { return challenges::add(t, id<TenantId>("acme"), version("ver")); }));
    model::Validator validator;
    validator.id = id<ValidatorId>("val");
    validator.hotkey = bytes32(1);
    validator.enrolled = at(0);
    ASSERT_TRUE(commit([&](Transaction& t) { return validators::enrol(t, validator); }));
  }
  void add_instance(std::string_view name, model::InstanceState state = model::InstanceState::ready,
                    std::string_view version_name = "ver") {
    ASSERT_TRUE(commit([&](Transaction& t) { return instances::add(t, instance(name, version_name)); }));
    set_state(name, state);
  }
  void set_state(std::string_view name, model::InstanceState state) {
    ASSERT_TRUE(commit([&](Transaction& t) { return instances::set_state(t, id<InstanceId>(name), state); }));
  }
};

}  // namespace cloister::storage::testing
