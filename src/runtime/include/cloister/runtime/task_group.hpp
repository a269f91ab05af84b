#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cloister/core/log.hpp"
#include "cloister/runtime/task.hpp"

namespace cloister::runtime {

/// Owner of tasks that run beside whoever started them. Every such task belongs to one. An exception that leaves a
/// task is logged and counted, and ends that task only. Thread-safe.
class TaskGroup {
 public:
  /// Tasks run on `executor`. `logger` must outlive the tasks.
  TaskGroup(Executor executor, log::Logger& logger, std::string name);
  /// Cancels what still runs, and cannot wait for it: `cancel_and_wait` comes first wherever a task refers to
  /// something that ends with the group.
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Starts `task` soon. A group that was cancelled drops it instead. `name` is for the log.
  void spawn(std::string name, Task<void> task);
  /// The same, on a strand of its own.
  void spawn_on(Executor executor, std::string name, Task<void> task);

  /// Cancels every task and returns when all have ended. Not from a task of the group, and in a task that may itself
  /// be cancelled only as the cleanup of `finally`. Idempotent.
  [[nodiscard]] Task<void> cancel_and_wait();
  /// Returns when no task runs; `deadline_exceeded` when some still do at the deadline.
  [[nodiscard]] Task<Result<void>> wait_until_empty(Deadline deadline);

  [[nodiscard]] std::size_t running() const;
  /// Tasks that ended by an exception other than cancellation, so far.
  [[nodiscard]] std::uint64_t failures() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the tasks, which may outlive the group
};

}  // namespace cloister::runtime
