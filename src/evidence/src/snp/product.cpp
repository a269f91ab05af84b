#include "cloister/evidence/snp/product.hpp"

namespace cloister::evidence {

std::string_view to_string(SnpProduct product) noexcept {
  switch (product) {
    case SnpProduct::milan: return "Milan";
    case SnpProduct::genoa: return "Genoa";
    case SnpProduct::turin: return "Turin";
    case SnpProduct::venice: return "Venice";
  }
  return "unknown";
}

std::optional<SnpProduct> snp_product_from_name(std::string_view name) noexcept {
  const auto product = name.substr(0, name.find('-'));
  for (const auto known : {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin, SnpProduct::venice}) {
    if (product == to_string(known)) return known;
  }
  return std::nullopt;
}

std::optional<SnpProduct> snp_product_from_cpuid(std::uint8_t family, std::uint8_t model) noexcept {
  const auto in = [model](unsigned first, unsigned last) { return model >= first && model <= last; };
  if (family == 0x19) {
    if (in(0x00, 0x0F)) return SnpProduct::milan;
    if (in(0x10, 0x1F) || in(0xA0, 0xAF)) return SnpProduct::genoa;
  }
  if (family == 0x1A) {
    if (in(0x00, 0x11)) return SnpProduct::turin;
    if (in(0x50, 0x57) || in(0x90, 0x9F) || in(0xA0, 0xAF) || in(0xC0, 0xC7)) return SnpProduct::venice;
  }
  return std::nullopt;
}

bool has_fmc(SnpProduct product) noexcept { return product == SnpProduct::turin || product == SnpProduct::venice; }

SnpTcb snp_tcb(const SnpTcbVersion& v, SnpProduct product) noexcept {
  if (has_fmc(product)) return {.fmc = v[0], .bootloader = v[1], .tee = v[2], .snp = v[3], .microcode = v[7]};
  return {.fmc = std::nullopt, .bootloader = v[0], .tee = v[1], .snp = v[6], .microcode = v[7]};
}

SnpTcbVersion encode_snp_tcb(const SnpTcb& tcb, SnpProduct product) noexcept {
  if (has_fmc(product)) return {tcb.fmc.value_or(0), tcb.bootloader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode};
  return {tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode};
}

std::vector<SnpTcbGap> snp_tcb_gaps(const SnpTcb& have, const SnpTcb& need) {
  std::vector<SnpTcbGap> out;
  const auto compare = [&out](std::string_view component, std::uint8_t has, std::uint8_t wants) {
    if (has < wants) out.push_back({component, has, wants});
  };
  compare("bootloader", have.bootloader, need.bootloader);
  compare("tee", have.tee, need.tee);
  compare("snp", have.snp, need.snp);
  compare("microcode", have.microcode, need.microcode);
  compare("fmc", have.fmc.value_or(0), need.fmc.value_or(0));
  return out;
}

}  // namespace cloister::evidence
