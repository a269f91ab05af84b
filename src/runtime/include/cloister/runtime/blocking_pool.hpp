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
  /// Lets started work end; what still waits gets `cancelled`.
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

  /// Work that waits for a thread now.
  [[nodiscard]] std::size_t queued() const;

 private:
  [[nodiscard]] Task<Result<void>> submit(std::function<void()> job);
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with pending cancellations
};

}  // namespace cloister::runtime
