#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "cloister/audit/log.hpp"
#include "cloister/kms/software.hpp"
#include "support/support.hpp"

namespace cloister::audit::testing {

inline UnixTime at(std::int64_t seconds) { return from_micros(1'700'000'040'000'000 + seconds * 1'000'000); }

class LogFixture : public ::testing::Test {
 protected:
  void SetUp() override { open_database(); }
  void open_database() {
    log_.reset();
    database_.reset();
    auto opened = storage::Database::open(database_file());
    ASSERT_TRUE(opened) << opened.error().text();
    database_ = *std::move(opened);
  }
  [[nodiscard]] std::filesystem::path database_file() const { return dir_.path() / "cloister.db"; }
  [[nodiscard]] std::filesystem::path head_file() const { return dir_.path() / "audit-head.cbor"; }
  [[nodiscard]] Result<std::unique_ptr<Log>> try_open(bool accept_rollback = false) {
    return Log::open(*database_, kms_, random_, {head_file(), accept_rollback}, at(0));
  }
  void open(bool accept_rollback = false) {
    auto opened = try_open(accept_rollback);
    ASSERT_TRUE(opened) << opened.error().text();
    log_ = *std::move(opened);
  }
  /// The index that it got.
  std::uint64_t append(const std::string& subject, const std::string& kind = "test.act") {
    auto transaction = *database_->write();
    const auto added = log_->append(transaction, {at(1), kind, subject, {}});
    EXPECT_TRUE(added) << added.error().text();
    EXPECT_TRUE(transaction.commit());
    return log_->find(kind, subject).value();
  }
  void append_many(int count) {
    for (int i = 0; i < count; ++i) (void)append("subject-" + std::to_string(i));
  }

  test::TempDir dir_;
  test::SeededRandom random_{11};
  kms::SoftwareKms kms_{crypto::Secret<32>{ByteArray<32>{1}}, random_};
  std::unique_ptr<storage::Database> database_;
  std::unique_ptr<Log> log_;
};

}  // namespace cloister::audit::testing
