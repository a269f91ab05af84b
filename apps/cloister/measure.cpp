#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/measure/td_image.hpp"
#include "cloister/measure/tdx.hpp"
#include "cloister/provider/td_image.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

struct Options {
  std::optional<fs::path> tdvf;
  std::string profile = "single-pass";
  std::optional<fs::path> program;
  std::optional<fs::path> event_log;
  bool json = false;
};

/// Name and value, in the order to be shown.
using Measurements = std::vector<std::pair<std::string, Digest48>>;

Result<Measurements> measure_tdvf(const fs::path& file, std::string_view profile_name) {
  CLOISTER_TRY(profile, measure::parse_tdvf_profile(profile_name));
  CLOISTER_TRY(firmware, read_file(file, measure::kMaxFirmwareSize));
  auto mrtd = measure::mrtd_of_tdvf(firmware, profile);
  if (!mrtd) return mrtd.error().in(file.string());
  return Measurements{{"mrtd", *mrtd}};
}

Result<Measurements> measure_program(const fs::path& program) {
  CLOISTER_TRY(image, provider::td_image_of_program(program));
  std::vector<measure::TdFile> files;
  for (const auto& file : image) files.push_back({.path = file.path, .mode = file.mode, .contents = file.contents()});
  CLOISTER_TRY(mrtd, measure::mrtd_of_td_image(files));
  return Measurements{{"mrtd", mrtd}};
}

Result<Measurements> replay_log(const fs::path& file) {
  CLOISTER_TRY(bytes, read_file(file, evidence::kMaxEventLogSize));
  const auto log = evidence::parse_event_log(bytes);
  if (!log) return log.error().in(file.string());
  const auto registers = measure::replay(*log);
  Measurements out;
  for (std::size_t i = 0; i < registers.size(); ++i) out.emplace_back("rtmr" + std::to_string(i), registers[i]);
  return out;
}

Result<Measurements> measure_tdx(const Options& options) {
  if (options.tdvf) return measure_tdvf(*options.tdvf, options.profile);
  if (options.program) return measure_program(*options.program);
  return replay_log(*options.event_log);
}

/// One measurement alone is one line of hex, to be compared or piped.
void print(std::ostream& out, const Measurements& measurements, bool as_json) {
  if (as_json) {
    json::Object object;
    for (const auto& [name, value] : measurements) object.emplace_back(name, codec::to_hex(value));
    out << json::write_pretty(json::Value{std::move(object)}) << '\n';
  } else if (measurements.size() == 1) {
    out << codec::to_hex(measurements.front().second) << '\n';
  } else {
    for (const auto& [name, value] : measurements) out << name << ": " << codec::to_hex(value) << '\n';
  }
}

void run(const Options& options, Context& context) {
  const auto measurements = measure_tdx(options);
  if (!measurements) return context.fail(measurements.error());
  print(context.out, *measurements, options.json);
}

void add_measure_tdx(CLI::App& measure, Context& context) {
  auto options = std::make_shared<Options>();  // shared with the callback, which CLI11 keeps
  auto* command = measure.add_subcommand("tdx", "MRTD of a firmware or a guest program, or RTMR0 to RTMR3 of an event log");
  auto* what = command->add_option_group("what", "What to measure");
  auto* tdvf = what->add_option("--tdvf", options->tdvf, "Virtual firmware (OVMF with TDX metadata)");
  what->add_option("--program", options->program, "Guest program of a process TD; its loader and libraries are measured too");
  what->add_option("--event-log", options->event_log, "CCEL data, dstack's JSON, or a guest's own log");
  what->require_option(1);
  command->add_option("--profile", options->profile, "Order in which the VMM adds and measures pages of the firmware")
      ->check(CLI::IsMember({"single-pass", "two-pass"}))
      ->needs(tdvf);
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace

void add_measure(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("measure", "The launch measurement that TEE hardware would report");
  command->require_subcommand(1);
  add_measure_tdx(*command, context);
}

}  // namespace cloister::cli
