#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/measure/snp.hpp"

/// The launch measurement of a whole AMD SEV guest: its firmware (OVMF), what a VMM adds by the firmware's own metadata,
/// the hashes of a kernel, the states of its virtual CPUs. Pages and their order are the VMM's choice; each VMM's is what
/// public tools (sev-snp-measure, virtee's sev) compute for it.
namespace cloister::measure {

inline constexpr std::size_t kMaxSnpFirmwareSize = 64U << 20;  // bytes
inline constexpr std::size_t kMaxSnpSections = 64;
inline constexpr std::uint32_t kMaxSnpVcpus = 4096;

// --- what the firmware says of itself ---

/// OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm of EDK II.
enum class SnpSectionType : std::uint32_t { memory = 1, secrets = 2, cpuid = 3, svsm_calling_area = 4, kernel_hashes = 0x10 };

/// Guest memory that the VMM has to add at launch; whole pages.
struct SnpSection {
  std::uint32_t gpa = 0;
  std::uint32_t size = 0;  // bytes
  SnpSectionType type = SnpSectionType::memory;
  friend bool operator==(const SnpSection&, const SnpSection&) = default;
};

struct SnpFirmware {
  std::vector<SnpSection> sections;                  // in the file's order; empty where the firmware has no SEV metadata
  std::optional<std::uint32_t> kernel_hashes_gpa;    // where it looks for the hashes of a kernel; nothing: it has none
  std::optional<std::uint32_t> reset_eip;            // where virtual CPUs but the first begin
  std::optional<std::uint32_t> svsm_entry;           // of an SVSM: offset of its first instruction
};

/// `malformed` when the GUIDed table at the end, an entry of it, the SEV metadata or a section is not as specified;
/// `unsupported` for a section of an unknown type; `limit_exceeded` for more than 64 sections or 64 MiB.
[[nodiscard]] Result<SnpFirmware> parse_snp_firmware(ByteView firmware);

// --- what the VMM adds ---

enum class SnpVmm { qemu, ec2, gce, krun };
/// "qemu", "ec2", "gce", "krun", in any case.
[[nodiscard]] Result<SnpVmm> parse_snp_vmm(std::string_view text);

/// EAX of CPUID 1: what QEMU gives a virtual CPU in RDX.
[[nodiscard]] std::uint32_t vcpu_signature(std::uint32_t family, std::uint32_t model, std::uint32_t stepping) noexcept;
/// Of QEMU's CPU models "EPYC-Milan-v2" and so on, in any case. `unsupported` for others.
[[nodiscard]] Result<std::uint32_t> vcpu_signature_of(std::string_view cpu_model);

/// SHA-256 of what the VMM loads beside the firmware; the firmware compares.
struct KernelHashes {
  Digest32 kernel{};
  Digest32 initrd{};   // of nothing where there is none
  Digest32 cmdline{};  // with its terminating zero
  [[nodiscard]] static KernelHashes of(ByteView kernel, ByteView initrd, std::string_view cmdline);
  [[nodiscard]] static Digest32 of_cmdline(std::string_view cmdline);
  /// The table of QEMU (sev_add_kernel_loader_hashes): 176 bytes.
  [[nodiscard]] Bytes table() const;
};

inline constexpr std::uint32_t kBootEip = 0xFFFFFFF0;  // reset vector, where the first virtual CPU begins

/// State of a virtual CPU at its start (APM volume 2, table B-4), as the VMM makes it. `signature` counts with QEMU alone.
[[nodiscard]] ByteArray<kSnpPageSize> vmsa_page(SnpVmm vmm, std::uint32_t eip, std::uint64_t sev_features, std::uint32_t signature);
/// The same of a virtual CPU that begins in an SVSM, in protected mode.
[[nodiscard]] ByteArray<kSnpPageSize> svsm_vmsa_page(std::uint64_t entry, std::uint32_t signature);

// --- the launch ---

struct SnpLaunch {
  ByteView firmware;                      // outlives the call
  std::optional<KernelHashes> kernel;     // of a direct boot
  std::uint32_t vcpus = 1;                // 1 to kMaxSnpVcpus
  std::uint32_t vcpu_signature = 0;
  std::uint64_t guest_features = 1;       // SEV_FEATURES of the virtual CPUs
  SnpVmm vmm = SnpVmm::qemu;
};

/// One page as firmware is given it. `contents` is a page where its contents are measured, else empty; good for one call.
struct SnpLaunchPage {
  SnpPageType type;
  std::uint64_t gpa;
  ByteView contents;
};
/// Takes one page of the launch; an error ends the walk.
using SnpPageSink = std::function<Result<void>(const SnpLaunchPage&)>;

/// The pages in launch order: the firmware below 4 GiB, its metadata's sections, one VMSA a virtual CPU.
/// `invalid_argument`: a kernel whose hashes the firmware does not take, more virtual CPUs than one for firmware without a
/// reset block, or a number of them out of range. Otherwise as `parse_snp_firmware`, and what `sink` refuses.
[[nodiscard]] Result<void> for_each_snp_page(const SnpLaunch& launch, const SnpPageSink& sink);
[[nodiscard]] Result<Digest48> snp_launch_digest(const SnpLaunch& launch);

/// Digest of the firmware's pages alone: where a launch may continue with `snp_launch_digest_after`. `malformed` unless
/// it is whole pages.
[[nodiscard]] Result<Digest48> snp_firmware_digest(ByteView firmware);
/// As `snp_launch_digest`, the firmware's pages measured before: of the firmware only the metadata is looked at.
[[nodiscard]] Result<Digest48> snp_launch_digest_after(const Digest48& firmware_digest, const SnpLaunch& launch);

/// A launch under an SVSM (Coconut's QEMU): firmware, SVSM below it and below `vars_size` bytes of variables, the sections of
/// the SVSM's metadata, then the virtual CPUs, all of which begin in the SVSM. Errors as above.
struct SvsmLaunch {
  ByteView firmware;
  ByteView svsm;
  std::uint64_t vars_size = 0;  // bytes, of the file OVMF_VARS
  std::uint32_t vcpus = 1;
  std::uint32_t vcpu_signature = 0;
};
[[nodiscard]] Result<Digest48> svsm_launch_digest(const SvsmLaunch& launch);

/// SEV: SHA-256 of the firmware, and of the table of hashes where a kernel is booted.
[[nodiscard]] Result<Digest32> sev_launch_digest(ByteView firmware, const std::optional<KernelHashes>& kernel);
/// SEV-ES: the same, then the VMSAs. Guest features do not count.
[[nodiscard]] Result<Digest32> sev_es_launch_digest(const SnpLaunch& launch);

}  // namespace cloister::measure
