// A platform as a process of its own: `test_platform STATE`; prints its line when it is ready.
#include <cstdio>

#include "cloister/lab_host/host.hpp"

int main(int, char** argv) {
  using namespace cloister;
  SystemClock clock;
  SystemRandom random;
  log::NullLogger logger;
  auto host = lab_host::Host::open({.state = argv[1]}, process::Sandbox::probe(), clock, random, logger);
  if (!host) return 1;
  std::printf("ready\n");
  std::fflush(stdout);
  auto never = process::stream_pair();
  return host->run(never->first.get()) ? 0 : 1;
}
