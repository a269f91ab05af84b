#include "cloister/collateral/bundle.hpp"

#include <algorithm>
#include <iterator>

#include "cloister/codec/text.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/collateral/recognise.hpp"

namespace cloister::collateral {
namespace {

namespace x509 = crypto::x509;

Error missing(std::string what) { return Error{Errc::collateral_missing, std::move(what)}; }

bool self_issued(const x509::Certificate& certificate) { return certificate.issuer == certificate.subject; }

std::string to_pem(const Certificates& chain) {
  std::string out;
  for (const auto& certificate : chain) out += codec::to_pem("CERTIFICATE", certificate->der);
  return out;
}

/// Keys and signatures on P-256 are Intel's: AMD's hierarchy has RSA and P-384.
bool of_intel(const x509::Certificate& certificate) {
  const auto* key = std::get_if<crypto::EcPublicKey>(&certificate.key);
  return key != nullptr && key->curve() == crypto::Curve::p256;
}
bool of_intel(const x509::Crl& crl) { return crl.algorithm == x509::SignatureAlgorithm::ecdsa_sha256; }
/// By AMD's algorithm or name, so that it is not taken for a list of the other vendor's.
bool of_amd(const x509::Crl& crl) {
  return crl.algorithm == x509::SignatureAlgorithm::rsa_pss_sha384 || crl.issuer_common_name.starts_with("ARK-");
}

}  // namespace

Result<evidence::QuoteCollateral> SingleCollateral::find(const Wanted& /*wanted*/) const { return collateral_; }

struct Bundle::Parts {
  std::vector<evidence::QuoteCollateral> whole;
  std::vector<evidence::SignedTcbInfo> tcb_infos;
  std::vector<evidence::SignedQeIdentity> qe_identities;
  std::vector<x509::Crl> crls;
  Certificates certificates;

  void add(Recognised part) {
    if (auto* all = std::get_if<evidence::QuoteCollateral>(&part)) whole.push_back(std::move(*all));
    if (auto* info = std::get_if<evidence::SignedTcbInfo>(&part)) tcb_infos.push_back(std::move(*info));
    if (auto* identity = std::get_if<evidence::SignedQeIdentity>(&part)) qe_identities.push_back(std::move(*identity));
    if (auto* crl = std::get_if<x509::Crl>(&part)) crls.push_back(std::move(*crl));
    if (auto* chain = std::get_if<Certificates>(&part)) {
      certificates.insert(certificates.end(), chain->begin(), chain->end());
    }
  }

  /// The certificate and those above it, as far as they are here; names alone.
  [[nodiscard]] Certificates chain_of(x509::CertificatePtr certificate) const {
    constexpr std::size_t kMaxChain = 4;
    Certificates chain{std::move(certificate)};
    while (chain.size() < kMaxChain && !self_issued(*chain.back())) {
      const auto issuer = std::ranges::find(certificates, chain.back()->issuer, [](const auto& c) { return c->subject; });
      if (issuer == certificates.end()) break;
      chain.push_back(*issuer);
    }
    return chain;
  }

  /// The chain of whoever signed the document; empty when nobody here did.
  [[nodiscard]] std::string signer_chain(std::string_view body, const ByteArray<64>& signature) const {
    const auto signer = std::ranges::find_if(certificates, [&](const auto& certificate) {
      const auto* key = std::get_if<crypto::EcPublicKey>(&certificate->key);
      return key != nullptr && key->curve() == crypto::Curve::p256 && key->verify(as_bytes(body), signature).ok();
    });
    return signer == certificates.end() ? std::string{} : to_pem(chain_of(*signer));
  }

  [[nodiscard]] x509::CertificatePtr pck_leaf() const {
    const auto leaf = std::ranges::find_if(certificates, [](const auto& c) { return evidence::pck_extension(*c).ok(); });
    return leaf == certificates.end() ? nullptr : *leaf;
  }

  /// A root's list is one whose issuer is a self-signed certificate here, or calls itself a root.
  [[nodiscard]] bool of_root(const x509::Crl& crl) const {
    const auto issuer = std::ranges::find(certificates, crl.issuer, [](const auto& c) { return c->subject; });
    if (issuer != certificates.end()) return self_issued(**issuer);
    return crl.issuer_common_name.find("Root") != std::string::npos;
  }

