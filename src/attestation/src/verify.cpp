#include "cloister/attestation/verify.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/pck.hpp"
#include "recorder.hpp"
#include "tcb_evaluation.hpp"

namespace cloister::attestation {
namespace {

namespace x509 = crypto::x509;
using Certificates = std::vector<x509::CertificatePtr>;

constexpr std::array kChecks = {
    CheckId::quote_format,      CheckId::trailing_bytes,        CheckId::pck_chain,         CheckId::pck_dates,
    CheckId::root_crl,          CheckId::pck_crl,               CheckId::pck_revocation,    CheckId::pck_extension,
    CheckId::tcb_info_chain,    CheckId::tcb_info_signature,    CheckId::tcb_info_dates,    CheckId::tcb_info_match,
    CheckId::qe_identity_chain, CheckId::qe_identity_signature, CheckId::qe_identity_dates, CheckId::qe_identity_match,
    CheckId::qe_report_signature, CheckId::qe_report_data,      CheckId::qe_report,         CheckId::quote_signature,
    CheckId::tdx_module,        CheckId::report_data,
};

const crypto::EcPublicKey* p256_key(const x509::Certificate& certificate) {
  const auto* key = std::get_if<crypto::EcPublicKey>(&certificate.key);
  return key != nullptr && key->curve() == crypto::Curve::p256 ? key : nullptr;
}

/// The PCK chain that the quote brings, or that the collateral has for quotes that bring none.
Result<Certificates> pck_certificates(const evidence::QuoteView::Signature& signature,
                                      const evidence::CollateralDocuments* collateral) {
  const auto& certification = signature.certification;
  using evidence::CertificationType;
  if (certification.type == CertificationType::pck_chain) {
    // The authorities above a PCK certificate are those that the collateral's CRL comes from.
    std::span<const x509::CertificatePtr> known;
    if (collateral != nullptr) known = collateral->pck_crl_issuer_chain;
    return x509::parse_chain(as_text(certification.data), known);
  }
  CLOISTER_ASSERT(collateral != nullptr);
  if (certification.type == CertificationType::pck_leaf) {
    auto leaf = x509::parse_certificate(certification.data);
    if (!leaf) {
      CLOISTER_TRY(from_pem, x509::parse_chain(as_text(certification.data), 1));
      leaf = from_pem.front();
    }
    Certificates chain{*leaf};
    chain.insert(chain.end(), collateral->pck_crl_issuer_chain.begin(), collateral->pck_crl_issuer_chain.end());
    return chain;
  }
  if (!collateral->pck_certificate_chain.empty()) return collateral->pck_certificate_chain;
  return Error{Errc::pck_chain_invalid,
               "the quote carries no PCK certificate (certification data of type " +
                   std::to_string(static_cast<unsigned>(certification.type)) + "), and the collateral has none either"};
}

ByteArray<16> masked(const ByteArray<16>& value, const ByteArray<16>& mask) {
  ByteArray<16> out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(value[i] & mask[i]);
  return out;
}

Error differs(Errc code, std::string_view what, std::string_view expected, std::string_view got) {
  return Error{code, std::string{what} + ": " + std::string{expected} + " expected, got " + std::string{got}};
}

Result<ParsedChainPtr> parse_pck_chain(const evidence::QuoteView::Signature& signature,
                                       const evidence::CollateralDocuments* collateral) {
  CLOISTER_TRY(given, pck_certificates(signature, collateral));
  auto certificates = x509::leaf_first(std::move(given));
  auto extension = evidence::pck_extension(*certificates.front());
  return ParsedChainPtr{std::make_shared<const ParsedChain>(ParsedChain{std::move(certificates), std::move(extension)})};
}

/// One verification: each method makes one check and records it.
class Verification : private Recorder {
 public:
  Verification(const evidence::QuoteView& quote, const evidence::CollateralDocuments* collateral,
               const TrustAnchors& anchors, UnixTime now, VerificationCache* cache)
      : Recorder{kChecks, Claims{DcapClaims{quote.header(), quote.body(), std::nullopt}}},
        quote_{quote},
        collateral_{collateral},
        anchors_{anchors},
        now_{now},
        cache_{cache},
        signatures_{cache == nullptr ? nullptr : &cache->signatures()} {
    report().trailing_bytes = quote.trailing_bytes();
  }

