#include "cloister/attestation/verify_snp.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include "../recorder.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/snp/vek.hpp"

namespace cloister::attestation {
namespace {

namespace x509 = crypto::x509;

constexpr std::array kChecks = {
    CheckId::report_format, CheckId::vek_chain,   CheckId::vek_dates,   CheckId::vek_crl,   CheckId::vek_revocation,
    CheckId::vek_extension, CheckId::vek_product, CheckId::vek_kind,    CheckId::chip_key,  CheckId::vek_tcb,
    CheckId::vek_chip_id,   CheckId::tcb_order,   CheckId::report_signature, CheckId::report_data,
};

std::string quoted(std::string_view name) { return '"' + std::string{name} + '"'; }

bool is_root(const x509::Certificate& certificate) { return certificate.issuer == certificate.subject; }

/// A chip's hardware id is the beginning of its chip id: 64 bytes, or 8 from Turin on.
bool same_chip(const Bytes& hwid, const Digest64& chip_id) {
  const auto id = ByteView{chip_id};
  return same_bytes(hwid, id.first(hwid.size())) && all_zero(id.subspan(hwid.size()));
}

/// How well a VEK fits: kind, chip, TCB, dates, in this order. What does not fit is then found by the checks.
unsigned fitness(const x509::Certificate& certificate, const Result<evidence::VekExtension>& extension,
                 const evidence::SnpReportBody& report, UnixTime now) {
  if (!extension) return 0;
  const bool kind = report.signing_key == extension->kind();
  const bool chip = extension->hwid && same_chip(*extension->hwid, report.chip_id);
  const bool tcb = extension->tcb_version() == report.reported_tcb;
  const bool dates = certificate.not_before <= now && now <= certificate.not_after;
  return 1U + (kind ? 8U : 0U) + (chip ? 4U : 0U) + (tcb ? 2U : 0U) + (dates ? 1U : 0U);
}

/// One verification: each method makes one check and records it.
class Verification : private Recorder {
 public:
  Verification(const evidence::SnpReport& evidence, const evidence::SnpEndorsements& endorsements,
               const TrustAnchors& anchors, UnixTime now, VerificationCache* cache)
      : Recorder{kChecks, Claims{SnpClaims{evidence.body(), evidence.product(), std::nullopt}}},
        evidence_{evidence},
        body_{evidence.body()},
        endorsements_{endorsements},
        anchors_{anchors},
        now_{now},
        signatures_{cache == nullptr ? nullptr : &cache->signatures()} {}

  Report run() && {
    record(CheckId::report_format, report_format());
    check_chain();
    check_crl_of_root();
    check_extension();
    check_key();
    check_tcb_order();
    if (vek_) {
      record(CheckId::report_signature, report_signature());
    } else {
      skip(CheckId::report_signature, "no VEK");
    }
    return std::move(*this).take();
  }

  Report run_without_endorsements() && {
    record(CheckId::report_format, report_format());
    record(CheckId::chip_key, chip_key());
    check_tcb_order();
    return std::move(*this).take();
  }

 private:
  Result<void> report_format() const {
    if (!body_.cpuid || evidence_.product()) return {};
    return Error{Errc::evidence_unsupported, "a processor of family " + std::to_string(body_.cpuid->family) + ", model " +
                                                 std::to_string(body_.cpuid->model) + " is not known"};
  }

  // --- chain ---

  void check_chain() {
    find_vek();
    auto chain = vek_chain();
    if (!chain) {
      record(CheckId::vek_chain, chain.error());
      skip(CheckId::vek_dates, "no chain to a trusted root");
      return;
    }
    chain_ = std::move(chain).value();
    record(CheckId::vek_chain, other_authorities(), joined({"up to \"", chain_->root().subject_common_name, "\""}));
    narrow(*chain_);
    record(CheckId::vek_dates,
           check_dates(*chain_, now_, {Errc::vek_certificate_not_yet_valid, Errc::vek_certificate_expired}));
  }

  void find_vek() {
    unsigned best_fitness = 0;
    for (const auto& certificate : endorsements_.certificates) {
      if (!evidence::is_vek(*certificate)) continue;
      auto extension = evidence::vek_extension(*certificate);
      const auto fits = fitness(*certificate, extension, body_, now_);
      if (vek_ == nullptr || fits > best_fitness) {
        vek_ = certificate;
        vek_extension_ = std::move(extension);
        best_fitness = fits;
      }
    }
  }

  /// Of those with the issuer's name, the one that signed; else any, so that the signature is what fails. A single one
  /// is not tried here: the chain is verified from its root, and only then may the cache remember it.
  [[nodiscard]] x509::CertificatePtr find_issuer(const x509::Certificate& certificate) const {
    const auto named = [&](const x509::CertificatePtr& candidate) {
      return candidate->subject == certificate.issuer && !evidence::is_vek(*candidate);
    };
    const auto& given = endorsements_.certificates;
    const auto first = std::ranges::find_if(given, named);
    if (first == given.end()) return nullptr;
    if (std::find_if(first + 1, given.end(), named) == given.end()) return *first;
    const auto signer = std::find_if(first, given.end(), [&](const x509::CertificatePtr& candidate) {
      return named(candidate) && x509::verify_signature(certificate, *candidate).ok();
    });
    return signer == given.end() ? *first : *signer;
  }

