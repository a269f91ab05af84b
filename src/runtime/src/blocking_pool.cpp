#include "cloister/runtime/blocking_pool.hpp"

#include <algorithm>
#include <boost/asio.hpp>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

namespace cloister::runtime {
namespace asio = boost::asio;
namespace {

enum class Outcome { done, threw, dropped, full };

struct Waiting {
  std::uint64_t number;
  std::function<void()> work;
  std::function<void(Outcome)> finish;
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
  std::condition_variable changed;
  std::list<Waiting> queue;
  std::uint64_t next_number = 0;
  std::size_t free_threads = 0;
  bool stopping = false;
  std::vector<std::thread> threads;

  void work() {
    std::unique_lock lock{mutex};
    while (true) {
      changed.wait(lock, [this] { return stopping || !queue.empty(); });
      if (stopping) return;
      --free_threads;
      const Waiting next = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      next.finish(attempt(next.work));
      lock.lock();
      ++free_threads;
    }
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
    const std::lock_guard lock{mutex};
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
    changed.notify_one();
  }

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
    impl_->threads.emplace_back([impl = impl_.get()] { impl->work(); });
  }
}

BlockingPool::~BlockingPool() {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stopping = true;
    for (const auto& waiting : impl_->queue) waiting.finish(Outcome::dropped);
    impl_->queue.clear();
  }
  impl_->changed.notify_all();
  for (auto& thread : impl_->threads) thread.join();
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
  switch (outcome) {
    case Outcome::done: co_return Result<void>{};
    case Outcome::threw: co_return Error{Errc::internal, "work of the blocking pool threw"};
    case Outcome::dropped: co_return Error{Errc::cancelled, "the work was cancelled before it began"};
    case Outcome::full: co_return Error{Errc::overloaded, "too much work is waiting"};
  }
}

}  // namespace cloister::runtime
