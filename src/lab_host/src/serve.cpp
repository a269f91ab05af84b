#include "cloister/lab_host/serve.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <ostream>

#include "cloister/codec/json.hpp"
#include "ending_signals.hpp"

namespace cloister::lab_host {
namespace {

namespace json = codec::json;

/// Each TD holds four descriptors, and a start brings up to two hundred for a moment.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65'536);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string ready_line(const Host& host) {
  return json::write(json::Object{{"control", host.control_socket().native()},
                                  {"root", host.root_file().native()},
                                  {"collateral", host.collateral_file().native()},
                                  {"isolated", host.sandbox().isolates()},
                                  {"sandbox", host.sandbox().description()},
                                  {"lab", true}});
}

}  // namespace

Result<void> serve(HostOptions options, std::ostream& out, log::Logger& logger) {
  SystemClock clock;
  SystemRandom random;
  allow_many_descriptors();
  CLOISTER_TRY(signals, ending_signals());
  auto sandbox = process::Sandbox::probe();
  if (!sandbox.isolates()) logger.warn("lab_platform_not_isolated", {{"reason", sandbox.description()}, {"lab", true}});
  CLOISTER_TRY(host, Host::open(std::move(options), std::move(sandbox), clock, random, logger));
  out << ready_line(host) << std::endl;
  return host.run(signals.get());
}

}  // namespace cloister::lab_host
