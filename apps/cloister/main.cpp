#include <iostream>

#include "cli.hpp"

int main(int argc, char** argv) {
  const cloister::SystemClock clock;
  return cloister::cli::run({argv + 1, argv + argc}, std::cout, std::cerr, clock);
}
