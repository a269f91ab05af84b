// The one program in every TD. Its descriptors are fixed (cloister/guest/boot.hpp); it takes no arguments.
#include <sys/prctl.h>

#include <cstdio>
#include <filesystem>

#include "cloister/core/log.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/guest/guest.hpp"
#include "cloister/process/descriptor.hpp"

namespace {

cloister::Result<cloister::guest::Boot> read_boot() {
  using namespace cloister;
  process::UniqueFd memfd{guest::kBootDescriptor};
  CLOISTER_TRY(mapping, process::SealedMapping::of(memfd.get()));
  return guest::decode_boot(mapping.contents());
}

}  // namespace

int main() {
  using namespace cloister;
  ::prctl(PR_SET_DUMPABLE, 0);  // no core dumps, no ptrace by others
  log::StderrLogger logger{"guest", log::Level::info};
  auto boot = read_boot();
  if (!boot) {
    logger.error("boot.refused", {{"detail", boot.error().text()}});
    return 2;
  }
  const SystemClock clock;
  SystemRandom random;
  device::LabSocketDevice tee{process::UniqueFd{guest::kTeeDescriptor}};
  const auto why = guest::run(*std::move(boot), {tee, process::UniqueFd{guest::kStreamDescriptor},
                                                 std::filesystem::current_path(), clock, random, logger});
  logger.info("ended", {{"code", to_string(why.code())}, {"detail", why.detail()}});
  return why.code() == Errc::peer_closed ? 0 : 1;
}
