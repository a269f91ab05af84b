#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::process {

/// The child has `source` of the parent as its descriptor `target`.
struct Inherited {
  int source;
  int target;
};

/// Limits of setrlimit(2); what is absent stays as it is.
struct ResourceLimits {
  std::optional<std::uint64_t> cpu_seconds;
  std::optional<std::uint64_t> memory_bytes;  // address space
  std::optional<std::uint64_t> file_bytes;
  std::optional<std::uint64_t> open_files;
  std::optional<std::uint64_t> processes;     // of the user, so wide
};

/// What to execute. Nothing is inherited but what stands here.
struct Command {
  std::filesystem::path program;         // absolute; no search
  std::vector<std::string> arguments;    // without the program's name, which is put before them
  std::vector<std::string> environment;  // "NAME=value"
  std::vector<Inherited> descriptors;    // 0, 1 and 2 are /dev/null unless they are named
  std::filesystem::path directory = "/";
  ResourceLimits limits;
  std::optional<uid_t> user;             // user and group of that number, no other groups (needs root)
};

struct ExitStatus {
  int code = 0;    // of exit(2), when signal is 0
  int signal = 0;  // that ended it, or 0
  [[nodiscard]] bool success() const noexcept { return code == 0 && signal == 0; }
  /// "exit 3" or "signal 9".
  [[nodiscard]] std::string text() const;
};

/// A child in a process group of its own. It is killed (SIGKILL, with its group) when this object ends, and when the
/// *thread* that started it ends, by whatever cause (PR_SET_PDEATHSIG): start children from a thread that stays.
/// Not thread-safe.
class ChildProcess {
 public:
  /// Fails also when the child cannot set itself up or execute: then nothing is left running.
  [[nodiscard]] static Result<ChildProcess> start(const Command& command);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// A pidfd: readable (POLLIN) once the child has ended.
  [[nodiscard]] int exit_fd() const noexcept { return pidfd_.get(); }
  /// The status when it has ended. The same answer ever after.
  [[nodiscard]] std::optional<ExitStatus> poll();
  /// `deadline_exceeded` when it still runs then.
  [[nodiscard]] Result<ExitStatus> wait(Deadline deadline);
  /// Sends a signal to the whole group; no effect after the end.
  void signal(int number) noexcept;
  /// Another process, by its pidfd, that must not outlive the child, whose group it has left: it is killed (SIGKILL) when
  /// the child's end is seen or made.
  void take_along(UniqueFd pidfd) noexcept { along_ = std::move(pidfd); }
  /// SIGTERM to the group, SIGKILL after `grace`, and the status.
  [[nodiscard]] ExitStatus stop(std::chrono::milliseconds grace);

 private:
  friend class Spawner;
  ChildProcess(pid_t pid, UniqueFd pidfd) noexcept : pid_{pid}, pidfd_{std::move(pidfd)} {}
  void end() noexcept;
  pid_t pid_;
  UniqueFd pidfd_;
  UniqueFd along_;
  std::optional<ExitStatus> status_;
};

}  // namespace cloister::process
