#include "cloister/lab_host/serve.hpp"

#include <filesystem>
#include <map>
#include <memory>

#include "cli.hpp"

namespace cloister::cli {

void add_lab(CLI::App& app, Context& context) {
  auto* lab = app.add_subcommand("lab", "The lab: simulated TEEs. LAB ONLY - NOT HARDWARE");
  lab->require_subcommand(1);
  auto* platform = lab->add_subcommand("platform", "Run a simulated machine with TDX until Ctrl-C");
  const auto options = std::make_shared<lab_host::HostOptions>();
  const auto level = std::make_shared<log::Level>(log::Level::info);
  platform->add_option("--state", options->state, "directory of the machine: its seed, its root certificate, its socket")
      ->required();
  platform->add_option("--max-tds", options->max_tds, "TDs at the same time")->check(CLI::Range(1, 1024));
  platform->add_option("--log-level", *level, "with debug also what the TDs write")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, log::Level>{{"debug", log::Level::debug}, {"info", log::Level::info},
                                            {"warn", log::Level::warn}, {"error", log::Level::error}}));
  platform->callback([options, level, &context] {
    log::StderrLogger logger{"lab-platform", *level};
    if (auto served = lab_host::serve(*options, context.out, logger); !served) {
      context.fail(served.error(), "another platform may run on this state; name another --state");
    }
  });
}

}  // namespace cloister::cli
