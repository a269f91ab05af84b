#include "cloister/collateral/needs.hpp"

#include "cloister/evidence/snp/vek.hpp"

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

/// Which of the three that a report needs are there.
struct Has {
  bool vek = false;
  bool authority = false;
  bool crl = false;
};

Result<std::vector<Key>> keys_of(const evidence::SnpReport& report, std::optional<Product> said, Has has) {
  CLOISTER_TRY(product, product_of(report, said));
  const auto& body = report.body();
  if (!body.signing_key) return Error{Errc::evidence_unsupported, "SNP report: signed by neither VCEK nor VLEK"};
  const bool loaded = *body.signing_key == evidence::VekKind::vlek;
  const auto endorsement = loaded ? EndorsementKey::vlek : EndorsementKey::vcek;
  std::vector<Key> out;
  if (!has.vek && !loaded) {
    if (body.chip_id_masked()) return Error{Errc::collateral_missing, "the report masks its chip's id: its host must give the certificate"};
    out.push_back(VcekKey{.product = product,
                          .hwid = to_bytes(ByteView{body.chip_id}.first(hwid_size(product))),
                          .tcb = snp_tcb(product, body.reported_tcb)});
  }
  if (!has.authority) out.push_back(AmdChainKey{.product = product, .endorsement = endorsement});
  if (!has.crl) out.push_back(AmdCrlKey{.product = product, .endorsement = endorsement});
  return out;
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
  return keys_of(report, given, {});
}

Result<std::vector<Key>> keys_missing(const evidence::SnpReport& report, const evidence::SnpEndorsements& given) {
  Has has{.vek = false, .authority = false, .crl = !given.crls.empty()};
  std::optional<Product> product;
  for (const auto& certificate : given.certificates) {
    if (!evidence::is_vek(*certificate)) {
      has.authority = has.authority || certificate->issuer != certificate->subject;  // a root alone is none
      continue;
    }
    has.vek = true;
    const auto extension = evidence::vek_extension(*certificate);
    const auto said = extension && !report.body().cpuid ? extension->product() : std::nullopt;
    if (said) product = product_of(*said);
  }
  if (has.vek && has.authority && has.crl) return std::vector<Key>{};
  return keys_of(report, product, has);
}

}  // namespace cloister::collateral
