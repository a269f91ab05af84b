#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>

#include "cloister/runtime/task.hpp"

namespace cloister::runtime {

/// Threads for work that blocks or computes for long (database, disk, verification), behind a bounded queue.
/// Thread-safe.
class BlockingPool {
 public:
  /// `queue`: how much work may wait for a thread.
  BlockingPool(std::size_t threads, std::size_t queue);
  /// As `stop`.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// Runs `work` (a callable that returns a Result) on one of the threads; continues on the caller's executor.
  /// `overloaded` when the queue is full, `cancelled` when the task is cancelled before a thread took the work.
  /// Work that has begun is always awaited, also by a cancelled task, so it may refer to what the caller owns.
  /// What it throws becomes `internal`. In a `co_await`, name the callable first and move it in.
  template <class F>
  [[nodiscard]] Task<std::invoke_result_t<F&>> run(F work) {
    std::optional<std::invoke_result_t<F&>> out;
    std::function<void()> job = [&out, &work] { out.emplace(work()); };
    auto done = co_await submit(std::move(job));
    if (!done) co_return std::move(done).error();
    co_return std::move(*out);
  }

  /// The same for work that owns what it uses: at the deadline (`deadline_exceeded`), or when the task is cancelled, the
  /// caller goes on. Work that has not begun by then never does; work that has goes on by itself, and its result is lost.
  template <class F>
  [[nodiscard]] Task<std::invoke_result_t<F&>> run_until(Deadline deadline, F work) {
    using Out = std::invoke_result_t<F&>;
    struct Owned {
      explicit Owned(F f) : work{std::move(f)} {}
      F work;
      std::optional<Out> out;
    };
    const auto owned = std::make_shared<Owned>(std::move(work));
    std::function<void()> job = [owned] { owned->out.emplace(owned->work()); };
    auto done = co_await submit_until(deadline, std::move(job));
    if (!done) co_return std::move(done).error();
    co_return std::move(*owned->out);
  }

  /// The same for work that has begun something: `work(answer)` returns soon, and `answer(Result<T>)` is called once, then or
  /// later, from any thread. A second answer is lost, as one is that comes after the deadline.
  template <class T, class F>
  [[nodiscard]] Task<Result<T>> run_to_answer(Deadline deadline, F work) {
    struct Owned {
      explicit Owned(F f) : work{std::move(f)} {}
      F work;
      std::optional<Result<T>> out;
    };
    const auto owned = std::make_shared<Owned>(std::move(work));
    Begin begin = [owned](const Answered& answered) {
      owned->work([owned, answered](Result<T> out) { answered([&] { owned->out.emplace(std::move(out)); }); });
    };
    auto done = co_await submit_until(deadline, std::move(begin));
    if (!done) co_return std::move(done).error();
    co_return std::move(*owned->out);
  }

  /// Runs `work`, which owns what it uses and does not throw, some time before `stop`; nobody waits for it. Dropped when
  /// the queue is full.
  void post(std::function<void()> work);

  /// Lets begun work end, however long it takes; what still waits, and what comes later, gets `cancelled`. To be called
  /// before what work of `run_until` uses ends. Not from a thread of the pool.
  void stop();

  /// Work that waits for a thread now.
  [[nodiscard]] std::size_t queued() const;

 private:
  [[nodiscard]] Task<Result<void>> submit(std::function<void()> job);
  [[nodiscard]] Task<Result<void>> submit_until(Deadline deadline, std::function<void()> job);
  /// Keeps the first answer, by calling what it is given, and none after the wait has ended.
  using Answered = std::function<void(const std::function<void()>&)>;
  using Begin = std::function<void(const Answered&)>;
  [[nodiscard]] Task<Result<void>> submit_until(Deadline deadline, Begin begin);
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with pending cancellations
};

}  // namespace cloister::runtime
