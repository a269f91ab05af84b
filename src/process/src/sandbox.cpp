#include "cloister/process/sandbox.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <fstream>

namespace cloister::process {
namespace {

namespace fs = std::filesystem;

constexpr std::array kBubblewrapPaths{"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"};
constexpr uid_t kNobody = 65534;

/// Namespaces and privileges; what `start` uses and `probe` tries.
std::vector<std::string> isolation_arguments() {
  return {"--unshare-all", "--unshare-user", "--uid",  "1000",  "--gid",           "1000",          "--hostname",
          "td",            "--cap-drop",     "ALL",    "--die-with-parent", "--new-session"};
}

void add(std::vector<std::string>& arguments, std::initializer_list<std::string> words) {
  arguments.insert(arguments.end(), words);
}

std::string octal(std::uint32_t mode) {
  std::string out;
  for (int shift = 9; shift >= 0; shift -= 3) out += static_cast<char>('0' + ((mode >> shift) & 7U));
  return out;
}

Result<void> try_bubblewrap(const fs::path& program, std::optional<uid_t> user) {
  auto arguments = isolation_arguments();
  add(arguments, {"--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--size", "65536", "--tmpfs", "/tmp",
                  "--remount-ro", "/", "--chdir", "/tmp", "--", program.native(), "--version"});
  CLOISTER_TRY(errors, pipe_pair());
  CLOISTER_TRY(child, ChildProcess::start({.program = program,
                                           .arguments = std::move(arguments),
                                           .environment = {},
                                           .descriptors = {{.source = errors.second.get(), .target = STDERR_FILENO}},
                                           .directory = "/",
                                           .limits = {},
                                           .user = user}));
  CLOISTER_TRY(status, child.wait(Deadline{std::chrono::steady_clock::now() + std::chrono::seconds{10}}));
  if (status.success()) return {};
  errors.second.reset();
  std::array<char, 200> words;
  const auto got = std::max<ssize_t>(::read(errors.first.get(), words.data(), words.size()), 0);
  std::string why{words.data(), static_cast<std::size_t>(got)};
  return Error{Errc::unavailable, why.empty() ? program.string() + ": " + status.text() : why.substr(0, why.find('\n'))};
}

Result<void> write_file(const fs::path& path, const SandboxFile& file) {
  CLOISTER_TRY(mapping, SealedMapping::of(file.memfd));
  const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, file.mode & 0555U)};
  if (!fd.valid()) return errno_error("create " + path.string());
  auto rest = mapping.contents();
  while (!rest.empty()) {
    const auto written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0) return errno_error("write " + path.string());
    rest = rest.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> make_directories(const fs::path& path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) return Error{Errc::io_error, "create " + path.string() + ": " + failed.message()};
  return {};
}

/// What bubblewrap writes to --info-fd before it lets the sandbox begin: the process that is 1 in there. Or nothing.
std::optional<pid_t> read_child_pid(int fd) {
  const Deadline soon{std::chrono::steady_clock::now() + std::chrono::seconds{10}};
  std::string text;
  std::array<char, 256> piece;
  while (text.size() < 4096 && wait_for(fd, POLLIN, soon)) {
    const auto got = ::read(fd, piece.data(), piece.size());
    if (got <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  constexpr std::string_view kName = "\"child-pid\": ";
  const auto at = text.find(kName);
  if (at == std::string::npos) return std::nullopt;
  pid_t pid = 0;
  const auto* const begin = text.data() + at + kName.size();
  const auto read = std::from_chars(begin, text.data() + text.size(), pid);
  return read.ec == std::errc{} && pid > 0 ? std::optional{pid} : std::nullopt;
}

std::optional<pid_t> parent_of(pid_t pid) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string word; status >> word;) {
    pid_t parent = 0;
    if (word == "PPid:" && status >> parent) return parent;
  }
  return std::nullopt;
}

/// bubblewrap's --die-with-parent binds the sandbox to it only once the program in it runs already (0.8, `do_init`): in a
/// child that is stopped at once, the sandbox would live on. So its first process is held, and killed with the child.
void hold_sandbox(ChildProcess& bubblewrap, int info) {
  const auto first = read_child_pid(info);
  if (!first) return;
  UniqueFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, *first, 0))};
  if (pidfd.valid() && parent_of(*first) == bubblewrap.pid()) bubblewrap.take_along(std::move(pidfd));
}

