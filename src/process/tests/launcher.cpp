// Starts `probe stubborn` as a child of its own, prints the child's pid, and waits to be killed.
#include <unistd.h>

#include <cstdio>

#include "cloister/process/child.hpp"

int main(int, char** argv) {
  auto child = cloister::process::ChildProcess::start({.program = argv[1],
                                                       .arguments = {"stubborn"},
                                                       .environment = {},
                                                       .descriptors = {},
                                                       .directory = "/",
                                                       .limits = {},
                                                       .user = {}});
  if (!child) return 1;
  std::printf("%d", child->pid());
  std::fflush(stdout);
  for (;;) ::pause();
}
