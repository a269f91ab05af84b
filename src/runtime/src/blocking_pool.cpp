#include "cloister/runtime/blocking_pool.hpp"

#include <semaphore.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <cerrno>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <vector>


namespace cloister::runtime {
namespace asio = boost::asio;
namespace {

enum class Outcome { done, threw, dropped, full, late };

struct Waiting {
  std::uint64_t number;
  std::function<void()> work;
  std::function<void(Outcome)> finish;
};

Result<void> result_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::done: return {};
    case Outcome::threw: return Error{Errc::internal, "work of the blocking pool threw"};
    case Outcome::dropped: return Error{Errc::cancelled, "the work was cancelled before it began"};
    case Outcome::full: return Error{Errc::overloaded, "too much work is waiting"};
    case Outcome::late: return Error{Errc::deadline_exceeded, "the work was not done before the deadline"};
  }
  return Error{Errc::internal};
}

/// A semaphore without the standard one's spinning, which yields several times before it sleeps.
class Calls {
 public:
  Calls() { CLOISTER_ASSERT(sem_init(&semaphore_, 0, 0) == 0); }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  ~Calls() { sem_destroy(&semaphore_); }
  void release() { CLOISTER_ASSERT(sem_post(&semaphore_) == 0); }
  void acquire() {
    while (sem_wait(&semaphore_) != 0) CLOISTER_ASSERT(errno == EINTR);
  }

 private:
  sem_t semaphore_{};
};

Outcome attempt(const std::function<void()>& work) {
  try {
    work();
    return Outcome::done;
  } catch (...) {
    return Outcome::threw;
  }
}

}  // namespace

struct BlockingPool::Impl : std::enable_shared_from_this<Impl> {
  explicit Impl(std::size_t limit) : queue_limit{limit} {}

  std::size_t queue_limit;
  mutable std::mutex mutex;
  std::list<Waiting> queue;
  std::uint64_t next_number = 0;
  std::size_t free_threads = 0;
  // Free threads sleep at a semaphore each: what wakes from a condition holds its mutex as one that others wait for, and enters
  // the kernel to let go. The last to fall asleep is the first to be called, since its stack and its memory are still in the cache.
  std::vector<Calls*> sleeping;
  std::deque<Calls> all_calls;  // beyond the threads: a caller may still hold one of a thread that has ended
  std::size_t called = 0;  // free threads that are to look and have not yet
  bool stopping = false;
  std::vector<std::thread> threads;

  void work(Calls& calls) {
    std::unique_lock lock{mutex};
    while (true) {
      while (!stopping && queue.empty()) {
        sleeping.push_back(&calls);
        lock.unlock();
        calls.acquire();
        lock.lock();
        --called;
      }
      if (stopping) return;
      --free_threads;
      std::optional<Waiting> next{std::move(queue.front())};
      queue.pop_front();
      Calls* const more = call();
      lock.unlock();
      if (more != nullptr) more->release();
      next->finish(attempt(next->work));
      next.reset();  // what it owns ends outside of the lock
      lock.lock();
      ++free_threads;
    }
  }

  /// The thread to be called once `mutex` is free, or null. One that is on its way takes what there is and calls the next, so
  /// that work which comes in a burst does not wake more threads than there is work when they look.
  [[nodiscard]] Calls* call() {
    if (queue.empty() || called > 0 || sleeping.empty()) return nullptr;
    ++called;
    Calls* const next = sleeping.back();
    sleeping.pop_back();
    return next;
  }

  /// Calls `finish` once: from a thread of the pool, from the cancellation, or here.
  template <class Handler>
  void start(Handler handler, std::function<void()> work) {
    auto executor = asio::get_associated_executor(handler);
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto held = std::make_shared<Handler>(std::move(handler));
    auto finish = [held, executor, guard = asio::make_work_guard(executor)](Outcome outcome) {
      asio::post(executor, [held, outcome] { std::move (*held)(outcome); });
    };
    std::unique_lock lock{mutex};
    if (stopping) return finish(Outcome::dropped);
    // Work that a free thread is about to take does not count as waiting.
    if (queue.size() >= queue_limit + free_threads) return finish(Outcome::full);
    const auto number = next_number++;
    if (slot.is_connected()) {
      slot.assign([weak = weak_from_this(), number](asio::cancellation_type) {
        if (const auto self = weak.lock()) self->drop(number);
      });
    }
    queue.push_back(Waiting{number, std::move(work), finish});
    Calls* const wake = call();
    lock.unlock();
    if (wake != nullptr) wake->release();
  }

  /// Calls `finish` once, from a thread of the pool or from `drop`; its number.
  Result<std::uint64_t> add(std::function<void()> work, std::function<void(Outcome)> finish) {
    std::unique_lock lock{mutex};
    if (stopping) return result_of(Outcome::dropped).error();
    if (queue.size() >= queue_limit + free_threads) return result_of(Outcome::full).error();
    const auto number = next_number++;
    queue.push_back(Waiting{number, std::move(work), std::move(finish)});
    Calls* const wake = call();
    lock.unlock();
    if (wake != nullptr) wake->release();
    return number;
  }

