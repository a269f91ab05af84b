#include "ending_signals.hpp"

#include <signal.h>
#include <sys/signalfd.h>

namespace cloister::lab_host {

Result<process::UniqueFd> ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return process::errno_error("block signals");
  process::UniqueFd fd{::signalfd(-1, &signals, SFD_CLOEXEC)};
  if (!fd.valid()) return process::errno_error("signalfd");
  return fd;
}

}  // namespace cloister::lab_host
