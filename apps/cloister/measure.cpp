#include <array>
#include <fstream>
#include <map>
#include <memory>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/measure/sgx.hpp"
#include "cloister/measure/snp_launch.hpp"
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

enum class SevMode { sev, sev_es, snp, snp_svsm, snp_ovmf_hash };

/// The options of sev-snp-measure, with its meaning of each.
struct SnpOptions {
  fs::path ovmf;
  SevMode mode = SevMode::snp;
  std::optional<fs::path> kernel;
  std::optional<fs::path> initrd;
  std::optional<std::string> append;
  std::optional<std::uint32_t> vcpus;
  std::optional<std::string> vcpu_type;
  std::optional<std::uint32_t> vcpu_sig;
  std::optional<std::uint32_t> vcpu_family;
  std::uint32_t vcpu_model = 0;
  std::uint32_t vcpu_stepping = 0;
  std::string vmm_type = "qemu";
  std::uint64_t guest_features = 1;
  std::optional<std::string> ovmf_hash;
  std::optional<fs::path> svsm;
  std::optional<std::uint64_t> vars_size;
  std::optional<fs::path> vars_file;
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

Result<Digest32> hash_file(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  crypto::Sha256 hash;
  std::array<char, 1 << 16> block;
  while (in.read(block.data(), block.size()) || in.gcount() > 0) {
    hash.update(as_bytes({block.data(), static_cast<std::size_t>(in.gcount())}));
  }
  if (!in.eof()) return Error{Errc::io_error, file.string() + ": cannot be read"};
  return hash.finish();
}

Result<std::optional<measure::KernelHashes>> kernel_of(const SnpOptions& options) {
  if (!options.kernel) return std::optional<measure::KernelHashes>{};
  measure::KernelHashes out;
  CLOISTER_TRY(kernel, hash_file(*options.kernel));
  out.kernel = kernel;
  if (options.initrd) {
    CLOISTER_TRY(initrd, hash_file(*options.initrd));
    out.initrd = initrd;
  } else {
    out.initrd = crypto::sha256(ByteView{});
  }
  out.cmdline = measure::KernelHashes::of_cmdline(options.append.value_or(""));
  return std::optional{out};
}

/// 0 where nobody asks: other VMMs than QEMU put no signature into a VMSA.
Result<std::uint32_t> signature_of(const SnpOptions& options, measure::SnpVmm vmm) {
  if (options.vcpu_family) return measure::vcpu_signature(*options.vcpu_family, options.vcpu_model, options.vcpu_stepping);
  if (options.vcpu_sig) return *options.vcpu_sig;
  if (options.vcpu_type) return measure::vcpu_signature_of(*options.vcpu_type);
  if (vmm != measure::SnpVmm::qemu) return 0U;
  return Error{Errc::invalid_argument, "--vcpu-type, --vcpu-sig or --vcpu-family expected with QEMU's virtual CPUs"};
}

Result<Digest48> measure_svsm(const SnpOptions& options, ByteView firmware, const measure::SnpLaunch& launch) {
  if (!options.svsm || (!options.vars_size && !options.vars_file)) {
    return Error{Errc::invalid_argument, "--svsm, and --vars-size or --vars-file, expected in mode snp:svsm"};
  }
  if (launch.vmm != measure::SnpVmm::qemu || launch.kernel) {
    return Error{Errc::unsupported, "mode snp:svsm is QEMU's, without a kernel beside the firmware"};
  }
  CLOISTER_TRY(svsm, read_file(*options.svsm, measure::kMaxSnpFirmwareSize));
  auto vars_size = options.vars_size.value_or(0);
  if (options.vars_file) {
    std::error_code failure;
    vars_size = fs::file_size(*options.vars_file, failure);
    if (failure) return Error{Errc::io_error, options.vars_file->string() + ": " + failure.message()};
  }
  return measure::svsm_launch_digest({.firmware = firmware, .svsm = svsm, .vars_size = vars_size, .vcpus = launch.vcpus,
                                      .vcpu_signature = launch.vcpu_signature});
}

Result<Digest48> measure_snp_launch(const SnpOptions& options, const measure::SnpLaunch& launch) {
  if (!options.ovmf_hash) return measure::snp_launch_digest(launch);
  const auto hash = codec::from_hex(*options.ovmf_hash);
  if (!hash || hash->size() != sizeof(Digest48)) return Error{Errc::invalid_argument, "--snp-ovmf-hash: 96 hexadecimal digits expected"};
  return measure::snp_launch_digest_after(to_array<sizeof(Digest48)>(*hash), launch);
}

Result<Bytes> measure_sev(const SnpOptions& options, ByteView firmware) {
  const auto bytes = [](const auto& digest) -> Result<Bytes> {
    if (!digest) return digest.error();
    return to_bytes(*digest);
  };
  if (options.ovmf_hash && options.mode != SevMode::snp) return Error{Errc::invalid_argument, "--snp-ovmf-hash goes with mode snp alone"};
  if (options.mode == SevMode::snp_ovmf_hash) return bytes(measure::snp_firmware_digest(firmware));
  CLOISTER_TRY(kernel, kernel_of(options));
  if (options.mode == SevMode::sev) return bytes(measure::sev_launch_digest(firmware, kernel));
  if (!options.vcpus) return Error{Errc::invalid_argument, "--vcpus expected"};
  CLOISTER_TRY(vmm, measure::parse_snp_vmm(options.vmm_type));
  CLOISTER_TRY(signature, signature_of(options, vmm));
  const measure::SnpLaunch launch{.firmware = firmware, .kernel = kernel, .vcpus = *options.vcpus, .vcpu_signature = signature,
                                  .guest_features = options.guest_features, .vmm = vmm};
  if (options.mode == SevMode::sev_es) return bytes(measure::sev_es_launch_digest(launch));
  if (options.mode == SevMode::snp_svsm) return bytes(measure_svsm(options, firmware, launch));
  return bytes(measure_snp_launch(options, launch));
}

Result<Measurements> measure_snp(const SnpOptions& options) {
  CLOISTER_TRY(firmware, read_file(options.ovmf, measure::kMaxSnpFirmwareSize));
  auto measurement = measure_sev(options, firmware);
  if (!measurement) return measurement.error().in(options.ovmf.string());
  return Measurements{{"launch_digest", *std::move(measurement)}};
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

void add_measure_snp(CLI::App& measure, Context& context) {
  auto options = std::make_shared<SnpOptions>();  // shared with the callback, which CLI11 keeps
  auto* command = measure.add_subcommand("snp", "Launch digest of an SEV-SNP guest, or launch measurement of an SEV or SEV-ES one");
  const std::map<std::string, SevMode> modes{{"sev", SevMode::sev}, {"seves", SevMode::sev_es}, {"sev-es", SevMode::sev_es},
                                             {"snp", SevMode::snp}, {"sev-snp", SevMode::snp}, {"snp:svsm", SevMode::snp_svsm},
                                             {"sev-snp:svsm", SevMode::snp_svsm}, {"snp:ovmf-hash", SevMode::snp_ovmf_hash}};
  command->add_option("--ovmf", options->ovmf, "The firmware")->required();
  command->add_option("--mode", options->mode, "sev, seves, snp (the default), snp:svsm, or snp:ovmf-hash: the firmware's pages alone")
      ->transform(CLI::CheckedTransformer(modes, CLI::ignore_case));
  auto* kernel = command->add_option("--kernel", options->kernel, "Kernel that the VMM boots");
  command->add_option("--initrd", options->initrd, "Its initial ramdisk")->needs(kernel);
  command->add_option("--append", options->append, "Its command line")->needs(kernel);
  command->add_option("--vcpus", options->vcpus, "Virtual CPUs (not in modes sev and snp:ovmf-hash)");
  command->add_option("--vcpu-type", options->vcpu_type, "CPU model of QEMU, such as EPYC-Milan-v2");
  command->add_option("--vcpu-sig", options->vcpu_sig, "Its CPUID signature, instead");
  auto* family = command->add_option("--vcpu-family", options->vcpu_family, "Its family, instead, with --vcpu-model and --vcpu-stepping");
  command->add_option("--vcpu-model", options->vcpu_model)->needs(family);
  command->add_option("--vcpu-stepping", options->vcpu_stepping)->needs(family);
  command->add_option("--vmm-type", options->vmm_type, "qemu (the default), ec2, gce or krun");
  command->add_option("--guest-features", options->guest_features, "SEV features of the virtual CPUs, 0x1 by default; not in mode snp:svsm");
  command->add_option("--snp-ovmf-hash", options->ovmf_hash, "What mode snp:ovmf-hash gave; of --ovmf only the metadata count then");
  command->add_option("--svsm", options->svsm, "SVSM of mode snp:svsm");
  auto* size = command->add_option("--vars-size", options->vars_size, "Bytes of its OVMF_VARS");
  command->add_option("--vars-file", options->vars_file, "The file itself, instead")->excludes(size);
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &context] { show(measure_snp(*options), options->json, context); });
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
  add_measure_snp(*command, context);
  add_measure_tdx(*command, context);
}

}  // namespace cloister::cli
