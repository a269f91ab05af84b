#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"

/// AMD's processor families with SEV-SNP, and the layout of TCB_VERSION, which follows the family and not the version
/// of the report (AMD 56860, SEV-SNP Firmware ABI 1.58, Table 3; AMD 57230, Table 10).
namespace cloister::evidence {

/// As AMD's certificates name them; Genoa includes Bergamo and Siena.
enum class SnpProduct { milan, genoa, turin, venice };
[[nodiscard]] std::string_view to_string(SnpProduct product) noexcept;  // "Milan"
/// By "Milan", or "Milan-B0" with a stepping; nothing for other names.
[[nodiscard]] std::optional<SnpProduct> snp_product_from_name(std::string_view name) noexcept;
/// By the combined (extended and base) family and model of CPUID Fn0000_0001_EAX.
[[nodiscard]] std::optional<SnpProduct> snp_product_from_cpuid(std::uint8_t family, std::uint8_t model) noexcept;
/// Turin and later: the TCB has an FMC component, and eight bytes identify a chip.
[[nodiscard]] bool has_fmc(SnpProduct product) noexcept;

/// TCB_VERSION as it stands in a report.
using SnpTcbVersion = ByteArray<8>;

/// TCB_VERSION taken apart; security version numbers.
struct SnpTcb {
  std::optional<std::uint8_t> fmc;  // Turin and later
  std::uint8_t bootloader = 0;
  std::uint8_t tee = 0;
  std::uint8_t snp = 0;
  std::uint8_t microcode = 0;

  friend bool operator==(const SnpTcb&, const SnpTcb&) = default;
};
[[nodiscard]] SnpTcb snp_tcb(const SnpTcbVersion& version, SnpProduct product) noexcept;
/// The reserved bytes are zero. The FMC component counts for products that have one.
[[nodiscard]] SnpTcbVersion encode_snp_tcb(const SnpTcb& tcb, SnpProduct product) noexcept;

/// One component that is smaller than it should be.
struct SnpTcbGap {
  std::string_view component;  // "bootloader", "tee", "snp", "microcode", "fmc"
  std::uint8_t have = 0;
  std::uint8_t need = 0;
};
/// Every component of `have` below that of `need`; an FMC component that `have` lacks counts as zero.
[[nodiscard]] std::vector<SnpTcbGap> snp_tcb_gaps(const SnpTcb& have, const SnpTcb& need);

}  // namespace cloister::evidence
