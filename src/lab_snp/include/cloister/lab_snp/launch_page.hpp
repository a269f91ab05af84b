#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "cloister/evidence/snp/product.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/lab_snp/guest_message.hpp"
#include "cloister/lab_snp/memory.hpp"

/// The pages that firmware looks into or fills when a guest is launched (AMD 56860, section 8.17 SNP_LAUNCH_UPDATE).
namespace cloister::lab_snp {

// --- CPUID page (Table 70, and CPUID_FUNCTION of Table 14) ---

struct CpuidFunction {
  std::uint32_t eax_in = 0;
  std::uint32_t ecx_in = 0;
  std::uint64_t xcr0_in = 0;
  std::uint64_t xss_in = 0;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  std::uint64_t reserved = 0;
  friend bool operator==(const CpuidFunction&, const CpuidFunction&) = default;
};
inline constexpr std::size_t kMaxCpuidFunctions = 64;
/// At most 64 functions (asserted).
[[nodiscard]] Page encode_cpuid_page(const std::vector<CpuidFunction>& functions);
/// Nothing when the count is larger than 64, or header bytes are not zero.
[[nodiscard]] std::optional<std::vector<CpuidFunction>> parse_cpuid_page(const Page& page);

/// What the chips of a product answer: the few functions that say which one it is.
[[nodiscard]] std::vector<CpuidFunction> cpuid_of(evidence::SnpProduct product);
/// Family, model and stepping of the lab's chips.
[[nodiscard]] evidence::SnpCpuid chip_cpuid(evidence::SnpProduct product);
/// Firmware's check of what a host tells its guest. Functions of the standard and extended ranges must be the chip's, those that
/// it lacks zero; EBX of function 1 (it has the APIC id) and other ranges are the host's own. Corrects the functions in
/// place; false when it had to.
[[nodiscard]] bool sanitize_cpuid(std::vector<CpuidFunction>& functions, const std::vector<CpuidFunction>& chip);

// --- secrets page (Table 71) ---

inline constexpr unsigned kVmpcks = 4;
using Vmpcks = std::array<Vmpck, kVmpcks>;
struct LaunchSecrets {
  std::uint32_t fms = 0;  // EAX of CPUID 1
  ByteArray<16> gosvw{};  // guest-OS-visible workarounds, as the host gave them
  Vmpcks vmpcks;
};
/// Version 3: FMS 8, GOSVW 16, VMPCK0 to 3 from 32 on; no virtual machine's migration image, no tweak of VMSAs, TSC factor 0.
/// Secret: whoever calls cleanses it.
[[nodiscard]] Page encode_secrets_page(const LaunchSecrets& secrets);
/// Nothing unless it is a page of version 3.
[[nodiscard]] std::optional<LaunchSecrets> parse_secrets_page(const Page& page);

}  // namespace cloister::lab_snp