  /// VEK, authority, and the root where it was given.
  Result<Chain> vek_chain() {
    report().lab |= any_lab_marker(endorsements_.certificates);
    if (vek_ == nullptr) return Error{Errc::collateral_missing, "no VCEK or VLEK certificate was given"};
    const auto authority = find_issuer(*vek_);
    if (authority == nullptr) {
      return Error{Errc::collateral_missing,
                   "the certificate of " + quoted(vek_->issuer_common_name) + ", which issued the VEK, was not given"};
    }
    Path given;
    given.push_back(vek_);
    given.push_back(authority);
    if (const auto root = find_issuer(*authority); root != nullptr && is_root(*root)) given.push_back(root);
    return resolve_chain(given, ChainShape::vek, anchors_, Errc::vek_chain_invalid, signatures_);
  }

  /// Authorities that this chain does not need must be whole: a damaged file is not passed over in silence.
  Result<void> other_authorities() const {
    for (const auto& certificate : endorsements_.certificates) {
      const bool used = std::ranges::find(chain_->certificates, certificate) != chain_->certificates.end();
      if (used || evidence::is_vek(*certificate) || signed_by_known(*certificate)) continue;
      return Error{Errc::vek_chain_invalid,
                   quoted(certificate->subject_common_name) + ", which was given too, is not signed by a root that is here"};
    }
    return {};
  }

  [[nodiscard]] bool signed_by_known(const x509::Certificate& certificate) const {
    if (anchors_.issuer_of(certificate, signatures_) != nullptr) return true;
    const auto issuer = find_issuer(certificate);
    return issuer != nullptr && x509::verify_signature(certificate, *issuer).ok();
  }

  // --- revocation ---

  /// The newest list of the root must hold; a revocation counts on whichever of its lists it stands.
  void check_crl_of_root() {
    if (!chain_) {
      skip(CheckId::vek_crl, "no chain");
      skip(CheckId::vek_revocation, "no chain");
      return;
    }
    if (endorsements_.crls.empty()) {
      skip(CheckId::vek_crl, "no CRL was given");
      skip(CheckId::vek_revocation, "no CRL was given");
      return;
    }
    const x509::Crl* newest = nullptr;
    bool revoked = false;
    for (const auto& crl : endorsements_.crls) {
      if (crl.issuer != chain_->root().subject) continue;
      revoked = revoked || crl.revokes(chain_->issuer().serial);
      if (newest == nullptr || crl.this_update > newest->this_update) newest = &crl;
    }
    if (newest == nullptr) {
      record(CheckId::vek_crl, Error{Errc::vek_crl_invalid, "no list of " + quoted(chain_->root().subject_common_name) +
                                                                " is among those that were given"});
      return skip(CheckId::vek_revocation, "no list of the root");
    }
    record(CheckId::vek_crl, check_crl(*newest, chain_->root(), now_,
                                       {Errc::vek_crl_invalid, {Errc::vek_crl_not_yet_valid, Errc::vek_crl_expired}}, signatures_));
    if (newest->next_update) narrow(newest->this_update, *newest->next_update);
    record(CheckId::vek_revocation,
           revoked ? Result<void>{Error{Errc::ca_certificate_revoked,
                                        quoted(chain_->issuer().subject_common_name) + " is on the root's CRL"}}
                   : Result<void>{});
  }

  // --- the VEK and the report ---

  void check_extension() {
    if (!vek_) return skip(CheckId::vek_extension, "no VEK");
    auto& extension = *vek_extension_;
    if (!extension) return record(CheckId::vek_extension, Error{Errc::vek_extension_invalid, extension.error().detail()});
    pass(CheckId::vek_extension, extension->product_name);
    product_ = evidence_.product() ? evidence_.product() : extension->product();
    report().claims = UnverifiedClaims{Claims{SnpClaims{body_, product_, std::move(extension).value()}}};
    extension_ = &*report().claims.unverified().snp()->vek;
  }

  void check_key() {
    record(CheckId::chip_key, chip_key());
    if (!extension_) {
      for (const auto id : {CheckId::vek_product, CheckId::vek_kind, CheckId::vek_tcb, CheckId::vek_chip_id}) {
        skip(id, "no VEK extension");
      }
      return;
    }
    record(CheckId::vek_product, vek_product());
    record(CheckId::vek_kind, vek_kind());
    record(CheckId::vek_tcb, vek_tcb());
    if (!extension_->hwid) return skip(CheckId::vek_chip_id, "a VLEK is of no one chip");
    if (body_.chip_id_masked()) return skip(CheckId::vek_chip_id, "the host masks the chip id");
    record(CheckId::vek_chip_id, same_chip(*extension_->hwid, body_.chip_id)
                                     ? Result<void>{}
                                     : Error{Errc::vek_chip_id_mismatch, "chip " + codec::to_hex(*extension_->hwid) +
                                                                             " expected, got " + codec::to_hex(body_.chip_id)});
  }

