#include "cloister/process/confine.hpp"

#include "spawn.hpp"

namespace cloister::process {
namespace {

constexpr const char* kAlways = "time, CPU and memory beyond its limits, and the kernel (no system call filter)";

Command command_of(const ConfinedCommand& confined) {
  return {.program = confined.program,
          .arguments = confined.arguments,
          .environment = confined.environment,
          .descriptors = confined.descriptors,
          .directory = confined.directory,
          .limits = confined.limits,
          .user = {}};
}

}  // namespace

Result<Confined> run_confined(const ConfinedCommand& confined) {
  if (!confined.root.is_absolute()) return Error{Errc::invalid_argument, "root: absolute path expected"};
  const Root root{.path = confined.root.lexically_normal().native(),
                  .tmpfs_options = "mode=1777,size=" + std::to_string(confined.scratch_bytes)};
  const auto command = command_of(confined);
  auto isolated = Spawner::start(command, Isolation::namespaces, root);
  if (isolated) {
    return Confined{.process = std::move(isolated->process), .isolated = true, .not_isolated = kAlways};
  }
  CLOISTER_TRY(plain, Spawner::start(command, Isolation::confined, root));
  std::string missing = "no namespaces (" + isolated.error().detail() + "): network, processes of this user, ";
  if (!plain.own_root) missing += "files of this user, ";
  return Confined{.process = std::move(plain.process), .isolated = false, .not_isolated = missing + kAlways};
}

}  // namespace cloister::process
