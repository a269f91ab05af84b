#pragma once

#include <cstdint>
#include <memory>

#include "cloister/runtime/task.hpp"

namespace cloister::runtime {

/// "Something changed", for long polls. Lost wake-ups cannot happen: read `version` first, look at the state, and wait
/// for a version other than the one read. Thread-safe; each waiter continues on its own executor.
class AsyncEvent {
 public:
  AsyncEvent();
  ~AsyncEvent();
  AsyncEvent(const AsyncEvent&) = delete;
  AsyncEvent& operator=(const AsyncEvent&) = delete;

  [[nodiscard]] std::uint64_t version() const;
  /// Counts the version up and wakes every waiter.
  void notify_all();
  /// Success once the version is not `seen` (at once if so already); else `deadline_exceeded` or `cancelled`.
  /// The event may be destroyed while somebody waits: the wait then ends with `cancelled`. So may the waiter's context,
  /// before the event or after.
  [[nodiscard]] Task<Result<void>> wait(std::uint64_t seen, Deadline deadline);

 private:
  struct State;
  class Place;
  std::shared_ptr<State> state_;  // shared with the waiters
};

}  // namespace cloister::runtime
