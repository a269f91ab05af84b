#include "cloister/process/private_memory.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>

#include "cloister/core/assert.hpp"

namespace cloister::process {

void keep_memory_private() noexcept {
  const rlimit none{0, 0};
  // Both only take away, which is always allowed.
  const bool limited = ::setrlimit(RLIMIT_CORE, &none) == 0;
  const bool undumpable = ::prctl(PR_SET_DUMPABLE, 0) == 0;
  CLOISTER_ASSERT(limited && undumpable);
}

}  // namespace cloister::process
