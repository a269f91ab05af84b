#include "cloister/process/child.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "spawn.hpp"

namespace cloister::process {
namespace {

ExitStatus status_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.code = info.si_status, .signal = 0};
  return {.code = 0, .signal = info.si_status};
}

}  // namespace

std::string ExitStatus::text() const {
  return signal != 0 ? "signal " + std::to_string(signal) : "exit " + std::to_string(code);
}

Result<ChildProcess> ChildProcess::start(const Command& command) {
  CLOISTER_TRY(started, Spawner::start(command, Isolation::none, {}));
  return std::move(started.process);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)},
      pidfd_{std::move(other.pidfd_)},
      along_{std::move(other.along_)},
      status_{other.status_} {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    along_ = std::move(other.along_);
    status_ = other.status_;
  }
  return *this;
}

ChildProcess::~ChildProcess() { end(); }

void ChildProcess::end() noexcept {
  if (pid_ < 0 || status_) return;
  signal(SIGKILL);
  while (!poll()) {
    pollfd entry{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    ::poll(&entry, 1, -1);
  }
}

std::optional<ExitStatus> ChildProcess::poll() {
  if (status_ || pid_ < 0) return status_;
  siginfo_t info{};
  int done = 0;
  do {
    done = ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG | WNOWAIT);
  } while (done != 0 && errno == EINTR);
  if (done != 0 || info.si_pid == 0) return std::nullopt;
  // The group's number stays reserved until its leader is reaped: whoever is left in the group goes first.
  ::kill(-pid_, SIGKILL);
  if (along_.valid()) ::syscall(SYS_pidfd_send_signal, along_.get(), SIGKILL, nullptr, 0);
  ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG);
  status_ = status_of(info);
  return status_;
}

Result<ExitStatus> ChildProcess::wait(Deadline deadline) {
  for (;;) {
    if (const auto status = poll()) return *status;
    CLOISTER_CHECK(wait_for(pidfd_.get(), POLLIN, deadline));
  }
}

void ChildProcess::signal(int number) noexcept {
  if (pid_ > 0 && !status_) ::kill(-pid_, number);
}

ExitStatus ChildProcess::stop(std::chrono::milliseconds grace) {
  signal(SIGTERM);
  if (auto status = wait(Deadline{std::chrono::steady_clock::now() + grace})) return *status;
  end();
  return status_.value_or(ExitStatus{.code = 0, .signal = SIGKILL});
}

}  // namespace cloister::process
