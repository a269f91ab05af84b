#include "cloister/measure/snp_launch.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::measure {
namespace {

constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;

Error bad(std::string detail) { return Error{Errc::invalid_argument, "SEV launch: " + std::move(detail)}; }

bool same_letters(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::ranges::equal(a, b, [&](char x, char y) { return lower(x) == lower(y); });
}

struct CpuModel {
  std::string_view name;  // of QEMU, without its version
  std::uint32_t family;
  std::uint32_t model;
  std::uint32_t stepping;
  char last_version;
};
constexpr std::array kCpuModels{
    CpuModel{"EPYC", 23, 1, 2, '5'},        CpuModel{"EPYC-IBPB", 23, 1, 2, '0'},   CpuModel{"EPYC-Rome", 23, 49, 0, '5'},
    CpuModel{"EPYC-Milan", 25, 1, 1, '3'},  CpuModel{"EPYC-Genoa", 25, 17, 0, '2'}, CpuModel{"EPYC-Turin", 26, 0, 0, '1'}};

/// "NAME", or "NAME-v1" to "NAME-v(last)".
bool is_version_of(std::string_view text, const CpuModel& model) {
  if (same_letters(text, model.name)) return true;
  const auto at = model.name.size();
  return text.size() == at + 3 && same_letters(text.substr(0, at), model.name) && same_letters(text.substr(at, 2), "-v") &&
         text[at + 2] >= '1' && text[at + 2] <= model.last_version;
}

// --- the kernel's hashes ---

using StoredGuid = ByteArray<16>;
// 9438d606-4f22-4cc9-b479-a793d411fd21
constexpr StoredGuid kTableHeader{0x06, 0xd6, 0x38, 0x94, 0x22, 0x4f, 0xc9, 0x4c, 0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21};
// 97d02dd8-bd20-4c94-aa78-e7714d36ab2a
constexpr StoredGuid kCmdlineEntry{0xd8, 0x2d, 0xd0, 0x97, 0x20, 0xbd, 0x94, 0x4c, 0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a};
// 44baf731-3a2f-4bd7-9af1-41e29169781d
constexpr StoredGuid kInitrdEntry{0x31, 0xf7, 0xba, 0x44, 0x2f, 0x3a, 0xd7, 0x4b, 0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d};
// 4de79437-abd2-427f-b835-d5b172d2045b
constexpr StoredGuid kKernelEntry{0x37, 0x94, 0xe7, 0x4d, 0xd2, 0xab, 0x7f, 0x42, 0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b};
constexpr std::uint16_t kEntrySize = 16 + 2 + 32;
constexpr std::uint16_t kTableSize = 16 + 2 + 3 * kEntrySize;
constexpr std::size_t kPaddedTableSize = 176;  // to 16 bytes

// --- VMSAs: offsets into the save area ---

class SaveArea {
 public:
  struct Segment {
    std::uint16_t selector;
    std::uint16_t attributes;
    std::uint32_t limit;
    std::uint64_t base;
  };
  void segment(std::size_t at, const Segment& segment) {
    put(at, segment.selector, 2);
    put(at + 2, segment.attributes, 2);
    put(at + 4, segment.limit, 4);
    put(at + 8, segment.base, 8);
  }
  void put(std::size_t at, std::uint64_t value, std::size_t size = 8) {
    for (std::size_t i = 0; i < size; ++i) bytes_[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
  [[nodiscard]] const ByteArray<kSnpPageSize>& bytes() const { return bytes_; }

 private:
  ByteArray<kSnpPageSize> bytes_{};
};

namespace vmsa {
constexpr std::size_t kEs = 0x00, kCs = 0x10, kSs = 0x20, kDs = 0x30, kFs = 0x40, kGs = 0x50, kGdtr = 0x60, kLdtr = 0x70,
                      kIdtr = 0x80, kTr = 0x90, kEfer = 0xD0, kCr4 = 0x148, kCr0 = 0x158, kDr7 = 0x160, kDr6 = 0x168,
                      kRflags = 0x170, kRip = 0x178, kPat = 0x268, kRdx = 0x310, kSevFeatures = 0x3B0, kXcr0 = 0x3E8,
                      kMxcsr = 0x408, kX87Fcw = 0x410;
}  // namespace vmsa

/// In what VMMs differ.
struct Register {
  std::uint16_t cs;
  std::uint16_t ss;
  std::uint16_t tr;
  std::uint64_t pat;
  std::uint64_t rdx;
  std::uint32_t mxcsr;
  std::uint16_t fcw;
};
constexpr std::uint64_t kResetPat = 0x0007040600070406;  // APM volume 2, section A.3
constexpr std::uint64_t kKvmRdx = 0x600;

Register registers_of(SnpVmm vmm, std::uint32_t eip, std::uint32_t signature) {
  switch (vmm) {
    case SnpVmm::qemu: return {.cs = 0x9B, .ss = 0x93, .tr = 0x8B, .pat = kResetPat, .rdx = signature, .mxcsr = 0x1F80, .fcw = 0x37F};
    case SnpVmm::ec2:
      return {.cs = static_cast<std::uint16_t>(eip == kBootEip ? 0x9A : 0x9B), .ss = 0x92, .tr = 0x83, .pat = kResetPat,
              .rdx = kKvmRdx, .mxcsr = 0, .fcw = 0};
    case SnpVmm::gce: return {.cs = 0x9B, .ss = 0x93, .tr = 0x8B, .pat = 0x00070106, .rdx = kKvmRdx, .mxcsr = 0, .fcw = 0};
    case SnpVmm::krun: return {.cs = 0x9A, .ss = 0x92, .tr = 0x83, .pat = kResetPat, .rdx = 0, .mxcsr = 0, .fcw = 0};
  }
  CLOISTER_ASSERT(false);
}

/// What all VMMs and modes have in common.
SaveArea save_area(std::uint16_t tr, std::uint64_t pat, std::uint64_t rdx, std::uint64_t sev_features, std::uint32_t mxcsr) {
  SaveArea out;
  for (const auto at : {vmsa::kGdtr, vmsa::kIdtr}) out.segment(at, {0, 0, 0xFFFF, 0});
  out.segment(vmsa::kLdtr, {0, 0x82, 0xFFFF, 0});
  out.segment(vmsa::kTr, {0, tr, 0xFFFF, 0});
  out.segment(vmsa::kGs, {0, 0x93, 0xFFFF, 0});
  out.put(vmsa::kEfer, 0x1000);  // SVME
  out.put(vmsa::kCr4, 0x40);     // MCE
  out.put(vmsa::kDr7, 0x400);
  out.put(vmsa::kDr6, 0xFFFF0FF0);
  out.put(vmsa::kRflags, 0x2);
  out.put(vmsa::kPat, pat);
  out.put(vmsa::kRdx, rdx);
  out.put(vmsa::kSevFeatures, sev_features);
  out.put(vmsa::kXcr0, 1);
  out.put(vmsa::kMxcsr, mxcsr, 4);
  return out;
}

// --- the order of pages ---

Result<void> check_whole_pages(ByteView image, std::string_view what) {
  if (image.empty() || image.size() % kSnpPageSize != 0) return Error{Errc::malformed, std::string{what} + ": whole pages expected"};
  if (image.size() > kMaxSnpFirmwareSize) return Error{Errc::limit_exceeded, std::string{what} + ": larger than 64 MiB"};
  return {};
}

Result<void> check_vcpus(std::uint32_t vcpus) {
  if (vcpus == 0 || vcpus > kMaxSnpVcpus) return bad("1 to 4096 virtual CPUs expected, got " + std::to_string(vcpus));
  return {};
}

/// `image`, page by page, from `gpa` on.
Result<void> walk_image(ByteView image, std::uint64_t gpa, const SnpPageSink& sink) {
  for (std::size_t at = 0; at < image.size(); at += kSnpPageSize) {
    CLOISTER_CHECK(sink({SnpPageType::normal, gpa + at, image.subspan(at, kSnpPageSize)}));
  }
  return {};
}

Result<void> walk_firmware(ByteView firmware, const SnpPageSink& sink) {
  CLOISTER_CHECK(check_whole_pages(firmware, "SEV firmware"));
  return walk_image(firmware, kFourGiB - firmware.size(), sink);
}

/// Pages whose contents do not count.
Result<void> walk_unseen(SnpPageType type, const SnpSection& section, const SnpPageSink& sink) {
  for (std::uint64_t at = 0; at < section.size; at += kSnpPageSize) CLOISTER_CHECK(sink({type, std::uint64_t{section.gpa} + at, {}}));
  return {};
}

Result<void> walk_kernel_hashes(const SnpSection& section, const SnpFirmware& firmware, const std::optional<KernelHashes>& kernel,
                                const SnpPageSink& sink) {
  if (!kernel) return walk_unseen(SnpPageType::zero, section, sink);
  if (!firmware.kernel_hashes_gpa) return bad("the firmware does not say where it looks for the kernel's hashes");
  ByteArray<kSnpPageSize> page{};
  const auto offset = static_cast<std::ptrdiff_t>(*firmware.kernel_hashes_gpa % kSnpPageSize);
  std::ranges::copy(kernel->table(), page.begin() + offset);
  return sink({SnpPageType::normal, section.gpa, page});
}

Result<void> walk_section(const SnpSection& section, const SnpFirmware& firmware, const std::optional<KernelHashes>& kernel, SnpVmm vmm,
                          const SnpPageSink& sink) {
  switch (section.type) {
    case SnpSectionType::memory: return walk_unseen(vmm == SnpVmm::gce ? SnpPageType::unmeasured : SnpPageType::zero, section, sink);
    case SnpSectionType::svsm_calling_area: return walk_unseen(SnpPageType::zero, section, sink);
    case SnpSectionType::secrets: return walk_unseen(SnpPageType::secrets, section, sink);
    case SnpSectionType::cpuid: return walk_unseen(SnpPageType::cpuid, section, sink);
    case SnpSectionType::kernel_hashes: return walk_kernel_hashes(section, firmware, kernel, sink);
  }
  return {};
}

Result<void> walk_sections(const SnpFirmware& firmware, const std::optional<KernelHashes>& kernel, SnpVmm vmm, const SnpPageSink& sink) {
  const auto is = [](SnpSectionType type) { return [type](const SnpSection& section) { return section.type == type; }; };
  if (kernel && std::ranges::none_of(firmware.sections, is(SnpSectionType::kernel_hashes))) {
    return bad("the firmware has no section for the kernel's hashes");
  }
  const bool cpuid_last = vmm == SnpVmm::ec2;
  for (const auto& section : firmware.sections) {
    if (cpuid_last && section.type == SnpSectionType::cpuid) continue;
    CLOISTER_CHECK(walk_section(section, firmware, kernel, vmm, sink));
  }
  for (const auto& section : firmware.sections) {
    if (cpuid_last && section.type == SnpSectionType::cpuid) CLOISTER_CHECK(walk_section(section, firmware, kernel, vmm, sink));
  }
  return {};
}

/// The first virtual CPU begins at the reset vector, the others where the firmware says.
Result<void> walk_vcpus(const SnpFirmware& firmware, const SnpLaunch& launch, std::uint64_t features,
                        const std::function<Result<void>(ByteView)>& sink) {
  CLOISTER_CHECK(check_vcpus(launch.vcpus));
  CLOISTER_CHECK(sink(vmsa_page(launch.vmm, kBootEip, features, launch.vcpu_signature)));
  if (launch.vcpus == 1) return {};
  if (firmware.reset_eip.value_or(0) == 0) return bad("the firmware has no reset block for further virtual CPUs");
  const auto further = vmsa_page(launch.vmm, *firmware.reset_eip, features, launch.vcpu_signature);
  for (std::uint32_t i = 1; i < launch.vcpus; ++i) CLOISTER_CHECK(sink(further));
  return {};
}

/// All but the firmware itself.
Result<void> walk_rest(const SnpLaunch& launch, const SnpPageSink& sink) {
  CLOISTER_TRY(firmware, parse_snp_firmware(launch.firmware));
  CLOISTER_CHECK(walk_sections(firmware, launch.kernel, launch.vmm, sink));
  return walk_vcpus(firmware, launch, launch.guest_features, [&sink](ByteView page) {
    return sink({SnpPageType::vmsa, kSnpVmsaGpa, page});
  });
}

SnpPageSink into(SnpLaunchDigest& digest) {
  return [&digest](const SnpLaunchPage& page) -> Result<void> {
    digest.update(page.type, page.gpa, page.contents);
    return {};
  };
}

Result<void> hash_sev(crypto::Sha256& hash, ByteView firmware, const std::optional<KernelHashes>& kernel) {
  if (firmware.size() > kMaxSnpFirmwareSize) return Error{Errc::limit_exceeded, "SEV firmware: larger than 64 MiB"};
  hash.update(firmware);
  if (!kernel) return {};
  CLOISTER_TRY(parsed, parse_snp_firmware(firmware));
  if (!parsed.kernel_hashes_gpa) return bad("the firmware takes no hashes of a kernel");
  hash.update(kernel->table());
  return {};
}

}  // namespace

Result<SnpVmm> parse_snp_vmm(std::string_view text) {
  if (same_letters(text, "qemu")) return SnpVmm::qemu;
  if (same_letters(text, "ec2")) return SnpVmm::ec2;
  if (same_letters(text, "gce")) return SnpVmm::gce;
  if (same_letters(text, "krun")) return SnpVmm::krun;
  return Error{Errc::unsupported, "VMM: qemu, ec2, gce or krun expected, got " + std::string{text}};
}

std::uint32_t vcpu_signature(std::uint32_t family, std::uint32_t model, std::uint32_t stepping) noexcept {
  const auto base = std::min<std::uint32_t>(family, 0xF);
  return ((family - base) & 0xFF) << 20 | (model >> 4 & 0xF) << 16 | base << 8 | (model & 0xF) << 4 | (stepping & 0xF);
}

Result<std::uint32_t> vcpu_signature_of(std::string_view cpu_model) {
  for (const auto& known : kCpuModels) {
    if (is_version_of(cpu_model, known)) return vcpu_signature(known.family, known.model, known.stepping);
  }
  return Error{Errc::unsupported, "vCPU type: a model of QEMU (EPYC, EPYC-Rome, EPYC-Milan, EPYC-Genoa, EPYC-Turin, with or without "
                                  "-v1 and so on) expected, got " + std::string{cpu_model}};
}

Digest32 KernelHashes::of_cmdline(std::string_view cmdline) { return crypto::sha256({as_bytes(cmdline), ByteArray<1>{}}); }

KernelHashes KernelHashes::of(ByteView kernel, ByteView initrd, std::string_view cmdline) {
  return {.kernel = crypto::sha256(kernel), .initrd = crypto::sha256(initrd), .cmdline = of_cmdline(cmdline)};
}

Bytes KernelHashes::table() const {
  codec::Writer out;
  out.raw(kTableHeader);
  out.u16le(kTableSize);
  const auto entry = [&out](const StoredGuid& guid, const Digest32& hash) {
    out.raw(guid);
    out.u16le(kEntrySize);
    out.raw(hash);
  };
  entry(kCmdlineEntry, cmdline);
  entry(kInitrdEntry, initrd);
  entry(kKernelEntry, kernel);
  out.zeros(kPaddedTableSize - out.size());
  return std::move(out).take();
}

ByteArray<kSnpPageSize> vmsa_page(SnpVmm vmm, std::uint32_t eip, std::uint64_t sev_features, std::uint32_t signature) {
  const auto given = registers_of(vmm, eip, signature);
  auto out = save_area(given.tr, given.pat, given.rdx, sev_features, given.mxcsr);
  for (const auto at : {vmsa::kEs, vmsa::kDs, vmsa::kFs}) out.segment(at, {0, 0x93, 0xFFFF, 0});
  out.segment(vmsa::kCs, {0xF000, given.cs, 0xFFFF, eip & 0xFFFF0000});
  out.segment(vmsa::kSs, {0, given.ss, 0xFFFF, 0});
  out.put(vmsa::kCr0, 0x10);
  out.put(vmsa::kRip, eip & 0xFFFF);
  out.put(vmsa::kX87Fcw, given.fcw, 2);
  return out.bytes();
}

ByteArray<kSnpPageSize> svsm_vmsa_page(std::uint64_t entry, std::uint32_t signature) {
  constexpr std::uint64_t kSnpActive = 1;
  auto out = save_area(0x8B, kResetPat, signature, kSnpActive, 0x1F80);
  for (const auto at : {vmsa::kEs, vmsa::kSs, vmsa::kDs, vmsa::kFs}) out.segment(at, {16, 0xC93, 0xFFFFFFFF, 0});
  out.segment(vmsa::kCs, {8, 0xC9B, 0xFFFFFFFF, 0});
  out.put(vmsa::kCr0, 0x11);
  out.put(vmsa::kRip, entry);
  return out.bytes();
}

Result<void> for_each_snp_page(const SnpLaunch& launch, const SnpPageSink& sink) {
  CLOISTER_CHECK(walk_firmware(launch.firmware, sink));
  return walk_rest(launch, sink);
}

Result<Digest48> snp_launch_digest(const SnpLaunch& launch) {
  SnpLaunchDigest digest;
  CLOISTER_CHECK(for_each_snp_page(launch, into(digest)));
  return digest.value();
}

Result<Digest48> snp_firmware_digest(ByteView firmware) {
  SnpLaunchDigest digest;
  CLOISTER_CHECK(walk_firmware(firmware, into(digest)));
  return digest.value();
}

Result<Digest48> snp_launch_digest_after(const Digest48& firmware_digest, const SnpLaunch& launch) {
  SnpLaunchDigest digest{firmware_digest};
  CLOISTER_CHECK(walk_rest(launch, into(digest)));
  return digest.value();
}

Result<Digest48> svsm_launch_digest(const SvsmLaunch& launch) {
  CLOISTER_CHECK(check_whole_pages(launch.svsm, "SVSM"));
  CLOISTER_CHECK(check_vcpus(launch.vcpus));
  SnpLaunchDigest digest;
  const auto sink = into(digest);
  CLOISTER_CHECK(walk_firmware(launch.firmware, sink));
  if (launch.vars_size % kSnpPageSize != 0 || launch.vars_size > kMaxSnpFirmwareSize) return bad("size of the variables: whole pages expected");
  const auto svsm_gpa = kFourGiB - launch.firmware.size() - launch.vars_size - launch.svsm.size();
  CLOISTER_CHECK(walk_image(launch.svsm, svsm_gpa, sink));
  CLOISTER_TRY(svsm, parse_snp_firmware(launch.svsm));
  if (!svsm.svsm_entry) return Error{Errc::malformed, "SVSM: no entry point in its table"};
  CLOISTER_CHECK(walk_sections(svsm, std::nullopt, SnpVmm::qemu, sink));
  const auto vmsa = svsm_vmsa_page(svsm_gpa + *svsm.svsm_entry, launch.vcpu_signature);
  for (std::uint32_t i = 0; i < launch.vcpus; ++i) CLOISTER_CHECK(sink({SnpPageType::vmsa, kSnpVmsaGpa, vmsa}));
  return digest.value();
}

Result<Digest32> sev_launch_digest(ByteView firmware, const std::optional<KernelHashes>& kernel) {
  crypto::Sha256 hash;
  CLOISTER_CHECK(hash_sev(hash, firmware, kernel));
  return hash.finish();
}

Result<Digest32> sev_es_launch_digest(const SnpLaunch& launch) {
  crypto::Sha256 hash;
  CLOISTER_CHECK(hash_sev(hash, launch.firmware, launch.kernel));
  CLOISTER_TRY(firmware, parse_snp_firmware(launch.firmware));
  CLOISTER_CHECK(walk_vcpus(firmware, launch, 0, [&hash](ByteView page) -> Result<void> {
    hash.update(page);
    return {};
  }));
  return hash.finish();
}

}  // namespace cloister::measure
