#include "cloister/collateral/needs.hpp"

#include "cloister/codec/cursor.hpp"
#include "cloister/evidence/detect.hpp"

namespace cloister::collateral {
namespace {

/// CPUID family and model to product, as AMD's kernel drivers and firmware name them.
std::optional<Product> product_of_cpu(std::uint8_t family, std::uint8_t model) {
  if (family == 0x19 && model <= 0x0F) return Product::milan;
  if (family == 0x19 && ((model >= 0x10 && model <= 0x1F) || (model >= 0xA0 && model <= 0xAF))) return Product::genoa;
  if (family == 0x1A && model <= 0x11) return Product::turin;
  return std::nullopt;
}

/// The fields of a report that say which certificate it needs, by their offsets in AMD 56860 table 23.
struct ReportFields {
  std::uint32_t version;
  std::uint32_t key_info;
  ByteArray<8> reported_tcb;
  std::uint8_t family;
  std::uint8_t model;
  ByteArray<64> chip_id;
};

ReportFields fields_of(ByteView report) {
  const auto u32 = [report](std::size_t at) { return *codec::Reader{report.subspan(at, 4)}.u32le(); };
  return {.version = u32(0x00),
          .key_info = u32(0x48),
          .reported_tcb = to_array<8>(report.subspan(0x180, 8)),
          .family = report[0x188],
          .model = report[0x189],
          .chip_id = to_array<64>(report.subspan(0x1A0, 64))};
}

Result<Product> product_of(const ReportFields& report, std::optional<Product> given) {
  if (report.version == 2) {
    if (given) return *given;
    return Error{Errc::collateral_missing, "a report of version 2 does not say its product: Milan, Genoa or Turin"};
  }
  const auto said = product_of_cpu(report.family, report.model);
  if (!said) return Error{Errc::evidence_unsupported, "SNP report: an unknown CPU family and model"};
  if (given && *given != *said) {
    return Error{Errc::evidence_unsupported, "the report is of " + std::string{to_string(*said)} + ", not of " + std::string{to_string(*given)}};
  }
  return *said;
}

}  // namespace

Result<std::vector<Key>> keys_of(const Wanted& wanted, const Evaluation& evaluation) {
  if (!wanted.fmspc || !wanted.ca) {
    return Error{Errc::collateral_missing, "the quote carries no PCK certificate, which says the platform's FMSPC and authority"};
  }
  const bool tdx = wanted.tee == evidence::TeeType::tdx;
  return std::vector<Key>{
      TcbInfoKey{.tee = wanted.tee, .fmspc = *wanted.fmspc, .evaluation = evaluation},
      IdentityKey{.enclave = tdx ? Enclave::td_qe : Enclave::qe, .evaluation = evaluation}, PckCrlKey{*wanted.ca}, RootCrlKey{}};
}

Result<std::vector<Key>> keys_of_snp_report(ByteView report, std::optional<Product> given) {
  constexpr std::uint32_t kSigningKey = 7;  // bits 4:2 of the key information
  constexpr std::uint32_t kVcek = 0;
  constexpr std::uint32_t kVlek = 1;
  if (report.size() < evidence::kSnpReportSize) return Error{Errc::evidence_malformed, "SNP report: 1184 bytes expected"};
  const auto fields = fields_of(report);
  if (fields.version < 2 || fields.version > 5) {
    return Error{Errc::evidence_unsupported, "SNP report: versions 2 to 5 expected, got " + std::to_string(fields.version)};
  }
  CLOISTER_TRY(product, product_of(fields, given));
  const auto signer = (fields.key_info >> 2U) & kSigningKey;
  if (signer != kVcek && signer != kVlek) return Error{Errc::evidence_unsupported, "SNP report: signed by neither VCEK nor VLEK"};
  const auto endorsement = signer == kVlek ? EndorsementKey::vlek : EndorsementKey::vcek;
  std::vector<Key> out{AmdChainKey{.product = product, .endorsement = endorsement},
                       AmdCrlKey{.product = product, .endorsement = endorsement}};
  if (endorsement == EndorsementKey::vlek) return out;
  if (all_zero(fields.chip_id)) return Error{Errc::collateral_missing, "the report masks its chip's id: its host must give the certificate"};
  out.insert(out.begin(), VcekKey{.product = product,
                                  .hwid = to_bytes(ByteView{fields.chip_id}.first(hwid_size(product))),
                                  .tcb = snp_tcb(product, fields.reported_tcb)});
  return out;
}

}  // namespace cloister::collateral
