#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/process/child.hpp"

namespace cloister::process {

/// A file of a sandbox's root: its bytes come from a sealed memfd, never from a path.
struct SandboxFile {
  std::string path;   // absolute inside the root
  std::uint32_t mode;
  int memfd;
};

/// A word of a command line: as it is, or an absolute path of the sandbox's root.
struct SandboxWord {
  std::string text;
  bool path = false;
};

/// What runs in a sandbox: a read-only root of exactly these files, an empty scratch directory as the only writable
/// place and as working directory, /proc of its own processes, the harmless device nodes, no network.
struct SandboxedCommand {
  std::vector<SandboxFile> files;
  std::string program;  // path of one of the files
  std::vector<SandboxWord> arguments;
  std::vector<Inherited> descriptors;  // 0, 1 and 2 are /dev/null unless they are named
  std::size_t scratch_bytes = 256U << 20;
};

/// Starts commands under bubblewrap where that works on this machine, and says why where it does not.
/// Thread-safe after construction.
class Sandbox {
 public:
  /// Tries bubblewrap once, with the very namespaces that `start` uses. As root it then runs as nobody (65534).
  [[nodiscard]] static Sandbox probe();
  /// No isolation, for the reason given (tests, and machines where the operator knows).
  [[nodiscard]] static Sandbox none(std::string reason);

  [[nodiscard]] bool isolates() const noexcept { return !bubblewrap_.empty(); }
  /// One sentence for the operator: what isolates, or why nothing does and what that means.
  [[nodiscard]] const std::string& description() const noexcept { return description_; }

  /// Without isolation the files are written to `fallback_directory` (made, mode 0700; the caller removes it after
  /// the end), and the child sees the machine as this process does.
  [[nodiscard]] Result<ChildProcess> start(const SandboxedCommand& command,
                                           const std::filesystem::path& fallback_directory) const;

 private:
  Sandbox() = default;
  std::filesystem::path bubblewrap_;
  std::optional<uid_t> user_;
  std::string description_;
};

}  // namespace cloister::process
