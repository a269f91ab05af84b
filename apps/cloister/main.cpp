#include <iostream>

#include "cli.hpp"
#include "cloister/process/private_memory.hpp"

int main(int argc, char** argv) {
  cloister::process::keep_memory_private();
  const cloister::SystemClock clock;
  return cloister::cli::run({argv + 1, argv + argc}, std::cout, std::cerr, clock);
}