  Result<void> vek_product() const {
    constexpr auto kCode = Errc::vek_product_mismatch;
    const auto product = extension_->product();
    if (!product) return Error{kCode, "the VEK is of " + quoted(extension_->product_name) + ", which is not known"};
    const auto name = std::string{evidence::to_string(*product)};
    if (product_ != product) {
      return Error{kCode, "the VEK is of " + name + ", the report of " + std::string{evidence::to_string(*product_)}};
    }
    if (evidence::has_fmc(*product) != extension_->fmc.has_value()) {
      return Error{kCode, name + (extension_->fmc ? " has no FMC level, the VEK has one" : " has an FMC level, the VEK has none")};
    }
    if (chain_ && chain_->kind == AnchorKind::amd && chain_->root().subject_common_name != "ARK-" + name) {
      return Error{kCode, "the VEK is of " + name + ", its root is " + quoted(chain_->root().subject_common_name)};
    }
    return {};
  }

  Result<void> vek_kind() const {
    const auto kind = extension_->kind();
    if (body_.signing_key == kind) return {};
    return Error{Errc::vek_kind_mismatch,
                 "a " + std::string{evidence::to_string(kind)} + " was given, the report says " +
                     (body_.signing_key ? std::string{evidence::to_string(*body_.signing_key)} : std::string{"that nobody signed it"})};
  }

  Result<void> chip_key() const {
    if (!body_.chip_key_masked || body_.signing_key != evidence::VekKind::vcek) return {};
    return Error{Errc::chip_key_masked, "the host masks its chip key (MASK_CHIP_KEY): no VCEK signs there"};
  }

  Result<void> vek_tcb() const {
    const auto expected = extension_->tcb_version();
    if (expected == body_.reported_tcb) return {};
    return Error{Errc::vek_tcb_mismatch,
                 "the VEK is of TCB " + codec::to_hex(expected) + ", reported is " + codec::to_hex(body_.reported_tcb)};
  }

  void check_tcb_order() {
    if (!product_) product_ = evidence_.product();
    if (!product_) return skip(CheckId::tcb_order, "the product, and so the TCB's layout, is not known");
    record(CheckId::tcb_order, tcb_order(*product_));
  }

  Result<void> tcb_order(evidence::SnpProduct product) const {
    const auto current = evidence::snp_tcb(body_.current_tcb, product);
    for (const auto& [name, version] : {std::pair{"reported", &body_.reported_tcb}, {"committed", &body_.committed_tcb}}) {
      const auto gaps = evidence::snp_tcb_gaps(current, evidence::snp_tcb(*version, product));
      if (gaps.empty()) continue;
      return Error{Errc::tcb_order_invalid, std::string{gaps.front().component} + " of the " + name + " TCB is " +
                                                std::to_string(gaps.front().need) + ", of the current one " +
                                                std::to_string(gaps.front().have)};
    }
    const auto number = [](const evidence::SnpFirmwareVersion& v) { return std::tuple{v.major, v.minor, v.build}; };
    if (number(body_.committed_version) > number(body_.current_version)) {
      return Error{Errc::tcb_order_invalid, "the committed firmware is newer than the current one"};
    }
    return {};
  }

  Result<void> report_signature() const {
    const auto* key = std::get_if<crypto::EcPublicKey>(&vek_->key);
    if (key == nullptr || key->curve() != crypto::Curve::p384) {
      return Error{Errc::report_signature_invalid, "the VEK has no P-384 key"};
    }
    // No report comes twice, so that its signature is not remembered.
    if (auto valid = key->verify(evidence_.signed_bytes(), evidence_.signature()); !valid) {
      return Error{Errc::report_signature_invalid, valid.error().detail()};
    }
    return {};
  }

  const evidence::SnpReport& evidence_;
  const evidence::SnpReportBody& body_;
  const evidence::SnpEndorsements& endorsements_;
  const TrustAnchors& anchors_;
  UnixTime now_;
  crypto::SignatureCache* signatures_;
  x509::CertificatePtr vek_;
  std::optional<Result<evidence::VekExtension>> vek_extension_;  // of `vek_`, until it is in the claims
  const evidence::VekExtension* extension_ = nullptr;            // in the claims
  std::optional<Chain> chain_;
  std::optional<evidence::SnpProduct> product_;
};

}  // namespace

Outcome verify(const evidence::SnpReport& report, const evidence::SnpEndorsements& endorsements,
               const TrustAnchors& anchors, UnixTime now, VerificationCache* cache) {
  return Conclusion::of(Verification{report, endorsements, anchors, now, cache}.run());
}

std::optional<Report> refusal_without_endorsements(const evidence::SnpReport& report) {
  static const evidence::SnpEndorsements no_endorsements;
  static const TrustAnchors no_anchors;
  auto found = Verification{report, no_endorsements, no_anchors, UnixTime{}, nullptr}.run_without_endorsements();
  if (found.authentic()) return std::nullopt;
  return found;
}

}  // namespace cloister::attestation
