// A dispatcher between the real queue and an instance at the other end of a real channel.
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <latch>
#include <map>
#include <mutex>
#include <thread>

#include "cloister/scheduler/dispatcher.hpp"
#include "cloister/storage/fleet.hpp"
#include "instance_link.hpp"

namespace cloister::test {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

/// Counts events by name, and waits for them.
class EventLog final : public log::Logger {
 public:
  void write(log::Level, std::string_view event, std::initializer_list<log::Field>) override {
    const std::lock_guard lock{mutex_};
    ++seen_[std::string{event}];
    changed_.notify_all();
  }
  [[nodiscard]] bool wait_for(const std::string& event) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, seconds{15}, [&] { return seen_[event] > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, int> seen_;
};

class Dispatch : public testing::Test {
 protected:
  Dispatch() {
    io.start();
    strand = io.strand();
    // The pool's thread and the test's draw from it at the same time.
    world.jobs = std::make_unique<scheduler::JobService>(*world.database, *world.log, random, world.clock,
                                                         scheduler::JobService::Options{});
    dispatcher = std::make_unique<scheduler::Dispatcher>(*world.jobs, pool, clock, logger);
  }
  ~Dispatch() override { links.clear(); }

  InstanceLink& connect(const World::Ready& instance, std::uint32_t slots = 1) {
    auto serve = [this, session = instance.session, slots](std::shared_ptr<links::TdLink> link) {
      return dispatcher->serve(std::move(link), session, slots);
    };
    return *links.emplace_back(std::make_unique<InstanceLink>(world, io, strand, std::move(serve)));
  }
  World::ClientJob submit(const World::Ready& instance, const std::string& key) {
    auto job = world.seal({&instance}, key);
    EXPECT_TRUE(world.jobs->submit(world.tenant, job.request, clock.now()));
    return job;
  }
  [[nodiscard]] model::Job job(const World::ClientJob& of) { return *world.jobs->get(world.tenant, of.keys.job()); }
  [[nodiscard]] std::size_t serving() {
    auto count = [](scheduler::Dispatcher* of) -> runtime::Task<std::size_t> { co_return of->serving(); };
    return runtime::block_on(io, runtime::run_on(strand, count(dispatcher.get())));
  }
  /// As a route does it.
  void cancel(const World::ClientJob& which) {
    auto ended = world.jobs->cancel(world.tenant, which.keys.job(), "tester", clock.now());
    ASSERT_TRUE(ended && ended->attempt);
    const auto attempt = *ended->attempt;
    runtime::post(strand, [this, attempt] { dispatcher->cancel(attempt); });
  }
  [[nodiscard]] static protocol::Heartbeat beat(const protocol::AssignJob& job) { return {job.attempt, job.fence, 50}; }

  /// While it lives the pool takes no work.
  class Overload {
   public:
    Overload(runtime::IoContext& io, runtime::BlockingPool& pool) : tasks_{io.strand(), logger_, "overload"} {
      tasks_.spawn("running", occupy(&pool, &running_, &over_));
      running_.wait();
      tasks_.spawn("queued", occupy(&pool, nullptr, &over_));
      while (pool.queued() == 0) std::this_thread::yield();
    }
    ~Overload() {
      over_.count_down();
      while (tasks_.running() > 0) std::this_thread::yield();
    }

   private:
    static runtime::Task<void> occupy(runtime::BlockingPool* pool, std::latch* began, std::latch* over) {
      auto work = [began, over]() -> Result<void> {
        if (began != nullptr) began->count_down();
        over->wait();
        return {};
      };
      static_cast<void>(co_await pool->run(std::move(work)));
    }
    log::NullLogger logger_;
    std::latch running_{1};
    std::latch over_{1};
    runtime::TaskGroup tasks_;
  };

