#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "cloister/storage/access.hpp"
#include "jobs_fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::bytes32;
using testing::id;
using testing::request;
using testing::result_of;

constexpr int kInstances = 4;
constexpr int kJobs = 60;

class ConcurrentJobs : public testing::JobsFixture {};

/// Instances lease and answer while leases expire below them: each job ends with one result, of its last fence.
TEST_F(ConcurrentJobs, EachJobIsLeasedToOneAtATimeAndEndsOnce) {
  std::vector<std::string> names;
  for (int i = 0; i < kInstances; ++i) {
    names.push_back("inst-" + std::to_string(i));
    add_instance(names.back());
  }
  for (int i = 0; i < kJobs; ++i) ASSERT_TRUE(submit(request("job-" + std::to_string(i), names)));

  SystemRandom random;
  std::mutex mutex;
  std::map<JobId, std::set<std::uint64_t>> fences;
  std::atomic<int> accepted = 0;
  std::atomic<int> errors = 0;
  std::atomic<int> twice = 0;
  const auto work = [&](const std::string& name, bool slow) {
    int idle = 0;
    while (accepted < kJobs && idle < 2000) {
      const auto attempt = AttemptId::make(random);
      const auto leased = lease(name, attempt.str(), 0, slow ? 1 : 100);
      if (!leased) return void(++errors);
      if (!*leased) {
        ++idle;
        std::this_thread::yield();
        continue;
      }
      {
        const std::lock_guard held{mutex};
        if (!fences[(*leased)->job.id].insert((*leased)->attempt.fence).second) ++twice;
      }
      const auto taken = accept(result_of(**leased, 2), (*leased)->attempt.fence);
      if (taken) ++accepted;
      if (!taken && taken.error().code() != Errc::stale_fence) ++errors;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kInstances; ++i) threads.emplace_back(work, names[static_cast<std::size_t>(i)], i % 2 == 0);
  threads.emplace_back([&] {
    while (accepted < kJobs && errors == 0) {
      const auto ended = commit([](Transaction& t) { return jobs::expire_leases(t, {1'000'000}, at(1), at(1)); });
      if (!ended) ++errors;
      std::this_thread::yield();
    }
  });
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(errors, 0);
  EXPECT_EQ(twice, 0) << "no fence of a job is given out twice";
  EXPECT_EQ(accepted, kJobs);
  EXPECT_EQ(fences.size(), static_cast<std::size_t>(kJobs));
  for (const auto& [job, given] : fences) {
    const auto result = jobs::result(read(), job);
    ASSERT_TRUE(result);
    EXPECT_EQ(jobs::attempt(read(), result->attempt)->attempt.fence, *given.rbegin()) << job.str();
  }
}

TEST_F(ConcurrentJobs, NonceServesOneOfMany) {
  ASSERT_TRUE(commit([](Transaction& t) { return nonces::issue(t, bytes32(1), "attest", at(60)); }));
  std::atomic<int> served = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (commit([](Transaction& t) { return nonces::consume(t, bytes32(1), "attest", at(1)); })) ++served;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(served, 1);
}

TEST_F(ConcurrentJobs, ReadersSeeWholeTransactionsBesideTheWriter) {
  constexpr int kRounds = 100;
  std::atomic<bool> done = false;
  std::atomic<int> torn = 0;
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < Database::kReaders + 2; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const auto snapshot = read();
        const auto a = settings::get(snapshot, "a");
        const auto b = settings::get(snapshot, "b");
        if (a.ok() != b.ok() || (a && *a != *b)) ++torn;
      }
    });
  }
  for (std::uint8_t round = 0; round < kRounds; ++round) {
    EXPECT_TRUE(commit([&](Transaction& t) -> Result<void> {
      CLOISTER_CHECK(settings::set(t, "a", Bytes{round}));
      return settings::set(t, "b", Bytes{round});
    }));
  }
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
}

/// Threads that wait to write while one transaction is open.
class GroupCommit : public testing::DatabaseTest {
 protected:
  /// `act(transaction)` on a thread of its own, begun once the one before waits.
  template <class Act>
  void beside(Act act) {
    const auto before = database_->writes().waiting;
    threads_.emplace_back([this, act] {
      auto transaction = database_->write();
      ASSERT_TRUE(transaction);
      act(*transaction);
    });
    while (database_->writes().waiting == before) std::this_thread::yield();
  }
  void join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  void TearDown() override { join(); }
  [[nodiscard]] static Result<void> set(Transaction& t, std::string_view name) { return settings::set(t, name, Bytes{1}); }
  [[nodiscard]] bool there(std::string_view name) { return settings::get(read(), name).ok(); }
  std::vector<std::thread> threads_;
};

