#include "spawn.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace cloister::process {
namespace {

/// Where the child stands; the word of the error text.
enum class Stage : std::uint32_t {
  parent_gone, user, user_namespace, private_mounts, bind_root, tmp, devices, read_only, pivot_root, root, descriptors,
  limits, privileges, directory, execute, no_chroot,
};
constexpr std::array<const char*, 16> kStages{
    "parent is gone", "set user",     "user namespace", "private mounts",        "bind root",         "mount /tmp",
    "mount /dev",     "read-only root", "pivot_root",   "change root",           "place descriptors", "set limits",
    "drop privileges", "change directory", "execute",   "chroot"};

/// What the child writes into the status pipe; `error` 0 is a note, anything else its end.
struct Status {
  Stage stage;
  std::int32_t error;
};

struct Limit {
  int resource;
  rlim_t value;
};

struct Device {
  const char* source;
  const char* target;  // relative to the new root
};
constexpr std::array<Device, 5> kDevices{{{"/dev/null", "dev/null"},
                                          {"/dev/zero", "dev/zero"},
                                          {"/dev/full", "dev/full"},
                                          {"/dev/random", "dev/random"},
                                          {"/dev/urandom", "dev/urandom"}}};

/// Everything that the child needs, in memory that it shares by copy.
struct Plan {
  std::string program;  // as execve takes it
  std::string directory;
  std::string program_in_host;  // without a root of its own
  std::string directory_in_host;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<Inherited> descriptors;
  std::vector<int> parked;  // one place for each descriptor
  int first_free = 3;       // above every target
  std::vector<Limit> limits;
  std::optional<uid_t> user;
  Isolation isolation = Isolation::none;
  Root root;
  std::string uid_map;
  std::string gid_map;
  int status = -1;
};

[[noreturn]] void fail(const Plan& plan, Stage stage) {
  const Status status{.stage = stage, .error = errno == 0 ? EINVAL : errno};
  [[maybe_unused]] const auto written = ::write(plan.status, &status, sizeof status);
  ::_exit(127);
}

void check(bool done, const Plan& plan, Stage stage) {
  if (!done) fail(plan, stage);
}

bool write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

void reset_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void take_user(const Plan& plan) {
  if (!plan.user) return;
  const gid_t group = *plan.user;
  check(::setgroups(0, nullptr) == 0 && ::setresgid(group, group, group) == 0 &&
            ::setresuid(*plan.user, *plan.user, *plan.user) == 0,
        plan, Stage::user);
}

bool bind_device(const Device& device) {
  const int fd = ::open(device.target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return false;
  ::close(fd);
  return ::mount(device.source, device.target, nullptr, MS_BIND, nullptr) == 0;
}

bool is_directory(const char* path) {
  struct stat status {};
  return ::lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/// The read-only root with its /tmp, /dev and /proc; mount_namespaces(7), pivot_root(2).
void enter_namespaces(const Plan& plan) {
  // The files in /proc of a process that allows no dumps, as the guest does, belong to root: for the maps to be written
  // this copy allows them. execve, which follows, would anyway.
  check(::prctl(PR_SET_DUMPABLE, 1) == 0, plan, Stage::user_namespace);
  check(write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", plan.uid_map) &&
            write_file("/proc/self/gid_map", plan.gid_map),
        plan, Stage::user_namespace);
  const char* const root = plan.root.path.c_str();
  check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, plan, Stage::private_mounts);
  check(::mount(root, root, nullptr, MS_BIND | MS_REC, nullptr) == 0 && ::chdir(root) == 0, plan, Stage::bind_root);
  // Links of the image may not lead these mounts elsewhere: only real directories are mounted on.
  if (is_directory("tmp")) {
    check(::mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, plan.root.tmpfs_options.c_str()) == 0, plan, Stage::tmp);
  }
  if (is_directory("dev")) {
    check(::mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=0755,size=64k") == 0, plan, Stage::devices);
    check(std::all_of(kDevices.begin(), kDevices.end(), bind_device), plan, Stage::devices);
    check(::mount(nullptr, "dev", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, nullptr) == 0, plan,
          Stage::devices);
  }
  // Refused where an outer sandbox covers parts of /proc; programs of an image must do without it anyhow.
  if (is_directory("proc")) ::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  check(::mount(nullptr, ".", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) == 0, plan,
        Stage::read_only);
  check(::syscall(SYS_pivot_root, ".", ".") == 0 && ::umount2(".", MNT_DETACH) == 0, plan, Stage::pivot_root);
  check(::chdir("/") == 0, plan, Stage::root);
}

/// True when the root is the child's own from now on.
bool change_root(const Plan& plan) {
  if (plan.isolation == Isolation::none) return false;
  if (plan.isolation == Isolation::namespaces) {
    enter_namespaces(plan);
    return true;
  }
  if (::chroot(plan.root.path.c_str()) == 0) {
    check(::chdir("/") == 0, plan, Stage::root);
    return true;
  }
  const Status without{.stage = Stage::no_chroot, .error = 0};
  [[maybe_unused]] const auto written = ::write(plan.status, &without, sizeof without);
  return false;
}

/// Leaves the listed descriptors at their targets, and everything else to be closed by execve.
void place_descriptors(Plan& plan) {
  const auto park = [&](int fd) {
    const int parked = ::fcntl(fd, F_DUPFD_CLOEXEC, plan.first_free);
    check(parked >= 0, plan, Stage::descriptors);
    return parked;
  };
  for (std::size_t i = 0; i < plan.descriptors.size(); ++i) plan.parked[i] = park(plan.descriptors[i].source);
  plan.status = park(plan.status);
  for (int fd = 0; fd < plan.first_free; ++fd) ::close(fd);
  for (std::size_t i = 0; i < plan.descriptors.size(); ++i) {
    check(::dup2(plan.parked[i], plan.descriptors[i].target) >= 0, plan, Stage::descriptors);
  }
  const auto first = static_cast<unsigned>(plan.first_free);
  check(::syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0, plan, Stage::descriptors);
}

void drop_privileges(const Plan& plan) {
  if (plan.isolation == Isolation::none) return;
  check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, plan, Stage::privileges);
  for (unsigned long capability = 0; capability <= 63; ++capability) {
    if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const std::array<__user_cap_data_struct, 2> none{};
  check(::syscall(SYS_capset, &header, none.data()) == 0, plan, Stage::privileges);
}

void die_with_parent(const Plan& plan) {
  check(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, plan, Stage::parent_gone);
  // The parent may have ended before; then the other end of the status pipe is closed.
  pollfd pipe{.fd = plan.status, .events = 0, .revents = 0};
  if (::poll(&pipe, 1, 0) != 0) ::_exit(127);
}

[[noreturn]] void run(Plan& plan) {
  errno = 0;
  reset_signals();
  ::setsid();
  take_user(plan);
  const bool own_root = change_root(plan) || plan.isolation == Isolation::none;
  place_descriptors(plan);
  for (const auto& limit : plan.limits) {
    const rlimit both{.rlim_cur = limit.value, .rlim_max = limit.value};
    check(::setrlimit(static_cast<__rlimit_resource>(limit.resource), &both) == 0, plan, Stage::limits);
  }
  drop_privileges(plan);
  die_with_parent(plan);
  check(::chdir(own_root ? plan.directory.c_str() : plan.directory_in_host.c_str()) == 0, plan, Stage::directory);
  ::execve(own_root ? plan.program.c_str() : plan.program_in_host.c_str(), plan.argv.data(), plan.envp.data());
  fail(plan, Stage::execute);
}

void add_limit(std::vector<Limit>& limits, int resource, const std::optional<std::uint64_t>& value) {
  if (value) limits.push_back({resource, static_cast<rlim_t>(*value)});
}

Result<void> check_command(const Command& command) {
  const auto plain = [](const std::string& text) { return text.find('\0') == std::string::npos; };
  if (!command.program.is_absolute()) return Error{Errc::invalid_argument, "program: absolute path expected"};
  if (!plain(command.program.native()) || !std::ranges::all_of(command.arguments, plain) ||
      !std::ranges::all_of(command.environment, plain)) {
    return Error{Errc::invalid_argument, "command: no NUL expected"};
  }
  std::vector<int> targets;
  for (const auto& fd : command.descriptors) {
    if (fd.source < 0 || fd.target < 0 || fd.target > 4096) {
      return Error{Errc::invalid_argument, "descriptor: source from 0 and target from 0 to 4096 expected"};
    }
    targets.push_back(fd.target);
  }
  std::ranges::sort(targets);
  if (std::ranges::adjacent_find(targets) != targets.end()) {
    return Error{Errc::invalid_argument, "descriptors: each target once expected"};
  }
  return {};
}

/// `words` must outlive the plan.
std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

void take_descriptors(Plan& plan, const Command& command, int null) {
  plan.descriptors = command.descriptors;
  for (int standard = 0; standard <= 2; ++standard) {
    const bool named = std::ranges::any_of(command.descriptors, [&](const auto& fd) { return fd.target == standard; });
    if (!named) plan.descriptors.push_back({.source = null, .target = standard});
  }
  for (const auto& fd : plan.descriptors) plan.first_free = std::max(plan.first_free, fd.target + 1);
  plan.parked.resize(plan.descriptors.size());
}

Plan make_plan(const Command& command, Isolation isolation, const Root& root) {
  Plan plan;
  plan.program = command.program.native();
  plan.directory = command.directory.native();
  plan.program_in_host = root.path + plan.program;
  plan.directory_in_host = root.path + plan.directory;
  plan.user = command.user;
  plan.isolation = isolation;
  plan.root = root;
  // The user is 1000 inside, whoever it is outside.
  plan.uid_map = "1000 " + std::to_string(::geteuid()) + " 1\n";
  plan.gid_map = "1000 " + std::to_string(::getegid()) + " 1\n";
  add_limit(plan.limits, RLIMIT_CPU, command.limits.cpu_seconds);
  add_limit(plan.limits, RLIMIT_AS, command.limits.memory_bytes);
  add_limit(plan.limits, RLIMIT_FSIZE, command.limits.file_bytes);
  add_limit(plan.limits, RLIMIT_NOFILE, command.limits.open_files);
  add_limit(plan.limits, RLIMIT_NPROC, command.limits.processes);
  plan.limits.push_back({RLIMIT_CORE, 0});
  return plan;
}

/// Everything that the child wrote until it executed or ended.
std::vector<Status> read_status(int fd) {
  std::vector<Status> out;
  for (;;) {
    Status status{};
    const auto got = ::read(fd, &status, sizeof status);
    if (got < 0 && errno == EINTR) continue;
    if (got != static_cast<ssize_t>(sizeof status)) return out;
    out.push_back(status);
  }
}

Error error_of(const Status& status, const Command& command) {
  return Error{Errc::io_error, "start " + command.program.string() + ": " + kStages[static_cast<std::size_t>(status.stage)] +
                                   ": " + std::generic_category().message(status.error)};
}

}  // namespace

Result<Spawner::Started> Spawner::start(const Command& command, Isolation isolation, const Root& root) {
  CLOISTER_CHECK(check_command(command));
  CLOISTER_TRY(pipe, pipe_pair());
  UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!null.valid()) return errno_error("open /dev/null");
  auto plan = make_plan(command, isolation, root);
  take_descriptors(plan, command, null.get());
  plan.status = pipe.second.get();
  std::vector<std::string> words{command.program.native()};
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  auto environment = command.environment;
  plan.argv = pointers(words);
  plan.envp = pointers(environment);

  unsigned long flags = CLONE_PIDFD | SIGCHLD;
  if (isolation == Isolation::namespaces) {
    flags |= CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  }
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours runs in the child
  int pidfd = -1;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, &pidfd, nullptr, 0UL));
  if (pid == 0) run(plan);
  const int clone_errno = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    errno = clone_errno;
    return errno_error("clone");
  }
  ChildProcess process{pid, UniqueFd{pidfd}};
  pipe.second.reset();
  bool own_root = true;
  for (const auto& status : read_status(pipe.first.get())) {
    if (status.error != 0) return error_of(status, command);
    own_root = false;  // the only note
  }
  return Started{std::move(process), own_root};
}

}  // namespace cloister::process
