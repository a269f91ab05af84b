#include <memory>
#include <optional>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/core/random.hpp"
#include "cloister/lab_host/snp_state.hpp"
#include "cloister/lab_snp/host.hpp"
#include "cloister/measure/snp_launch.hpp"
#include "files.hpp"
#include "lab_snp_tcb.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using evidence::SnpProduct;
using evidence::VekKind;

constexpr std::size_t kMachinePages = 40960;  // 160 MiB: the largest firmware, and what it wants

struct Options {
  fs::path state;
  std::string report_data;
  SnpProduct product = SnpProduct::milan;
  std::uint32_t version = 3;
  bool vlek = false;
  unsigned vmpl = 0;
  std::optional<fs::path> ovmf;
  std::uint32_t vcpus = 1;
  fs::path output;
  std::optional<fs::path> collateral;
  bool json = false;
};

fs::path trust_file(const Options& options) { return options.state / "snp" / "trust.json"; }

/// The report of a guest that was launched for it, by every command of firmware.
Result<Bytes> report_of_guest(const Options& options, const lab_snp::Authority& authority, const lab_snp::TcbStory& story) {
  auto data = codec::array_from_hex<64>(options.report_data);
  if (!data) return data.error().in("--report-data");
  Bytes image = lab_snp::small_firmware();
  if (options.ovmf) {
    CLOISTER_TRY(file, read_file(*options.ovmf, measure::kMaxSnpFirmwareSize));
    image = std::move(file);
  }
  auto platform = story.platform(options.product);
  platform.report_version = options.version;
  platform.vlek_loaded = options.vlek;
  platform.mask_chip_id = options.vlek && options.version >= 3;  // as clouds do
  lab_snp::Memory memory{kMachinePages};
  SystemRandom random;
  CLOISTER_TRY(firmware, lab_snp::Firmware::start(authority, memory, random, platform));
  lab_snp::Host host{memory, firmware};
  const auto guest = host.start({.launch = {.firmware = image, .kernel = {}, .vcpus = options.vcpus,
                                            .vcpu_signature = lab_snp::cpuid_of(options.product)[1].eax}});
  if (!guest) return guest.error();
  auto driver = host.driver(*guest, options.vmpl);
  if (!driver) return Error{Errc::unsupported, "the firmware has no secrets page, so that its guest cannot ask"};
  CLOISTER_TRY(answer, driver->report({.report_data = *data, .vmpl = options.vmpl, .key = {}}, host.carrier(*guest)));
  if (!answer.value) return Error{Errc::invalid_argument, "the firmware refuses: " + std::string{lab_snp::to_string(answer.status)}};
  return to_bytes(*answer.value);
}

/// What a verifier needs beside the report.
Result<void> write_collateral(const Options& options, const lab_snp::Authority& authority, const lab_host::SnpView& view) {
  const auto& folder = *options.collateral;
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) return Error{Errc::io_error, folder.string() + ": " + failure.message()};
  const auto kind = options.vlek ? VekKind::vlek : VekKind::vcek;
  const auto& reported = view.story.platform(options.product).reported;
  const auto write = [&folder](std::string_view name, const Bytes& der) { return write_file(folder / name, as_text(der), Readers::everyone); };
  CLOISTER_CHECK(write(options.vlek ? "vlek.der" : "vcek.der", authority.issue_vek(options.product, kind, reported)->der));
  CLOISTER_CHECK(write(options.vlek ? "asvk.der" : "ask.der", authority.issuer(options.product, kind)->der));
  CLOISTER_CHECK(write("ark.der", authority.root(options.product)->der));
  return write("crl.der", lab_snp::issue_crl(authority, view.story, options.product, view.now));
}

Result<void> write_all(const Options& options, const Clock& clock) {
  SystemRandom random;
  CLOISTER_TRY(authority, lab_host::open_snp_authority(options.state, clock, random));
  CLOISTER_TRY(view, lab_host::view_snp_tcb(options.state, clock));
  CLOISTER_TRY(report, report_of_guest(options, authority, view.story));
  if (options.collateral) CLOISTER_CHECK(write_collateral(options, authority, view));
  policy::TrustFile trust;
  for (const auto product : lab_snp::kLabProducts) trust.lab_roots.push_back(authority.root(product));
  CLOISTER_CHECK(write_file(trust_file(options), policy::write_trust_file(trust), Readers::everyone));
  return write_file(options.output, as_text(report), Readers::everyone);
}

void run_report(const Options& options, Context& context) {
  if (const auto written = write_all(options, context.clock); !written) return context.fail(written.error());
  if (options.json) {
    codec::json::Object out{{"report", options.output.string()}, {"trust", trust_file(options).string()}, {"lab", true}};
    if (options.collateral) out.emplace_back("collateral", options.collateral->string());
    context.out << codec::json::write_pretty(codec::json::Value{std::move(out)}) << '\n';
    return;
  }
  context.out << "LAB ONLY - NOT HARDWARE\ncloister verify --evidence " << options.output.string();
  if (options.collateral) context.out << " --collateral " << options.collateral->string();
  context.out << " --trust " << trust_file(options).string() << '\n';
}

}  // namespace

void add_lab_snp_report(CLI::App& lab, Context& context) {
  auto* command = lab.add_subcommand("snp-report", "Launch an SEV-SNP guest, and write the report that it asks for");
  const auto options = std::make_shared<Options>();
  command->add_option("--state", options->state, "Directory of a platform; made where there is none")->required();
  command->add_option("--report-data", options->report_data, "64 bytes in hex")->required();
  command->add_option("--output", options->output, "The report, 1184 bytes")->required();
  command->add_option("--collateral", options->collateral, "Folder for its VEK, authorities and CRL");
  add_snp_product(*command, options->product);
  command->add_option("--report-version", options->version, "2, 3 (the default) or 5")->check(CLI::IsMember({2, 3, 5}));
  command->add_flag("--vlek", options->vlek, "Signed by a provider's key, and the chip masked, as clouds do");
  command->add_option("--vmpl", options->vmpl, "Which of its levels asks")->check(CLI::Range(0, 3));
  command->add_option("--ovmf", options->ovmf, "The guest's firmware; else a small one of the lab's");
  command->add_option("--vcpus", options->vcpus, "Its virtual CPUs");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { run_report(*options, context); });
}

}  // namespace cloister::cli
