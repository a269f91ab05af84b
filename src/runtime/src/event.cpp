#include "cloister/runtime/event.hpp"

#include <boost/asio.hpp>
#include <list>
#include <mutex>

namespace cloister::runtime {
namespace asio = boost::asio;
namespace {

/// One task that waits. The timer is touched only on the task's executor.
struct Waiter {
  Waiter(const Executor& where, SteadyTime until) : executor{where}, timer{where, until} {}
  Executor executor;
  asio::steady_timer timer;
};
using WaiterPtr = std::shared_ptr<Waiter>;

void wake(const WaiterPtr& waiter) {
  asio::post(waiter->executor, [waiter] { waiter->timer.cancel(); });
}

}  // namespace

struct AsyncEvent::State {
  mutable std::mutex mutex;
  std::uint64_t version = 0;
  bool destroyed = false;
  std::list<WaiterPtr> waiters;

  void wake_all() {
    for (const auto& waiter : waiters) wake(waiter);
    waiters.clear();
  }
};

AsyncEvent::AsyncEvent() : state_{std::make_shared<State>()} {}

AsyncEvent::~AsyncEvent() {
  const std::lock_guard lock{state_->mutex};
  state_->destroyed = true;
  state_->wake_all();
}

std::uint64_t AsyncEvent::version() const {
  const std::lock_guard lock{state_->mutex};
  return state_->version;
}

void AsyncEvent::notify_all() {
  const std::lock_guard lock{state_->mutex};
  ++state_->version;
  state_->wake_all();
}

/// A waiter's place in the list. The task may end by being destroyed, when its context is: the list must not keep the
/// timer beyond that, since the event may outlive the context.
class AsyncEvent::Place {
 public:
  Place(std::shared_ptr<State> state, WaiterPtr waiter) : state_{std::move(state)}, waiter_{std::move(waiter)} {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    const std::lock_guard lock{state_->mutex};
    state_->waiters.remove(waiter_);
  }

 private:
  std::shared_ptr<State> state_;
  WaiterPtr waiter_;
};

Task<Result<void>> AsyncEvent::wait(std::uint64_t seen, Deadline deadline) {
  const auto state = state_;
  const Executor executor = co_await asio::this_coro::executor;
  const auto waiter = std::make_shared<Waiter>(executor, deadline.at());
  {
    const std::lock_guard lock{state->mutex};
    if (state->version != seen) co_return Result<void>{};
    state->waiters.push_back(waiter);
  }
  const Place place{state, waiter};
  const auto [failure] = co_await waiter->timer.async_wait(asio::as_tuple(asio::use_awaitable));
  const std::lock_guard lock{state->mutex};
  if (state->version != seen) co_return Result<void>{};
  if (failure || state->destroyed) co_return Error{Errc::cancelled, "the wait was cancelled"};
  co_return Error{Errc::deadline_exceeded, "nothing happened before the deadline"};
}

}  // namespace cloister::runtime
