#include "cloister/lab_host/serve.hpp"

#include "lab_device.hpp"

#include <filesystem>
#include <map>
#include <memory>

#include "cli.hpp"
#include "cloister/collateral_service/serve.hpp"

namespace cloister::cli {

namespace {

void add_collateral_service(CLI::App& lab, Context& context) {
  auto* command = lab.add_subcommand("collateral", "Serve collateral by the vendors' routes on loopback until Ctrl-C");
  const auto options = std::make_shared<collateral_service::ServeOptions>();
  const auto state = std::make_shared<std::filesystem::path>();
  auto* source = command->add_option_group("source")->require_option(1);
  source->add_option("--state", *state, "directory of a platform: its collateral, as it is renewed");
  source->add_option("--data", options->data, "a QuoteCollateralV3 file, or a bundle of `cloister collateral export`");
  command->add_option("--port", options->port, "0: any that is free");
  command->callback([options, state, &context] {
    if (!state->empty()) options->data = *state / "collateral.json";
    log::StderrLogger logger{"lab-collateral", log::Level::info};
    if (auto served = collateral_service::serve(*options, context.out, logger); !served) {
      context.fail(served.error(), "a running `cloister lab platform` writes collateral into its --state");
    }
  });
}

}  // namespace

void add_lab(CLI::App& app, Context& context) {
  auto* lab = app.add_subcommand("lab", "The lab: simulated TEEs. LAB ONLY - NOT HARDWARE");
  lab->require_subcommand(1);
  add_lab_device(*lab, context);
  auto* platform = lab->add_subcommand("platform", "Run a simulated machine with TDX until Ctrl-C");
  const auto options = std::make_shared<lab_host::HostOptions>();
  const auto level = std::make_shared<log::Level>(log::Level::info);
  platform->add_option("--state", options->state, "directory of the machine: its seed, its root certificate, its socket")
      ->required();
  platform->add_option("--max-tds", options->max_tds, "TDs at the same time")->check(CLI::Range(1, 1024));
  platform->add_flag("--beside-tee", options->beside_tee, "start also on a machine that has a TEE of its own");
  platform->add_option("--log-level", *level, "with debug also what the TDs write")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, log::Level>{{"debug", log::Level::debug}, {"info", log::Level::info},
                                            {"warn", log::Level::warn}, {"error", log::Level::error}}));
  platform->callback([options, level, &context] {
    log::StderrLogger logger{"lab-platform", *level};
    if (auto served = lab_host::serve(*options, context.out, logger); !served) {
      const bool beside = served.error().code() == Errc::lab_beside_tee;
      context.fail(served.error(), beside ? "--beside-tee starts it all the same"
                                          : "another platform may run on this state; name another --state");
    }
  });
  add_collateral_service(*lab, context);
}

}  // namespace cloister::cli