  Report run() && {
    record(CheckId::quote_format, quote_format());
    pass(CheckId::trailing_bytes, joined({std::to_string(quote_.trailing_bytes()), " bytes after the declared length"}));
    check_pck_chain();
    check_crls();
    check_pck_extension();
    check_signed_document(tcb_info());
    check_signed_document(qe_identity());
    check_matches();
    check_qe_report();
    record(CheckId::qe_report, qe_report());
    record(CheckId::quote_signature, quote_signature());
    check_tdx_module();
    evaluate();
    return std::move(*this).take();
  }

  /// Where the quote brings its chain; every other check is skipped.
  Report run_without_collateral() && {
    record(CheckId::quote_format, quote_format());
    if (quote_.signature().certification.type == evidence::CertificationType::pck_chain) check_pck_chain();
    check_pck_extension();
    check_qe_report();
    record(CheckId::quote_signature, quote_signature());
    return std::move(*this).take();
  }

 private:
  Result<void> quote_format() const {
    if (quote_.header().qe_vendor_id == evidence::kIntelQeVendorId) return {};
    return differs(Errc::evidence_unsupported, "QE vendor", "Intel's " + codec::to_hex(evidence::kIntelQeVendorId),
                   codec::to_hex(quote_.header().qe_vendor_id));
  }

  void check_pck_chain() {
    const auto& certification = quote_.signature().certification;
    auto* chains = certification.type == evidence::CertificationType::pck_chain ? cache_ : nullptr;
    auto known = chains == nullptr ? nullptr : chains->find_chain(certification.data);
    auto parsed = known ? Result<ParsedChainPtr>{known} : parse_pck_chain(quote_.signature(), collateral_);
    if (!parsed) {
      record(CheckId::pck_chain, Error{Errc::pck_chain_invalid, parsed.error().detail()});
      skip(CheckId::pck_dates, "no chain");
      return;
    }
    parsed_ = std::move(parsed).value();
    const auto& given = parsed_->certificates;
    pck_leaf_ = given.front();
    report().lab |= any_lab_marker(given);
    auto chain = resolve_chain(given, ChainShape::pck, anchors_, Errc::pck_chain_invalid, signatures_);
    if (!chain) {
      record(CheckId::pck_chain, chain.error());
      skip(CheckId::pck_dates, "no chain to a trusted root");
      return;
    }
    pck_chain_ = std::move(chain).value();
    if (chains != nullptr && !known) chains->keep_chain(certification.data, parsed_);
    pass(CheckId::pck_chain, joined({"up to \"", pck_chain_->root().subject_common_name, "\""}));
    narrow(*pck_chain_);
    record(CheckId::pck_dates,
           check_dates(*pck_chain_, now_, {Errc::pck_certificate_not_yet_valid, Errc::pck_certificate_expired}));
  }

  void check_crls() {
    if (!pck_chain_) {
      for (const auto id : {CheckId::root_crl, CheckId::pck_crl, CheckId::pck_revocation}) skip(id, "no PCK chain");
      return;
    }
    const auto& root_crl = collateral_->root_ca_crl;
    const auto& pck_crl = collateral_->pck_crl;
    record(CheckId::root_crl,
           check_crl(root_crl, pck_chain_->root(), now_,
                     {Errc::root_crl_invalid, {Errc::root_crl_not_yet_valid, Errc::root_crl_expired}}, signatures_));
    record(CheckId::pck_crl, check_crl(pck_crl, pck_chain_->issuer(), now_,
                                       {Errc::pck_crl_invalid, {Errc::pck_crl_not_yet_valid, Errc::pck_crl_expired}},
                                       signatures_));
    for (const auto* crl : {&root_crl, &pck_crl}) {
      if (crl->next_update) narrow(crl->this_update, *crl->next_update);
    }
    record(CheckId::pck_revocation, pck_revocation());
  }

