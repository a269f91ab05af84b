#include "cloister/collateral/needs.hpp"

#include "cloister/evidence/snp/report.hpp"

namespace cloister::collateral {
namespace {

/// AMD's key service, as far as it is known, has these.
std::optional<Product> product_of(evidence::SnpProduct product) {
  switch (product) {
    case evidence::SnpProduct::milan: return Product::milan;
    case evidence::SnpProduct::genoa: return Product::genoa;
    case evidence::SnpProduct::turin: return Product::turin;
    case evidence::SnpProduct::venice: return std::nullopt;
  }
  return std::nullopt;
}

Result<Product> product_of(const evidence::SnpReport& report, std::optional<Product> given) {
  if (!report.body().cpuid) {
    if (given) return *given;
    return Error{Errc::collateral_missing, "a report of version 2 does not say its product: Milan, Genoa or Turin"};
  }
  const auto known = report.product();
  const auto said = known ? product_of(*known) : std::nullopt;
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

Result<std::vector<Key>> keys_of_snp_report(ByteView bytes, std::optional<Product> given) {
  CLOISTER_TRY(report, evidence::parse_snp_report(bytes));
  CLOISTER_TRY(product, product_of(report, given));
  const auto& body = report.body();
  if (!body.signing_key) return Error{Errc::evidence_unsupported, "SNP report: signed by neither VCEK nor VLEK"};
  const auto endorsement = *body.signing_key == evidence::VekKind::vlek ? EndorsementKey::vlek : EndorsementKey::vcek;
  std::vector<Key> out{AmdChainKey{.product = product, .endorsement = endorsement},
                       AmdCrlKey{.product = product, .endorsement = endorsement}};
  if (endorsement == EndorsementKey::vlek) return out;
  if (body.chip_id_masked()) return Error{Errc::collateral_missing, "the report masks its chip's id: its host must give the certificate"};
  out.insert(out.begin(), VcekKey{.product = product,
                                  .hwid = to_bytes(ByteView{body.chip_id}.first(hwid_size(product))),
                                  .tcb = snp_tcb(product, body.reported_tcb)});
  return out;
}

}  // namespace cloister::collateral
