#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "cloister/process/child.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/rego/isolation.hpp"
#include "engine.hpp"
#include "frames.hpp"

namespace cloister::rego {

/// The processes, and who waits for one. Thread-safe.
class Isolation::Pool {
 public:
  explicit Pool(Options options);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { stop(); }

  /// Waits until a process can be used.
  [[nodiscard]] Result<void> warm_up();
  /// Compiles it in a process, which takes it as `evaluate` does. `policy_invalid` as Engine::compile; `deadline_exceeded` for
  /// what takes longer than a second.
  [[nodiscard]] Result<void> load(std::uint64_t policy, std::span<const Module> modules, std::span<const std::string> entrypoints);
  /// The answer as the library writes it. `deadline_exceeded` and `limit_exceeded` also when the process had to be killed or
  /// ended; `overloaded` when all are taken for too long; `cancelled` after `stop`.
  [[nodiscard]] Result<std::string> evaluate(std::uint64_t policy, std::span<const Module> modules,
                                             std::span<const std::string> entrypoints, const Question& question);
  void stop();
  [[nodiscard]] std::uint64_t lost() const;

 private:
  struct Worker {
    process::ChildProcess child;
    process::FrameSocket socket;
  };
  [[nodiscard]] Result<Worker> begin() const;
  [[nodiscard]] Result<Worker> acquire(std::chrono::milliseconds patience);
  void release(Worker worker);
  /// Ends it, and has another started.
  void give_up(Worker worker);
  void keep();
  [[nodiscard]] static Result<Answer> exchange(Worker& worker, ByteView request, std::chrono::microseconds time);
  /// What a request came to whose process has to go: `what` did not end in that time, or ended the process.
  [[nodiscard]] static Error why_lost(Worker& worker, const Error& seen, std::string what, std::chrono::microseconds time);
  [[nodiscard]] static Result<Answer> load_into(Worker& worker, std::uint64_t policy, std::span<const Module> modules,
                                                std::span<const std::string> entrypoints);
  /// What was asked of the worker, which is free again or gone.
  [[nodiscard]] Result<std::string> finish(Worker worker, Result<Answer> answer);
  [[nodiscard]] Result<Answer> ask(Worker& worker, std::uint64_t policy, std::span<const Module> modules,
                                   std::span<const std::string> entrypoints, const Question& question) const;

  const Options options_;
  mutable std::mutex mutex_;  // guards all below but keeper_
  std::condition_variable changed_;
  std::vector<Worker> idle_;   // the most recently used last
  std::size_t alive_ = 0;      // idle or taken
  std::size_t wanted_ = 0;     // still to be started
  std::uint64_t failures_ = 0;  // of starts
  std::optional<Error> failure_;
  std::uint64_t lost_ = 0;
  std::vector<int> taken_;  // pidfds
  bool stopping_ = false;
  std::thread keeper_;  // starts the processes: they end with the thread that started them
};

}  // namespace cloister::rego
