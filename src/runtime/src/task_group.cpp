#include "cloister/runtime/task_group.hpp"

#include <boost/asio.hpp>
#include <list>
#include <mutex>

#include "cloister/runtime/event.hpp"

namespace cloister::runtime {
namespace asio = boost::asio;
namespace {

struct Running {
  Executor executor;
  std::shared_ptr<asio::cancellation_signal> signal;
};

/// Delivers the cancellation where the task runs: a signal may not be raised while its task installs a slot.
void cancel(const Running& task) {
  asio::post(task.executor, [signal = task.signal] { signal->emit(asio::cancellation_type::terminal); });
}

bool is_cancellation(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& error) {
    return error.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

std::string what(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "not a std::exception";
  }
}

}  // namespace

struct TaskGroup::State {
  State(Executor where, log::Logger& sink, std::string label)
      : executor{std::move(where)}, logger{sink}, name{std::move(label)} {}

  Executor executor;
  log::Logger& logger;
  std::string name;
  AsyncEvent ended;

  mutable std::mutex mutex;
  std::list<Running> tasks;
  bool cancelled = false;
  std::uint64_t failures = 0;

  void finish(std::list<Running>::iterator task, const std::string& task_name, const std::exception_ptr& thrown) {
    const bool failed = thrown && !is_cancellation(thrown);
    if (failed) logger.error("task_failed", {{"group", name}, {"task", task_name}, {"what", what(thrown)}});
    {
      const std::lock_guard lock{mutex};
      if (failed) ++failures;
      tasks.erase(task);
    }
    ended.notify_all();
  }

  void cancel_all() {
    const std::lock_guard lock{mutex};
    cancelled = true;
    for (const auto& task : tasks) cancel(task);
  }

  [[nodiscard]] std::size_t running() const {
    const std::lock_guard lock{mutex};
    return tasks.size();
  }
};

TaskGroup::TaskGroup(Executor executor, log::Logger& logger, std::string name)
    : state_{std::make_shared<State>(std::move(executor), logger, std::move(name))} {}

TaskGroup::~TaskGroup() { state_->cancel_all(); }

void TaskGroup::spawn(std::string name, Task<void> task) { spawn_on(state_->executor, std::move(name), std::move(task)); }

void TaskGroup::spawn_on(Executor executor, std::string name, Task<void> task) {
  auto signal = std::make_shared<asio::cancellation_signal>();
  std::list<Running>::iterator entry;
  {
    const std::lock_guard lock{state_->mutex};
    if (state_->cancelled) return;
    entry = state_->tasks.insert(state_->tasks.end(), Running{executor, signal});
  }
  // The handler keeps the signal: its slot must outlive the coroutine.
  auto on_end = [state = state_, entry, signal, name = std::move(name)](const std::exception_ptr& thrown) {
    state->finish(entry, name, thrown);
  };
  // Started where it runs, so that a cancellation cannot come while the slot is being connected.
  asio::post(executor, [executor, signal, task = std::move(task), on_end = std::move(on_end)]() mutable {
    asio::co_spawn(executor, std::move(task), asio::bind_cancellation_slot(signal->slot(), std::move(on_end)));
  });
}

Task<void> TaskGroup::cancel_and_wait() {
  state_->cancel_all();
  const Deadline never{SteadyTime::max()};
  // Only a cancelled caller comes back early, and it said so by being cancelled.
  [[maybe_unused]] const auto emptied = co_await wait_until_empty(never);
}

Task<Result<void>> TaskGroup::wait_until_empty(Deadline deadline) {
  const auto state = state_;
  while (true) {
    const auto seen = state->ended.version();
    if (state->running() == 0) co_return Result<void>{};
    auto changed = co_await state->ended.wait(seen, deadline);
    if (!changed) co_return std::move(changed).error();
  }
}

std::size_t TaskGroup::running() const { return state_->running(); }

std::uint64_t TaskGroup::failures() const {
  const std::lock_guard lock{state_->mutex};
  return state_->failures;
}

}  // namespace cloister::runtime
