#pragma once

#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/process/child.hpp"

namespace cloister::process {

/// A root of its own for the child, in namespaces of its own.
struct Root {
  std::string path;
  std::string tmpfs_options;  // of /tmp
};

enum class Isolation {
  none,        // an ordinary child
  confined,    // no new privileges, no capabilities, chroot where it is allowed
  namespaces,  // as confined, with namespaces and a read-only root
};

/// Starts children of every kind: all that the child needs is prepared before, because between clone and execve it may
/// only make async-signal-safe calls.
class Spawner {
 public:
  struct Started {
    ChildProcess process;
    bool own_root;  // always, but in `confined` where chroot(2) is not allowed
  };
  /// `root.path` is used unless `isolation` is none; `command.program` and `directory` are paths inside it.
  [[nodiscard]] static Result<Started> start(const Command& command, Isolation isolation, const Root& root);
};

}  // namespace cloister::process
