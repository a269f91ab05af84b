#include "cloister/runtime/task.hpp"

#include <boost/asio.hpp>

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

/// Work and a timer that cancels it. On one executor.
struct Race {
  explicit Race(const Executor& executor, SteadyTime at) : timer{executor, at} {}
  asio::steady_timer timer;
  asio::cancellation_signal cancel;
  bool ended = false;
  bool late = false;
};

/// Calls `handler` once the work has ended. What cancels the handler's operation cancels the work.
template <class Handler>
void run_against_timer(Handler handler, const Executor& executor, const std::shared_ptr<Race>& race, Task<void> work) {
  const auto outer = asio::get_associated_cancellation_slot(handler);
  if (outer.is_connected()) {
    auto held = outer;
    held.assign([race](asio::cancellation_type kind) { race->cancel.emit(kind); });
  }
  race->timer.async_wait([race](const boost::system::error_code& cancelled) {
    if (cancelled || race->ended) return;
    race->late = true;
    race->cancel.emit(asio::cancellation_type::terminal);
  });
  auto ended = [race, outer, handler = std::move(handler)](const std::exception_ptr& thrown) mutable {
    race->ended = true;
    race->timer.cancel();
    if (auto held = outer; held.is_connected()) held.clear();
    std::move(handler)(thrown);
  };
  asio::co_spawn(executor, std::move(work), asio::bind_cancellation_slot(race->cancel.slot(), std::move(ended)));
}

}  // namespace

Task<bool> run_until(Deadline deadline, Task<void> work) {
  const Executor executor = co_await asio::this_coro::executor;
  const auto race = std::make_shared<Race>(executor, deadline.at());
  auto begin = [executor, race](auto handler, Task<void> raced) {
    run_against_timer(std::move(handler), executor, race, std::move(raced));
  };
  auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(std::move(begin), asio::use_awaitable,
                                                                                               std::move(work));
  co_await std::move(pending);
  co_return race->late;
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
