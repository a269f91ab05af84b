#include "cloister/runtime/task.hpp"

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

namespace cloister::runtime {
namespace asio = boost::asio;

Task<Executor> this_executor() { co_return co_await asio::this_coro::executor; }

void post(Executor executor, std::function<void()> work) { asio::post(executor, std::move(work)); }

Task<Result<void>> sleep_until(SteadyTime at) {
  const Executor executor = co_await asio::this_coro::executor;
  asio::steady_timer timer{executor, at};
  const auto [failure] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (failure) co_return Error{Errc::cancelled, "the wait was cancelled"};
  co_return Result<void>{};
}

Task<Result<void>> sleep_for(std::chrono::milliseconds span) {
  return sleep_until(std::chrono::steady_clock::now() + span);
}

namespace detail {
namespace {

/// True at the deadline, false when cancelled before it.
Task<bool> deadline_passes(Deadline deadline) {
  const auto slept = co_await sleep_until(deadline.at());
  co_return slept.ok();
}

}  // namespace

Task<bool> run_until(Deadline deadline, Task<void> work) {
  using asio::experimental::awaitable_operators::operator||;
  // Whichever ends first, the operator cancels the other one and waits for it.
  Task<std::variant<std::monostate, bool>> race = std::move(work) || deadline_passes(deadline);
  const auto first = co_await std::move(race);
  const auto* passed = std::get_if<bool>(&first);
  co_return passed != nullptr && *passed;
}

Task<void> run_on(Executor executor, Task<void> work) {
  co_await asio::co_spawn(executor, std::move(work), asio::use_awaitable);
}

Task<void> run_then(Task<void> work, Task<void> cleanup) {
  const Executor executor = co_await asio::this_coro::executor;
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await asio::co_spawn(executor, std::move(work), asio::use_awaitable);
  // An empty slot: a cancellation of the caller does not reach the cleanup.
  auto uncancelled = asio::bind_cancellation_slot(asio::cancellation_slot{}, asio::use_awaitable);
  co_await asio::co_spawn(executor, std::move(cleanup), std::move(uncancelled));
  co_await asio::this_coro::throw_if_cancelled(throws);
}

}  // namespace detail

namespace {

Task<void> keep_exception(Task<void> work, std::exception_ptr& thrown) {
  try {
    co_await std::move(work);
  } catch (...) {
    thrown = std::current_exception();
  }
}

}  // namespace

Task<void> finally(Task<void> work, Task<void> cleanup) {
  std::exception_ptr thrown;
  Task<void> guarded = keep_exception(std::move(work), thrown);
  co_await detail::run_then(std::move(guarded), std::move(cleanup));
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace cloister::runtime
