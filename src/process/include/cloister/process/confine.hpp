#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/process/child.hpp"

namespace cloister::process {

/// A program of an unpacked image, to be run apart from its starter.
struct ConfinedCommand {
  std::filesystem::path root;  // absolute; becomes "/"
  std::string program;         // absolute inside the root
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::vector<Inherited> descriptors;  // 0, 1 and 2 are /dev/null unless they are named
  std::string directory = "/";         // inside the root
  ResourceLimits limits;
  std::size_t scratch_bytes = 64U << 20;  // of the tmpfs on /tmp
};

/// A running program, and what holds it.
struct Confined {
  ChildProcess process;
  /// Own user, mount, PID, network, IPC and UTS namespaces, the image as read-only root, no capability.
  bool isolated = false;
  /// What does *not* hold it, in words for the log; never empty.
  std::string not_isolated;
};

/// Starts the program in namespaces of its own (works inside bubblewrap, and needs no other program). Where the kernel
/// refuses them, without: own session and process group, limits, PR_SET_NO_NEW_PRIVS, and chroot(2) if that is allowed;
/// `not_isolated` then says what is missing. In both cases it inherits only the named descriptors and dies with the
/// starting thread. The root's directories /tmp, /dev and /proc are furnished where it has them (/proc also needs
/// an outer sandbox that covers nothing of its own). Not isolated in any case: time, CPU and memory beyond `limits`, and the kernel itself (no system call
/// filter).
[[nodiscard]] Result<Confined> run_confined(const ConfinedCommand& command);

}  // namespace cloister::process
