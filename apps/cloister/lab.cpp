#include "cloister/lab_host/serve.hpp"

#include "lab_device.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <ostream>
#include <optional>

#include "cli.hpp"
#include "cloister/collateral_service/serve.hpp"
#include "lab_tcb.hpp"
#include "cloister/lab_service/serve.hpp"
#include "cloister/core/log_line.hpp"
#include "cloister/core/random.hpp"
#include "cloister/lab_host/snp_state.hpp"
#include "cloister/lab_kds/snp_documents.hpp"

namespace cloister::cli {

namespace {

/// JSON lines also where standard error is a terminal.
class JsonLogger final : public log::Logger {
 public:
  JsonLogger(const Clock& clock, std::ostream& err) : clock_{clock}, err_{err} {}
  void write(log::Level level, std::string_view event, std::initializer_list<log::Field> fields) override {
    if (level == log::Level::debug) return;
    const auto line = log::format_line(log::Format::json, clock_.now(), level, "lab", event, fields);
    const std::lock_guard lock{mutex_};
    err_ << line << std::flush;
  }

 private:
  const Clock& clock_;
  std::ostream& err_;
  std::mutex mutex_;
};

void add_serve(CLI::App& lab, Context& context) {
  auto* command = lab.add_subcommand("serve", "The lab's service: enclaves and VMs over HTTP on loopback until Ctrl-C");
  const auto options = std::make_shared<lab_service::ServeOptions>();
  const auto json_logs = std::make_shared<bool>(false);
  command->add_option("--port", options->port, "0: any that is free");
  command->add_option("--seed-file", options->seed_file, "32 bytes that make the lab the same at each start; made if it is not there");
  command->add_option("--allow-origin", options->allowed_origins, "a page of this origin may use the service, e.g. http://127.0.0.1:9000");
  command->add_flag("--beside-tee", options->beside_tee, "start also on a machine that has a TEE of its own");
  command->add_flag("--json", *json_logs, "the log is JSON also on a terminal");
  command->callback([options, json_logs, &context] {
    log::StderrLogger plain{"lab", log::Level::info};
    JsonLogger json{context.clock, context.err};
    log::Logger& logger = *json_logs ? static_cast<log::Logger&>(json) : plain;
    if (auto served = lab_service::serve(*options, context.out, context.clock, logger); !served) {
      const bool beside = served.error().code() == Errc::lab_beside_tee;
      context.fail(served.error(), beside ? "--beside-tee starts it all the same"
                                          : "another program may use the port: --port N; a seed file is its owner's alone (mode 0600)");
    }
  });
}

/// What the state's AMD knows at each moment: `lab tcb snp` changes it under a service that runs.
lab_kds::StandingSource standing_of(const std::filesystem::path& state, const Clock& clock, log::Logger& logger) {
  return [state, &clock, &logger]() -> std::optional<lab_kds::Standing> {
    auto view = lab_host::view_snp_tcb(state, clock);
    if (!view) {
      logger.warn("lab_collateral_story_broken", {{"error", view.error().text()}, {"lab", true}});
      return std::nullopt;
    }
    return lab_kds::Standing{view->now, std::move(view->story)};
  };
}

void add_collateral_service(CLI::App& lab, Context& context) {
  auto* command = lab.add_subcommand("collateral", "Serve collateral by the vendors' routes on loopback until Ctrl-C");
  const auto options = std::make_shared<collateral_service::ServeOptions>();
  const auto state = std::make_shared<std::filesystem::path>();
  auto* source = command->add_option_group("source")->require_option(1);
  source->add_option("--state", *state, "directory of a platform: its collateral, as it is renewed, and its AMD hierarchy");
  source->add_option("--data", options->data, "a QuoteCollateralV3 file, or a bundle of `cloister collateral export`");
  command->add_option("--port", options->port, "0: any that is free");
  command->callback([options, state, &context] {
    log::StderrLogger logger{"lab-collateral", log::Level::info};
    std::optional<lab_snp::Authority> authority;
    std::optional<lab_kds::SnpDocuments> amd;
    if (!state->empty()) {
      SystemRandom random;
      auto opened = lab_host::open_snp_authority(*state, context.clock, random);
      if (!opened) return context.fail(opened.error());
      authority.emplace(std::move(opened).value());
      amd.emplace(*authority, standing_of(*state, context.clock, logger));
      options->also = &*amd;
      options->data = *state / "collateral.json";
    }
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
  add_quote_format(*platform, options->quote_format);
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
  add_lab_tcb(*lab, context);
  add_exercise(*lab, context);
  add_serve(*lab, context);
  add_lab_snp_report(*lab, context);
}

}  // namespace cloister::cli
