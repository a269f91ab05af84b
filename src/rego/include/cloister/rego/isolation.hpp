#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"

namespace cloister::rego {

/// Processes of the server's own that evaluate policies which cannot be stopped otherwise: the engine looks at time and
/// memory between its steps, and a policy may have a step that takes hours (docs/adr/0110-policies-in-processes.md).
/// While one of these lives, all evaluations of the process go there but those of plain policies with inputs of at most
/// `kPlainInput` bytes. At most one at a time lives. Thread-safe.
class Isolation {
 public:
  struct Options {
    std::filesystem::path program;       // calls `serve_evaluations` on descriptor 3, as its first act
    std::vector<std::string> arguments;  // of it
    std::size_t processes = 2;           // each evaluates one at a time
    std::uint64_t memory = 768U << 20;   // address space of one; sanitizers need more, and are not limited
    std::chrono::milliseconds grace{100};  // what an evaluation may take beyond its time before its process is killed
  };
  /// Starts the first process, so that what does not work is found out now; `conflict` when there is one already.
  [[nodiscard]] static Result<std::unique_ptr<Isolation>> start(const Options& options);
  Isolation(const Isolation&) = delete;
  Isolation& operator=(const Isolation&) = delete;
  /// As `stop`; evaluations are then as they were before.
  ~Isolation();

  /// Evaluations that run or wait there end now with `cancelled`, as do all later ones.
  void stop();

  /// Processes that were killed since the start, because an evaluation did not end, or that ended by themselves.
  [[nodiscard]] std::uint64_t lost() const;

  /// Bytes of input, data and reference values up to which a plain policy is evaluated in the server itself: no step of it
  /// takes longer than a walk through them.
  static constexpr std::size_t kPlainInput = 256U << 10;
  /// How long an evaluation waits for a process; then it is refused (`overloaded`).
  static constexpr std::chrono::milliseconds kPatience{250};

 private:
  friend class CompiledPolicy;
  class Pool;
  explicit Isolation(std::shared_ptr<Pool> pool) noexcept;
  struct Place;
  [[nodiscard]] static Place& place();
  [[nodiscard]] static std::shared_ptr<Pool> current();
  std::shared_ptr<Pool> pool_;
};

/// The program's part: evaluates what comes over the descriptor until it is closed, one at a time. The exit code.
[[nodiscard]] int serve_evaluations(int descriptor);

}  // namespace cloister::rego
