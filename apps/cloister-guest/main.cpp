// The one program in every TD. Its descriptors are fixed (cloister/device/boot.hpp); it takes no arguments.
#include <cstdio>
#include <filesystem>

#include "cloister/core/log.hpp"
#include "cloister/device/boot.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/guest/guest.hpp"
#include "cloister/process/descriptor.hpp"
#include "cloister/process/private_memory.hpp"

int main() {
  using namespace cloister;
  process::keep_memory_private();
  log::StderrLogger logger{"guest", log::Level::info};
  auto boot = device::read_boot(process::UniqueFd{device::kBootDescriptor});
  if (!boot) {
    logger.error("boot.refused", {{"detail", boot.error().text()}});
    return 2;
  }
  const SystemClock clock;
  SystemRandom random;
  device::LabSocketDevice tee{process::UniqueFd{device::kTeeDescriptor}};
  const auto why = guest::run(*std::move(boot), {tee, process::UniqueFd{device::kStreamDescriptor},
                                                 std::filesystem::current_path(), clock, random, logger});
  logger.info("ended", {{"code", to_string(why.code())}, {"detail", why.detail()}});
  return why.code() == Errc::peer_closed ? 0 : 1;
}