  /// Read from the lists also when they are not valid themselves: that check has failed then.
  Result<void> pck_revocation() const {
    if (collateral_->root_ca_crl.revokes(pck_chain_->issuer().serial)) {
      return Error{Errc::ca_certificate_revoked, '"' + pck_chain_->issuer().subject_common_name + "\" is on the root's CRL"};
    }
    if (collateral_->pck_crl.revokes(pck_chain_->leaf().serial)) {
      return Error{Errc::pck_certificate_revoked,
                   "serial " + codec::to_hex(pck_chain_->leaf().serial) + " is on the CRL of \"" +
                       collateral_->pck_crl.issuer_common_name + '"'};
    }
    return {};
  }

  void check_pck_extension() {
    if (!pck_leaf_) return skip(CheckId::pck_extension, "no PCK certificate");
    const auto& extension = parsed_->extension;
    if (!extension) return record(CheckId::pck_extension, Error{Errc::pck_extension_invalid, extension.error().detail()});
    pck_ = *extension;
    pass(CheckId::pck_extension, joined({"FMSPC ", codec::to_hex(pck_->fmspc)}));
    report().claims = UnverifiedClaims{Claims{DcapClaims{quote_.header(), quote_.body(), pck_}}};
  }

  /// TCB info and QE identity: the same checks with other codes.
  struct SignedDocument {
    std::string_view name;
    CheckId chain;
    CheckId signature;
    CheckId dates;
    Errc signature_invalid;
    WindowCodes window;
    const Certificates& certificates;
    const Digest32& digest;
    const ByteArray<64>& signature_bytes;
    UnixTime issued;
    UnixTime expires;
  };
  [[nodiscard]] SignedDocument tcb_info() const {
    const auto& document = collateral_->tcb_info;
    return {"the TCB info", CheckId::tcb_info_chain, CheckId::tcb_info_signature, CheckId::tcb_info_dates,
            Errc::tcb_info_signature_invalid, {Errc::tcb_info_not_yet_valid, Errc::tcb_info_expired},
            collateral_->tcb_info_issuer_chain, document.body.digest(), document.signature, document.info.issue_date,
            document.info.next_update};
  }
  [[nodiscard]] SignedDocument qe_identity() const {
    const auto& document = collateral_->qe_identity;
    return {"the QE identity", CheckId::qe_identity_chain, CheckId::qe_identity_signature, CheckId::qe_identity_dates,
            Errc::qe_identity_signature_invalid, {Errc::qe_identity_not_yet_valid, Errc::qe_identity_expired},
            collateral_->qe_identity_issuer_chain, document.body.digest(), document.signature, document.identity.issue_date,
            document.identity.next_update};
  }

  void check_signed_document(const SignedDocument& document) {
    report().lab |= any_lab_marker(document.certificates);
    const auto chain = signing_chain(document.certificates);
    record(document.chain, chain);
    record(document.signature, document_signature(document, chain.ok() ? signatures_ : nullptr));
    narrow(document.issued, document.expires);
    record(document.dates, check_window(document.issued, document.expires, now_, document.window, document.name));
  }

  Result<void> signing_chain(const Certificates& certificates) {
    // One signer for both documents, as Intel has it, is one chain; parsing shares certificates that are the same.
    if (!signing_chain_ || *signing_certificates_ != certificates) {
      CLOISTER_TRY(resolved, resolve_chain(certificates, ChainShape::tcb_signing, anchors_,
                                           Errc::tcb_signing_chain_invalid, signatures_));
      signing_chain_ = std::move(resolved);
      signing_certificates_ = &certificates;
    }
    const auto& chain = *signing_chain_;
    if (pck_chain_ && pck_chain_->root().public_key_info != chain.root().public_key_info) {
      return Error{Errc::tcb_signing_chain_invalid, "its root is trusted, but it is not the root of the PCK chain"};
    }
    narrow(chain);
    CLOISTER_CHECK(check_dates(
        chain, now_, {Errc::tcb_signing_certificate_not_yet_valid, Errc::tcb_signing_certificate_expired}));
    if (collateral_->root_ca_crl.revokes(chain.leaf().serial)) {
      return Error{Errc::tcb_signing_certificate_revoked, "the signer is on the root's CRL"};
    }
    return {};
  }