  World world;
  RealWaits clock{world.clock};
  SystemRandom random;
  EventLog logger;
  runtime::IoContext io{1};
  runtime::BlockingPool pool{1, 1};
  runtime::Executor strand;
  std::unique_ptr<scheduler::Dispatcher> dispatcher;
  std::vector<std::unique_ptr<InstanceLink>> links;
};

/// Serves the link again and again, cancelled each time a few steps after its begin; how often something was left of it.
runtime::Task<Error> cut_off(scheduler::Dispatcher* dispatcher, std::shared_ptr<links::TdLink> link,
                             session::AttestedSession session, log::Logger* logger, std::promise<int>* left) {
  const auto executor = co_await runtime::this_executor();
  const auto serve = [](scheduler::Dispatcher* by, std::shared_ptr<links::TdLink> over,
                        session::AttestedSession whose) -> runtime::Task<void> {
    static_cast<void>(co_await by->serve(std::move(over), std::move(whose), 1));
  };
  int count = 0;
  for (int round = 0; round < 300; ++round) {
    runtime::TaskGroup served{executor, *logger, "served"};
    served.spawn("serve", serve(dispatcher, link, session));
    for (int step = round % 30; step > 0; --step) {
      static_cast<void>(co_await runtime::sleep_for(std::chrono::milliseconds{0}));
    }
    co_await served.cancel_and_wait();
    if (dispatcher->serving() != 0) ++count;
  }
  left->set_value(count);
  co_return Error{Errc::cancelled, "done"};
}

TEST_F(Dispatch, LeavesNothingBehindWheneverItIsCancelled) {
  const auto instance = world.ready();
  std::promise<int> left;
  auto serve = [&](std::shared_ptr<links::TdLink> link) {
    return cut_off(dispatcher.get(), std::move(link), instance.session, &logger, &left);
  };
  links.emplace_back(std::make_unique<InstanceLink>(world, io, strand, std::move(serve)));
  EXPECT_EQ(left.get_future().get(), 0);
}

TEST_F(Dispatch, FeedsUpToTheSlotsAndThenAsResultsCome) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  const auto second = submit(instance, "two");
  const auto third = submit(instance, "three");
  auto& td = connect(instance, 2);
  const auto a = td.expect<protocol::AssignJob>();
  const auto b = td.expect<protocol::AssignJob>();
  EXPECT_EQ(a.job, first.keys.job());
  EXPECT_EQ(b.job, second.keys.job());
  EXPECT_EQ(job(third).state, model::JobState::queued);
  td.send(world.execute(instance, a));
  EXPECT_EQ(td.expect<protocol::ResultAccepted>().attempt, a.attempt);
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, third.keys.job());
  EXPECT_EQ(job(first).state, model::JobState::succeeded);
  EXPECT_EQ(job(third).state, model::JobState::leased);
}

TEST_F(Dispatch, FeedsWhatIsSubmittedLater) {
  const auto instance = world.ready();
  auto& td = connect(instance);
  const auto later = submit(instance, "one");
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, later.keys.job());
}

TEST_F(Dispatch, RefusesAResultThatIsNotTheJobs) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  const auto second = submit(instance, "two");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  td.send(world.execute(instance, a, [](protocol::Envelope& envelope) { envelope.fence += 1; }));
  const auto refused = td.expect<protocol::ResultRefused>();
  EXPECT_EQ(refused.attempt, a.attempt);
  EXPECT_EQ(refused.code, "stale_fence");
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, second.keys.job());
  EXPECT_EQ(job(first).state, model::JobState::leased);
}

TEST_F(Dispatch, FailedAttemptFreesItsSlotAndIsTriedAgain) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  td.send(protocol::AttemptFailed{a.attempt, a.fence, "overloaded"});
  const auto again = td.expect<protocol::AssignJob>();
  EXPECT_EQ(again.job, first.keys.job());
  EXPECT_EQ(again.fence, a.fence + 1);
}

TEST_F(Dispatch, HeartbeatProlongsTheLeaseAndShowsProgress) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  const auto second = submit(instance, "two");
  auto& td = connect(instance, 2);
  const auto a = td.expect<protocol::AssignJob>();
  const auto b = td.expect<protocol::AssignJob>();
  world.clock.advance(seconds{20});
  td.send(beat(a));
  td.send(world.execute(instance, b));  // answered behind the heartbeat
  EXPECT_EQ(td.expect<protocol::ResultAccepted>().attempt, b.attempt);
  world.clock.advance(seconds{20});
  ASSERT_TRUE(world.jobs->tick(clock.now()));
  EXPECT_EQ(job(first).state, model::JobState::leased);
  EXPECT_EQ(job(first).progress, 50);
  EXPECT_EQ(job(second).state, model::JobState::succeeded);
}

TEST_F(Dispatch, CancelTellsTheInstanceAndFreesItsSlot) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  const auto second = submit(instance, "two");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  cancel(first);
  EXPECT_EQ(td.expect<protocol::CancelJob>().attempt, a.attempt);
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, second.keys.job());
}

TEST_F(Dispatch, HeartbeatOfAnEndedAttemptIsAnsweredByItsCancelAndFreesItsSlot) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  const auto second = submit(instance, "two");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  ASSERT_TRUE(world.jobs->cancel(world.tenant, first.keys.job(), "tester", clock.now()));
  td.send(beat(a));
  EXPECT_EQ(td.expect<protocol::CancelJob>().attempt, a.attempt);
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, second.keys.job());
}

TEST_F(Dispatch, HeartbeatThatCannotBeStoredNowChangesNothing) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  {
    const Overload overload{io, pool};
    td.send(beat(a));
    ASSERT_TRUE(logger.wait_for("job.beat_lost"));
  }
  td.send(world.execute(instance, a));
  EXPECT_EQ(td.expect<protocol::ResultAccepted>().attempt, a.attempt);
  EXPECT_EQ(job(first).state, model::JobState::succeeded);
}

TEST_F(Dispatch, LeaseThatCannotBeStoredNowIsTriedAgain) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  const auto later = submit(instance, "two");
  auto& td = connect(instance);
  static_cast<void>(td.expect<protocol::AssignJob>());
  {
    const Overload overload{io, pool};
    cancel(first);  // its slot asks for a job
    ASSERT_TRUE(logger.wait_for("job.not_leased"));
  }
  static_cast<void>(td.expect<protocol::CancelJob>());
  EXPECT_EQ(td.expect<protocol::AssignJob>().job, later.keys.job());
}

