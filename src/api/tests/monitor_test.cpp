#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>

#include "cloister/api/monitor.hpp"
#include "cloister/runtime/io_context.hpp"
#include "support/disk.hpp"
#include "support/support.hpp"

namespace cloister::api {
namespace {

using std::chrono::seconds;

/// While it lives, no file of this process may grow.
class NoRoom {
 public:
  NoRoom() {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoRoom() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;

 private:
  rlimit before_{};
};

class MonitorTest : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGXFSZ, SIG_IGN);
    auto opened = storage::Database::open(dir.path() / "m.db");
    ASSERT_TRUE(opened.ok());
    database = std::move(*opened);
    monitor.emplace(*database, clock);
    io.start();
  }
  std::optional<Unready> unready() { return runtime::block_on(io, monitor->unready()); }

  runtime::IoContext io{1};
  test::TempDir dir;
  test::FakeClock clock{UnixTime{}};
  std::unique_ptr<storage::Database> database;
  std::optional<Monitor> monitor;
};

TEST_F(MonitorTest, IsReadyBetweenStartAndStop) {
  EXPECT_EQ(unready(), Unready::starting);
  monitor->serving();
  EXPECT_EQ(unready(), std::nullopt);
  monitor->stopping();
  EXPECT_EQ(unready(), Unready::stopping);
}

TEST_F(MonitorTest, IsUnreadyWhileTheStorageTakesNoWrites) {
  monitor->serving();
  EXPECT_EQ(unready(), std::nullopt);
  clock.advance(seconds{1});
  {
    const NoRoom full;
    EXPECT_EQ(unready(), Unready::storage_unwritable);
  }
  clock.advance(seconds{1});
  EXPECT_EQ(unready(), std::nullopt);
}

TEST_F(MonitorTest, TriesTheStorageOnceASecond) {
  monitor->serving();
  EXPECT_EQ(unready(), std::nullopt);
  const NoRoom full;
  clock.advance(std::chrono::milliseconds{999});
  EXPECT_EQ(unready(), std::nullopt);
  clock.advance(std::chrono::milliseconds{1});
  EXPECT_EQ(unready(), Unready::storage_unwritable);
}

TEST_F(MonitorTest, IsUnreadyWhileTheStorageCannotBeRead) {
  monitor->serving();
  std::filesystem::rename(dir.path() / "m.db", dir.path() / "away");
  EXPECT_EQ(unready(), Unready::storage_unreadable);
  std::filesystem::rename(dir.path() / "away", dir.path() / "m.db");
  clock.advance(seconds{1});
  EXPECT_EQ(unready(), std::nullopt);
}

TEST_F(MonitorTest, IsUnreadyBeforeTheDiskIsFull) {
  monitor->serving();
  {
    const test::FreeSpace little{(16U << 20) - 4096};
    EXPECT_EQ(unready(), Unready::disk_almost_full);
  }
  clock.advance(seconds{1});
  EXPECT_EQ(unready(), std::nullopt);
}

TEST_F(MonitorTest, IsUnreadyWhileTheDiskIsSlowAndWaitsForNothing) {
  monitor->serving();
  EXPECT_EQ(unready(), std::nullopt);
  clock.advance(seconds{1});
  {
    const test::SlowDisk disk;
    EXPECT_EQ(unready(), std::nullopt) << "what was found last";
    test::SlowDisk::wait_until_held();
    clock.advance(seconds{5});
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(unready(), Unready::storage_slow);
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds{900}) << "it waited for the disk";
  }
  // The trial that was held may say that all is well again, however late.
  clock.advance(seconds{1});
  while (unready() == Unready::storage_slow) {}
  EXPECT_EQ(unready(), std::nullopt);
}

TEST_F(MonitorTest, IsUnreadyWhileTheKeysAreGoneAndAsksForThemSeldom) {
  std::atomic<int> asked = 0;
  std::atomic<bool> there = true;
  monitor.emplace(*database, clock, Monitor::Taints{}, [&]() -> Result<void> {
    ++asked;
    if (there) return {};
    return Error{Errc::unavailable, "HSM: gone"};
  });
  monitor->serving();
  EXPECT_EQ(unready(), std::nullopt);
  EXPECT_FALSE(monitor->key_failure());
  there = false;
  clock.advance(Monitor::kKeysEvery - std::chrono::milliseconds{1});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(unready(), std::nullopt);
  EXPECT_EQ(asked, 1);
  clock.advance(std::chrono::milliseconds{1});
  EXPECT_EQ(unready(), Unready::keys_unavailable);
  ASSERT_TRUE(monitor->key_failure());
  EXPECT_EQ(monitor->key_failure()->detail(), "HSM: gone");
  {
    const NoRoom full;  // what is worse comes first
    clock.advance(seconds{1});
    EXPECT_EQ(unready(), Unready::storage_unwritable);
  }
  there = true;
  clock.advance(Monitor::kKeysEvery);
  EXPECT_EQ(unready(), std::nullopt);
  EXPECT_FALSE(monitor->key_failure());
  EXPECT_EQ(asked, 3);
}

TEST_F(MonitorTest, DoesNotWaitForKeysThatAreSlow) {
  std::atomic<bool> held = false;
  monitor.emplace(*database, clock, Monitor::Taints{}, [&]() -> Result<void> {
    held.wait(true);
    return {};
  });
  monitor->serving();
  EXPECT_EQ(unready(), std::nullopt);
  held = true;
  clock.advance(Monitor::kKeysEvery);
  EXPECT_EQ(unready(), std::nullopt) << "what was found last";
  clock.advance(Monitor::kSlow);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(unready(), Unready::keys_slow);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds{900}) << "it waited for the keys";
  held = false;
  held.notify_all();
  clock.advance(Monitor::kKeysEvery);
  while (unready() == Unready::keys_slow) {}
  EXPECT_EQ(unready(), std::nullopt);
}

TEST_F(MonitorTest, LivesWhileItsLoopGoesRound) {
  clock.advance(seconds{59});
  EXPECT_TRUE(monitor->alive());
  clock.advance(seconds{1});
  EXPECT_FALSE(monitor->alive());
  monitor->beat();
  EXPECT_TRUE(monitor->alive());
}

}  // namespace
}  // namespace cloister::api