  static Result<void> document_signature(const SignedDocument& document, crypto::SignatureCache* signatures) {
    const auto* key = document.certificates.empty() ? nullptr : p256_key(*document.certificates.front());
    if (key == nullptr) return Error{document.signature_invalid, "no certificate with a P-256 key to verify it with"};
    if (auto valid = crypto::verify_digest(*key, document.digest, document.signature_bytes, signatures); !valid) {
      return Error{document.signature_invalid, valid.error().detail()};
    }
    return {};
  }

  void check_matches() {
    if (pck_) {
      record(CheckId::tcb_info_match, tcb_info_match());
    } else {
      skip(CheckId::tcb_info_match, "no PCK extension");
    }
    const auto wanted = quote_.tee() == evidence::TeeType::tdx ? evidence::EnclaveId::td_qe : evidence::EnclaveId::qe;
    const auto got = collateral_->qe_identity.identity.id;
    record(CheckId::qe_identity_match,
           got == wanted ? Result<void>{}
                         : differs(Errc::qe_identity_mismatch, "id", evidence::to_string(wanted), evidence::to_string(got)));
  }

  Result<void> tcb_info_match() const {
    const auto& info = collateral_->tcb_info.info;
    if (info.tee != quote_.tee()) {
      return differs(Errc::tcb_info_mismatch, "TEE", evidence::to_string(quote_.tee()), evidence::to_string(info.tee));
    }
    if (info.fmspc != pck_->fmspc) {
      return differs(Errc::fmspc_mismatch, "FMSPC", codec::to_hex(pck_->fmspc), codec::to_hex(info.fmspc));
    }
    if (info.pce_id != pck_->pce_id) {
      return differs(Errc::pce_id_mismatch, "PCE-ID", codec::to_hex(pck_->pce_id), codec::to_hex(info.pce_id));
    }
    return {};
  }

  void check_qe_report() {
    if (pck_leaf_) {
      record(CheckId::qe_report_signature, qe_report_signature());
    } else {
      skip(CheckId::qe_report_signature, "no PCK certificate");
    }
    record(CheckId::qe_report_data, qe_report_data());
  }

  Result<void> qe_report_signature() const {
    const auto* key = p256_key(*pck_leaf_);
    if (key == nullptr) return Error{Errc::qe_report_signature_invalid, "the PCK certificate has no P-256 key"};
    const auto digest = crypto::digest_for(crypto::Curve::p256, quote_.qe_report_bytes());
    auto* signatures = pck_chain_ ? signatures_ : nullptr;  // a forged chain's key may sign anything
    if (auto valid = crypto::verify_digest(*key, digest.view(), quote_.signature().qe_report_signature, signatures);
        !valid) {
      return Error{Errc::qe_report_signature_invalid, valid.error().detail()};
    }
    return {};
  }

  /// SHA-256 of attestation key and authentication data, then zeros (Intel SGX ECDSA QuoteLibReference, appendix A).
  Result<void> qe_report_data() const {
    const auto& signature = quote_.signature();
    const auto expected = crypto::sha256({ByteView{signature.attestation_key}, ByteView{signature.qe_auth_data}});
    const auto data = ByteView{signature.qe_report.report_data};
    if (same_bytes(data.first(32), expected) && all_zero(data.subspan(32))) return {};
    return Error{Errc::qe_report_data_mismatch, "the QE's report does not cover the attestation key of this quote"};
  }

  Result<void> qe_report() const {
    const auto& report = quote_.signature().qe_report;
    const auto& identity = collateral_->qe_identity.identity;
    constexpr auto kCode = Errc::qe_report_mismatch;
    if ((report.misc_select & identity.misc_select_mask) != identity.misc_select) {
      return differs(kCode, "MISCSELECT under its mask", std::to_string(identity.misc_select),
                     std::to_string(report.misc_select & identity.misc_select_mask));
    }
    if (const auto got = masked(report.attributes, identity.attributes_mask); got != identity.attributes) {
      return differs(kCode, "ATTRIBUTES under their mask", codec::to_hex(identity.attributes), codec::to_hex(got));
    }
    if (report.mr_signer != identity.mr_signer) {
      return differs(kCode, "MRSIGNER", codec::to_hex(identity.mr_signer), codec::to_hex(report.mr_signer));
    }
    if (report.isv_prod_id != identity.isv_prod_id) {
      return differs(kCode, "ISVPRODID", std::to_string(identity.isv_prod_id), std::to_string(report.isv_prod_id));
    }
    return {};
  }