/// What an instance says when an attempt or a job ends is not lost: where it cannot be stored, the instance ends with
/// it, and brings it again or is given up.
TEST_F(Dispatch, EndsWhenAResultCannotBeStoredNow) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  const auto result = world.execute(instance, a);
  const Overload overload{io, pool};
  td.send(result);
  EXPECT_EQ(td.ended().value().code(), Errc::overloaded);
  EXPECT_EQ(job(first).state, model::JobState::leased);
}

TEST_F(Dispatch, EndsWhenAFailureCannotBeStoredNow) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  auto& td = connect(instance);
  const auto a = td.expect<protocol::AssignJob>();
  const Overload overload{io, pool};
  td.send(protocol::AttemptFailed{a.attempt, a.fence, "challenge_failed"});
  EXPECT_EQ(td.ended().value().code(), Errc::overloaded);
  EXPECT_EQ(job(first).state, model::JobState::leased);
}

TEST_F(Dispatch, EndsWithTheChallenge) {
  const auto instance = world.ready();
  auto& td = connect(instance);
  td.send(protocol::Failed{"job_timeout", "too slow"});
  const auto why = td.ended();
  EXPECT_EQ(why.value().code(), Errc::challenge_failed);
  EXPECT_EQ(why.value().detail(), "job_timeout: too slow");
  EXPECT_EQ(serving(), 0U);
}

TEST_F(Dispatch, EndsOnAMessageThatIsOutOfPlace) {
  const auto instance = world.ready();
  for (const protocol::ToServer& message : {protocol::ToServer{protocol::Ready{1}}, protocol::ToServer{protocol::Attest{}}}) {
    auto& td = connect(instance);
    td.send(message);
    EXPECT_EQ(td.ended().value().code(), Errc::channel_message_invalid);
  }
}

TEST_F(Dispatch, EndsWithTheStream) {
  const auto instance = world.ready();
  auto& td = connect(instance);
  td.hang_up();
  EXPECT_EQ(td.ended().value().code(), Errc::channel_truncated);
  EXPECT_EQ(serving(), 0U);
}

TEST_F(Dispatch, EndsWithTheSession) {
  const auto instance = world.ready();
  auto& td = connect(instance);
  const auto first = submit(instance, "one");
  const auto a = td.expect<protocol::AssignJob>();
  world.clock.advance(hours{1});
  td.send(protocol::AttemptFailed{a.attempt, a.fence, "challenge_failed"});
  EXPECT_EQ(td.ended().value().code(), Errc::session_expired);
}

TEST_F(Dispatch, EndsWithAnInstanceThatFellSilent) {
  const auto instance = world.ready();
  const auto first = submit(instance, "one");
  auto& td = connect(instance);
  const auto lose = [this] {
    world.clock.advance(seconds{31});
    auto ended = world.jobs->tick(clock.now());
    ASSERT_TRUE(ended);
    ASSERT_EQ(ended->lost.size(), 1U);
    runtime::post(strand, [this, lost = ended->lost] { dispatcher->lost(lost); });
  };
  const auto a = td.expect<protocol::AssignJob>();
  lose();
  EXPECT_EQ(td.expect<protocol::CancelJob>().attempt, a.attempt);
  const auto b = td.expect<protocol::AssignJob>();
  td.send(beat(a));  // late, but alive
  EXPECT_EQ(td.expect<protocol::CancelJob>().attempt, a.attempt);
  lose();
  EXPECT_EQ(td.expect<protocol::CancelJob>().attempt, b.attempt);
  EXPECT_EQ(td.expect<protocol::AssignJob>().fence, 3U);
  lose();
  EXPECT_EQ(td.ended().value().code(), Errc::deadline_exceeded);
  EXPECT_EQ(job(first).state, model::JobState::queued);
}

TEST_F(Dispatch, LeavesNothingWhenItIsCancelled) {
  const auto instance = world.ready();
  auto& td = connect(instance);
  submit(instance, "one");
  static_cast<void>(td.expect<protocol::AssignJob>());
  EXPECT_EQ(serving(), 1U);
  td.cancel();
  EXPECT_EQ(serving(), 0U);
}

TEST_F(Dispatch, EndOfAnOlderConnectionLeavesTheNewerOne) {
  const auto instance = world.ready();
  auto& older = connect(instance);
  submit(instance, "one");
  static_cast<void>(older.expect<protocol::AssignJob>());
  auto& newer = connect(instance, 2);  // one slot for what the older one began
  const auto second = submit(instance, "two");
  const auto b = newer.expect<protocol::AssignJob>();
  older.hang_up();
  ASSERT_TRUE(older.ended());
  EXPECT_EQ(serving(), 1U);
  cancel(second);
  EXPECT_EQ(newer.expect<protocol::CancelJob>().attempt, b.attempt);
}

}  // namespace
}  // namespace cloister::test
