#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

/// Coroutines on Asio. A task starts when it is awaited, given to a `TaskGroup` or to `block_on`, and runs on the
/// executor of whoever does that. Executors are strands, or belong to an `IoContext` with one thread.
///
/// Cancelling a task ends its pending wait with `cancelled`; the next wait after that throws, which unwinds the task
/// and is no failure. So a task needs no code of its own to be cancellable, only destructors.
namespace cloister::runtime {

template <class T = void>
using Task = boost::asio::awaitable<T>;
using Executor = boost::asio::any_io_executor;

/// The executor that the calling task runs on.
[[nodiscard]] Task<Executor> this_executor();

/// Runs `work` on `executor` soon, never inside this call. Thread-safe. `work` must not throw.
void post(Executor executor, std::function<void()> work);

/// Waits on a timer: `cancelled` when the task is cancelled first.
[[nodiscard]] Task<Result<void>> sleep_until(SteadyTime at);
[[nodiscard]] Task<Result<void>> sleep_for(std::chrono::milliseconds span);

namespace detail {
/// Runs `work`, which must not throw, and cancels it at `deadline`; returns after it has ended, with true when it was
/// cancelled so.
[[nodiscard]] Task<bool> run_until(Deadline deadline, Task<void> work);
[[nodiscard]] Task<void> run_on(Executor executor, Task<void> work);
/// Runs both, one after the other; `work` must not throw.
[[nodiscard]] Task<void> run_then(Task<void> work, Task<void> cleanup);

template <class T>
Task<void> keep_outcome(Task<T> work, std::optional<T>& out, std::exception_ptr& thrown) {
  try {
    out.emplace(co_await std::move(work));
  } catch (...) {
    thrown = std::current_exception();
  }
}
}  // namespace detail

/// The outcome of `work`, or `deadline_exceeded` when it had to be cancelled. Returns only after `work` has ended, so
/// that nothing of the caller's is used any longer; the result of work that ended in time all the same is kept.
template <class T>
[[nodiscard]] Task<Result<T>> with_deadline(Deadline deadline, Task<Result<T>> work) {
  std::optional<Result<T>> out;
  std::exception_ptr thrown;
  Task<void> guarded = detail::keep_outcome(std::move(work), out, thrown);
  const bool late = co_await detail::run_until(deadline, std::move(guarded));
  if (out && (!late || out->ok())) co_return std::move(*out);
  if (late) co_return Error{Errc::deadline_exceeded, "the deadline passed before the work was done"};
  std::rethrow_exception(thrown);
}

/// Runs `work` on another executor, and continues on the caller's. Cancellation reaches `work`.
template <class T>
[[nodiscard]] Task<T> run_on(Executor executor, Task<T> work) {
  std::optional<T> out;
  std::exception_ptr thrown;
  Task<void> guarded = detail::keep_outcome(std::move(work), out, thrown);
  co_await detail::run_on(std::move(executor), std::move(guarded));
  if (thrown) std::rethrow_exception(thrown);
  co_return std::move(*out);
}

/// Runs `work`, then `cleanup` whatever became of `work`: a value, an exception, or cancellation, which never reaches
/// `cleanup`. For what a destructor cannot do, such as awaiting a task group.
template <class T>
[[nodiscard]] Task<T> finally(Task<T> work, Task<void> cleanup) {
  std::optional<T> out;
  std::exception_ptr thrown;
  Task<void> guarded = detail::keep_outcome(std::move(work), out, thrown);
  co_await detail::run_then(std::move(guarded), std::move(cleanup));
  if (thrown) std::rethrow_exception(thrown);
  co_return std::move(*out);
}
[[nodiscard]] Task<void> finally(Task<void> work, Task<void> cleanup);

}  // namespace cloister::runtime