  Result<void> quote_signature() const {
    const auto& signature = quote_.signature();
    const auto digest = crypto::digest_for(crypto::Curve::p256, quote_.signed_bytes());
    auto valid = crypto::verify_digest_once(crypto::Curve::p256, signature.attestation_key, digest.view(), signature.signature);
    if (!valid && valid.error().code() == Errc::key_invalid) {
      return Error{Errc::quote_signature_invalid, "attestation key: " + valid.error().detail()};
    }
    if (!valid) {
      return Error{Errc::quote_signature_invalid, valid.error().detail()};
    }
    return {};
  }

  void check_tdx_module() {
    if (quote_.td() == nullptr) return;
    if (!collateral_->tcb_info.info.tdx_module) return skip(CheckId::tdx_module, "the TCB info is not of TDX");
    record(CheckId::tdx_module, tdx_module(*quote_.td()));
  }

  /// The module's signer and attributes, from the identity of its major version (version 0: from the base entry).
  /// Attributes must be those of the identity and zero, as Intel's own verification demands.
  Result<void> tdx_module(const evidence::TdBody& td) const {
    const auto& info = collateral_->tcb_info.info;
    const auto major = td.tee_tcb_svn[1];
    const auto* identity = major > 0 ? find_module(info, major) : nullptr;
    const evidence::TdxModule* module = nullptr;
    if (identity != nullptr) module = &identity->module;
    if (major == 0) module = &*info.tdx_module;
    constexpr auto kCode = Errc::tdx_module_mismatch;
    if (module == nullptr) return Error{kCode, "the TCB info has no identity for module version " + std::to_string(major)};
    if (td.mr_signer_seam != module->mr_signer) {
      return differs(kCode, "MRSIGNERSEAM", codec::to_hex(module->mr_signer), codec::to_hex(td.mr_signer_seam));
    }
    if (td.seam_attributes != module->attributes || !all_zero(td.seam_attributes)) {
      return differs(kCode, "SEAMATTRIBUTES", codec::to_hex(module->attributes) + " and zero", codec::to_hex(td.seam_attributes));
    }
    return {};
  }

  void evaluate() {
    if (!pck_ || collateral_->tcb_info.info.tee != quote_.tee()) return;
    report().tcb = evaluate_tcb({.info = collateral_->tcb_info.info,
                                .qe_identity = collateral_->qe_identity.identity,
                                .pck = *pck_,
                                .qe_isv_svn = quote_.signature().qe_report.isv_svn,
                                .td = quote_.td()});
  }

  const evidence::QuoteView& quote_;
  const evidence::CollateralDocuments* collateral_;  // null for the checks that need none
  const TrustAnchors& anchors_;
  UnixTime now_;
  VerificationCache* cache_;
  crypto::SignatureCache* signatures_;
  ParsedChainPtr parsed_;
  x509::CertificatePtr pck_leaf_;
  std::optional<Chain> pck_chain_;
  std::optional<Chain> signing_chain_;
  const Certificates* signing_certificates_ = nullptr;  // of `signing_chain_`
  std::optional<evidence::PckExtension> pck_;
};

}  // namespace

Outcome verify(const evidence::Quote& quote, const evidence::CollateralDocuments& collateral,
               const TrustAnchors& anchors, UnixTime now, VerificationCache* cache) {
  return verify(quote.view(), collateral, anchors, now, cache);
}

Outcome verify(const evidence::QuoteView& quote, const evidence::CollateralDocuments& collateral,
               const TrustAnchors& anchors, UnixTime now, VerificationCache* cache) {
  auto outcome = Conclusion::of(Verification{quote, &collateral, anchors, now, cache}.run());
  CLOISTER_ASSERT(!outcome.evidence || outcome.report.tcb.has_value());
  return outcome;
}

std::optional<Report> refusal_without_collateral(const evidence::QuoteView& quote, const TrustAnchors& anchors,
                                                 UnixTime now, VerificationCache* cache) {
  auto report = Verification{quote, nullptr, anchors, now, cache}.run_without_collateral();
  if (report.authentic()) return std::nullopt;
  return report;
}

}  // namespace cloister::attestation
