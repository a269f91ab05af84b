#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "cloister/runtime/task.hpp"

namespace cloister::runtime {

/// The threads that do all asynchronous work of a process. Create it first and destroy it last: what runs on it refers
/// to it. Thread-safe.
class IoContext {
 public:
  explicit IoContext(std::size_t threads = 1);
  /// Stops, joins, and destroys what is still suspended.
  ~IoContext();
  IoContext(const IoContext&) = delete;
  IoContext& operator=(const IoContext&) = delete;

  /// Any of the threads. Without a strand only for a context with one thread, or for work that shares nothing.
  [[nodiscard]] Executor executor();
  /// What runs on it never overlaps: a new strand, or with one thread the context itself.
  [[nodiscard]] Executor strand();

  /// Starts the threads and returns. At most once.
  void start();
  /// Ends the threads soon, whatever is pending. Not from inside `block_on`.
  void stop();

  /// Waits for one of these signals and returns its number; `cancelled` when the task is cancelled.
  /// While it waits the signals do not end the process.
  [[nodiscard]] Task<Result<int>> wait_for_signal(std::vector<int> signals);
  /// Calls `work` each time the signal comes, until the task is cancelled. No signal in between ends the process.
  [[nodiscard]] static Task<void> on_signal(int number, std::function<void()> work);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

namespace detail {
void block_on(IoContext& io, Task<void> work);
}

/// Runs `work` on `io`, which must have been started, and blocks the calling thread (none of `io`'s) for its value.
/// What `work` throws is thrown here.
template <class T>
[[nodiscard]] T block_on(IoContext& io, Task<T> work) {
  std::optional<T> out;
  std::exception_ptr thrown;
  detail::block_on(io, detail::keep_outcome(std::move(work), out, thrown));
  if (thrown) std::rethrow_exception(thrown);
  return std::move(*out);
}
inline void block_on(IoContext& io, Task<void> work) { detail::block_on(io, std::move(work)); }

}  // namespace cloister::runtime