Result<ChildProcess> start_isolated(const SandboxedCommand& sandboxed, const fs::path& bubblewrap,
                                    std::optional<uid_t> user) {
  Command command{.program = bubblewrap,
                  .arguments = isolation_arguments(),
                  .environment = {},
                  .descriptors = sandboxed.descriptors,
                  .directory = "/",
                  .limits = {},
                  .user = user};
  int next = 3;
  for (const auto& fd : sandboxed.descriptors) next = std::max(next, fd.target + 1);
  for (const auto& file : sandboxed.files) {
    // bubblewrap reads from the offset on, and closes the descriptor before it executes.
    if (::lseek(file.memfd, 0, SEEK_SET) != 0) return errno_error("lseek");
    command.descriptors.push_back({.source = file.memfd, .target = next});
    add(command.arguments, {"--perms", octal(file.mode & 0555U), "--file", std::to_string(next), file.path});
    ++next;
  }
  CLOISTER_TRY(info, pipe_pair());
  command.descriptors.push_back({.source = info.second.get(), .target = next});
  add(command.arguments, {"--info-fd", std::to_string(next)});
  add(command.arguments, {"--proc", "/proc", "--dev", "/dev", "--size", std::to_string(sandboxed.scratch_bytes),
                          "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp", "--", sandboxed.program});
  for (const auto& word : sandboxed.arguments) command.arguments.push_back(word.text);
  CLOISTER_TRY(child, ChildProcess::start(command));
  info.second.reset();
  hold_sandbox(child, info.first.get());
  return child;
}

Result<ChildProcess> start_plain(const SandboxedCommand& sandboxed, const fs::path& directory) {
  const auto scratch = directory / "scratch";
  if (::mkdir(directory.c_str(), 0700) != 0 || ::mkdir(scratch.c_str(), 0700) != 0) {
    return errno_error("create " + scratch.string());
  }
  const auto root = directory / "root";
  const auto placed = [&root](const std::string& path) { return root.native() + path; };
  for (const auto& file : sandboxed.files) {
    const fs::path path = placed(file.path);
    CLOISTER_CHECK(make_directories(path.parent_path()));
    CLOISTER_CHECK(write_file(path, file));
  }
  Command command{.program = placed(sandboxed.program),
                  .arguments = {},
                  .environment = {},
                  .descriptors = sandboxed.descriptors,
                  .directory = scratch,
                  .limits = {},
                  .user = {}};
  for (const auto& word : sandboxed.arguments) {
    command.arguments.push_back(word.path ? placed(word.text) : word.text);
  }
  return ChildProcess::start(command);
}

}  // namespace

Sandbox Sandbox::none(std::string reason) {
  Sandbox out;
  out.description_ = "no sandbox (" + std::move(reason) +
                     "): what runs sees this machine's files, network and processes as this user does";
  return out;
}

Sandbox Sandbox::probe() {
  std::string reason = "bubblewrap is not installed";
  // An ordinary user leaves less of the kernel open; root itself is tried where only it may make namespaces.
  std::vector<std::optional<uid_t>> users{std::nullopt};
  if (::geteuid() == 0) users.insert(users.begin(), kNobody);
  for (const char* const path : kBubblewrapPaths) {
    if (::access(path, X_OK) != 0) continue;
    for (const auto& user : users) {
      const auto works = try_bubblewrap(path, user);
      if (!works) {
        reason = works.error().detail();
        continue;
      }
      Sandbox out;
      out.bubblewrap_ = path;
      out.user_ = user;
      out.description_ = std::string{"namespaces by "} + path + (user ? ", as nobody" : "");
      return out;
    }
  }
  return none(std::move(reason));
}

Result<ChildProcess> Sandbox::start(const SandboxedCommand& command, const fs::path& fallback_directory) const {
  for (const auto& file : command.files) {
    if (!file.path.starts_with('/') || file.path != fs::path{file.path}.lexically_normal().native()) {
      return Error{Errc::invalid_argument, "sandbox file: absolute, normal path expected, got " + file.path};
    }
  }
  if (isolates()) return start_isolated(command, bubblewrap_, user_);
  return start_plain(command, fallback_directory);
}

}  // namespace cloister::process
