#include "attestation_cases.hpp"

#include <fstream>
#include <iterator>

#include "cloister/attestation/anchors.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::bench {
namespace {

using evidence::TeeType;

std::string read(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  CLOISTER_ASSERT(in.good());
  return {std::istreambuf_iterator<char>{in}, {}};
}

Case synthetic(std::string name, TeeType tee, std::uint16_t version) {
  test::SyntheticPlatform platform{tee, version};
  platform.qe_identity_signed_by = platform.tcb_info_signed_by;
  auto first = platform.build();
  // As the vendor has it: one signer of both documents, one authority, one PCK certificate for all quotes.
  first.collateral.qe_identity_issuer_chain = first.collateral.tcb_info_issuer_chain;
  const auto chain = platform.pck_chain();
  const auto leaf = chain.substr(0, chain.find("-----BEGIN", 1));
  platform.certification = evidence::CertificationData{evidence::CertificationType::pck_chain,
                                                       to_bytes(leaf + first.collateral.pck_crl_issuer_chain)};
  Case out{.name = std::move(name),
           .quotes = {},
           .collateral = evidence::write_quote_collateral(first.collateral),
           .root = first.root->der,
           .now = test::SyntheticPlatform::now()};
  for (std::size_t i = 0; i < kQuotes; ++i) {
    platform.attestation_key = "attestation " + std::to_string(i);
    platform.quote_signed_by = platform.attestation_key;
    auto& data = tee == TeeType::tdx ? platform.td().report_data : platform.enclave().report_data;
    data.fill(static_cast<std::uint8_t>(i));
    out.quotes.push_back(platform.build().quote);
  }
  return out;
}

Case real(std::string name, const std::filesystem::path& cases, const std::string& quote, const std::string& bundle,
          std::int64_t at) {
  auto text = read(cases / "quotes" / quote);
  return {.name = std::move(name),
          .quotes = {to_bytes(text)},
          .collateral = read(cases / "bundles" / bundle),
          .root = attestation::TrustAnchors::vendors().all().front().root().der,
          .now = from_micros(at * 1'000'000)};
}

}  // namespace

attestation::TrustAnchors Case::anchors() const {
  const auto vendors = attestation::TrustAnchors::vendors();
  if (vendors.all().front().root().der == root) return vendors;
  attestation::TrustAnchors out;
  out.add(*attestation::TrustAnchor::make(*crypto::x509::parse_certificate(root), attestation::AnchorKind::given));
  return out;
}

std::vector<Case> synthetic_cases() {
  return {synthetic("sgx_v3", TeeType::sgx, 3), synthetic("tdx_v4", TeeType::tdx, 4), synthetic("tdx_v5", TeeType::tdx, 5)};
}

std::vector<Case> real_cases(const std::filesystem::path& vectors) {
  const auto cases = vectors / "attestation/dcap-cases";
  if (!std::filesystem::exists(cases)) return {};
  return {real("real_sgx_v3", cases, "sgx__dcap-qvl__sgx_quote", "dq-sgx.json", 1'750'416'971),
          real("real_tdx_v4", cases, "tdx__dcap-qvl__tdx_quote", "dq-tdx.json", 1'750'415'547)};
}

}  // namespace cloister::bench
