#include "cloister/lab_host/serve_device.hpp"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <ostream>
#include <stop_token>
#include <thread>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/device/select.hpp"
#include "cloister/device/tee_service.hpp"
#include "cloister/process/unix_socket.hpp"
#include "cloister/provider/td_image.hpp"
#include "ending_signals.hpp"
#include "lab_td_device.hpp"
#include "renewal.hpp"
#include "state.hpp"

namespace cloister::lab_host {
namespace {

namespace json = codec::json;

/// Takes the socket's path away at the end.
class Path {
 public:
  explicit Path(std::filesystem::path path) : path_{std::move(path)} {}
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  ~Path() { ::unlink(path_.c_str()); }

 private:
  std::filesystem::path path_;
};

constexpr std::chrono::minutes kRenewEvery{1};

/// Looks after the collateral while the device answers.
void keep_renewing(const std::stop_token& stop, CollateralRenewal& renewal, log::Logger& logger) {
  std::mutex mutex;
  std::condition_variable_any ended;
  std::unique_lock held{mutex};
  while (!ended.wait_for(held, stop, kRenewEvery, [&stop] { return stop.stop_requested(); })) {
    if (const auto renewed = renewal.renew(); !renewed) {
      logger.warn("lab_device_collateral_not_renewed", {{"error", renewed.error().text()}, {"lab", true}});
    }
  }
}

}  // namespace

Result<void> serve_device(const DeviceOptions& options, std::ostream& out, log::Logger& logger) {
  device::LinuxKernel kernel;
  if (const auto alone = device::refuse_lab_beside_tee(kernel); !alone) {
    if (!options.beside_tee) return alone.error();
    logger.warn("lab_device_beside_tee", {{"detail", alone.error().detail()}, {"lab", true}});
  }
  const SystemClock clock;
  SystemRandom random;
  CLOISTER_TRY(signals, ending_signals());
  CLOISTER_TRY(image, provider::td_image_of_program(options.program));
  std::vector<measure::TdFile> files;
  for (const auto& file : image) files.push_back({.path = file.path, .mode = file.mode, .contents = file.contents()});
  const auto directory = std::filesystem::absolute(options.state);
  CLOISTER_TRY(state, open_state(directory, clock, random));
  CollateralRenewal renewal{directory, state.platform, clock};
  CLOISTER_CHECK(renewal.renew());
  CLOISTER_TRY(td, state.platform.launch({}, files));
  LabTdDevice device{state.platform, std::move(td)};
  CLOISTER_TRY(listener, process::listen_at(options.socket));
  const Path path{options.socket};
  out << json::write(json::Object{{"socket", std::filesystem::absolute(options.socket).native()},
                                  {"root", (directory / kRootFile).native()},
                                  {"collateral", (directory / kCollateralFile).native()},
                                  {"mrtd", codec::to_hex(device.mrtd())},
                                  {"lab", true}})
      << std::endl;
  const std::jthread renewing{[&](const std::stop_token& stop) { keep_renewing(stop, renewal, logger); }};
  return device::serve_tee_socket(device, listener.get(), signals.get());
}

}  // namespace cloister::lab_host
