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

}  // namespace
}  // namespace cloister::storage
