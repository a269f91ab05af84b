#include "cloister/lab_snp/launch_page.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::uint32_t kSecretsVersion = 3;
constexpr std::size_t kVmpckAt = 0x20;

/// Standard functions are 0 to 0xFFFF, extended ones 0x80000000 to 0x8000FFFF.
bool is_checked(const CpuidFunction& function) { return (function.eax_in & 0x7FFF0000U) == 0; }

std::uint32_t signature_of(const evidence::SnpCpuid& chip) {
  const std::uint32_t extended = chip.family - 0xFU;
  return extended << 20 | static_cast<std::uint32_t>(chip.model >> 4) << 16 | 0xFU << 8 |
         static_cast<std::uint32_t>(chip.model & 0xF) << 4 | (chip.stepping & 0xFU);
}

bool same_question(const CpuidFunction& a, const CpuidFunction& b) { return a.eax_in == b.eax_in && a.ecx_in == b.ecx_in; }

}  // namespace

Page encode_cpuid_page(const std::vector<CpuidFunction>& functions) {
  CLOISTER_ASSERT(functions.size() <= kMaxCpuidFunctions);
  codec::Writer out;
  out.u32le(static_cast<std::uint32_t>(functions.size()));
  out.zeros(12);
  for (const auto& one : functions) {
    out.u32le(one.eax_in);
    out.u32le(one.ecx_in);
    out.u64le(one.xcr0_in);
    out.u64le(one.xss_in);
    for (const auto value : {one.eax, one.ebx, one.ecx, one.edx}) out.u32le(value);
    out.u64le(one.reserved);
  }
  out.zeros(kSmallPage - out.size());
  return to_array<kSmallPage>(out.bytes());
}

std::optional<std::vector<CpuidFunction>> parse_cpuid_page(const Page& page) {
  codec::Reader in{page};
  const auto count = in.u32le().value();
  if (count > kMaxCpuidFunctions || !all_zero(in.take(12).value())) return std::nullopt;
  std::vector<CpuidFunction> out(count);
  for (auto& one : out) {
    one.eax_in = in.u32le().value();
    one.ecx_in = in.u32le().value();
    one.xcr0_in = in.u64le().value();
    one.xss_in = in.u64le().value();
    for (auto* value : {&one.eax, &one.ebx, &one.ecx, &one.edx}) *value = in.u32le().value();
    one.reserved = in.u64le().value();
  }
  return out;
}

evidence::SnpCpuid chip_cpuid(evidence::SnpProduct product) {
  switch (product) {
    case evidence::SnpProduct::milan: return {.family = 0x19, .model = 0x01, .stepping = 1};
    case evidence::SnpProduct::genoa: return {.family = 0x19, .model = 0x11, .stepping = 1};
    case evidence::SnpProduct::turin: return {.family = 0x1A, .model = 0x02, .stepping = 1};
    case evidence::SnpProduct::venice: break;
  }
  CLOISTER_ASSERT(false);  // the lab has none
}

std::vector<CpuidFunction> cpuid_of(evidence::SnpProduct product) {
  constexpr std::uint32_t kSevFeatures = 0x1B;  // SME, SEV, SEV-ES, SEV-SNP
  // "AuthenticAMD", in EBX, EDX, ECX
  const CpuidFunction vendor{.eax_in = 0, .eax = 0x10, .ebx = 0x68747541, .ecx = 0x444D4163, .edx = 0x69746E65};
  auto extended = vendor;
  extended.eax_in = 0x80000000;
  extended.eax = 0x80000028;
  return {vendor, {.eax_in = 1, .eax = signature_of(chip_cpuid(product))}, extended, {.eax_in = 0x8000001F, .eax = kSevFeatures, .ebx = 51}};
}

bool sanitize_cpuid(std::vector<CpuidFunction>& functions, const std::vector<CpuidFunction>& chip) {
  bool clean = true;
  for (auto& one : functions) {
    if (!is_checked(one)) continue;
    const auto known = std::ranges::find_if(chip, [&](const CpuidFunction& its) { return same_question(its, one); });
    CpuidFunction right = known == chip.end() ? CpuidFunction{} : *known;
    right.eax_in = one.eax_in;
    right.ecx_in = one.ecx_in;
    right.xcr0_in = one.xcr0_in;
    right.xss_in = one.xss_in;
    if (one.eax_in == 1) right.ebx = one.ebx;
    clean = clean && one == right;
    one = right;
  }
  return clean;
}

Page encode_secrets_page(const LaunchSecrets& secrets) {
  Page out{};
  out[0] = kSecretsVersion;
  for (std::size_t i = 0; i < 4; ++i) out[8 + i] = static_cast<std::uint8_t>(secrets.fms >> (8 * i));
  std::ranges::copy(secrets.gosvw, out.begin() + 0x10);
  for (std::size_t i = 0; i < kVmpcks; ++i) {
    std::ranges::copy(secrets.vmpcks[i].reveal(), out.begin() + static_cast<std::ptrdiff_t>(kVmpckAt + 32 * i));
  }
  return out;
}

std::optional<LaunchSecrets> parse_secrets_page(const Page& page) {
  codec::Reader in{page};
  if (in.u32le() != kSecretsVersion) return std::nullopt;
  (void)in.u32le();
  const auto fms = in.u32le().value();
  (void)in.u32le();
  const auto gosvw = in.array<16>().value();
  const auto key = [&page](std::size_t i) { return Vmpck::copy_of(ByteView{page}.subspan(kVmpckAt + 32 * i, 32)); };
  return LaunchSecrets{.fms = fms, .gosvw = gosvw, .vmpcks = {key(0), key(1), key(2), key(3)}};
}

}  // namespace cloister::lab_snp