TEST_F(GroupCommit, TransactionsThatWaitShareACommit) {
  const auto before = database_->writes();
  {
    auto first = write();
    ASSERT_TRUE(set(first, "first"));
    for (const auto* name : {"second", "third"}) {
      beside([name](Transaction& t) {
        EXPECT_TRUE(set(t, name));
        EXPECT_TRUE(t.commit());
      });
    }
    EXPECT_FALSE(there("first"));
    EXPECT_TRUE(first.commit()) << "waits for the others, who do not wait for it";
  }
  EXPECT_TRUE(there("first")) << "on disk when commit returns";
  join();
  EXPECT_TRUE(there("second"));
  EXPECT_TRUE(there("third"));
  const auto after = database_->writes();
  EXPECT_EQ(after.transactions - before.transactions, 3U);
  EXPECT_EQ(after.commits - before.commits, 1U);
  EXPECT_EQ(after.waiting, 0U);
  open();
  EXPECT_TRUE(there("first") && there("second") && there("third"));
}

TEST_F(GroupCommit, OneThatIsRolledBackTakesNobodyAlong) {
  {
    auto first = write();
    ASSERT_TRUE(set(first, "first"));
    beside([](Transaction& t) { EXPECT_TRUE(set(t, "dropped")); });
    beside([](Transaction& t) {
      EXPECT_FALSE(settings::get(t, "dropped")) << "what was rolled back is not seen";
      EXPECT_TRUE(settings::get(t, "first")) << "what is committed with it is";
      EXPECT_TRUE(set(t, "third"));
      EXPECT_TRUE(t.commit());
    });
    beside([](Transaction& t) { EXPECT_TRUE(set(t, "last")); });
    EXPECT_TRUE(first.commit()) << "also when nobody after the last commits";
  }
  join();
  EXPECT_TRUE(there("first"));
  EXPECT_TRUE(there("third"));
  EXPECT_FALSE(there("dropped"));
  EXPECT_FALSE(there("last"));
  EXPECT_TRUE(commit([](Transaction& t) { return set(t, "after"); }));
}

TEST_F(GroupCommit, AConflictIsOnesOwn) {
  {
    auto first = write();
    ASSERT_TRUE(first.run("INSERT INTO setting (name, value) VALUES ('a', x'')"));
    beside([](Transaction& t) {
      EXPECT_EQ(t.run("INSERT INTO setting (name, value) VALUES ('a', x'')").error().code(), Errc::conflict);
      EXPECT_TRUE(set(t, "b"));
      EXPECT_TRUE(t.commit()) << "what succeeded before stays";
    });
    EXPECT_TRUE(first.commit());
  }
  join();
  EXPECT_TRUE(there("a") && there("b"));
}

TEST_F(GroupCommit, WhoeverRollsBackFirstLeavesTheOthersAlone) {
  {
    auto first = write();
    ASSERT_TRUE(set(first, "first"));
    beside([](Transaction& t) {
      EXPECT_TRUE(set(t, "second"));
      EXPECT_TRUE(t.commit());
    });
  }
  join();
  EXPECT_FALSE(there("first"));
  EXPECT_TRUE(there("second"));
}

/// The engine rolls a whole transaction back by itself when a statement cannot be undone alone; here a trigger has it do so.
TEST_F(GroupCommit, AFailureOfTheEngineFailsAllOfThem) {
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("CREATE TRIGGER lost BEFORE INSERT ON setting WHEN NEW.name = 'lost' BEGIN SELECT RAISE(ROLLBACK, 'disk'); END");
  }));
  {
    auto first = write();
    ASSERT_TRUE(set(first, "first"));
    beside([](Transaction& t) {
      EXPECT_FALSE(set(t, "lost"));
      EXPECT_EQ(t.commit().error().code(), Errc::storage_failure);
    });
    EXPECT_EQ(first.commit().error().code(), Errc::storage_failure) << "it was not acknowledged, and is not there";
  }
  join();
  EXPECT_FALSE(there("first"));
  EXPECT_TRUE(commit([](Transaction& t) { return set(t, "after"); }));
  EXPECT_TRUE(there("after"));
}

TEST_F(GroupCommit, ManyThreadsAllGetTheirCommit) {
  constexpr int kThreads = 8;
  constexpr int kEach = 50;
  std::atomic<int> failed = 0;
  for (int i = 0; i < kThreads; ++i) {
    threads_.emplace_back([&, i] {
      for (int k = 0; k < kEach; ++k) {
        const auto name = std::to_string(i) + "-" + std::to_string(k);
        const bool keep = k % 5 != 4;
        auto transaction = database_->write();
        if (!transaction || !set(*transaction, name)) {
          ++failed;
          continue;
        }
        if (!keep) continue;
        if (!transaction->commit() || !there(name)) ++failed;
      }
    });
  }
  join();
  EXPECT_EQ(failed, 0);
  for (int i = 0; i < kThreads; ++i) {
    for (int k = 0; k < kEach; ++k) EXPECT_EQ(there(std::to_string(i) + "-" + std::to_string(k)), k % 5 != 4);
  }
}

}  // namespace
}  // namespace cloister::storage
