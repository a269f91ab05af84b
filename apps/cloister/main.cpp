#include <exception>
#include <iostream>

#include "cli.hpp"
#include "cloister/process/private_memory.hpp"

int main(int argc, char** argv) {
  cloister::process::keep_memory_private();
  const cloister::SystemClock clock;
  try {
    return cloister::cli::run({argv + 1, argv + argc}, std::cout, std::cerr, clock);
  } catch (const std::exception& unexpected) {  // of a library, where nobody thought of one: no core, one line
    std::cerr << "cloister: internal: " << unexpected.what() << '\n';
    return cloister::cli::kFailed;
  }
}