  /// Of work that has begun or ended already: nothing.
  void drop(std::uint64_t number) {
    const std::lock_guard lock{mutex};
    const auto entry = std::ranges::find(queue, number, &Waiting::number);
    if (entry == queue.end()) return;
    entry->finish(Outcome::dropped);
    queue.erase(entry);
  }
};

BlockingPool::BlockingPool(std::size_t threads, std::size_t queue) : impl_{std::make_shared<Impl>(queue)} {
  CLOISTER_ASSERT(threads > 0);
  impl_->free_threads = threads;
  for (std::size_t i = 0; i < threads; ++i) {
    impl_->threads.emplace_back([impl = impl_.get(), calls = &impl_->all_calls.emplace_back()] { impl->work(*calls); });
  }
}

BlockingPool::~BlockingPool() { stop(); }

void BlockingPool::stop() {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
    for (const auto& waiting : impl_->queue) waiting.finish(Outcome::dropped);
    impl_->queue.clear();
    impl_->called += impl_->sleeping.size();
    for (auto* const calls : impl_->sleeping) calls->release();
    impl_->sleeping.clear();
  }
  for (auto& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

void BlockingPool::post(std::function<void()> work) {
  std::function<void(Outcome)> nobody = [](Outcome) {};
  static_cast<void>(impl_->add(std::move(work), std::move(nobody)));
}

std::size_t BlockingPool::queued() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->queue.size();
}

Task<Result<void>> BlockingPool::submit(std::function<void()> job) {
  auto initiate = [impl = impl_](auto handler, std::function<void()> work) {
    impl->start(std::move(handler), std::move(work));
  };
  auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void(Outcome)>(std::move(initiate),
                                                                                    asio::use_awaitable, std::move(job));
  const Outcome outcome = co_await std::move(pending);
  co_return result_of(outcome);
}

namespace {

/// How work goes on that nobody may be waiting for any longer. It has one waiter.
class Progress : public std::enable_shared_from_this<Progress> {
 public:
  /// The first to end it wins; `keep` runs before the waiter hears of it, and not once the wait has ended. From any thread.
  void end(Outcome outcome, const std::function<void()>& keep) {
    std::function<void()> resume;
    {
      const std::lock_guard held{mutex_};
      if (outcome_) return;
      outcome_ = outcome;
      if (keep) keep();
      resume = std::move(resume_);
    }
    if (resume) resume();
  }

  [[nodiscard]] Task<Result<void>> wait(Deadline deadline) {
    const Executor executor = co_await asio::this_coro::executor;
    asio::steady_timer timer{executor, deadline.at()};
    auto begin = [this, &timer, &executor](auto handler) { await_end(std::move(handler), timer, executor); };
    auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(begin), asio::use_awaitable);
    co_await std::move(pending);
    const std::lock_guard held{mutex_};
    co_return result_of(*outcome_);
  }

 private:
  /// Calls `handler` on the executor once the work has ended, the deadline has passed, or the waiter is cancelled.
  template <class Handler>
  void await_end(Handler handler, asio::steady_timer& timer, const Executor& executor) {
    auto slot = asio::get_associated_cancellation_slot(handler);
    const auto waiter = std::make_shared<Handler>(std::move(handler));
    auto resume = [waiter, executor] { asio::post(executor, [waiter] { std::move (*waiter)(); }); };
    {
      const std::lock_guard held{mutex_};
      if (outcome_) return resume();
      resume_ = std::move(resume);
    }
    const auto self = shared_from_this();
    if (slot.is_connected()) slot.assign([self](asio::cancellation_type) { self->end(Outcome::dropped, {}); });
    timer.async_wait([self](const boost::system::error_code& cancelled) {
      if (!cancelled) self->end(Outcome::late, {});
    });
  }

  std::mutex mutex_;  // guards what follows, and what is kept
  std::optional<Outcome> outcome_;
  std::function<void()> resume_;  // the waiter, while it waits
};

}  // namespace

Task<Result<void>> BlockingPool::submit_until(Deadline deadline, std::function<void()> job) {
  Begin begin = [job = std::move(job)](const Answered& answered) {
    job();
    answered({});
  };
  co_return co_await submit_until(deadline, std::move(begin));
}

Task<Result<void>> BlockingPool::submit_until(Deadline deadline, Begin begin) {
  const auto progress = std::make_shared<Progress>();  // shared with the work
  std::function<void()> job = [progress, begin = std::move(begin)] {
    begin([progress](const std::function<void()>& keep) { progress->end(Outcome::done, keep); });
  };
  // What has begun ends by its answer.
  std::function<void(Outcome)> finish = [progress](Outcome outcome) {
    if (outcome != Outcome::done) progress->end(outcome, {});
  };
  auto number = impl_->add(std::move(job), std::move(finish));
  if (!number) co_return std::move(number).error();
  struct Dropping {
    std::shared_ptr<Impl> impl;
    std::uint64_t number;
    bool answered = false;  // then it has begun
    ~Dropping() {
      if (!answered) impl->drop(number);
    }
  };
  Dropping dropping{impl_, *number};
  auto ended = co_await progress->wait(deadline);
  dropping.answered = ended.ok();
  co_return ended;
}

}  // namespace cloister::runtime