  [[nodiscard]] Result<evidence::QuoteCollateral> assemble(Wanted wanted) const;
};

Result<evidence::QuoteCollateral> Bundle::Parts::assemble(Wanted wanted) const {
  const auto leaf = pck_leaf();
  if (leaf && !wanted.fmspc) {
    wanted.fmspc = evidence::pck_extension(*leaf).value().fmspc;
    wanted.ca = ca_type(leaf->issuer_common_name);
  }
  const auto tee = std::string{evidence::to_string(wanted.tee)};
  const auto info = std::ranges::find_if(tcb_infos, [&](const evidence::SignedTcbInfo& one) {
    return one.info.tee == wanted.tee && (!wanted.fmspc || one.info.fmspc == *wanted.fmspc);
  });
  if (info == tcb_infos.end()) {
    return missing("no TCB info of a " + tee + " platform" + (wanted.fmspc ? " with FMSPC " + codec::to_hex(*wanted.fmspc) : ""));
  }
  const auto enclave = wanted.tee == evidence::TeeType::tdx ? evidence::EnclaveId::td_qe : evidence::EnclaveId::qe;
  const auto identity =
      std::ranges::find(qe_identities, enclave, [](const evidence::SignedQeIdentity& one) { return one.identity.id; });
  if (identity == qe_identities.end()) return missing("no identity of the quoting enclave " + std::string{evidence::to_string(enclave)});
  const auto root_crl = std::ranges::find_if(crls, [&](const x509::Crl& crl) { return of_root(crl) && !of_amd(crl); });
  if (root_crl == crls.end()) return missing("no CRL of the root");
  const auto pck_crl = std::ranges::find_if(crls, [&](const x509::Crl& crl) {
    return !of_root(crl) && !of_amd(crl) && (!wanted.ca || ca_type(crl.issuer_common_name) == *wanted.ca);
  });
  if (pck_crl == crls.end()) {
    return missing("no CRL of the " + (wanted.ca ? std::string{to_string(*wanted.ca)} + " " : std::string{}) + "authority of PCK certificates");
  }

  evidence::QuoteCollateral out;
  out.tcb_info = info->body;
  out.tcb_info_signature = info->signature;
  out.tcb_info_issuer_chain = signer_chain(info->body, info->signature);
  if (out.tcb_info_issuer_chain.empty()) return missing("no certificate whose key signed the TCB info");
  out.qe_identity = identity->body;
  out.qe_identity_signature = identity->signature;
  out.qe_identity_issuer_chain = signer_chain(identity->body, identity->signature);
  if (out.qe_identity_issuer_chain.empty()) return missing("no certificate whose key signed the QE identity");
  out.root_ca_crl = root_crl->der;
  out.pck_crl = pck_crl->der;
  const auto authority = std::ranges::find(certificates, pck_crl->issuer, [](const auto& c) { return c->subject; });
  if (authority != certificates.end()) out.pck_crl_issuer_chain = to_pem(chain_of(*authority));
  // Where the issuer of the list is not here, the list's own signature decides: the quote brings its chain.
  if (authority == certificates.end()) out.pck_crl_issuer_chain = out.tcb_info_issuer_chain;
  if (leaf) out.pck_certificate_chain = to_pem(chain_of(leaf));
  return out;
}

Result<Bundle> Bundle::from_files(const std::vector<BundleFile>& files) {
  auto parts = std::make_shared<Parts>();
  for (const auto& file : files) {
    auto part = recognise(file.content);
    if (!part) return Error{Errc::collateral_malformed, file.name + ": " + part.error().text()};
    parts->add(std::move(part).value());
  }
  return Bundle{std::move(parts)};
}

Result<evidence::QuoteCollateral> Bundle::find(const Wanted& wanted) const {
  for (const auto& whole : parts_->whole) {
    const auto info = evidence::parse_tcb_info_body(whole.tcb_info);
    if (info && info->tee == wanted.tee && (!wanted.fmspc || info->fmspc == *wanted.fmspc)) return whole;
  }
  return parts_->assemble(wanted);
}

Result<evidence::SnpEndorsements> Bundle::find(const evidence::SnpReport& report, const evidence::SnpEndorsements& given) const {
  evidence::SnpEndorsements out;
  std::ranges::copy_if(parts_->certificates, std::back_inserter(out.certificates), [](const auto& c) { return !of_intel(*c); });
  std::ranges::copy_if(parts_->crls, std::back_inserter(out.crls), [](const auto& crl) { return !of_intel(crl); });
  if (out.certificates.empty() && out.crls.empty()) return CollateralSource::find(report, given);
  return out;
}

}  // namespace cloister::collateral
