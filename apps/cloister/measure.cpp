#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/measure/sgx.hpp"
#include "cloister/measure/td_image.hpp"
#include "cloister/measure/tdx.hpp"
#include "cloister/provider/td_image.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

struct SgxOptions {
  fs::path sgxs;
  std::optional<fs::path> sigstruct;
  bool json = false;
};

struct Options {
  std::optional<fs::path> tdvf;
  std::string profile = "single-pass";
  std::optional<fs::path> program;
  std::optional<fs::path> event_log;
  bool json = false;
};

/// Name and value, in the order to be shown.
using Measurements = std::vector<std::pair<std::string, Bytes>>;

Result<Measurements> measure_tdvf(const fs::path& file, std::string_view profile_name) {
  CLOISTER_TRY(profile, measure::parse_tdvf_profile(profile_name));
  CLOISTER_TRY(firmware, read_file(file, measure::kMaxFirmwareSize));
  auto mrtd = measure::mrtd_of_tdvf(firmware, profile);
  if (!mrtd) return mrtd.error().in(file.string());
  return Measurements{{"mrtd", to_bytes(*mrtd)}};
}

Result<Measurements> measure_program(const fs::path& program) {
  CLOISTER_TRY(image, provider::td_image_of_program(program));
  std::vector<measure::TdFile> files;
  for (const auto& file : image) files.push_back({.path = file.path, .mode = file.mode, .contents = file.contents()});
  CLOISTER_TRY(mrtd, measure::mrtd_of_td_image(files));
  return Measurements{{"mrtd", to_bytes(mrtd)}};
}

Result<Measurements> replay_log(const fs::path& file) {
  CLOISTER_TRY(bytes, read_file(file, evidence::kMaxEventLogSize));
  const auto log = evidence::parse_event_log(bytes);
  if (!log) return log.error().in(file.string());
  const auto registers = measure::replay(*log);
  Measurements out;
  for (std::size_t i = 0; i < registers.size(); ++i) out.emplace_back("rtmr" + std::to_string(i), to_bytes(registers[i]));
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

/// MRSIGNER of a SIGSTRUCT that is valid, and for this enclave.
Result<Digest32> check_sigstruct(const fs::path& file, const Digest32& mrenclave) {
  CLOISTER_TRY(bytes, read_file(file, evidence::kSigstructSize));
  CLOISTER_TRY(sigstruct, evidence::parse_sigstruct(bytes));
  CLOISTER_CHECK(measure::verify_sigstruct(sigstruct));
  if (sigstruct.enclave_hash != mrenclave) {
    return Error{Errc::measurement_mismatch, "SIGSTRUCT is for the enclave " + codec::to_hex(sigstruct.enclave_hash) + ", not " +
                                                 codec::to_hex(mrenclave)};
  }
  return measure::mrsigner(sigstruct);
}

Result<Measurements> measure_sgx(const SgxOptions& options) {
  CLOISTER_TRY(stream, read_file(options.sgxs, measure::kMaxSgxsSize));
  const auto mrenclave = measure::mrenclave_of_sgxs(stream);
  if (!mrenclave) return mrenclave.error().in(options.sgxs.string());
  Measurements out{{"mrenclave", to_bytes(*mrenclave)}};
  if (options.sigstruct) {
    const auto mrsigner = check_sigstruct(*options.sigstruct, *mrenclave);
    if (!mrsigner) return mrsigner.error().in(options.sigstruct->string());
    out.emplace_back("mrsigner", to_bytes(*mrsigner));
  }
  return out;
}

void show(const Result<Measurements>& measurements, bool json, Context& context) {
  if (!measurements) return context.fail(measurements.error());
  print(context.out, *measurements, json);
}

void add_measure_sgx(CLI::App& measure, Context& context) {
  auto options = std::make_shared<SgxOptions>();  // shared with the callback, which CLI11 keeps
  auto* command = measure.add_subcommand("sgx", "MRENCLAVE of an enclave, and MRSIGNER of its SIGSTRUCT");
  command->add_option("--sgxs", options->sgxs, "The enclave as an .sgxs stream")->required();
  command->add_option("--sigstruct", options->sigstruct, "Its SIGSTRUCT: signature, q1, q2 and ENCLAVEHASH are checked");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { show(measure_sgx(*options), options->json, context); });
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
  command->callback([options, &context] { show(measure_tdx(*options), options->json, context); });
}

}  // namespace

void add_measure(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("measure", "The launch measurement that TEE hardware would report");
  command->require_subcommand(1);
  add_measure_sgx(*command, context);
  add_measure_tdx(*command, context);
}

}  // namespace cloister::cli
