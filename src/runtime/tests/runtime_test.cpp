#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <csignal>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/runtime/io_context.hpp"
#include "cloister/runtime/task_group.hpp"
#include "support/support.hpp"

namespace cloister::runtime {
namespace {

using std::chrono::milliseconds;

Deadline soon() { return Deadline{std::chrono::steady_clock::now() + milliseconds{20}}; }
Deadline far() { return Deadline{std::chrono::steady_clock::now() + std::chrono::seconds{60}}; }

class Collecting final : public log::Logger {
 public:
  void write(log::Level level, std::string_view event, std::initializer_list<log::Field>) override {
    const std::lock_guard lock{mutex_};
    if (level == log::Level::error) errors_.emplace_back(event);
  }
  std::vector<std::string> errors() const {
    const std::lock_guard lock{mutex_};
    return errors_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> errors_;
};

/// Sets a flag when the task that holds it ends.
struct Flag {
  explicit Flag(std::atomic<int>& count) : count_{count} {}
  ~Flag() { ++count_; }
  Flag(const Flag&) = delete;
  std::atomic<int>& count_;
};

struct Runtime : testing::Test {
  Runtime() { io.start(); }
  IoContext io;
  Collecting logger;
  std::atomic<int> ended = 0;

  Task<void> sleep_forever() {
    const Flag flag{ended};
    while (true) (void)co_await sleep_until(SteadyTime::max());
  }
};

// --- tasks, deadlines -------------------------------------------------------------------------------------------

Task<int> answer() { co_return 42; }
Task<int> thrower() {
  (void)co_await sleep_for(milliseconds{0});
  throw std::runtime_error{"no"};
}

TEST_F(Runtime, BlockOnReturnsTheValue) { EXPECT_EQ(block_on(io, answer()), 42); }

TEST_F(Runtime, BlockOnRethrows) { EXPECT_THROW((void)block_on(io, thrower()), std::runtime_error); }

TEST_F(Runtime, PostRunsOnTheContextsThread) {
  std::promise<std::thread::id> where;
  post(io.executor(), [&where] { where.set_value(std::this_thread::get_id()); });
  EXPECT_NE(where.get_future().get(), std::this_thread::get_id());
}

TEST_F(Runtime, SleepEndsAtItsTime) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(block_on(io, sleep_for(milliseconds{5})).ok());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds{5});
}

Task<Result<int>> quick() { co_return 7; }
Task<Result<int>> refused() { co_return Error{Errc::conflict, "x"}; }

TEST_F(Runtime, DeadlineLetsWorkInTimePass) {
  EXPECT_EQ(*block_on(io, with_deadline(far(), quick())), 7);
  EXPECT_EQ(block_on(io, with_deadline(far(), refused())).error().code(), Errc::conflict);
}

TEST_F(Runtime, DeadlineCancelsAndAwaitsLateWork) {
  auto work = [this]() -> Task<Result<int>> {
    const Flag flag{ended};
    const auto slept = co_await sleep_until(SteadyTime::max());
    co_return slept ? Result<int>{1} : Result<int>{slept.error()};
  };
  const auto late = block_on(io, with_deadline(soon(), work()));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(ended, 1);
}

TEST_F(Runtime, DeadlineKeepsAValueThatCameAllTheSame) {
  auto work = []() -> Task<Result<int>> {
    (void)co_await sleep_until(SteadyTime::max());
    co_return 5;
  };
  EXPECT_EQ(*block_on(io, with_deadline(soon(), work())), 5);
}

TEST_F(Runtime, DeadlineUnwindsWorkThatIgnoresCancellation) {
  auto work = []() -> Task<Result<int>> {
    while (true) (void)co_await sleep_until(SteadyTime::max());
  };
  EXPECT_EQ(block_on(io, with_deadline(soon(), work())).error().code(), Errc::deadline_exceeded);
}

TEST_F(Runtime, DeadlinePassesExceptionsOn) {
  auto work = []() -> Task<Result<int>> {
    (void)co_await sleep_for(milliseconds{0});
    throw std::runtime_error{"no"};
  };
  EXPECT_THROW((void)block_on(io, with_deadline(far(), work())), std::runtime_error);
}

TEST_F(Runtime, NestedDeadlinesKeepTheEarlier) {
  auto work = [this]() -> Task<Result<int>> {
    co_await sleep_forever();
    co_return 1;
  };
  EXPECT_EQ(block_on(io, with_deadline(soon(), with_deadline(far(), work()))).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(ended, 1);
}

TEST_F(Runtime, RunOnMovesWorkAndComesBack) {
  IoContext other;
  other.start();
  auto thread = []() -> Task<std::thread::id> { co_return std::this_thread::get_id(); };
  auto both = [&]() -> Task<bool> {
    const auto here = std::this_thread::get_id();
    const auto there = co_await run_on(other.executor(), thread());
    co_return here != there && here == std::this_thread::get_id();
  };
  EXPECT_TRUE(block_on(io, both()));
}

TEST_F(Runtime, CancellationReachesWorkOnAnotherExecutor) {
  IoContext other;
  other.start();
  auto work = [this]() -> Task<Result<int>> {
    co_await sleep_forever();
    co_return 1;
  };
  EXPECT_EQ(block_on(io, with_deadline(soon(), run_on(other.strand(), work()))).error().code(),
            Errc::deadline_exceeded);
  EXPECT_EQ(ended, 1);
}

TEST_F(Runtime, FinallyRunsTheCleanupAfterCancellation) {
  std::atomic<bool> cleaned = false;
  auto body = [this]() -> Task<Result<int>> {
    co_await sleep_forever();
    co_return 1;
  };
  auto cleanup = [&cleaned]() -> Task<void> { cleaned = (co_await sleep_for(milliseconds{1})).ok(); };
  const auto late = block_on(io, with_deadline(soon(), finally(body(), cleanup())));
  EXPECT_EQ(late.error().code(), Errc::deadline_exceeded);
  EXPECT_TRUE(cleaned);
}

TEST_F(Runtime, FinallyPassesValuesAndExceptionsOn) {
  std::atomic<int> cleaned = 0;
  auto cleanup = [&cleaned]() -> Task<void> {
    ++cleaned;
    co_return;
  };
  EXPECT_EQ(block_on(io, finally(answer(), cleanup())), 42);
  EXPECT_THROW((void)block_on(io, finally(thrower(), cleanup())), std::runtime_error);
  EXPECT_EQ(cleaned, 2);
}

TEST_F(Runtime, SignalIsReported) {
  std::promise<void> waiting;
  auto wait = [&]() -> Task<Result<int>> {
    auto pending = io.wait_for_signal({SIGUSR1});
    post(io.executor(), [&waiting] { waiting.set_value(); });  // runs once the task below is suspended
    co_return co_await std::move(pending);
  };
  auto number = std::async(std::launch::async, [&] { return block_on(io, wait()); });
  waiting.get_future().get();
  std::raise(SIGUSR1);
  EXPECT_EQ(*number.get(), SIGUSR1);
}

TEST_F(Runtime, SignalsAreHandledEachTime) {
  const auto strand = io.strand();
  TaskGroup group{strand, logger, "test"};
  std::promise<void> waiting;
  std::promise<void> seen[2];
  int count = 0;
  auto note = [&] { seen[count++].set_value(); };
  group.spawn("signals", IoContext::on_signal(SIGUSR2, note));
  post(strand, [&waiting] { waiting.set_value(); });  // runs once the task before it is suspended
  waiting.get_future().get();
  for (auto& once : seen) {
    std::raise(SIGUSR2);
    once.get_future().get();
  }
  block_on(io, group.cancel_and_wait());
  EXPECT_EQ(count, 2);
}

// --- TaskGroup --------------------------------------------------------------------------------------------------

TEST_F(Runtime, GroupCancelsAndAwaitsItsTasks) {
  TaskGroup group{io.strand(), logger, "test"};
  for (int i = 0; i < 10; ++i) group.spawn("sleeper", sleep_forever());
  EXPECT_EQ(group.running(), 10U);
  block_on(io, group.cancel_and_wait());
  EXPECT_EQ(ended, 10);
  EXPECT_EQ(group.running(), 0U);
  EXPECT_EQ(group.failures(), 0U);
}

TEST_F(Runtime, GroupStartsNothingOnceCancelled) {
  TaskGroup group{io.strand(), logger, "test"};
  block_on(io, group.cancel_and_wait());
  group.spawn("late", sleep_forever());
  EXPECT_EQ(group.running(), 0U);
  EXPECT_EQ(ended, 0);
}

TEST_F(Runtime, GroupCountsAndLogsAnException) {
  TaskGroup group{io.strand(), logger, "test"};
  auto failing = []() -> Task<void> {
    (void)co_await sleep_for(milliseconds{0});
    throw std::runtime_error{"no"};
  };
  group.spawn("failing", failing());
  EXPECT_TRUE(block_on(io, group.wait_until_empty(far())).ok());
  EXPECT_EQ(group.failures(), 1U);
  EXPECT_EQ(logger.errors(), std::vector<std::string>{"task_failed"});
}

TEST_F(Runtime, GroupWaitHasADeadline) {
  TaskGroup group{io.strand(), logger, "test"};
  group.spawn("sleeper", sleep_forever());
  EXPECT_EQ(block_on(io, group.wait_until_empty(soon())).error().code(), Errc::deadline_exceeded);
  block_on(io, group.cancel_and_wait());
}

TEST_F(Runtime, GroupInsideACancelledTaskIsAwaitedByFinally) {
  auto outer = [this]() -> Task<Result<int>> {
    const Executor here = co_await this_executor();
    TaskGroup inner{here, logger, "inner"};
    inner.spawn("sleeper", sleep_forever());
    auto body = [this]() -> Task<Result<int>> {
      co_await sleep_forever();
      co_return 1;
    };
    co_return co_await finally(body(), inner.cancel_and_wait());
  };
  EXPECT_EQ(block_on(io, with_deadline(soon(), outer())).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(ended, 2);
}

TEST(TaskGroup, SpawnsFromManyThreads) {
  IoContext io{4};
  io.start();
  Collecting logger;
  std::atomic<int> done = 0;
  TaskGroup group{io.strand(), logger, "test"};
  auto work = [&done]() -> Task<void> {
    (void)co_await sleep_for(milliseconds{1});
    ++done;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) group.spawn_on(io.strand(), "work", work());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(block_on(io, group.wait_until_empty(far())).ok());
  EXPECT_EQ(done, 400);
}

TEST(TaskGroup, CancelsTasksOfManyStrands) {
  IoContext io{4};
  io.start();
  Collecting logger;
  TaskGroup group{io.strand(), logger, "test"};
  std::atomic<int> ended = 0;
  auto work = [&ended]() -> Task<void> {
    const Flag flag{ended};
    while (true) (void)co_await sleep_for(milliseconds{1});
  };
  for (int i = 0; i < 100; ++i) group.spawn_on(io.strand(), "work", work());
  block_on(io, group.cancel_and_wait());
  EXPECT_EQ(ended, 100);
}

TEST(IoContext, DestroysWhatIsStillSuspended) {
  std::atomic<int> ended = 0;
  Collecting logger;
  {
    IoContext io;
    TaskGroup group{io.strand(), logger, "test"};
    auto work = [&ended](std::promise<void>& started) -> Task<void> {
      const Flag flag{ended};
      started.set_value();
      (void)co_await sleep_until(SteadyTime::max());
    };
    std::promise<void> started;
    group.spawn("work", work(started));
    io.start();
    started.get_future().get();
    io.stop();
  }
  EXPECT_EQ(ended, 1);
}

// --- AsyncEvent -------------------------------------------------------------------------------------------------

TEST_F(Runtime, EventThatAlreadyHappenedDoesNotWait) {
  AsyncEvent event;
  const auto seen = event.version();
  event.notify_all();
  EXPECT_TRUE(block_on(io, event.wait(seen, soon())).ok());
}

TEST_F(Runtime, EventWaitEndsAtItsDeadline) {
  AsyncEvent event;
  EXPECT_EQ(block_on(io, event.wait(event.version(), soon())).error().code(), Errc::deadline_exceeded);
}

TEST_F(Runtime, EventWakesEveryWaiter) {
  AsyncEvent event;
  TaskGroup group{io.strand(), logger, "test"};
  std::atomic<int> woken = 0;
  const auto seen = event.version();
  auto wait = [&]() -> Task<void> {
    const auto changed = co_await event.wait(seen, far());
    if (changed) ++woken;
  };
  for (int i = 0; i < 20; ++i) group.spawn("wait", wait());
  event.notify_all();
  EXPECT_TRUE(block_on(io, group.wait_until_empty(far())).ok());
  EXPECT_EQ(woken, 20);
}

TEST_F(Runtime, EventDestroyedUnderAWaiterCancelsTheWait) {
  auto event = std::make_unique<AsyncEvent>();
  auto wait = [&]() -> Task<Result<void>> {
    auto pending = event->wait(event->version(), far());
    post(io.executor(), [&event] { event.reset(); });
    co_return co_await std::move(pending);
  };
  EXPECT_EQ(block_on(io, wait()).error().code(), Errc::cancelled);
}

TEST(AsyncEvent, OutlivesTheContextOfAWaiter) {
  AsyncEvent event;
  Collecting logger;
  std::atomic<bool> ended = false;
  {
    IoContext io{1};
    io.start();
    TaskGroup group{io.strand(), logger, "test"};
    auto wait = [&](std::uint64_t seen) -> Task<void> {
      static_cast<void>(co_await event.wait(seen, far()));
      ended = true;
    };
    group.spawn("wait", wait(event.version()));
    EXPECT_FALSE(block_on(io, group.wait_until_empty(soon())).ok());
    io.stop();
  }
  event.notify_all();
  EXPECT_FALSE(ended);
}

TEST(AsyncEvent, LosesNoWakeUpBetweenThreads) {
  IoContext io{2};
  io.start();
  AsyncEvent event;
  std::atomic<int> produced = 0;
  constexpr int kCount = 2000;
  auto consume = [&]() -> Task<int> {
    while (true) {
      const auto seen = event.version();
      if (produced == kCount) co_return produced;
      const auto changed = co_await event.wait(seen, far());
      if (!changed) co_return -1;
    }
  };
  std::thread producer{[&] {
    for (int i = 0; i < kCount; ++i) {
      ++produced;
      event.notify_all();
    }
  }};
  EXPECT_EQ(block_on(io, consume()), kCount);
  producer.join();
}

// --- BlockingPool -----------------------------------------------------------------------------------------------

TEST_F(Runtime, PoolRunsElsewhereAndComesBack) {
  BlockingPool pool{1, 1};
  auto work = [&pool]() -> Task<bool> {
    const auto here = std::this_thread::get_id();
    auto job = [] { return Result<std::thread::id>{std::this_thread::get_id()}; };
    const auto there = co_await pool.run(std::move(job));
    co_return there.ok() && *there != here && std::this_thread::get_id() == here;
  };
  EXPECT_TRUE(block_on(io, work()));
}

TEST_F(Runtime, PoolPassesErrorsOnAndContainsExceptions) {
  BlockingPool pool{1, 1};
  std::function<Result<int>()> error = [] { return Result<int>{Error{Errc::conflict}}; };
  std::function<Result<int>()> throws = []() -> Result<int> { throw std::runtime_error{"no"}; };
  EXPECT_EQ(block_on(io, pool.run(error)).error().code(), Errc::conflict);
  EXPECT_EQ(block_on(io, pool.run(throws)).error().code(), Errc::internal);
}

/// One thread of the pool, held until `release`.
struct Blocked {
  explicit Blocked(BlockingPool& pool, IoContext& io, log::Logger& logger) : group{io.strand(), logger, "blocked"} {
    group.spawn("blocked", hold(pool));
    taken.get_future().get();
  }
  Task<void> hold(BlockingPool& pool) {
    auto job = [this] {
      taken.set_value();
      release.get_future().get();
      return Result<void>{};
    };
    (void)co_await pool.run(std::move(job));
  }
  std::promise<void> taken;
  std::promise<void> release;
  TaskGroup group;
};

Result<int> one() { return 1; }

TEST_F(Runtime, PoolRefusesWhenItsQueueIsFull) {
  BlockingPool pool{1, 1};
  Blocked blocked{pool, io, logger};
  auto first = std::async(std::launch::async, [&] { return block_on(io, pool.run(one)); });
  while (pool.queued() == 0) std::this_thread::yield();
  EXPECT_EQ(block_on(io, pool.run(one)).error().code(), Errc::overloaded);
  blocked.release.set_value();
  EXPECT_EQ(*first.get(), 1);
  block_on(io, blocked.group.cancel_and_wait());
}

TEST_F(Runtime, PoolDropsQueuedWorkOfACancelledTask) {
  BlockingPool pool{1, 1};
  Blocked blocked{pool, io, logger};
  std::atomic<bool> ran = false;
  auto job = [&ran] {
    ran = true;
    return Result<int>{1};
  };
  EXPECT_EQ(block_on(io, with_deadline(soon(), pool.run(job))).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(pool.queued(), 0U);
  blocked.release.set_value();
  block_on(io, blocked.group.cancel_and_wait());
  EXPECT_FALSE(ran);
}

TEST_F(Runtime, PoolAwaitsStartedWorkOfACancelledTask) {
  BlockingPool pool{1, 1};
  Blocked blocked{pool, io, logger};
  auto waiting = std::async(std::launch::async, [&] { block_on(io, blocked.group.cancel_and_wait()); });
  EXPECT_EQ(block_on(io, blocked.group.wait_until_empty(soon())).error().code(), Errc::deadline_exceeded);
  blocked.release.set_value();
  waiting.get();
  EXPECT_EQ(blocked.group.running(), 0U);
}

TEST_F(Runtime, PoolLeavesOwningWorkThatIsLate) {
  BlockingPool pool{1, 1};
  std::promise<void> taken;
  std::promise<void> release;
  std::atomic<int> finished = 0;
  auto job = [&] {
    taken.set_value();
    release.get_future().get();
    ++finished;
    return Result<int>{1};
  };
  auto late = std::async(std::launch::async, [&] { return block_on(io, pool.run_until(soon(), job)); });
  taken.get_future().get();
  EXPECT_EQ(late.get().error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(finished, 0) << "the caller waited for it";
  // What waits behind it is late, too, and never begins.
  auto count = [&finished] {
    ++finished;
    return Result<int>{1};
  };
  EXPECT_EQ(block_on(io, pool.run_until(soon(), count)).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(pool.queued(), 0U);
  release.set_value();
  EXPECT_EQ(*block_on(io, pool.run_until(far(), one)), 1);
  pool.stop();
  EXPECT_EQ(finished, 1) << "work that had begun ends, and no other";
  EXPECT_EQ(block_on(io, pool.run_until(far(), one)).error().code(), Errc::cancelled);
}

TEST_F(Runtime, PoolPassesOnWhatOwningWorkGives) {
  BlockingPool pool{1, 1};
  std::function<Result<int>()> error = [] { return Result<int>{Error{Errc::conflict}}; };
  std::function<Result<int>()> throws = []() -> Result<int> { throw std::runtime_error{"no"}; };
  EXPECT_EQ(block_on(io, pool.run_until(far(), error)).error().code(), Errc::conflict);
  EXPECT_EQ(block_on(io, pool.run_until(far(), throws)).error().code(), Errc::internal);
  Blocked blocked{pool, io, logger};
  auto first = std::async(std::launch::async, [&] { return block_on(io, pool.run_until(far(), one)); });
  while (pool.queued() == 0) std::this_thread::yield();
  EXPECT_EQ(block_on(io, pool.run_until(far(), one)).error().code(), Errc::overloaded);
  blocked.release.set_value();
  EXPECT_EQ(*first.get(), 1);
  block_on(io, blocked.group.cancel_and_wait());
}

TEST_F(Runtime, PoolHearsAnAnswerThatComesLater) {
  BlockingPool pool{1, 1};
  std::promise<std::function<void(Result<int>)>> begun;
  std::function<void(std::function<void(Result<int>)>)> work = [&](auto answer) { begun.set_value(std::move(answer)); };
  auto waiting = std::async(std::launch::async, [&] { return block_on(io, pool.run_to_answer<int>(far(), work)); });
  const auto answer = begun.get_future().get();
  EXPECT_EQ(*block_on(io, pool.run_until(far(), one)), 1) << "no thread waits for it";
  answer(7);
  answer(8);  // is lost
  EXPECT_EQ(*waiting.get(), 7);
  std::function<void(std::function<void(Result<int>)>)> at_once = [](const auto& reply) { reply(Error{Errc::conflict}); };
  EXPECT_EQ(block_on(io, pool.run_to_answer<int>(far(), at_once)).error().code(), Errc::conflict);
}

TEST_F(Runtime, PoolGoesOnWithoutAnAnswerThatIsLate) {
  BlockingPool pool{1, 1};
  std::function<void(Result<int>)> kept;
  std::atomic<bool> begun = false;
  std::function<void(std::function<void(Result<int>)>)> work = [&](auto answer) {
    kept = std::move(answer);
    begun = true;
  };
  // On a machine that is slow, it may not have begun by then.
  while (!begun) EXPECT_EQ(block_on(io, pool.run_to_answer<int>(soon(), work)).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(*block_on(io, pool.run_until(far(), one)), 1);
  kept(7);  // nobody hears it, and what it would go to has ended
  EXPECT_EQ(*block_on(io, pool.run_until(far(), one)), 1);
  std::function<void(std::function<void(Result<int>)>)> throws = [](const auto&) { throw std::runtime_error{"no"}; };
  EXPECT_EQ(block_on(io, pool.run_to_answer<int>(far(), throws)).error().code(), Errc::internal);
}

TEST(BlockingPool, ABurstWakesAsManyThreadsAsItNeeds) {
  BlockingPool pool{4, 8};
  // None of the four ends before all have begun: a thread that was called calls the next.
  std::barrier all{5};
  for (int i = 0; i < 4; ++i) pool.post([&all] { all.arrive_and_wait(); });
  all.arrive_and_wait();
  std::promise<void> after;
  pool.post([&after] { after.set_value(); });
  after.get_future().get();
  EXPECT_EQ(pool.queued(), 0U);
}

TEST(BlockingPool, CancelsQueuedWorkAtItsEnd) {
  IoContext io;
  io.start();
  Collecting logger;
  auto pool = std::make_unique<BlockingPool>(1, 4);
  Blocked blocked{*pool, io, logger};
  auto queued = std::async(std::launch::async, [&] { return block_on(io, pool->run(one)); });
  while (pool->queued() == 0) std::this_thread::yield();
  auto destroyed = std::async(std::launch::async, [&] { pool.reset(); });
  EXPECT_EQ(queued.get().error().code(), Errc::cancelled);
  blocked.release.set_value();
  destroyed.get();
  block_on(io, blocked.group.cancel_and_wait());
}

TEST(BlockingPool, ServesManyTasks) {
  IoContext io{2};
  io.start();
  Collecting logger;
  BlockingPool pool{4, 1000};
  TaskGroup group{io.strand(), logger, "test"};
  std::atomic<int> sum = 0;
  auto work = [&]() -> Task<void> {
    const auto value = co_await pool.run(one);
    if (value) sum += *value;
  };
  for (int i = 0; i < 1000; ++i) group.spawn_on(io.strand(), "work", work());
  EXPECT_TRUE(block_on(io, group.wait_until_empty(far())).ok());
  EXPECT_EQ(sum, 1000);
}

}  // namespace
}  // namespace cloister::runtime
