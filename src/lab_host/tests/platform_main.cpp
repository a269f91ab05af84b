// A platform as a process of its own: `lab_host_test_platform STATE`.
#include <iostream>

#include "cloister/lab_host/serve.hpp"

int main(int, char** argv) {
  using namespace cloister;
  log::NullLogger logger;
  return lab_host::serve({.state = argv[1]}, std::cout, logger) ? 0 : 1;
}
