#include "lab_device.hpp"

#include <memory>

#include "cloister/lab_host/serve_device.hpp"

namespace cloister::cli {

void add_lab_device(CLI::App& lab, Context& context) {
  auto* command = lab.add_subcommand("device", "Be the TEE of software under test, on a UNIX socket, until Ctrl-C");
  const auto options = std::make_shared<lab_host::DeviceOptions>();
  command->add_option("--state", options->state, "directory of a machine of its own: its seed, its root certificate")->required();
  command->add_option("--socket", options->socket, "where it listens; for this user alone")->required();
  command->add_option("--program", options->program, "what the TD is measured to run; it is not started")->required();
  command->add_flag("--beside-tee", options->beside_tee, "start also on a machine that has a TEE of its own");
  command->callback([options, &context] {
    log::StderrLogger logger{"lab-device", log::Level::info};
    if (auto served = lab_host::serve_device(*options, context.out, logger); !served) {
      const bool beside = served.error().code() == Errc::lab_beside_tee;
      context.fail(served.error(), beside ? "--beside-tee starts it all the same" : "");
    }
  });
}

}  // namespace cloister::cli
